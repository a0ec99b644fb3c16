// Reachability probes that do dial (discovery.md 4.2). It runs in a network namespace of its own, where
// lo has public addresses and nothing leads out: see own-network.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { after, before, describe, it } from "node:test";
import { from, isIn, refused, sleep, timed, unique, uniqueAddress } from "./client.mjs";
import { startHost } from "./hosts.mjs";

const v4 = "9.1.2.3", v6 = "2600::1";
let server, listener;
const visits = [];

function must(command, ...args) {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
}

before(async () => {
  must("ip", "link", "set", "lo", "up");
  must("ip", "address", "add", `${v4}/32`, "dev", "lo");
  must("ip", "address", "add", `${v6}/128`, "dev", "lo", "nodad");
  must("nft", "add table inet t; add chain inet t i { type filter hook input priority 0; }; add rule inet t i tcp dport 9 drop");
  listener = net.createServer({ allowHalfOpen: true }, (socket) => {
    const visit = { received: 0 };
    visits.push(visit);
    socket.on("data", (data) => (visit.received += data.length));
    socket.on("end", () => socket.end()).on("close", () => (visit.closed = true)).on("error", () => {});
  });
  await new Promise((resolve) => listener.listen(8444, "::", resolve));
  server = await startHost();
});
after(async () => {
  await server?.stop();
  listener?.close();
});

const record = (meshId, more) => ({ meshId, ciphertext: "AAAA", gcmNonce: randomBytes(12).toString("base64"), writeToken: "AAAA", ...more });
const probe = (probeEndpoint, { meshId = unique("m"), headers = from(uniqueAddress()) } = {}) =>
  server.rpc("PublishBootstrapRendezvous", record(meshId, { probeEndpoint, verifyReachability: true }), headers);
const records = async (meshId) => (await server.ok("PollBootstrapRendezvous", { meshId, waitSeconds: 0 })).records.length;
const failed = { success: false, probeFailed: true, recordId: "" };

describe("a probe", () => {
  it("that gets through says nothing, closes, and then the record is stored", async () => {
    for (const target of [`${v4}:8444`, `[${v6}]:8444`]) {
      const meshId = unique("m"), before = visits.length;
      const { status, body } = await probe(target, { meshId });
      assert.equal(status, 200);
      assert.deepEqual([body.success, body.probeFailed, body.recordId.length], [true, false, 26], target);
      isIn(body.expiresAt, 90);
      for (let i = 0; i < 20 && !visits[before]?.closed; i++) await sleep(50);
      assert.deepEqual(visits.slice(before), [{ received: 0, closed: true }]);
      assert.equal(await records(meshId), 1);
    }
  });

  it("that is refused fails at once, and nothing is stored", async () => {
    const meshId = unique("m");
    const { body, ms } = await timed(probe(`${v4}:8445`, { meshId }));
    assert.deepEqual(body, failed);
    assert.ok(ms < 1000, `${ms} ms`);
    assert.equal(await records(meshId), 0);
  });

  it("that hears nothing gives up after two seconds", async () => {
    const meshId = unique("m");
    const { body, ms } = await timed(probe(`${v4}:9`, { meshId }));
    assert.deepEqual(body, failed);
    assert.ok(ms >= 1900 && ms < 3000, `${ms} ms`);
    assert.equal(await records(meshId), 0);
  });

  it("of the same target does not use up the number of targets", async () => {
    const headers = from(uniqueAddress());
    for (let i = 0; i < 5; i++) assert.equal((await probe(`${v4}:8444`, { headers })).body.success, true);
    const answer = await probe(`${v4}:8444`, { headers });
    await refused(answer, 429, "resource_exhausted", /quota exceeded \(per_ip_rate\)/);
  });

  it("is one of twenty at the most, from whomever they come", async () => {
    const answers = await Promise.all(Array.from({ length: 25 }, () => probe(`${v4}:9`)));
    const refusals = answers.filter(({ status }) => status === 429);
    assert.equal(refusals.length, 5);
    for (const answer of refusals) {
      await refused(answer, 429, "resource_exhausted", /quota exceeded \(global_concurrent_cap\)/);
      assert.equal(answer.headers.get("retry-after"), "60");
    }
    assert.equal((await probe(`${v4}:8444`)).body.success, true, "the slots are given back");
  });

  it("of somebody who went away is made up for", async () => {
    const gone = new AbortController();
    const call = server.rpc("PublishBootstrapRendezvous", record(unique("m"), { probeEndpoint: `${v4}:9`, verifyReachability: true }),
      from(uniqueAddress()), gone.signal).catch(() => "aborted");
    await sleep(100);
    gone.abort();
    assert.equal(await call, "aborted");
    assert.equal((await probe(`${v4}:8444`)).body.success, true);
  });

  it("leaves the others served meanwhile", async () => {
    const slow = probe(`${v4}:9`);
    const { ms } = await timed(server.ok("Health"));
    assert.ok(ms < 500, `${ms} ms`);
    assert.deepEqual((await slow).body, failed);
  });
});
