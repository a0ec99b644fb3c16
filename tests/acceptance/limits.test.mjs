// Rate limits per mesh, per source and per lease. The limits themselves stand in docs/limits.md.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, from, refused, unique, uniqueAddress } from "./client.mjs";
import { startHost } from "./hosts.mjs";

let server, unlimited;

before(async () => {
  server = await startHost();
  unlimited = await startHost({ limitFactor: 0 });
});
after(async () => {
  await server?.stop();
  await unlimited?.stop();
});

// Calls METHOD until it is refused, MOST times at the most; how often it was not, and the refusal.
async function exhaust(host, most, method, body, headers) {
  for (let n = 0; n < most; n++) {
    const answer = await host.rpc(method, body, headers);
    if (answer.status === 429) return { n, answer };
    assert.notEqual(answer.status, 500);
  }
  return { n: most };
}

async function slowsDown({ n, answer }, burst) {
  assert.ok(answer, `not limited after ${n}`);
  assert.ok(n >= burst, `limited after ${n} already`);
  await refused(answer, 429, "resource_exhausted", /rate limit exceeded/);
  assert.match(answer.headers.get("retry-after"), /^[1-9]\d*$/);
}

describe("who calls too often", () => {
  it("with one lease is told when to come again, and nobody else is", async () => {
    const meshId = unique("m");
    await slowsDown(await exhaust(server, 100, "RegisterAgent", agentOf(meshId, "busy")), 20);
    assert.equal((await server.rpc("RegisterAgent", agentOf(meshId, "calm"))).status, 200);
    assert.equal((await server.rpc("RegisterAgent", agentOf(unique("m"), "busy"))).status, 200);
    assert.equal((await server.rpc("LookupAgent", { meshId, agentId: "busy" })).status, 200);
  });

  it("for one mesh is told when to come again, and other meshes are not", async () => {
    const meshId = unique("m");
    await slowsDown(await exhaust(server, 200, "RegisterColony", colonyOf(meshId), from(uniqueAddress())), 20);
    assert.equal((await server.rpc("RegisterColony", colonyOf(unique("m")))).status, 200);
  });

  it("a refused call changes nothing", async () => {
    const meshId = unique("m");
    await exhaust(server, 100, "RegisterAgent", agentOf(meshId, "a"));
    await server.rpc("RegisterAgent", agentOf(meshId, "a", { endpoints: ["192.0.2.77:7"] }));
    const { endpoints } = await server.ok("LookupAgent", { meshId, agentId: "a" });
    assert.deepEqual(endpoints, agentOf("", "").endpoints);
  });

  it("may come again when it was told to", async () => {
    const meshId = unique("m");
    const { answer } = await exhaust(server, 100, "RegisterAgent", agentOf(meshId, "a"));
    await new Promise((resolve) => setTimeout(resolve, Number(answer.headers.get("retry-after")) * 1000));
    assert.equal((await server.rpc("RegisterAgent", agentOf(meshId, "a"))).status, 200);
  });
});

describe("a server without limits", () => {
  it("lets everybody call as often as they like", async () => {
    const meshId = unique("m");
    assert.equal((await exhaust(unlimited, 100, "RegisterAgent", agentOf(meshId, "busy"))).n, 100);
    assert.equal((await exhaust(unlimited, 100, "RegisterColony", colonyOf(meshId))).n, 100);
  });

  it("but for the rendezvous, whose limits are part of the interface", async () => {
    const body = { meshId: unique("m"), ciphertext: "AAAA", gcmNonce: "AAAAAAAAAAAAAAAA", writeToken: "AAAA" };
    await slowsDown(await exhaust(unlimited, 12, "PublishBootstrapRendezvous", body), 10);
  });
});
