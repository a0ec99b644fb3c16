// InitiatePunch, AwaitPunch, AnswerPunch, ReportPunch (warren-api.md, Punching).
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, denied, invalid, isIn, missing, refused, sleep, timed, unique } from "./client.mjs";
import { can, offered, startHost } from "./hosts.mjs";

let server;

before(async () => (server = await startHost()));
after(() => server?.stop());

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
    report: (punchId, token, more = {}) => server.rpc("ReportPunch", {
      meshId, punchId, leaseToken: token, outcome: "PUNCH_OUTCOME_DIRECT", durationMs: 123, ...more,
    }),
  };
}

describe("punching", () => {
  it("an offer wakes the poll, and the answer wakes the agent", async () => {
    const m = await mesh();
    const polled = timed(m.await());
    await sleep(100);
    const began = performance.now();
    const initiated = timed(m.initiate());
    const { body } = await polled;
    assert.ok(performance.now() - began < 150, "the poll wakes at once");
    assert.equal(body.timedOut, false);
    const [offer] = body.offers;
    assert.equal(body.offers.length, 1);
    assert.equal(offer.agentId, "agent-0");
    assert.equal(offer.agentPubkey, "key-0");
    assert.deepEqual(offer.candidates, ["candidate of 0"]);
    assert.equal(offer.iceUfrag, "u0");
    assert.equal(offer.icePwd, "p0");
    isIn(offer.offeredAt, 0);

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
    assert.ok(ms < 300);
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
    assert.ok(polled.ms >= 990 && polled.ms < 1500, `${polled.ms} ms`);
    const initiated = await timed(m.initiate(0, { waitSeconds: 1 }));
    assert.equal(initiated.status, 200);
    assert.equal(initiated.body.accepted, false);
    assert.ok(initiated.ms >= 990 && initiated.ms < 1500, `${initiated.ms} ms`);
    assert.equal((await m.answer(initiated.body.punchId)).body.success, false);
    const now = await timed(m.await({ waitSeconds: 0 }));
    assert.ok(now.ms < 200);
  });

  it("Connect-Timeout-Ms cuts a wait short", async () => {
    const m = await mesh();
    const answer = await timed(server.rpc("AwaitPunch", { meshId: m.meshId, leaseToken: m.leaseToken },
      { "Connect-Timeout-Ms": "300" }));
    await refused(answer, 504, "deadline_exceeded");
    assert.ok(answer.ms >= 290 && answer.ms < 800, `${answer.ms} ms`);
  });

  it("wants the token of the one that it acts for", async () => {
    const m = await mesh();
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
    await missing(m.answer("unknown"));
    await invalid(server.rpc("AwaitPunch", {}), /mesh_id is required/);
    await invalid(server.rpc("AnswerPunch", { punchId: "x" }), /mesh_id is required/);
    await invalid(server.rpc("InitiatePunch", { agentId: "a" }), /mesh_id is required/);
    await invalid(server.rpc("InitiatePunch", { meshId: m.meshId }), /agent_id is required/);
    const lonely = unique("m");
    const { leaseToken } = await server.ok("RegisterAgent", agentOf(lonely, "a"));
    await missing(server.rpc("InitiatePunch", { meshId: lonely, agentId: "a", leaseToken }));
  });

  it("an agent that goes away takes its offer along", offered("leaving"), async () => {
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

  it("a colony that goes away loses no offer", offered("leaving"), async () => {
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

  it("an offer is forgotten with its agent's wait, and its answer comes too late", async () => {
    const m = await mesh();
    const initiated = m.initiate(0, { waitSeconds: 1 });
    const { offers } = (await m.await({ waitSeconds: 5 })).body;
    assert.equal((await initiated).body.accepted, false);
    assert.equal((await m.answer(offers[0].punchId)).body.success, false);
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
    if (can("metrics")) assert.match((await server.raw("/metrics")).text, /warren_held_calls 0\n/);
  });
});

describe("reporting how a punch went", () => {
  async function punched() {
    const m = await mesh();
    const initiated = m.initiate();
    const { offers: [{ punchId }] } = (await m.await()).body;
    await m.answer(punchId);
    assert.equal((await initiated).body.accepted, true);
    return { m, punchId };
  }

  it("either side may, with its own token, and again", async () => {
    const { m, punchId } = await punched();
    for (const token of [m.tokens[0], m.leaseToken, m.tokens[0]]) {
      const { status, body } = await m.report(punchId, token);
      assert.deepEqual([status, body], [200, {}]);
    }
  });

  it("knows every outcome, by name and by number", async () => {
    for (const outcome of ["PUNCH_OUTCOME_DIRECT", "PUNCH_OUTCOME_RELAYED", "PUNCH_OUTCOME_FAILED", 1, 2, 3]) {
      const { m, punchId } = await punched();
      assert.equal((await m.report(punchId, m.leaseToken, { outcome })).status, 200, String(outcome));
    }
    const { m, punchId } = await punched();
    for (const outcome of ["PUNCH_OUTCOME_UNSPECIFIED", 0, undefined, 4, "DIRECT"])
      await invalid(m.report(punchId, m.leaseToken, { outcome }), /outcome/);
  });

  it("nobody else may", async () => {
    const { m, punchId } = await punched();
    const other = await mesh();
    const bystander = await server.ok("RegisterAgent", agentOf(m.meshId, "bystander"));
    for (const token of [undefined, Buffer.alloc(32).toString("base64"), other.leaseToken, bystander.leaseToken])
      await denied(m.report(punchId, token));
  });

  it("of a punch that was never is not found", async () => {
    const { m } = await punched();
    await missing(m.report("unknown", m.leaseToken));
    const { m: other, punchId } = await punched();
    assert.notEqual(other.meshId, m.meshId);
    await missing(m.report(punchId, m.leaseToken));
    await invalid(server.rpc("ReportPunch", { punchId: "x", outcome: 1 }), /mesh_id is required/);
  });
});
