// InitiatePunch, AwaitPunch, AnswerPunch.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Server, agentOf, colonyOf, sleep, unique } from "./warren.mjs";

let server;

before(async () => (server = await Server.start()));
after(() => server.stop());

// A mesh with a colony and AGENTS agents.
async function mesh(agents = 1) {
  const meshId = unique("m");
  const { leaseToken } = await server.ok("RegisterColony", colonyOf(meshId));
  const tokens = await Promise.all(Array.from({ length: agents }, (_, i) =>
    server.ok("RegisterAgent", agentOf(meshId, `agent-${i}`)).then((a) => a.leaseToken)));
  return {
    meshId, leaseToken, tokens,
    await: (more = {}) => server.rpc("AwaitPunch", { meshId, leaseToken, ...more }),
    initiate: (i = 0, more = {}) => server.rpc("InitiatePunch", {
      meshId, agentId: `agent-${i}`, agentPubkey: `key-${i}`, candidates: [`candidate of ${i}`], iceUfrag: `u${i}`,
      icePwd: `p${i}`, leaseToken: tokens[i], ...more,
    }),
    answer: (punchId, more = {}) => server.rpc("AnswerPunch", {
      meshId, leaseToken, punchId, candidates: [`answer to ${punchId}`], iceUfrag: "cu", icePwd: "cp", ...more,
    }),
  };
}

const timed = async (promise) => {
  const start = performance.now();
  const answer = await promise;
  return { ...answer, ms: performance.now() - start };
};

describe("punching", () => {
  it("an offer wakes the poll, and the answer wakes the agent", async () => {
    const m = await mesh();
    const polled = timed(m.await());
    await sleep(100);
    const began = performance.now();
    const initiated = timed(m.initiate());
    const { body } = await polled;
    assert.ok(performance.now() - began < 80, "the poll wakes at once");
    assert.equal(body.timedOut, false);
    const [offer] = body.offers;
    assert.equal(body.offers.length, 1);
    assert.equal(offer.agentId, "agent-0");
    assert.equal(offer.agentPubkey, "key-0");
    assert.deepEqual(offer.candidates, ["candidate of 0"]);
    assert.equal(offer.iceUfrag, "u0");
    assert.equal(offer.icePwd, "p0");
    assert.ok(Math.abs(Date.parse(offer.offeredAt) - Date.now()) < 2000);

    const answered = await m.answer(offer.punchId);
    const now = Date.now();
    assert.equal(answered.body.success, true);
    const ahead = Date.parse(answered.body.startAt) - now;
    assert.ok(ahead > 0 && ahead <= 500, `${ahead} ms ahead`);
    const result = (await initiated).body;
    assert.equal(result.accepted, true);
    assert.equal(result.punchId, offer.punchId);
    assert.equal(result.startAt, answered.body.startAt);
    assert.equal(result.colonyPubkey, colonyOf("").pubkey);
    assert.deepEqual(result.candidates, [`answer to ${offer.punchId}`]);
    assert.equal(result.iceUfrag, "cu");
    assert.equal(result.icePwd, "cp");
  });

  it("an offer waits for a poll that comes later", async () => {
    const m = await mesh();
    const initiated = m.initiate();
    await sleep(300);
    const { body, ms } = await timed(m.await());
    assert.ok(ms < 100);
    assert.equal((await m.answer(body.offers[0].punchId)).body.success, true);
    assert.equal((await initiated).body.accepted, true);
  });

  it("an offer is handed out once per lease", async () => {
    const m = await mesh();
    const initiated = m.initiate(0, { waitSeconds: 2 });
    await sleep(50);
    const first = (await m.await()).body.offers;
    assert.equal(first.length, 1);
    const again = (await m.await({ waitSeconds: 0 })).body;
    assert.deepEqual(again, { offers: [], timedOut: true });
    const { leaseToken } = await server.ok("RegisterColony", colonyOf(m.meshId));
    const renewed = (await m.await({ leaseToken, waitSeconds: 0 })).body.offers;
    assert.equal(renewed[0].punchId, first[0].punchId);
    assert.equal((await initiated).body.accepted, false);
  });

  it("waits end when they should", async () => {
    const m = await mesh();
    const polled = await timed(m.await({ waitSeconds: 1 }));
    assert.deepEqual(polled.body, { offers: [], timedOut: true });
    assert.ok(polled.ms >= 990 && polled.ms < 1300, `${polled.ms} ms`);
    const initiated = await timed(m.initiate(0, { waitSeconds: 1 }));
    assert.equal(initiated.status, 200);
    assert.equal(initiated.body.accepted, false);
    assert.ok(initiated.ms >= 990 && initiated.ms < 1300, `${initiated.ms} ms`);
    assert.equal((await m.answer(initiated.body.punchId)).body.success, false);
    const now = await timed(m.await({ waitSeconds: 0 }));
    assert.ok(now.ms < 200);
  });

  it("Connect-Timeout-Ms cuts a wait short", async () => {
    const m = await mesh();
    const answer = await timed(server.rpc("AwaitPunch", { meshId: m.meshId, leaseToken: m.leaseToken },
      { "Connect-Timeout-Ms": "300" }));
    assert.equal(answer.status, 504);
    assert.equal(answer.body.code, "deadline_exceeded");
    assert.ok(answer.ms >= 290 && answer.ms < 600);
  });

  it("wants the token of the one that it acts for", async () => {
    const m = await mesh();
    const denied = async (promise) => {
      const { status, body } = await promise;
      assert.equal(status, 403);
      assert.equal(body.code, "permission_denied");
    };
    await denied(m.await({ leaseToken: undefined }));
    await denied(m.await({ leaseToken: Buffer.alloc(32).toString("base64") }));
    await denied(m.await({ leaseToken: m.tokens[0] }));
    await denied(m.initiate(0, { leaseToken: m.leaseToken }));
    await denied(m.initiate(0, { leaseToken: "AAAA" }));
    await denied(m.answer("whatever", { leaseToken: m.tokens[0] }));
    const other = await mesh();
    await denied(m.await({ leaseToken: other.leaseToken }));
  });

  it("the token before the last one stays valid with its lease", async () => {
    const m = await mesh();
    await server.ok("RegisterColony", colonyOf(m.meshId));
    assert.equal((await m.await({ waitSeconds: 0 })).status, 200);
  });

  it("says what is missing or unknown", async () => {
    const m = await mesh();
    assert.equal((await m.answer("unknown")).status, 404);
    assert.equal((await server.rpc("AwaitPunch", {})).status, 400);
    assert.equal((await server.rpc("InitiatePunch", { meshId: m.meshId })).status, 400);
    const lonely = unique("m");
    const { leaseToken } = await server.ok("RegisterAgent", agentOf(lonely, "a"));
    const answer = await server.rpc("InitiatePunch", { meshId: lonely, agentId: "a", leaseToken });
    assert.equal(answer.status, 404);
    assert.equal(answer.body.code, "not_found");
  });

  it("an agent that goes away takes its offer along", async () => {
    const m = await mesh();
    const gone = new AbortController();
    const call = server.rpc("InitiatePunch", { meshId: m.meshId, agentId: "agent-0", leaseToken: m.tokens[0] }, {},
      gone.signal).catch(() => "aborted");
    await sleep(100);
    gone.abort();
    assert.equal(await call, "aborted");
    await sleep(100);
    assert.deepEqual((await m.await({ waitSeconds: 0 })).body.offers, []);
  });

  it("a colony that goes away loses no offer", async () => {
    const m = await mesh();
    const gone = new AbortController();
    const call = server.rpc("AwaitPunch", { meshId: m.meshId, leaseToken: m.leaseToken }, {}, gone.signal)
      .catch(() => "aborted");
    await sleep(100);
    gone.abort();
    assert.equal(await call, "aborted");
    await sleep(100);
    const initiated = m.initiate();
    const { offers } = (await m.await()).body;
    assert.equal(offers.length, 1);
    await m.answer(offers[0].punchId);
    assert.equal((await initiated).body.accepted, true);
  });

  it("many flows at once, in many meshes, do not mix", async () => {
    const flow = async () => {
      const agents = 12;
      const m = await mesh(agents);
      const initiated = Array.from({ length: agents }, (_, i) => m.initiate(i));
      for (let answered = 0; answered < agents;) {
        const { offers, timedOut } = (await m.await()).body;
        assert.equal(timedOut, false);
        await Promise.all(offers.map(async (offer) => {
          const answer = await m.answer(offer.punchId, { candidates: [`for ${offer.agentId}`] });
          assert.equal(answer.body.success, true);
        }));
        answered += offers.length;
      }
      const results = await Promise.all(initiated);
      results.forEach(({ body }, i) => {
        assert.equal(body.accepted, true);
        assert.deepEqual(body.candidates, [`for agent-${i}`]);
      });
      assert.equal(new Set(results.map((r) => r.body.punchId)).size, agents);
    };
    await Promise.all(Array.from({ length: 10 }, flow));
    assert.match((await server.raw("/metrics")).text, /warren_held_calls 0\n/);
  });
});
