// The rendezvous (discovery.md section 4).
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";
import { after, before, describe, it } from "node:test";
import { denied, from, invalid, isIn, refused, sleep, timed, unique, uniqueAddress } from "./client.mjs";
import { startHost } from "./hosts.mjs";

let server;

before(async () => (server = await startHost()));
after(() => server?.stop());

const base64 = (n) => randomBytes(n).toString("base64");
const record = (meshId, more = {}) => ({ meshId, ciphertext: base64(200), gcmNonce: base64(12), writeToken: base64(32), ...more });
const publish = (body, headers) => server.rpc("PublishBootstrapRendezvous", body, headers);
const published = (body, headers) => server.ok("PublishBootstrapRendezvous", body, headers);
const poll = (meshId, waitSeconds = 0) => server.ok("PollBootstrapRendezvous", { meshId, waitSeconds });
const ack = (body) => server.rpc("AckBootstrapRendezvous", body);
const contents = ({ records }) => records.map(({ ciphertext, gcmNonce }) => [ciphertext, gcmNonce]);

describe("publishing", () => {
  it("leaves a record that the next poll collects at once", async () => {
    const meshId = unique("m"), sent = record(meshId);
    const { status, body } = await publish(sent);
    assert.equal(status, 200);
    const { expiresAt, recordId, ...rest } = body;
    assert.deepEqual(rest, { success: true, probeFailed: false });
    isIn(expiresAt, 90);
    assert.match(recordId, /^[0-9A-HJKMNP-TV-Z]{26}$/);
    const polled = await timed(poll(meshId, 25));
    assert.ok(polled.ms < 500);
    assert.equal(polled.timedOut, false);
    const [{ publishedAt, ...found }, ...others] = polled.records;
    assert.deepEqual(others, []);
    isIn(publishedAt, 0);
    assert.deepEqual(found, { recordId, ciphertext: sent.ciphertext, gcmNonce: sent.gcmNonce });
  });

  it("shows the write token to nobody", async () => {
    const meshId = unique("m"), sent = record(meshId);
    await published(sent);
    assert.ok(!JSON.stringify(await poll(meshId)).includes(sent.writeToken));
  });

  it("lives as long as was asked for, between 1 and 90 seconds", async () => {
    const meshId = unique("m");
    for (const [ttlSeconds, want] of [[undefined, 90], [0, 90], [30, 30], [90, 90], [91, 90], [2147483647, 90], [1, 1], [-5, 1]])
      isIn((await published(record(meshId, { ttlSeconds }))).expiresAt, want);
  });

  it("a record that has expired is not collected", async () => {
    const meshId = unique("m");
    await published(record(meshId, { ttlSeconds: 1 }));
    const lasting = await published(record(meshId));
    assert.equal((await poll(meshId)).records.length, 2);
    await sleep(1100);
    assert.deepEqual((await poll(meshId)).records.map(({ recordId }) => recordId), [lasting.recordId]);
  });

  it("says what is missing, in order", async () => {
    const body = {};
    for (const [name, field, value] of [["mesh_id", "meshId", unique("m")], ["ciphertext", "ciphertext", "AAAA"],
      ["gcm_nonce", "gcmNonce", base64(12)], ["write_token", "writeToken", "AAAA"]]) {
      await invalid(publish(body), new RegExp(`${name} is required`));
      body[field] = value;
    }
    await published(body);
  });

  it("keeps what is as large as it may be, and nothing larger", async () => {
    const meshId = unique("m"), sent = record(meshId, { ciphertext: base64(4096), writeToken: base64(64) });
    await published(sent);
    assert.deepEqual(contents(await poll(meshId)), [[sent.ciphertext, sent.gcmNonce]]);
    await invalid(publish(record(meshId, { ciphertext: base64(4097) })));
    await invalid(publish(record(meshId, { gcmNonce: base64(13) })));
    await invalid(publish(record(meshId, { writeToken: base64(65) })));
  });

  it("meshes do not mix", async () => {
    const one = unique("m"), two = unique("m");
    await published(record(one));
    assert.deepEqual(await poll(two), { records: [], timedOut: true });
  });

  it("records come oldest first", async () => {
    const meshId = unique("m"), sent = Array.from({ length: 5 }, () => record(meshId));
    for (const one of sent) {
      await published(one);
      await sleep(3);
    }
    assert.deepEqual((await poll(meshId)).records.map((r) => r.ciphertext), sent.map((r) => r.ciphertext));
  });
});

describe("publishing again", () => {
  it("replaces the record in its place", async () => {
    const meshId = unique("m"), sent = record(meshId, { ttlSeconds: 10 });
    const { recordId } = await published(sent);
    const again = { ...record(meshId), recordId, writeToken: sent.writeToken };
    const body = await published(again);
    assert.deepEqual([body.success, body.probeFailed, body.recordId], [true, false, recordId]);
    isIn(body.expiresAt, 90);
    assert.deepEqual(contents(await poll(meshId)), [[again.ciphertext, again.gcmNonce]]);
  });

  it("with another token is refused, and changes nothing", async () => {
    const meshId = unique("m"), sent = record(meshId);
    const { recordId } = await published(sent);
    await denied(publish({ ...record(meshId), recordId }), /write_token mismatch/);
    assert.deepEqual(contents(await poll(meshId)), [[sent.ciphertext, sent.gcmNonce]]);
  });

  it("of a record that is not there stores nothing", async () => {
    const meshId = unique("m"), other = unique("m"), sent = record(other);
    const { recordId } = await published(sent);
    for (const id of ["unknown", recordId])
      assert.deepEqual(await published({ ...record(meshId), writeToken: sent.writeToken, recordId: id }),
        { success: false, probeFailed: false, recordId: "" });
    assert.deepEqual((await poll(meshId)).records, []);
    assert.deepEqual(contents(await poll(other)), [[sent.ciphertext, sent.gcmNonce]]);
  });

  it("of a record that has expired stores nothing", async () => {
    const meshId = unique("m"), sent = record(meshId, { ttlSeconds: 1 });
    const { recordId } = await published(sent);
    await sleep(1100);
    assert.equal((await published({ ...sent, recordId })).success, false);
    assert.deepEqual((await poll(meshId)).records, []);
  });
});

describe("polling", () => {
  it("without a record waits as long as was asked for", async () => {
    const now = await timed(poll(unique("m"), 0));
    assert.deepEqual([now.records, now.timedOut], [[], true]);
    assert.ok(now.ms < 500, `${now.ms} ms`);
    const waited = await timed(poll(unique("m"), 1));
    assert.deepEqual([waited.records, waited.timedOut], [[], true]);
    assert.ok(waited.ms >= 990 && waited.ms < 1500, `${waited.ms} ms`);
    const negative = await timed(poll(unique("m"), -3));
    assert.equal(negative.timedOut, true);
    assert.ok(negative.ms < 500);
  });

  it("waits for longer than a moment when the wait is not named, and for no longer than the client does", async () => {
    const body = { meshId: unique("m") };
    const answer = await timed(server.rpc("PollBootstrapRendezvous", body, { "Connect-Timeout-Ms": "1200" }));
    await refused(answer, 504, "deadline_exceeded");
    assert.ok(answer.ms >= 1190 && answer.ms < 1700, `${answer.ms} ms`);
    await refused(server.rpc("PollBootstrapRendezvous", { ...body, waitSeconds: 9999 }, { "Connect-Timeout-Ms": "300" }),
      504, "deadline_exceeded");
  });

  it("all that wait are woken by a publish, soon", async () => {
    const meshId = unique("m"), sent = record(meshId);
    const polls = Array.from({ length: 8 }, () => timed(poll(meshId, 10)));
    const other = poll(unique("m"), 1);
    await sleep(300);
    const began = performance.now();
    await published(sent);
    for (const { records, timedOut } of await Promise.all(polls)) {
      assert.equal(timedOut, false);
      assert.equal(records[0].ciphertext, sent.ciphertext);
    }
    assert.ok(performance.now() - began < 500);
    assert.equal((await other).timedOut, true);
  });

  it("is woken by a record that is published again", async () => {
    const meshId = unique("m"), sent = record(meshId);
    const { recordId } = await published(sent);
    await ack({ meshId, recordId, writeToken: sent.writeToken });
    const polled = poll(meshId, 10);
    await sleep(200);
    await published({ ...sent, recordId: undefined });
    assert.equal((await polled).records.length, 1);
  });

  it("goes on for the others when one of them goes away", async () => {
    const meshId = unique("m"), gone = new AbortController();
    const aborted = server.rpc("PollBootstrapRendezvous", { meshId, waitSeconds: 10 }, {}, gone.signal).catch(() => "aborted");
    const polled = poll(meshId, 10);
    await sleep(200);
    gone.abort();
    assert.equal(await aborted, "aborted");
    await published(record(meshId));
    assert.equal((await polled).records.length, 1);
  });

  it("wants a mesh", () => invalid(server.rpc("PollBootstrapRendezvous", { waitSeconds: 0 }), /mesh_id is required/));
});

describe("acknowledging", () => {
  it("takes the record away, and may be repeated", async () => {
    const meshId = unique("m"), { writeToken, ...rest } = record(meshId);
    const { recordId } = await published({ writeToken, ...rest });
    for (let i = 0; i < 2; i++) {
      assert.deepEqual((await ack({ meshId, recordId, writeToken })).body, { success: true });
      assert.deepEqual((await poll(meshId)).records, []);
    }
    assert.deepEqual((await ack({ meshId, recordId, writeToken: base64(32) })).body, { success: true });
  });

  it("with a wrong token or none has no success, and keeps the record", async () => {
    const meshId = unique("m");
    const { recordId } = await published(record(meshId));
    for (const writeToken of [base64(32), undefined, ""]) {
      const { status, body } = await ack({ meshId, recordId, writeToken });
      assert.equal(status, 200);
      assert.deepEqual(body, { success: false });
    }
    assert.equal((await poll(meshId)).records.length, 1);
  });

  it("in another mesh touches nothing", async () => {
    const meshId = unique("m"), sent = record(meshId);
    const { recordId } = await published(sent);
    assert.equal((await ack({ meshId: unique("m"), recordId, writeToken: sent.writeToken })).body.success, true);
    assert.equal((await poll(meshId)).records.length, 1);
  });

  it("says what is missing", async () => {
    await invalid(ack({ recordId: "x" }), /mesh_id is required/);
    await invalid(ack({ meshId: "m" }), /record_id is required/);
  });
});

describe("limits", () => {
  it("the eleventh publish in a row is told when to come again", async () => {
    const meshId = unique("m");
    for (let i = 0; i < 10; i++) await published(record(meshId));
    const answer = await publish(record(meshId));
    await refused(answer, 429, "resource_exhausted", /rate limit exceeded/);
    const wait = Number(answer.headers.get("retry-after"));
    assert.ok(wait >= 10 && wait <= 12, `Retry-After: ${wait}`);
    await published(record(unique("m")));
  });

  it("what is missing is said before the limit is, and does not count", async () => {
    const meshId = unique("m");
    for (let i = 0; i < 20; i++) await invalid(publish({ meshId }));
    await published(record(meshId));
  });

  it("the eleventh poll in a row is told when to come again", async () => {
    const meshId = unique("m");
    for (let i = 0; i < 10; i++) await poll(meshId);
    const answer = await server.rpc("PollBootstrapRendezvous", { meshId, waitSeconds: 0 });
    await refused(answer, 429, "resource_exhausted", /rate limit exceeded/);
    const wait = Number(answer.headers.get("retry-after"));
    assert.ok(wait >= 1 && wait <= 2, `Retry-After: ${wait}`);
  });
});

describe("the reachability probe", () => {
  const failed = { success: false, probeFailed: true, recordId: "" };
  const probe = (probeEndpoint, headers = from(uniqueAddress()), meshId = unique("m")) =>
    publish(record(meshId, { probeEndpoint, verifyReachability: true }), headers);

  it("dials no address of this machine, and then nothing is stored", async () => {
    let visits = 0;
    const listener = net.createServer((socket) => (visits++, socket.destroy()));
    await new Promise((resolve) => listener.listen(0, "127.0.0.1", resolve));
    listener.unref();
    const { port } = listener.address(), meshId = unique("m");
    const { status, body } = await probe(`127.0.0.1:${port}`, from(uniqueAddress()), meshId);
    assert.equal(status, 200);
    assert.deepEqual(body, failed);
    for (const host of ["localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
      assert.deepEqual((await probe(`${host}:${port}`)).body, failed, host);
    assert.deepEqual((await poll(meshId)).records, []);
    listener.close();
    assert.equal(visits, 0);
  });

  // What is denied fails at once: a dial into nowhere would take until its timeout.
  const denials = {
    "private and shared addresses": ["10.0.0.1:80", "10.255.255.255:80", "192.168.0.1:80", "172.16.0.1:80", "172.31.255.255:80",
      "100.64.0.1:80", "100.127.255.255:80"],
    "link-local addresses, and the metadata of clouds": ["169.254.169.254:80", "169.254.0.1:80", "[fe80::1]:80", "[febf::1]:80",
      "[::ffff:169.254.169.254]:80", "[::ffff:a9fe:a9fe]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:a9fe:a9fe::1]:80"],
    "loopback and nowhere": ["127.0.0.1:80", "127.255.255.255:80", "0.0.0.0:80", "0.1.2.3:80", "[::]:80", "[::1]:80",
      "[0:0:0:0:0:0:0:1]:80", "[::127.0.0.1]:80"],
    "private addresses of IPv6": ["[fc00::1]:80", "[fd00::1]:80", "[fdff:ffff::1]:80", "[::ffff:10.0.0.1]:80", "[64:ff9b::10.0.0.1]:80"],
    "multicast and reserved addresses": ["224.0.0.1:80", "239.255.255.255:80", "255.255.255.255:80", "240.0.0.1:80", "[ff02::1]:80",
      "192.0.0.1:80", "198.18.0.1:80"],
    "other spellings": ["2130706433:80", "0x7f.1:80", "0x7f000001:80", "017700000001:80", "127.1:80", "010.0.0.1:80", "1:80"],
    "names": ["localhost:80", "LOCALHOST:80", "example.com:80", "localhost.:80", "metadata.google.internal:80"],
    "what is no endpoint": ["", ":80", "192.0.2.1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:-1", "192.0.2.1:80x",
      "192.0.2.1:+80", "192.0.2.1: 80", " 192.0.2.1:80", "2001:db8::1:80", "[2001:db8::1]", "[2001:db8::1]:", "[]:80", "[fe80::1%lo]:80",
      "http://192.0.2.1:80", "192.0.2.1:80/"],
  };
  for (const [name, targets] of Object.entries(denials))
    it(`does not dial ${name}`, async () => {
      const answers = await Promise.all(targets.map((target) => timed(probe(target))));
      answers.forEach(({ status, body, ms }, i) => {
        assert.deepEqual([status, body], [200, failed], targets[i]);
        assert.ok(ms < 1500, `${targets[i]} took ${ms} ms`);
      });
    });

  it("is not made unless it was asked for", async () => {
    const meshId = unique("m");
    assert.equal((await published(record(meshId, { probeEndpoint: "127.0.0.1:1" }), from(uniqueAddress()))).success, true);
    assert.equal((await published(record(meshId, { probeEndpoint: "nonsense" }), from(uniqueAddress()))).success, true);
  });

  it("may be had five times from one address; the sixth is told when to come again", async () => {
    const headers = from(uniqueAddress());
    for (let i = 0; i < 5; i++)
      assert.deepEqual((await probe(`127.0.0.1:${1000 + i}`, headers)).body, failed);
    const answer = await probe("127.0.0.1:1005", headers);
    await refused(answer, 429, "resource_exhausted", /reachability probe quota exceeded \(per_ip_rate\)/);
    assert.equal(answer.headers.get("retry-after"), "60");
    assert.deepEqual((await probe("127.0.0.1:1005")).body, failed);
    assert.equal((await published(record(unique("m")), headers)).success, true);
  });
});

describe("durability", () => {
  it("records survive kill -9, and their tokens with them", async () => {
    const meshId = unique("m"), sent = record(meshId);
    const { recordId } = await published(sent);
    await server.crash();
    assert.deepEqual(contents(await poll(meshId)), [[sent.ciphertext, sent.gcmNonce]]);
    await denied(publish({ ...record(meshId), recordId }), /mismatch/);
    assert.deepEqual((await ack({ meshId, recordId, writeToken: sent.writeToken })).body, { success: true });
  });
});
