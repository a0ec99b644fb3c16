// An independent client of native gRPC: @grpc/grpc-js, with the schema as @grpc/proto-loader reads it.
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, sleep, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";
import { load, schemaFile, schemaRoot } from "./packages.mjs";
import { scenario } from "./scenario.mjs";

const grpc = load("@grpc/grpc-js");
const { DiscoveryService } = grpc.loadPackageDefinition(
  load("@grpc/proto-loader").loadSync(schemaFile, { includeDirs: [schemaRoot], longs: String, enums: String, bytes: String,
    defaults: false })).coral.discovery.v1;

let server;
const clients = [];

function connected(options = {}) {
  const client = new DiscoveryService(`127.0.0.1:${server.port}`, grpc.credentials.createInsecure(), options);
  clients.push(client);
  return client;
}

before(async () => {
  const { d, x } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const privateKey = Buffer.concat([Buffer.from(d, "base64url"), Buffer.from(x, "base64url")]).toString("base64");
  server = await startHost({ signingKey: { id: "key-1", privateKey } });
});
after(async () => {
  clients.forEach((client) => client.close());
  await server?.stop();
});

const timestamp = ({ seconds = "0", nanos = 0 }) => {
  const text = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return nanos ? `${text}.${String(nanos).padStart(9, "0").replace(/0{3,6}$/, "")}Z` : `${text}Z`;
};

// ProtoJSON as proto-loader's objects, and back: bytes and timestamps differ.
const isBytes = /^(proof|leaseToken|writeToken|ciphertext|gcmNonce|value)$/;
function toObject(message) {
  if (Array.isArray(message)) return message.map(toObject);
  if (typeof message !== "object" || message === null) return message;
  return Object.fromEntries(Object.entries(message).map(([name, value]) => {
    if (isBytes.test(name) && typeof value === "string") return [name, Buffer.from(value, "base64")];
    if (name === "updatedAt") {
      const [, nanos = "0"] = value.match(/\.(\d+)Z$/) ?? [];
      return [name, { seconds: String(Math.floor(Date.parse(value) / 1000)), nanos: Number(nanos.padEnd(9, "0")) }];
    }
    return [name, toObject(value)];
  }));
}
function fromObject(message) {
  if (Array.isArray(message)) return message.map(fromObject);
  if (typeof message !== "object" || message === null) return message;
  return Object.fromEntries(Object.entries(message).filter(([name]) => !name.startsWith("_"))
    .map(([name, value]) => [name, /(At|lastSeen)$/.test(name) && typeof value === "object" ? timestamp(value) : fromObject(value)]));
}

const codeName = (code) => grpc.status[code].toLowerCase();

const callWith = (client, options = {}) => (method, request, headers = {}) => new Promise((resolve, reject) => {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  client[method](toObject(request), metadata, options, (error, response) =>
    error ? reject({ code: codeName(error.code), message: error.details, metadata: error.metadata }) : resolve(fromObject(response)));
});

describe("a gRPC client", () => {
  for (const [title, steps] of Object.entries(scenario))
    it(title, () => steps(callWith(connected())));

  it("may compress what it sends, and be answered", () => {
    const call = callWith(connected({ "grpc.default_compression_algorithm": grpc.compressionAlgorithms.gzip }));
    return scenario["registers, looks up, renews"](call);
  });

  it("is told when its time is over", async () => {
    const call = callWith(connected(), { deadline: Date.now() + 300 });
    await assert.rejects(call("PollBootstrapRendezvous", { meshId: unique("m") }), ({ code }) => code === "deadline_exceeded");
  });

  it("is told when to come again", async () => {
    const call = callWith(connected()), meshId = unique("m");
    const poll = () => call("PollBootstrapRendezvous", { meshId, waitSeconds: 0 });
    for (let i = 0; i < 10; i++) await poll();
    await assert.rejects(poll(), ({ code, metadata }) => {
      assert.equal(code, "resource_exhausted");
      assert.match(String(metadata.get("retry-after")[0]), /^[1-9]\d*$/);
      return true;
    });
  });

  it("has many calls under way on one connection, held ones among them", async () => {
    const call = callWith(connected()), meshId = unique("m");
    const { leaseToken } = await call("RegisterColony", colonyOf(meshId));
    const held = Array.from({ length: 30 }, () => call("AwaitPunch", { meshId, leaseToken, waitSeconds: 1 }));
    const all = Array.from({ length: 200 }, (_, i) => call("RegisterAgent", agentOf(meshId, `a${i}`)));
    await Promise.all(all);
    for (const { timedOut } of await Promise.all(held)) assert.equal(timedOut, true);
  });

  it("may go away from a call that is held, and takes its offer along", async () => {
    const client = connected(), call = callWith(client), meshId = unique("m");
    const { leaseToken } = await call("RegisterColony", colonyOf(meshId));
    const agent = await call("RegisterAgent", agentOf(meshId, "a"));
    const canceled = new Promise((resolve) => {
      const held = client.InitiatePunch(toObject({ meshId, agentId: "a", leaseToken: agent.leaseToken }), (error) => resolve(error.code));
      setTimeout(() => held.cancel(), 100);
    });
    assert.equal(await canceled, grpc.status.CANCELLED);
    await sleep(150);
    const { offers = [] } = await call("AwaitPunch", { meshId, leaseToken, waitSeconds: 0 });
    assert.deepEqual(offers, []);
  });

  it("is told of methods that are not there", async () => {
    const { path, ...same } = DiscoveryService.service.Health;
    const code = await new Promise((resolve) => connected().makeUnaryRequest(`${path}More`, same.requestSerialize,
      same.responseDeserialize, {}, (error) => resolve(error.code)));
    assert.equal(code, grpc.status.UNIMPLEMENTED);
  });
});
