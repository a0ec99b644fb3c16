// Every RPC once, and every kind of error, through whatever client: what must come out is the same
// for each codec and transport. CALL(method, request, headers) answers the response as an object of
// ProtoJSON, or throws { code, message } with the code's name.
import assert from "node:assert/strict";
import { agentOf, colonyOf, isIn, sleep, unique } from "./client.mjs";

async function fails(promise, code, text) {
  const error = await promise.then((body) => assert.fail(`succeeded with ${JSON.stringify(body)}`), (e) => e);
  if (error instanceof assert.AssertionError) throw error;
  assert.equal(error.code, code, error.message);
  assert.match(error.message, text);
}

const base64 = (n, fill) => Buffer.alloc(n, fill).toString("base64");

// Each entry is a test: its name and what it does with CALL.
export const scenario = {
  "registers, looks up, renews": async (call) => {
    const meshId = unique("m"), agentId = unique("a");
    const more = { metadata: { a: "b", "ü": "\u{1f99d}" }, connectPort: 9000, publicEndpoint: { enabled: true,
      caFingerprint: { algorithm: "FINGERPRINT_ALGORITHM_SHA256", value: base64(32, 0xfb) }, updatedAt: "2026-01-02T03:04:05.500Z" } };
    const registered = await call("RegisterColony", colonyOf(meshId, more));
    assert.equal(registered.success, true);
    assert.equal(registered.ttl, 300);
    assert.equal(Buffer.from(registered.leaseToken, "base64").length, 32);
    isIn(registered.expiresAt, 300);
    await call("RegisterColony", colonyOf(meshId, more));
    const { lastSeen, ...found } = await call("LookupColony", { meshId });
    isIn(lastSeen, 0);
    assert.deepEqual({ observedEndpoints: [], ...found }, { ...colonyOf(meshId, more), observedEndpoints: [] });
    assert.equal((await call("RegisterAgent", agentOf(meshId, agentId))).success, true);
    assert.equal((await call("LookupAgent", { meshId, agentId })).pubkey, agentOf("", "").pubkey);
    assert.equal((await call("LookupAgent", { agentId })).meshId, meshId);
  },

  "is told what is wrong": async (call) => {
    const meshId = unique("m");
    await fails(call("LookupColony", { meshId: "nowhere" }), "not_found", /colony nowhere not found/);
    await fails(call("LookupColony", { meshId: "é%\n" }), "not_found", /colony é%\n not found/);
    await fails(call("LookupAgent", { agentId: "nobody" }), "not_found", /agent nobody not found/);
    await fails(call("LookupColony", {}), "invalid_argument", /mesh_id is required/);
    await fails(call("RegisterAgent", { agentId: "a" }), "invalid_argument", /mesh_id is required/);
    await fails(call("RegisterColony", { meshId: "x".repeat(129), pubkey: "k", endpoints: ["e"] }), "invalid_argument", /./);
    await call("RegisterColony", colonyOf(meshId));
    await fails(call("RegisterColony", colonyOf(meshId, { pubkey: "other" })), "already_exists", /already registered/);
    await fails(call("AwaitPunch", { meshId }), "permission_denied", /lease_token/);
    for (const method of ["RequestRelay", "ReleaseRelay"]) await fails(call(method, {}), "unimplemented", /[Rr]elay/);
  },

  "asks for health and for its address": async (call) => {
    const health = await call("Health", {});
    assert.equal(health.status, "ok");
    assert.match(health.version, /^\d+\.\d+\.\d+$/);
    assert.equal(Buffer.from(health.serverKey, "base64").length, 32);
    const { publicIp } = await call("GetObservedAddress", {}, { "CF-Connecting-IP": "203.0.113.9" });
    assert.equal(publicIp, "203.0.113.9");
  },

  "gets a token and has it redeemed, once": async (call) => {
    const meshId = unique("m");
    const { leaseToken } = await call("RegisterColony", colonyOf(meshId));
    const { jwt, expiresAt } = await call("CreateBootstrapToken", { reefId: "r", colonyId: meshId, agentId: "a", intent: "register" });
    assert.equal(jwt.split(".").length, 3);
    const redeemed = await call("RedeemBootstrapToken", { meshId, leaseToken, jwt });
    assert.deepEqual(redeemed, { reefId: "r", agentId: "a", intent: "register", expiresAt });
    await fails(call("RedeemBootstrapToken", { meshId, leaseToken, jwt }), "permission_denied", /used before/);
  },

  "leaves a record, collects it, takes it away": async (call) => {
    const meshId = unique("m"), ciphertext = base64(100, 0xfe), gcmNonce = base64(12, 1), writeToken = base64(32, 2);
    const polled = call("PollBootstrapRendezvous", { meshId, waitSeconds: 10 });
    await sleep(100);
    const { success, recordId } = await call("PublishBootstrapRendezvous", { meshId, ciphertext, gcmNonce, writeToken });
    assert.equal(success, true);
    const { records: [{ publishedAt, ...record }] } = await polled;
    isIn(publishedAt, 0);
    assert.deepEqual(record, { recordId, ciphertext, gcmNonce });
    await fails(call("PublishBootstrapRendezvous", { meshId, ciphertext, gcmNonce, recordId, writeToken: base64(32, 3) }),
      "permission_denied", /write_token mismatch/);
    assert.equal((await call("AckBootstrapRendezvous", { meshId, recordId, writeToken })).success, true);
    assert.equal((await call("PollBootstrapRendezvous", { meshId, waitSeconds: 0 })).timedOut, true);
    for (let i = 0; i < 8; i++) await call("PublishBootstrapRendezvous", { meshId, ciphertext, gcmNonce, writeToken });
    await fails(call("PublishBootstrapRendezvous", { meshId, ciphertext, gcmNonce, writeToken }), "resource_exhausted",
      /rate limit exceeded/);
  },

  "punches, reports, and goes": async (call) => {
    const meshId = unique("m"), agentId = "a";
    const { leaseToken } = await call("RegisterColony", colonyOf(meshId));
    const agent = await call("RegisterAgent", agentOf(meshId, agentId));
    const polled = call("AwaitPunch", { meshId, leaseToken });
    await sleep(100);
    const initiated = call("InitiatePunch", { meshId, agentId, agentPubkey: "ak", candidates: ["x", "y"], iceUfrag: "u", icePwd: "p",
      leaseToken: agent.leaseToken });
    const { offers: [{ offeredAt, ...offer }] } = await polled;
    isIn(offeredAt, 0);
    const { punchId } = offer;
    assert.deepEqual(offer, { punchId, agentId, agentPubkey: "ak", candidates: ["x", "y"], iceUfrag: "u", icePwd: "p" });
    const answered = await call("AnswerPunch", { meshId, leaseToken, punchId, candidates: ["z"], iceUfrag: "v", icePwd: "q" });
    assert.equal(answered.success, true);
    assert.deepEqual(await initiated, { punchId, colonyPubkey: colonyOf("").pubkey, candidates: ["z"], iceUfrag: "v", icePwd: "q",
      startAt: answered.startAt, accepted: true });
    assert.deepEqual(await call("ReportPunch", { meshId, punchId, leaseToken, outcome: "PUNCH_OUTCOME_DIRECT", durationMs: 5 }), {});
    assert.equal((await call("DeregisterAgent", { meshId, agentId, leaseToken: agent.leaseToken })).success, true);
    assert.equal((await call("DeregisterColony", { meshId, leaseToken })).success, true);
    await fails(call("LookupColony", { meshId }), "not_found", /./);
  },
};
