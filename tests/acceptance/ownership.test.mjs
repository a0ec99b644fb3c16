// Proof of possession, ownership of a mesh, deregistration, lease tokens (warren-api.md, Registration).
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, denied, invalid, missing, refused, sleep, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";
import { Party, now, proofOf } from "./proof.mjs";

let server, brief, serverKey;

before(async () => {
  server = await startHost();
  brief = await startHost({ ttl: 1, strictKeys: true });
  ({ serverKey } = await server.ok("Health"));
});
after(async () => {
  await server?.stop();
  await brief?.stop();
});

const register = (meshId, more) => server.rpc("RegisterColony", colonyOf(meshId, more));
const registerAgent = (meshId, agentId, more) => server.rpc("RegisterAgent", agentOf(meshId, agentId, more));
const succeeds = async (answer) => {
  const { status, body } = await answer;
  assert.equal(status, 200, JSON.stringify(body));
  return body;
};

// X25519 public keys whose shared secret is zero whatever the private key (RFC 7748 section 6.1).
const lowOrder = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

describe("a proof of possession", () => {
  it("is believed when it is right", async () => {
    const meshId = unique("m"), party = new Party(serverKey);
    await succeeds(register(meshId, party.proves(meshId)));
    assert.equal((await server.ok("LookupColony", { meshId })).pubkey, party.pubkey);
    await succeeds(registerAgent(meshId, "a", party.proves(meshId, { agentId: "a" })));
  });

  it("may be 110 seconds off, either way", async () => {
    for (const off of [-110, 110]) {
      const meshId = unique("m");
      await succeeds(register(meshId, new Party(serverKey).proves(meshId, { time: now() + off })));
    }
  });

  const party = () => new Party(serverKey);
  const wrong = [
    ["stale", (m) => party().proves(m, { time: now() - 125 })],
    ["of the future", (m) => party().proves(m, { time: now() + 125 })],
    ["of the year 1970", (m) => party().proves(m, { time: 0 })],
    ["of a time before that", (m) => party().proves(m, { time: -1 })],
    ["of the end of time", (m) => party().proves(m, { time: "9223372036854775807" })],
    ["for another time", (m) => ({ ...party().proves(m), proofTime: String(now() + 1) })],
    ["for another mesh", () => party().proves("another")],
    ["for an agent of the mesh", (m) => party().proves(m, { agentId: "a" })],
    ["by another key", (m) => ({ ...party().proves(m), pubkey: party().pubkey })],
    ["for another server", (m) => new Party(party().pubkey).proves(m)],
    ["made of nothing", (m) => ({ ...party().proves(m), proof: Buffer.alloc(32).toString("base64") })],
    ["cut short", (m) => ({ ...party().proves(m), proof: Buffer.alloc(31).toString("base64") })],
    ["for a key that is none", (m) => ({ ...party().proves(m), pubkey: "not base64" })],
    ["for a key that is too short", (m) => ({ ...party().proves(m), pubkey: Buffer.alloc(31, 9).toString("base64") })],
  ];
  for (const [name, fields] of wrong)
    it(`is refused: ${name}`, async () => {
      const meshId = unique("m");
      await denied(register(meshId, fields(meshId)));
      await missing(server.rpc("LookupColony", { meshId }));
    });

  it("is refused with one bit changed, wherever", async () => {
    const meshId = unique("m");
    const good = party().proves(meshId);
    for (let at = 0; at < 256; at += 15) {
      const proof = Buffer.from(good.proof, "base64");
      proof[at >> 3] ^= 1 << (at & 7);
      await denied(register(meshId, { ...good, proof: proof.toString("base64") }));
    }
    await succeeds(register(meshId, good));
  });

  it("is refused for a key of low order, whose secret everybody knows", async () => {
    const meshId = unique("m"), shared = Buffer.alloc(32);
    for (const key of lowOrder)
      await denied(register(meshId, { ...proofOf({ meshId, shared }), pubkey: Buffer.from(key, "hex").toString("base64") }));
  });

  it("that is too long is an invalid argument", async () => {
    const meshId = unique("m");
    await invalid(register(meshId, { ...party().proves(meshId), proof: Buffer.alloc(33).toString("base64") }));
  });

  it("of an agent is for that agent alone", async () => {
    const meshId = unique("m"), p = party();
    await denied(registerAgent(meshId, "a", p.proves(meshId, { agentId: "b" })));
    await denied(registerAgent(meshId, "a", p.proves(meshId)));
    await denied(registerAgent(meshId, "a", p.proves("another", { agentId: "a" })));
    await denied(registerAgent(meshId, "a", p.proves(meshId, { agentId: "a", time: now() - 125 })));
    await missing(server.rpc("LookupAgent", { meshId, agentId: "a" }));
    await succeeds(registerAgent(meshId, "a", p.proves(meshId, { agentId: "a" })));
  });

  it("that fails leaves what was registered as it was", async () => {
    const meshId = unique("m"), p = party();
    const { leaseToken } = await succeeds(register(meshId, p.proves(meshId)));
    await denied(register(meshId, { ...p.proves(meshId, { time: now() - 125 }), endpoints: ["192.0.2.66:6"] }));
    assert.deepEqual((await server.ok("LookupColony", { meshId })).endpoints, colonyOf(meshId).endpoints);
    assert.equal((await server.rpc("AwaitPunch", { meshId, leaseToken, waitSeconds: 0 })).status, 200);
  });
});

describe("a mesh registered with a proof", () => {
  it("is owned: without the proof nobody renews it, not even by the same key", async () => {
    const meshId = unique("m"), owner = new Party(serverKey), other = new Party(serverKey);
    await succeeds(register(meshId, owner.proves(meshId)));
    await denied(register(meshId, { pubkey: owner.pubkey }));
    await denied(register(meshId, { pubkey: other.pubkey }));
    await refused(register(meshId, other.proves(meshId)), 409, "already_exists", /already registered/);
    await succeeds(register(meshId, owner.proves(meshId)));
  });

  it("was free before: the same key may prove itself later, another not", async () => {
    const meshId = unique("m"), owner = new Party(serverKey), other = new Party(serverKey);
    await succeeds(register(meshId, { pubkey: owner.pubkey }));
    await refused(register(meshId, other.proves(meshId)), 409, "already_exists", /already registered/);
    await succeeds(register(meshId, { pubkey: owner.pubkey }));
    await succeeds(register(meshId, owner.proves(meshId)));
    await denied(register(meshId, { pubkey: owner.pubkey }));
  });

  it("stays its key's after the lease has ended", async () => {
    const { serverKey: key } = await brief.ok("Health");
    const meshId = unique("m"), owner = new Party(key), other = new Party(key);
    const again = (fields) => brief.rpc("RegisterColony", colonyOf(meshId, fields));
    await succeeds(again(owner.proves(meshId)));
    await sleep(1100);
    await missing(brief.rpc("LookupColony", { meshId }));
    await denied(again({ pubkey: other.pubkey }));
    await denied(again(other.proves(meshId)));
    await denied(again({ pubkey: owner.pubkey }));
    await missing(brief.rpc("LookupColony", { meshId }));
    await succeeds(again(owner.proves(meshId)));
    assert.equal((await brief.ok("LookupColony", { meshId })).pubkey, owner.pubkey);
  });

  it("stays its key's after deregistration", async () => {
    const meshId = unique("m"), owner = new Party(serverKey);
    const { leaseToken } = await succeeds(register(meshId, owner.proves(meshId)));
    await server.ok("DeregisterColony", { meshId, leaseToken });
    await missing(server.rpc("LookupColony", { meshId }));
    await denied(register(meshId));
    await denied(register(meshId, new Party(serverKey).proves(meshId)));
    await succeeds(register(meshId, owner.proves(meshId)));
  });

  it("leaves its agents free to come without proof", async () => {
    const meshId = unique("m");
    await succeeds(register(meshId, new Party(serverKey).proves(meshId)));
    await succeeds(registerAgent(meshId, "a"));
  });
});

describe("an agent registered with a proof", () => {
  it("keeps its place while its lease lives", async () => {
    const meshId = unique("m"), agentId = "a", owner = new Party(serverKey), other = new Party(serverKey);
    await succeeds(registerAgent(meshId, agentId, { pubkey: other.pubkey }));
    await succeeds(registerAgent(meshId, agentId, owner.proves(meshId, { agentId })));
    await denied(registerAgent(meshId, agentId));
    await denied(registerAgent(meshId, agentId, { pubkey: owner.pubkey }));
    await refused(registerAgent(meshId, agentId, other.proves(meshId, { agentId })), 409, "already_exists",
      /already registered/);
    await succeeds(registerAgent(meshId, agentId, owner.proves(meshId, { agentId })));
    await succeeds(registerAgent(meshId, "b"));
    assert.equal((await server.ok("LookupAgent", { meshId, agentId })).pubkey, owner.pubkey);
  });

  it("gives it up with the lease", async () => {
    const { serverKey: key } = await brief.ok("Health");
    const meshId = unique("m"), agentId = "a", owner = new Party(key);
    await succeeds(brief.rpc("RegisterAgent", agentOf(meshId, agentId, owner.proves(meshId, { agentId }))));
    await sleep(1100);
    await succeeds(brief.rpc("RegisterAgent", agentOf(meshId, agentId, { pubkey: new Party(key).pubkey })));
  });
});

describe("deregistration", () => {
  it("ends a colony's lease at once", async () => {
    const meshId = unique("m");
    const { leaseToken } = await succeeds(register(meshId));
    const agent = await succeeds(registerAgent(meshId, "a"));
    assert.deepEqual(await server.ok("DeregisterColony", { meshId, leaseToken }), { success: true });
    await missing(server.rpc("LookupColony", { meshId }));
    await server.ok("LookupAgent", { meshId, agentId: "a" });
    await denied(server.rpc("AwaitPunch", { meshId, leaseToken, waitSeconds: 0 }));
    await denied(server.rpc("DeregisterColony", { meshId, leaseToken }));
    await missing(server.rpc("InitiatePunch", { meshId, agentId: "a", leaseToken: agent.leaseToken }));
    await succeeds(register(meshId, { pubkey: "anybody" }));
  });

  it("ends an agent's lease at once, and no other's", async () => {
    const meshId = unique("m"), agentId = unique("a");
    await succeeds(register(meshId));
    const { leaseToken } = await succeeds(registerAgent(meshId, agentId));
    await succeeds(registerAgent(meshId, "b"));
    assert.deepEqual(await server.ok("DeregisterAgent", { meshId, agentId, leaseToken }), { success: true });
    await missing(server.rpc("LookupAgent", { meshId, agentId }));
    await missing(server.rpc("LookupAgent", { agentId }));
    await server.ok("LookupAgent", { meshId, agentId: "b" });
    await server.ok("LookupColony", { meshId });
    await denied(server.rpc("DeregisterAgent", { meshId, agentId, leaseToken }));
    await denied(server.rpc("InitiatePunch", { meshId, agentId, leaseToken }));
    await succeeds(registerAgent(meshId, agentId, { pubkey: "anybody" }));
    assert.equal((await server.ok("LookupAgent", { agentId })).pubkey, "anybody");
  });

  it("wants the token of the one that goes, and does not tell who is there", async () => {
    const meshId = unique("m");
    const { leaseToken } = await succeeds(register(meshId));
    const agent = await succeeds(registerAgent(meshId, "a"));
    const stranger = Buffer.alloc(32, 1).toString("base64");
    // The names that the caller gave are no secret.
    const said = [], plain = (text) => text.replaceAll(meshId, "M").replace("nowhere", "M").replace(/\b(a|nobody)\b/, "A");
    for (const [method, body] of [
      ["DeregisterColony", { meshId, leaseToken: stranger }],
      ["DeregisterColony", { meshId: "nowhere", leaseToken: stranger }],
      ["DeregisterColony", { meshId }],
      ["DeregisterColony", { meshId, leaseToken: agent.leaseToken }],
    ]) said.push(plain((await denied(server.rpc(method, body))).message));
    assert.equal(said[0], said[1]);
    said.length = 0;
    for (const body of [
      { meshId, agentId: "a", leaseToken: stranger }, { meshId, agentId: "nobody", leaseToken: stranger },
      { meshId, agentId: "a" }, { meshId, agentId: "a", leaseToken },
    ]) said.push(plain((await denied(server.rpc("DeregisterAgent", body))).message));
    assert.equal(said[0], said[1]);
    await server.ok("LookupColony", { meshId });
    await server.ok("LookupAgent", { meshId, agentId: "a" });
  });

  it("says what is missing", async () => {
    await invalid(server.rpc("DeregisterColony", {}), /mesh_id is required/);
    await invalid(server.rpc("DeregisterAgent", { agentId: "a" }), /mesh_id is required/);
    await invalid(server.rpc("DeregisterAgent", { meshId: "m" }), /agent_id is required/);
  });
});

describe("lease tokens", () => {
  it("are new at each registration; the one before lasts as long as its lease", async () => {
    const meshId = unique("m");
    const first = await succeeds(register(meshId));
    const second = await succeeds(register(meshId));
    assert.notEqual(first.leaseToken, second.leaseToken);
    for (const { leaseToken } of [first, second])
      assert.equal((await server.rpc("AwaitPunch", { meshId, leaseToken, waitSeconds: 0 })).status, 200);
    await server.ok("DeregisterColony", { meshId, leaseToken: first.leaseToken });
    await denied(server.rpc("AwaitPunch", { meshId, leaseToken: second.leaseToken, waitSeconds: 0 }));
  });

  it("end with the lease that they came with", async () => {
    const meshId = unique("m"), pubkey = new Party(serverKey).pubkey;
    const first = await brief.ok("RegisterColony", colonyOf(meshId, { pubkey }));
    await sleep(700);
    const second = await brief.ok("RegisterColony", colonyOf(meshId, { pubkey }));
    await sleep(500);
    await denied(brief.rpc("AwaitPunch", { meshId, leaseToken: first.leaseToken, waitSeconds: 0 }));
    assert.equal((await brief.rpc("AwaitPunch", { meshId, leaseToken: second.leaseToken, waitSeconds: 0 })).status, 200);
    await sleep(600);
    await denied(brief.rpc("AwaitPunch", { meshId, leaseToken: second.leaseToken, waitSeconds: 0 }));
  });
});

describe("a server that is strict with keys", () => {
  it("refuses what is no public key", async () => {
    const meshId = unique("m");
    for (const pubkey of ["k", Buffer.alloc(31, 1).toString("base64"), Buffer.alloc(33, 1).toString("base64"),
      `${Buffer.alloc(32, 1).toString("base64")}=`, "dGVzdC1wdWJrZXktMTIzNDU2Nzg5MA=="]) {
      await invalid(brief.rpc("RegisterColony", colonyOf(meshId, { pubkey })), /pubkey/);
      await invalid(brief.rpc("RegisterAgent", agentOf(meshId, "a", { pubkey })), /pubkey/);
    }
    await brief.ok("RegisterColony", colonyOf(meshId, { pubkey: Buffer.alloc(32, 1).toString("base64") }));
  });

  it("the others take what deployed clients send", async () => {
    await succeeds(register(unique("m"), { pubkey: "dGVzdC1wdWJrZXktMTIzNDU2Nzg5MA==" }));
  });
});
