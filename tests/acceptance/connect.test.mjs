// An independent client: @connectrpc/connect-node, with the schema as protoc reads it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRequire } from "node:module";
import { Server, sleep, unique } from "./warren.mjs";

// The packages live where the test run installed them.
const packages = createRequire(join(process.env.NODE_PACKAGES, "package.json"));
const { createFileRegistry, fromBinary } = packages("@bufbuild/protobuf");
const { FileDescriptorSetSchema, timestampDate } = packages("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = packages("@connectrpc/connect");
const { createConnectTransport } = packages("@connectrpc/connect-node");

function schema() {
  const root = fileURLToPath(new URL("../../proto", import.meta.url));
  const dir = mkdtempSync(join(tmpdir(), "warren-schema-"));
  const file = join(dir, "set.bin");
  const { status, stderr } = spawnSync("protoc", ["-I", root, "--include_imports", `--descriptor_set_out=${file}`,
    "coral/discovery/v1/discovery.proto"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const bytes = readFileSync(file);
  rmSync(dir, { recursive: true });
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes))
    .getService("coral.discovery.v1.DiscoveryService");
}

let server, client;

before(async () => {
  server = await Server.start();
  client = createClient(schema(), createConnectTransport({ baseUrl: server.url, httpVersion: "1.1", useBinaryFormat: false }));
});
after(() => server.stop());

const fails = (promise, code, text) => assert.rejects(promise, (error) => {
  assert.ok(error instanceof ConnectError);
  assert.equal(error.code, code);
  assert.match(error.rawMessage, text);
  return true;
});

describe("a Connect client", () => {
  it("registers and looks up", async () => {
    const meshId = unique("m");
    const registered = await client.registerColony({ meshId, pubkey: "k", endpoints: ["192.0.2.1:1"],
      metadata: { a: "b" }, publicEndpoint: { enabled: true, caFingerprint: { algorithm: 1, value: new Uint8Array(32).fill(7) } } });
    assert.equal(registered.success, true);
    assert.equal(registered.ttl, 300);
    assert.equal(registered.leaseToken.length, 32);
    assert.ok(Math.abs(timestampDate(registered.expiresAt).getTime() - Date.now() - 300_000) < 2000);
    const found = await client.lookupColony({ meshId });
    assert.equal(found.metadata.a, "b");
    assert.equal(found.publicEndpoint.caFingerprint.algorithm, 1);
    assert.deepEqual([...found.publicEndpoint.caFingerprint.value], Array(32).fill(7));
    const agent = await client.registerAgent({ meshId, agentId: "a", pubkey: "k", endpoints: ["192.0.2.2:2"] });
    assert.equal(agent.leaseToken.length, 32);
    assert.equal((await client.lookupAgent({ meshId, agentId: "a" })).pubkey, "k");
    const health = await client.health({});
    assert.equal(health.status, "ok");
    assert.equal(typeof health.uptimeSeconds, "bigint");
  });

  it("sees errors as codes", async () => {
    await fails(client.lookupColony({ meshId: "nowhere" }), Code.NotFound, /colony nowhere not found/);
    await fails(client.lookupColony({}), Code.InvalidArgument, /mesh_id is required/);
    await fails(client.requestRelay({}), Code.Unimplemented, /RequestRelay/);
    const meshId = unique("m");
    await client.registerColony({ meshId, pubkey: "k", endpoints: ["192.0.2.1:1"] });
    await fails(client.registerColony({ meshId, pubkey: "l", endpoints: ["192.0.2.1:1"] }), Code.AlreadyExists, /already/);
    await fails(client.awaitPunch({ meshId }), Code.PermissionDenied, /lease_token/);
  });

  it("punches", async () => {
    const meshId = unique("m");
    const colony = await client.registerColony({ meshId, pubkey: "ck", endpoints: ["192.0.2.1:1"] });
    const agent = await client.registerAgent({ meshId, agentId: "a", pubkey: "ak", endpoints: ["192.0.2.2:2"] });
    const polled = client.awaitPunch({ meshId, leaseToken: colony.leaseToken });
    await sleep(50);
    const initiated = client.initiatePunch({ meshId, agentId: "a", agentPubkey: "ak", candidates: ["x"],
      leaseToken: agent.leaseToken });
    const { offers: [offer] } = await polled;
    assert.equal(offer.agentId, "a");
    const answered = await client.answerPunch({ meshId, leaseToken: colony.leaseToken, punchId: offer.punchId,
      candidates: ["y"] });
    const result = await initiated;
    assert.equal(result.accepted, true);
    assert.deepEqual(result.startAt, answered.startAt);
    await fails(client.awaitPunch({ meshId, leaseToken: colony.leaseToken }, { timeoutMs: 200 }),
      Code.DeadlineExceeded, /./);
    const none = await client.awaitPunch({ meshId, leaseToken: colony.leaseToken, waitSeconds: 0 });
    assert.equal(none.timedOut, true);
  });
});
