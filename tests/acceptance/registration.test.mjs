// discovery.md sections 3.1 to 3.5 and 9, the points about registration, lookup and health.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, from, invalid, isIn, missing, refused, sleep, unique } from "./client.mjs";
import { can, offered, startHost } from "./hosts.mjs";

let server, brief;

before(async () => {
  server = await startHost();
  brief = await startHost({ ttl: 1, trustProxy: "none" });
});
after(async () => {
  await server?.stop();
  await brief?.stop();
});

describe("registration of a colony", () => {
  it("1: answers with the lease", async () => {
    const { status, body, headers } = await server.rpc("RegisterColony", colonyOf(unique("m")));
    assert.equal(status, 200);
    assert.match(headers.get("content-type"), /^application\/json/);
    assert.equal(body.success, true);
    assert.equal(body.ttl, 300);
    isIn(body.expiresAt, 300);
    assert.equal(Buffer.from(body.leaseToken, "base64").length, 32);
    assert.equal("observedEndpoint" in body, false);
    assert.deepEqual(body.stunServers, can("stun") ? [`127.0.0.1:${server.stunPort}`] : undefined);
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
    await invalid(server.rpc("RegisterColony", {}), /mesh_id is required/);
    await invalid(server.rpc("RegisterColony", { pubkey: "k" }), /mesh_id is required/);
    await invalid(server.rpc("RegisterColony", { meshId: "m" }), /pubkey is required/);
    await invalid(server.rpc("RegisterColony", { meshId: "m", pubkey: "k", endpoints: [] }),
      /at least one endpoint or observed_endpoint is required/);
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
    await refused(server.rpc("RegisterColony", colonyOf(meshId, { pubkey: "other" })), 409, "already_exists",
      /already registered/);
    assert.equal((await server.ok("LookupColony", { meshId })).pubkey, colonyOf(meshId).pubkey);
  });

  it("6: the same key renews, and replaces everything", async () => {
    const meshId = unique("m");
    const first = await server.ok("RegisterColony", colonyOf(meshId, { metadata: { a: "1" }, connectPort: 5 }));
    await server.ok("LookupColony", { meshId });
    const second = await server.ok("RegisterColony", colonyOf(meshId, { endpoints: ["192.0.2.99:1"] }));
    assert.notEqual(first.leaseToken, second.leaseToken);
    const found = await server.ok("LookupColony", { meshId });
    assert.deepEqual(found.endpoints, ["192.0.2.99:1"]);
    assert.equal("metadata" in found, false);
    assert.equal("connectPort" in found, false);
    isIn(found.lastSeen, 0);
  });

  it("7, 9: a lease that has ended is invisible at once, and bars nobody", async () => {
    const meshId = unique("m"), agentId = unique("a");
    const { ttl } = await brief.ok("RegisterColony", colonyOf(meshId));
    assert.equal(ttl, 1);
    await brief.ok("RegisterAgent", agentOf(meshId, agentId));
    assert.equal((await brief.ok("LookupAgent", { agentId })).meshId, meshId);
    await sleep(1100);
    await missing(brief.rpc("LookupColony", { meshId }));
    await missing(brief.rpc("LookupAgent", { meshId, agentId }));
    await missing(brief.rpc("LookupAgent", { agentId }));
    await brief.ok("RegisterColony", colonyOf(meshId, { pubkey: "other" }));
    assert.equal((await brief.ok("LookupColony", { meshId })).pubkey, "other");
  });

  it("a renewal prolongs the lease", async () => {
    const meshId = unique("m");
    await brief.ok("RegisterColony", colonyOf(meshId));
    await sleep(700);
    await brief.ok("RegisterColony", colonyOf(meshId));
    await sleep(700);
    await brief.ok("LookupColony", { meshId });
  });

  it("8: an unknown mesh is not found", async () => {
    await missing(server.rpc("LookupColony", { meshId: "nowhere" }), /colony nowhere not found/);
    await invalid(server.rpc("LookupColony", {}), /mesh_id is required/);
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

  it("every field comes back as it was registered", async () => {
    const meshId = unique("m");
    const fields = { endpoints: ["192.0.2.1:1", "[2001:db8::1]:2"], meshIpv4: "10.42.0.1", meshIpv6: "fd42::1",
      connectPort: 9000, publicPort: 8443, metadata: { a: "1", "": "empty key", b: "" } };
    await server.ok("RegisterColony", colonyOf(meshId, fields));
    const { lastSeen, nat = "NAT_UNKNOWN", ...found } = await server.ok("LookupColony", { meshId });
    isIn(lastSeen, 0);
    assert.ok([0, "NAT_UNKNOWN"].includes(nat));
    assert.deepEqual(found, { ...colonyOf(meshId, fields), observedEndpoints: [] });
  });

  it("meshes with odd names do not mix", async () => {
    const names = ["a/b", "a%2Fb", "ä", "A\u0301", "Á", "a b", "'; drop table colonies; --", "..", "__proto__", "\u{1f99d}"]
      .map((name) => unique(name));
    for (const meshId of names) await server.ok("RegisterColony", colonyOf(meshId, { pubkey: `of ${meshId}` }));
    for (const meshId of names)
      assert.equal((await server.ok("LookupColony", { meshId })).pubkey, `of ${meshId}`);
  });

  it("refuses what is too large", async () => {
    const wrong = [
      { meshId: "x".repeat(129) }, { endpoints: Array(33).fill("192.0.2.1:1") }, { endpoints: ["y".repeat(65)] },
      { metadata: { k: "v".repeat(513) } }, { metadata: { ["k".repeat(65)]: "v" } },
      { metadata: Object.fromEntries(Array.from({ length: 33 }, (_, i) => [`k${i}`, ""])) },
      { publicEndpoint: { url: "u".repeat(513) } }, { publicEndpoint: { caCert: "c".repeat(16385) } },
      { publicEndpoint: { caFingerprint: { value: Buffer.alloc(65).toString("base64") } } },
    ];
    for (const fields of wrong) await invalid(server.rpc("RegisterColony", colonyOf(unique("m"), fields)));
  });

  it("keeps what is as large as it may be", async () => {
    const meshId = unique("m").padEnd(128, "x");
    const metadata = Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`k${i}`.padEnd(64, "k"), "\"".repeat(512)]));
    const endpoints = Array.from({ length: 32 }, (_, i) => `192.0.2.${i}:1`.padEnd(64, "0"));
    const publicEndpoint = { url: "u".repeat(512), caCert: "c".repeat(16384) };
    await server.ok("RegisterColony", colonyOf(meshId, { metadata, endpoints, publicEndpoint }));
    const found = await server.ok("LookupColony", { meshId });
    assert.deepEqual(found.metadata, metadata);
    assert.deepEqual(found.endpoints, endpoints);
    assert.deepEqual(found.publicEndpoint, publicEndpoint);
  });
});

describe("registration of agents", () => {
  it("10: agents are found with and without the mesh id", async () => {
    const meshId = unique("m"), agentId = unique("a");
    const body = await server.ok("RegisterAgent", agentOf(meshId, agentId, { metadata: { os: "linux" } }));
    assert.equal(body.success, true);
    assert.equal(body.ttl, 300);
    isIn(body.expiresAt, 300);
    assert.equal(Buffer.from(body.leaseToken, "base64").length, 32);
    for (const query of [{ meshId, agentId }, { agentId }]) {
      const { lastSeen, nat, ...found } = await server.ok("LookupAgent", query);
      isIn(lastSeen, 0);
      assert.deepEqual(found, { ...agentOf(meshId, agentId), metadata: { os: "linux" }, observedEndpoints: [] });
    }
    await missing(server.rpc("LookupAgent", { meshId: "elsewhere", agentId }));
    await missing(server.rpc("LookupAgent", { agentId: "nobody" }), /agent nobody not found/);
    await missing(server.rpc("LookupAgent", { meshId, agentId: "nobody" }), /agent nobody not found/);
    await invalid(server.rpc("LookupAgent", { meshId }), /agent_id is required/);
    await invalid(server.rpc("LookupAgent", {}), /agent_id is required/);
  });

  it("of agents of one name in several meshes, the one registered first is found without the mesh id", async () => {
    const agentId = unique("a"), meshes = [unique("z"), unique("a"), unique("m")];
    for (const meshId of meshes) {
      await server.ok("RegisterAgent", agentOf(meshId, agentId));
      await sleep(5);
    }
    await server.ok("RegisterAgent", agentOf(meshes[0], agentId));
    assert.equal((await server.ok("LookupAgent", { agentId })).meshId, meshes[0]);
    for (const meshId of meshes)
      assert.equal((await server.ok("LookupAgent", { agentId, meshId })).meshId, meshId);
  });

  it("says what is missing, in order", async () => {
    await invalid(server.rpc("RegisterAgent", {}), /agent_id is required/);
    await invalid(server.rpc("RegisterAgent", { agentId: "a" }), /mesh_id is required/);
    await invalid(server.rpc("RegisterAgent", { agentId: "a", meshId: "m" }), /pubkey is required/);
    await invalid(server.rpc("RegisterAgent", { agentId: "a", meshId: "m", pubkey: "k" }), /at least one endpoint/);
  });

  it("no colony needs to be there, and an observed endpoint alone will do", async () => {
    const meshId = unique("m"), observedEndpoint = { ip: "198.51.100.1", port: 1, protocol: "udp" };
    await server.ok("RegisterAgent", { meshId, agentId: "a", pubkey: "k", observedEndpoint });
    assert.deepEqual((await server.ok("LookupAgent", { meshId, agentId: "a" })).observedEndpoints, [observedEndpoint]);
    await missing(server.rpc("LookupColony", { meshId }));
  });

  it("any key may take an agent's place, in its own mesh", async () => {
    const one = unique("m"), two = unique("m");
    await server.ok("RegisterAgent", agentOf(one, "a"));
    await server.ok("RegisterAgent", agentOf(two, "a", { pubkey: "two" }));
    await server.ok("RegisterAgent", agentOf(one, "a", { pubkey: "new" }));
    assert.equal((await server.ok("LookupAgent", { meshId: one, agentId: "a" })).pubkey, "new");
    assert.equal((await server.ok("LookupAgent", { meshId: two, agentId: "a" })).pubkey, "two");
  });

  it("two hundred at once, in one mesh and in many, all succeed", async () => {
    const meshId = unique("m");
    const all = Array.from({ length: 200 }, (_, i) => agentOf(i % 2 ? meshId : unique("m"), `agent-${i}`));
    await Promise.all(all.map((agent) => server.ok("RegisterAgent", agent)));
    await Promise.all(all.map((agent) => server.ok("LookupAgent", { meshId: agent.meshId, agentId: agent.agentId })));
  });
});

describe("11: the observed address", () => {
  const edge = "203.0.113.77";
  const self = (ip) => ({ ip, port: 4500, protocol: "udp", viaRelay: true });
  const replaced = { ip: edge, port: 4500, protocol: "udp" };
  const rows = [
    ["nothing is known", undefined, undefined, undefined],
    ["the client's own word, even if private", undefined, self("192.168.1.9"), self("192.168.1.9")],
    ["the edge's address, port unknown", edge, undefined, { ip: edge, protocol: "udp" }],
    ["the edge's address in place of a private one", edge, self("10.1.2.3"), replaced],
    ["a public self-report", edge, self("198.51.100.3"), self("198.51.100.3")],
    ["a public self-report, IPv6", edge, self("2600::1"), self("2600::1")],
    ["carrier-grade NAT is not public", edge, self("100.64.1.1"), replaced],
    ["mapped private is not public", edge, self("::ffff:10.1.2.3"), replaced],
    ["172.16/12 is not public", edge, self("172.31.255.255"), replaced],
    ["172.32/12 is", edge, self("172.32.0.1"), self("172.32.0.1")],
    ["loopback is not public", edge, self("127.0.0.1"), replaced],
    ["link-local is not public", edge, self("fe80::1"), replaced],
    ["unique local is not public", edge, self("fd12::1"), replaced],
    ["the edge's IPv6 address", "2001:db8::7", self("10.1.2.3"), { ip: "2001:db8::7", port: 4500, protocol: "udp" }],
  ];

  for (const [name, header, observedEndpoint, want] of rows)
    it(name, async () => {
      const meshId = unique("m");
      const headers = header ? from(header) : {};
      const colony = await server.ok("RegisterColony", colonyOf(meshId, { observedEndpoint }), headers);
      assert.deepEqual(colony.observedEndpoint, want);
      const agent = await server.ok("RegisterAgent", agentOf(meshId, "a", { observedEndpoint }), headers);
      assert.deepEqual(agent.observedEndpoint, want);
      const found = await server.ok("LookupColony", { meshId });
      assert.deepEqual(found.observedEndpoints, want ? [want] : []);
    });

  it("GetObservedAddress tells the edge's", async () => {
    for (const address of [edge, "2001:db8::5"])
      assert.deepEqual(await server.ok("GetObservedAddress", {}, from(address)), { publicIp: address });
  });

  it("GetObservedAddress tells nothing where nothing is known", async () => {
    assert.deepEqual(await server.ok("GetObservedAddress", {}), { publicIp: "" });
  });

  it("other headers of a trusted proxy", offered("proxies"), async () => {
    const observed = async (headers) =>
      (await server.ok("RegisterColony", colonyOf(unique("m")), headers)).observedEndpoint?.ip;
    assert.equal(await observed({ "X-Forwarded-For": "198.51.100.1" }), "198.51.100.1");
    assert.equal(await observed({ "X-Forwarded-For": "6.6.6.6, 198.51.100.1, 127.0.0.1" }), "198.51.100.1");
    assert.equal(await observed({ "X-Real-IP": "2001:db8::1" }), "2001:db8::1");
    assert.equal(await observed({ "X-Forwarded-For": "unknown" }), undefined);
  });

  it("nobody else's headers count", offered("proxies"), async () => {
    const body = await brief.ok("RegisterColony", colonyOf(unique("m")), from(edge));
    assert.equal("observedEndpoint" in body, false);
    assert.deepEqual(await brief.ok("GetObservedAddress", {}, from(edge)), { publicIp: "" });
  });
});

describe("health", () => {
  it("18: the RPC", async () => {
    await server.ok("RegisterColony", colonyOf(unique("m")));
    const body = await server.ok("Health", {});
    assert.equal(body.status, "ok");
    assert.match(body.version, /^\d+\.\d+\.\d+$/);
    assert.match(body.uptimeSeconds, /^\d+$/);
    assert.ok(body.registeredColonies > 0);
    assert.equal(Buffer.from(body.serverKey, "base64").length, 32);
  });

  it("counts the colonies whose leases live, and no others", async () => {
    const colonies = async () => (await brief.ok("Health")).registeredColonies;
    await sleep(1100);
    const idle = await colonies();
    const meshId = unique("m");
    const { leaseToken } = await brief.ok("RegisterColony", colonyOf(meshId));
    await brief.ok("RegisterColony", colonyOf(meshId));
    assert.equal(await colonies(), idle + 1);
    await brief.ok("DeregisterColony", { meshId, leaseToken });
    assert.equal(await colonies(), idle);
  });

  it("the page", async () => {
    const page = await server.raw("/health");
    assert.equal(page.status, 200);
    assert.match(page.headers["content-type"], /^application\/json/);
    assert.deepEqual(Object.keys(JSON.parse(page.text)), ["status", "version"]);
    assert.equal(JSON.parse(page.text).status, "ok");
  });
});

describe("relays", () => {
  it("12: there are none", async () => {
    for (const method of ["RequestRelay", "ReleaseRelay"])
      await refused(server.rpc(method, {}), 501, "unimplemented", /[Rr]elay/);
  });
});
