// What is acknowledged stays, whatever happens to the process.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, denied, refused, sleep, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";
import { Party } from "./proof.mjs";

let server;

before(async () => (server = await startHost({ limitFactor: 0 })));
after(() => server?.stop());

describe("kill -9", () => {
  it("loses no acknowledged registration", async () => {
    const meshId = unique("m"), acknowledged = [];
    for (let round = 0; round < 4; round++) {
      const enough = acknowledged.length + 50;
      let stop = false;
      const clients = Array.from({ length: 32 }, async (_, client) => {
        for (let i = 0; !stop; i++) {
          const agentId = `agent-${round}-${client}-${i}`;
          const answer = await server.rpc("RegisterAgent", agentOf(meshId, agentId)).catch(() => undefined);
          if (!answer) return;
          assert.equal(answer.status, 200);
          acknowledged.push(agentId);
        }
      });
      for (let waited = 0; acknowledged.length < enough && waited < 200; waited++) await sleep(50);
      await sleep(100 + round * 37);
      await server.crash();
      stop = true;
      await Promise.all(clients);
    }
    assert.ok(acknowledged.length >= 200, `${acknowledged.length} were acknowledged`);
    for (const agentId of acknowledged)
      assert.equal((await server.rpc("LookupAgent", { meshId, agentId })).status, 200, agentId);
  });

  for (const how of ["crash", "restart"])
    it(`leases, tokens, ownership and the server's key survive a ${how}`, async () => {
      const { serverKey } = await server.ok("Health");
      const meshId = unique("m"), owned = unique("m"), agentId = unique("a"), owner = new Party(serverKey);
      const { leaseToken } = await server.ok("RegisterColony", colonyOf(meshId));
      const agent = await server.ok("RegisterAgent", agentOf(meshId, agentId));
      const gone = await server.ok("RegisterAgent", agentOf(meshId, "gone"));
      await server.ok("DeregisterAgent", { meshId, agentId: "gone", leaseToken: gone.leaseToken });
      await server.ok("RegisterColony", colonyOf(owned, owner.proves(owned)));
      const [colonyBefore, agentBefore] = [await server.ok("LookupColony", { meshId }), await server.ok("LookupAgent", { agentId })];
      await server[how]();
      assert.deepEqual(await server.ok("LookupColony", { meshId }), colonyBefore);
      assert.deepEqual(await server.ok("LookupAgent", { agentId }), agentBefore);
      assert.equal((await server.rpc("LookupAgent", { meshId, agentId: "gone" })).status, 404);
      assert.equal((await server.ok("Health")).serverKey, serverKey);
      await refused(server.rpc("RegisterColony", colonyOf(meshId, { pubkey: "other" })), 409, "already_exists");
      await denied(server.rpc("RegisterColony", colonyOf(owned)));
      await server.ok("RegisterColony", colonyOf(owned, owner.proves(owned)));
      const offered = server.ok("InitiatePunch", { meshId, agentId, leaseToken: agent.leaseToken, waitSeconds: 5 });
      const { offers } = await server.ok("AwaitPunch", { meshId, leaseToken });
      await server.ok("AnswerPunch", { meshId, leaseToken, punchId: offers[0].punchId });
      assert.equal((await offered).accepted, true);
    });
});
