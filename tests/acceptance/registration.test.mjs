// discovery.md section 9, the points about registration and lookup.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server, agentOf, colonyOf, sleep, unique } from "./warren.mjs";

let server, brief;

before(async () => {
  server = await Server.start({ args: ["--trust-proxy", "127.0.0.1"] });
  brief = await Server.start({ args: ["--ttl", "1"] });
});
after(async () => {
  await server.stop();
  await brief.stop();
});

function refused(answer, status, code, text) {
  assert.equal(answer.status, status);
  assert.equal(answer.body.code, code);
  assert.match(answer.body.message, text ?? /./);
}

describe("registration of a colony", () => {
  it("1: answers with the lease", async () => {
    const { status, body, headers } = await server.rpc("RegisterColony", colonyOf(unique("m")));
    assert.equal(status, 200);
    assert.match(headers.get("content-type"), /^application\/json/);
    assert.equal(body.success, true);
    assert.equal(body.ttl, 300);
    assert.ok(Math.abs(Date.parse(body.expiresAt) - (Date.now() + 300_000)) < 2000);
    assert.deepEqual(body.stunServers, [`127.0.0.1:${server.stunPort}`]);
    assert.equal(Buffer.from(body.leaseToken, "base64").length, 32);
    assert.equal("observedEndpoint" in body, false);
  });

  it("2: takes snake_case names, numbers as strings, null as unset, and what it does not know", async () => {
    const meshId = unique("m");
    await server.ok("RegisterColony", {
      mesh_id: meshId, pubkey: "k", endpoints: ["192.0.2.1:1"], mesh_ipv4: "10.42.0.1", connect_port: "9000",
      metadata: null, observed_endpoint: null, invented: { by: ["somebody"] },
    });
    const found = await server.ok("LookupColony", { mesh_id: meshId });
    assert.equal(found.meshIpv4, "10.42.0.1");
    assert.equal(found.connectPort, 9000);
    assert.equal("metadata" in found, false);
  });

  it("3: says what is missing, in order", async () => {
    refused(await server.rpc("RegisterColony", {}), 400, "invalid_argument", /mesh_id is required/);
    refused(await server.rpc("RegisterColony", { meshId: "m" }), 400, "invalid_argument", /pubkey is required/);
    refused(await server.rpc("RegisterColony", { meshId: "m", pubkey: "k", endpoints: [] }), 400,
      "invalid_argument", /at least one endpoint or observed_endpoint is required/);
  });

  it("4: an observed endpoint alone will do", async () => {
    const meshId = unique("m");
    const observedEndpoint = { ip: "198.51.100.1", port: 41580, protocol: "udp" };
    const body = await server.ok("RegisterColony", { meshId, pubkey: "k", observedEndpoint });
    assert.deepEqual(body.observedEndpoint, observedEndpoint);
    const found = await server.ok("LookupColony", { meshId });
    assert.deepEqual(found.endpoints, []);
    assert.deepEqual(found.observedEndpoints, [observedEndpoint]);
  });

  it("5: a second key is told that the mesh is taken", async () => {
    const meshId = unique("m");
    await server.ok("RegisterColony", colonyOf(meshId));
    refused(await server.rpc("RegisterColony", colonyOf(meshId, { pubkey: "other" })), 409, "already_exists",
      /already registered/);
  });

  it("6: the same key renews, and replaces everything", async () => {
    const meshId = unique("m");
    const first = await server.ok("RegisterColony", colonyOf(meshId, { metadata: { a: "1" } }));
    const second = await server.ok("RegisterColony", colonyOf(meshId, { endpoints: ["192.0.2.99:1"] }));
    assert.notEqual(first.leaseToken, second.leaseToken);
    const found = await server.ok("LookupColony", { meshId });
    assert.deepEqual(found.endpoints, ["192.0.2.99:1"]);
    assert.equal("metadata" in found, false);
    assert.ok(Math.abs(Date.parse(found.lastSeen) - Date.now()) < 2000);
  });

  it("7, 9: a lease that has ended is invisible at once, and bars nobody", async () => {
    const meshId = unique("m");
    const { ttl } = await brief.ok("RegisterColony", colonyOf(meshId));
    assert.equal(ttl, 1);
    await brief.ok("RegisterAgent", agentOf(meshId, "a"));
    await sleep(1100);
    refused(await brief.rpc("LookupColony", { meshId }), 404, "not_found");
    refused(await brief.rpc("LookupAgent", { meshId, agentId: "a" }), 404, "not_found");
    refused(await brief.rpc("LookupAgent", { agentId: "a" }), 404, "not_found");
    await brief.ok("RegisterColony", colonyOf(meshId, { pubkey: "other" }));
  });

  it("8: an unknown mesh is not found", async () => {
    refused(await server.rpc("LookupColony", { meshId: "nowhere" }), 404, "not_found", /colony nowhere not found/);
    refused(await server.rpc("LookupColony", {}), 400, "invalid_argument", /mesh_id is required/);
  });

  it("19: a public endpoint comes back whole, its enum by name or number", async () => {
    for (const algorithm of ["FINGERPRINT_ALGORITHM_SHA256", 1]) {
      const meshId = unique("m");
      const value = Buffer.alloc(32, 0xfb);
      await server.ok("RegisterColony", colonyOf(meshId, { publicPort: 8443, publicEndpoint: {
        enabled: true, url: "https://colony.example", caCert: "LS0tLS1CRUdJTg==",
        caFingerprint: { algorithm, value: value.toString("base64url") }, updatedAt: "2026-01-02T04:04:05.5+01:00",
      } }));
      const found = await server.ok("LookupColony", { meshId });
      assert.equal(found.publicPort, 8443);
      assert.deepEqual(found.publicEndpoint, {
        enabled: true, url: "https://colony.example", caCert: "LS0tLS1CRUdJTg==",
        caFingerprint: { algorithm: "FINGERPRINT_ALGORITHM_SHA256", value: value.toString("base64") },
        updatedAt: "2026-01-02T03:04:05.500Z",
      });
    }
  });

  it("names the field that is wrong or too large", async () => {
    const wrong = [
      [{ meshId: "x".repeat(129) }, /mesh_id: longer than 128 bytes/],
      [{ meshId: 5 }, /mesh_id: must be a string/],
      [{ connectPort: -1 }, /connect_port: out of range/],
      [{ endpoints: Array(33).fill("192.0.2.1:1") }, /endpoints: more than 32/],
      [{ endpoints: ["y".repeat(65)] }, /endpoints\[0\]: longer/],
      [{ metadata: { k: "v".repeat(513) } }, /metadata\["k"\]: longer/],
      [{ publicEndpoint: { caFingerprint: { algorithm: "ROT13" } } }, /public_endpoint\.ca_fingerprint\.algorithm/],
      [{ publicEndpoint: { updatedAt: "soon" } }, /public_endpoint\.updated_at/],
    ];
    for (const [fields, text] of wrong)
      refused(await server.rpc("RegisterColony", colonyOf("m", fields)), 400, "invalid_argument", text);
  });

  it("keeps what is as large as it may be", async () => {
    const meshId = unique("m").padEnd(128, "x");
    const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`k${i}`.padEnd(64, "k"), "\"".repeat(512)]));
    const endpoints = Array.from({ length: 32 }, (_, i) => `192.0.2.${i}:1`.padEnd(64, "0"));
    await server.ok("RegisterColony", colonyOf(meshId, { metadata, endpoints }));
    const found = await server.ok("LookupColony", { meshId });
    assert.deepEqual(found.metadata, metadata);
    assert.deepEqual(found.endpoints, endpoints);
  });
});

describe("registration of agents", () => {
  it("10: agents are found with and without the mesh id", async () => {
    const meshId = unique("m"), agentId = unique("a");
    const body = await server.ok("RegisterAgent", agentOf(meshId, agentId, { metadata: { os: "linux" } }));
    assert.equal(body.success, true);
    assert.equal(body.ttl, 300);
    assert.equal(Buffer.from(body.leaseToken, "base64").length, 32);
    for (const query of [{ meshId, agentId }, { agentId }]) {
      const found = await server.ok("LookupAgent", query);
      assert.equal(found.agentId, agentId);
      assert.equal(found.meshId, meshId);
      assert.deepEqual(found.endpoints, ["192.0.2.2:5000"]);
      assert.deepEqual(found.observedEndpoints, []);
      assert.deepEqual(found.metadata, { os: "linux" });
      assert.ok(Math.abs(Date.parse(found.lastSeen) - Date.now()) < 2000);
    }
    refused(await server.rpc("LookupAgent", { meshId: "elsewhere", agentId }), 404, "not_found");
    refused(await server.rpc("LookupAgent", { agentId: "nobody" }), 404, "not_found", /agent nobody not found/);
    refused(await server.rpc("LookupAgent", { meshId }), 400, "invalid_argument", /agent_id is required/);
  });

  it("says what is missing, in order", async () => {
    refused(await server.rpc("RegisterAgent", {}), 400, "invalid_argument", /agent_id is required/);
    refused(await server.rpc("RegisterAgent", { agentId: "a" }), 400, "invalid_argument", /mesh_id is required/);
    refused(await server.rpc("RegisterAgent", { agentId: "a", meshId: "m" }), 400, "invalid_argument", /pubkey/);
    refused(await server.rpc("RegisterAgent", { agentId: "a", meshId: "m", pubkey: "k" }), 400, "invalid_argument",
      /at least one endpoint/);
  });

  it("any key may take an agent's place, in its own mesh", async () => {
    const one = unique("m"), two = unique("m");
    await server.ok("RegisterAgent", agentOf(one, "a"));
    await server.ok("RegisterAgent", agentOf(two, "a", { pubkey: "two" }));
    await server.ok("RegisterAgent", agentOf(one, "a", { pubkey: "new" }));
    assert.equal((await server.ok("LookupAgent", { meshId: one, agentId: "a" })).pubkey, "new");
    assert.equal((await server.ok("LookupAgent", { meshId: two, agentId: "a" })).pubkey, "two");
  });
});

describe("11: the observed address", () => {
  const edge = "203.0.113.77";
  const self = (ip) => ({ ip, port: 4500, protocol: "udp", viaRelay: true });
  const rows = [
    ["nothing is known", undefined, undefined, undefined],
    ["the client's own word, even if private", undefined, self("192.168.1.9"), self("192.168.1.9")],
    ["the edge's address, port unknown", edge, undefined, { ip: edge, protocol: "udp" }],
    ["the edge's address in place of a private one", edge, self("10.1.2.3"), { ip: edge, port: 4500, protocol: "udp" }],
    ["a public self-report", edge, self("198.51.100.3"), self("198.51.100.3")],
    ["carrier-grade NAT is not public", edge, self("100.64.1.1"), { ip: edge, port: 4500, protocol: "udp" }],
    ["mapped private is not public", edge, self("::ffff:10.1.2.3"), { ip: edge, port: 4500, protocol: "udp" }],
  ];

  for (const [name, header, observedEndpoint, want] of rows)
    it(name, async () => {
      const meshId = unique("m");
      const headers = header ? { "CF-Connecting-IP": header } : {};
      const colony = await server.ok("RegisterColony", colonyOf(meshId, { observedEndpoint }), headers);
      assert.deepEqual(colony.observedEndpoint, want);
      const agent = await server.ok("RegisterAgent", agentOf(meshId, "a", { observedEndpoint }), headers);
      assert.deepEqual(agent.observedEndpoint, want);
      const found = await server.ok("LookupColony", { meshId });
      assert.deepEqual(found.observedEndpoints, want ? [want] : []);
    });

  it("other headers of a trusted proxy", async () => {
    const observed = async (headers) =>
      (await server.ok("RegisterColony", colonyOf(unique("m")), headers)).observedEndpoint?.ip;
    assert.equal(await observed({ "X-Forwarded-For": "198.51.100.1" }), "198.51.100.1");
    assert.equal(await observed({ "X-Forwarded-For": "6.6.6.6, 198.51.100.1, 127.0.0.1" }), "198.51.100.1");
    assert.equal(await observed({ "X-Real-IP": "2001:db8::1" }), "2001:db8::1");
    assert.equal(await observed({ "X-Forwarded-For": "unknown" }), undefined);
  });

  it("nobody else's headers count", async () => {
    const body = await brief.ok("RegisterColony", colonyOf(unique("m")), { "CF-Connecting-IP": edge });
    assert.equal("observedEndpoint" in body, false);
  });
});

describe("health", () => {
  it("18: the RPC", async () => {
    const body = await server.ok("Health", {});
    assert.equal(body.status, "ok");
    assert.match(body.version, /^\d+\.\d+\.\d+$/);
    assert.match(body.uptimeSeconds, /^\d+$/);
    assert.ok(body.registeredColonies > 0);
  });

  it("the page", async () => {
    const page = await server.raw("/health");
    assert.equal(page.status, 200);
    assert.match(page.headers["content-type"], /^application\/json/);
    assert.equal(JSON.parse(page.text).status, "ok");
  });

  it("the metrics count what happens", async () => {
    const meshId = unique("m");
    await server.ok("RegisterColony", colonyOf(meshId));
    const page = await server.raw("/metrics");
    assert.equal(page.status, 200);
    assert.match(page.headers["content-type"], /openmetrics-text/);
    assert.match(page.text, /warren_rpcs_total\{method="RegisterColony",code="ok"\} \d+/);
    assert.match(page.text, /warren_colonies [1-9]/);
    assert.ok(page.text.endsWith("# EOF\n"));
    assert.ok(!page.text.includes(meshId));
  });
});
