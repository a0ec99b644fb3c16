// An independent client, @connectrpc/connect-node: every RPC by each protocol, codec and transport
// that the host offers.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { generateKeyPairSync } from "node:crypto";
import { colonyOf, sleep, unique } from "./client.mjs";
import { kind, offered, startHost } from "./hosts.mjs";
import { load, serviceSchema } from "./packages.mjs";
import { scenario } from "./scenario.mjs";

const { fromJson, toJson } = load("@bufbuild/protobuf");
const { Code, ConnectError, createClient } = load("@connectrpc/connect");
const { compressionGzip, createConnectTransport, createGrpcTransport, createGrpcWebTransport } = load("@connectrpc/connect-node");

const schema = serviceSchema();
let server;

before(async () => {
  const { d, x } = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const privateKey = Buffer.concat([Buffer.from(d, "base64url"), Buffer.from(x, "base64url")]).toString("base64");
  server = await startHost({ signingKey: { id: "key-1", privateKey } });
});
after(() => server?.stop());

const codeName = (code) => Code[code].replace(/(?!^)([A-Z])/g, "_$1").toLowerCase();

// A CALL for the scenario over TRANSPORT.
const callWith = (transport) => {
  const client = createClient(schema, transport);
  return async (method, request, headers) => {
    const { input, output, localName } = schema.methods.find(({ name }) => name === method);
    try {
      return toJson(output, await client[localName](fromJson(input, request), { headers }));
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      throw { code: codeName(error.code), message: error.rawMessage };
    }
  };
};

const gzip = { sendCompression: compressionGzip, compressMinBytes: 0, acceptCompression: [compressionGzip] };
const transports = [
  ["Connect", createConnectTransport, {}],
  ["Connect with GET", createConnectTransport, { useHttpGet: true }],
  ["gRPC-Web", createGrpcWebTransport, {}],
  ["gRPC", createGrpcTransport, {}],
];
for (const [name, create, options] of transports)
  for (const useBinaryFormat of [false, true])
    for (const httpVersion of name === "gRPC" ? ["2"] : ["1.1", "2"])
      for (const compression of [{}, gzip]) {
        const what = name === "gRPC" ? "grpc" : httpVersion === "2" ? "h2" : "";
        const full = `${name}, ${useBinaryFormat ? "binary" : "JSON"}, HTTP/${httpVersion}${compression === gzip ? ", gzip" : ""}`;
        describe(full, offered(what), () => {
          let call;
          before(() => (call = callWith(create({ baseUrl: server.url, httpVersion, useBinaryFormat, ...options, ...compression }))));
          for (const [title, steps] of Object.entries(scenario)) it(title, () => steps(call));

          it("gives up when its time is over", async () => {
            const client = createClient(schema, create({ baseUrl: server.url, httpVersion, useBinaryFormat, ...options }));
            await assert.rejects(client.pollBootstrapRendezvous({ meshId: unique("m") }, { timeoutMs: 200 }),
              ({ code }) => code === Code.DeadlineExceeded);
          });
        });
      }

describe("a Connect client", () => {
  const transport = (more = {}) => createConnectTransport({ baseUrl: server.url, httpVersion: "1.1", ...more });

  it("finds when to come again among the metadata of the error", async () => {
    const client = createClient(schema, transport()), meshId = unique("m");
    const poll = () => client.pollBootstrapRendezvous({ meshId, waitSeconds: 0 });
    for (let i = 0; i < 10; i++) await poll();
    await assert.rejects(poll(), (error) => {
      assert.equal(error.code, Code.ResourceExhausted);
      assert.match(error.metadata.get("retry-after"), /^[1-9]\d*$/);
      return true;
    });
  });

  it("may go away from a call that is held", async () => {
    const client = createClient(schema, transport()), gone = new AbortController();
    const call = client.pollBootstrapRendezvous({ meshId: unique("m") }, { signal: gone.signal });
    setTimeout(() => gone.abort(), 100);
    await assert.rejects(call, ({ code }) => code === Code.Canceled);
  });

  it("holds many calls on one connection", offered("h2"), async () => {
    const client = createClient(schema, transport({ httpVersion: "2" })), meshId = unique("m");
    const { leaseToken } = await client.registerColony(colonyOf(meshId));
    const held = Array.from({ length: 40 }, () => client.awaitPunch({ meshId, leaseToken, waitSeconds: 1 }));
    await sleep(100);
    const began = performance.now();
    assert.equal((await client.health({})).status, "ok");
    assert.ok(performance.now() - began < 500, "the others do not wait");
    for (const { timedOut } of await Promise.all(held)) assert.equal(timedOut, true);
  });

  it("is refused gRPC where there is none", { skip: kind === "native" && "the binary speaks gRPC" }, async () => {
    const answer = await server.post("Health", { "Content-Type": "application/grpc" }, Buffer.alloc(5));
    assert.equal(answer.status, 415);
  });
});
