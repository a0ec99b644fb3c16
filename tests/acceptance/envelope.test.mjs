// The envelope of Connect's unary calls and of gRPC-Web: what a client may send, and what comes back.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gunzipSync, gzipSync, deflateSync } from "node:zlib";
import { agentOf, colonyOf, json, refused, service, timed, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";

let server;

before(async () => (server = await startHost()));
after(() => server?.stop());

const reading = ["LookupColony", "LookupAgent", "Health", "GetObservedAddress"];
const writing = ["RegisterColony", "RegisterAgent", "DeregisterColony", "DeregisterAgent", "RequestRelay", "ReleaseRelay",
  "CreateBootstrapToken", "RedeemBootstrapToken", "PublishBootstrapRendezvous", "PollBootstrapRendezvous",
  "AckBootstrapRendezvous", "InitiatePunch", "AwaitPunch", "AnswerPunch", "ReportPunch"];

// That a raw ANSWER is a Connect error.
function isError(answer, status, code, text = /./) {
  assert.deepEqual([answer.status, answer.text && JSON.parse(answer.text).code], [status, code], answer.text);
  assert.match(answer.headers["content-type"], /^application\/json/);
  assert.match(JSON.parse(answer.text).message, text);
}

describe("paths", () => {
  it("12, 13: methods that are not there", async () => {
    for (const [method, body] of [["RequestRelay", "{}"], ["RequestRelay", ""], ["ReleaseRelay", ""]])
      isError(await server.post(method, json, body), 501, "unimplemented", /[Rr]elay/);
    for (const method of ["Nonsense", "", "registerColony", "Health/", "Health/more", "InitiatePunches"])
      isError(await server.post(method, json, "{}"), 501, "unimplemented", /unknown RPC: /);
    isError(await server.post("Nonsense", { "Content-Type": "text/plain" }, "not json"), 501, "unimplemented", /unknown RPC: Nonsense/);
  });

  it("all others are not found", async () => {
    for (const path of ["/", "/nope", "/coral.discovery.v1.DiscoveryService", "/coral.discovery.v2.DiscoveryService/Health",
      "/other.Service/Health", "/health/", "/Health", "/.well-known/", "//health"])
      for (const method of ["GET", "POST"]) {
        const answer = await server.raw(path, { method, headers: method === "POST" ? json : {} });
        assert.equal(answer.status, 404, `${method} ${path}`);
        assert.match(answer.headers["content-type"], /^text\/plain/);
        assert.equal(answer.text, "Not Found");
      }
  });

  it("a query is no part of the path", async () => {
    assert.equal((await server.raw("/health?verbose")).status, 200);
    assert.equal((await server.raw(`${service}/Health?x=1`, { method: "POST", headers: json, body: "{}" })).status, 200);
  });

  it("pages may be read only", async () => {
    for (const path of ["/health", "/.well-known/jwks.json"]) {
      for (const method of ["POST", "PUT", "DELETE"]) {
        const answer = await server.raw(path, { method });
        assert.equal(answer.status, 405, `${method} ${path}`);
        assert.equal(answer.headers.allow, "GET, HEAD");
      }
      const head = await server.raw(path, { method: "HEAD" });
      assert.deepEqual([head.status, head.text], [200, ""]);
      assert.match(head.headers["content-type"], /^application\/json/);
    }
  });
});

describe("verbs", () => {
  it("14: calls are POST", async () => {
    for (const rpc of ["RegisterColony", "Health"])
      for (const method of ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"]) {
        const answer = await server.raw(`${service}/${rpc}`, { method });
        assert.equal(answer.status, 405, `${method} ${rpc}`);
        assert.match(answer.headers.allow, /\bPOST\b/);
      }
  });

  it("those that change nothing may be GET", async () => {
    const meshId = unique("m"), agentId = unique("a");
    await server.ok("RegisterColony", colonyOf(meshId));
    await server.ok("RegisterAgent", agentOf(meshId, agentId));
    const message = JSON.stringify({ meshId, agentId });
    for (const rpc of reading) {
      const get = (query) => server.raw(`${service}/${rpc}?${new URLSearchParams(query)}`);
      for (const query of [{ message }, { message: Buffer.from(message).toString("base64url"), base64: "1" },
        { message, connect: "v1" }, { message, compression: "identity" },
        { message: gzipSync(message).toString("base64url"), base64: "1", compression: "gzip" }]) {
        const answer = await get({ encoding: "json", ...query });
        assert.equal(answer.status, 200, `${rpc} ${JSON.stringify(query)} ${answer.text}`);
        assert.match(answer.headers["content-type"], /^application\/json/);
        const { lastSeen, uptimeSeconds, ...got } = JSON.parse(answer.text);
        const { lastSeen: _, uptimeSeconds: __, ...want } = await server.ok(rpc, message);
        assert.deepEqual(got, want);
      }
    }
  });

  it("GET says what is wrong", async () => {
    const get = (query, rpc = "LookupColony") => server.raw(`${service}/${rpc}?${query}`);
    isError(await get("encoding=json&message={}"), 400, "invalid_argument", /mesh_id is required/);
    isError(await get("encoding=json&message={"), 400, "invalid_argument");
    isError(await get("encoding=json&message=%7B%22meshId%22%3A%22nowhere%22%7D"), 404, "not_found");
    isError(await get("encoding=json&message=!!!&base64=1"), 400, "invalid_argument");
    isError(await get("encoding=json&message=e30&base64=1&connect=v2"), 400, "invalid_argument");
    isError(await get("encoding=json&message=e30&base64=1&compression=br"), 501, "unimplemented");
    assert.equal((await get("encoding=xml&message=e30&base64=1")).status, 415);
    for (const rpc of writing.filter((name) => !name.endsWith("Relay"))) {
      const answer = await get("encoding=json&message={}", rpc);
      assert.equal(answer.status, 405, rpc);
      assert.equal(answer.headers.allow, "POST");
    }
  });
});

describe("content types", () => {
  it("JSON in every spelling, and none at all", async () => {
    for (const type of ["application/json", "application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"]) {
      const answer = await server.post("Health", { "Content-Type": type }, "{}");
      assert.equal(answer.status, 200, type);
      assert.match(answer.headers["content-type"], /^application\/json/);
    }
    assert.equal((await server.post("Health", {}, "{}")).status, 200);
  });

  it("what is neither JSON nor protobuf is not understood", async () => {
    for (const type of ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/protobuf", "json"]) {
      const answer = await server.post("Health", { "Content-Type": type }, "{}");
      assert.equal(answer.status, 415, type);
      assert.match(answer.headers["accept-post"], /application\/json/);
      assert.match(answer.headers["accept-post"], /application\/proto\b/);
    }
  });

  it("protobuf is answered in protobuf, its errors in JSON", async () => {
    const meshId = unique("m");
    const field = (tag, text) => Buffer.concat([Buffer.from([(tag << 3) | 2, Buffer.byteLength(text)]), Buffer.from(text)]);
    const proto = { "Content-Type": "application/proto" };
    const call = (rpc, ...fields) => server.post(rpc, proto, Buffer.concat(fields));
    const registered = await call("RegisterColony", field(1, meshId), field(2, "k"), field(3, "192.0.2.1:1"));
    assert.equal(registered.status, 200, registered.text);
    assert.equal(registered.headers["content-type"], "application/proto");
    assert.deepEqual([...registered.bytes.subarray(0, 5)], [0x08, 1, 0x10, 0xac, 0x02]); // success, ttl 300
    const found = await call("LookupColony", field(1, meshId), field(1000 >> 7, "unknown"));
    assert.equal(found.status, 200);
    assert.deepEqual(found.bytes.subarray(0, meshId.length + 2), field(1, meshId));
    isError(await call("LookupColony"), 400, "invalid_argument", /mesh_id is required/);
    isError(await call("LookupColony", field(1, "nowhere")), 404, "not_found");
    for (const broken of [[0x0a], [0x0a, 5, 0x61], [0xff], [0x0a, 1, 0xff], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], [0x0b], [0x0e]])
      isError(await call("LookupColony", Buffer.from(broken)), 400, "invalid_argument");
    isError(await call("LookupColony", Buffer.from([0x0a, 0x82, 0x01]), Buffer.alloc(130, 0x61)), 400, "invalid_argument");
    assert.equal((await call("Health")).status, 200);
  });
});

describe("compression", () => {
  it("gzip is understood", async () => {
    const meshId = unique("m"), body = gzipSync(JSON.stringify(colonyOf(meshId)));
    for (const encoding of ["gzip", "GZIP"]) {
      const answer = await server.post("RegisterColony", { ...json, "Content-Encoding": encoding }, body);
      assert.equal(answer.status, 200, answer.text);
    }
    assert.equal((await server.ok("LookupColony", { meshId })).meshId, meshId);
  });

  it("an answer is compressed for nobody who did not ask", async () => {
    const meshId = unique("m"), metadata = { filler: "x".repeat(512), more: "y".repeat(512), most: "z".repeat(512) };
    await server.ok("RegisterColony", colonyOf(meshId, { metadata }));
    const body = JSON.stringify({ meshId });
    const plain = await server.post("LookupColony", json, body);
    assert.equal(plain.headers["content-encoding"], undefined);
    assert.deepEqual(JSON.parse(plain.text).metadata, metadata);
    const answer = await server.post("LookupColony", { ...json, "Accept-Encoding": "gzip" }, body);
    const bytes = answer.headers["content-encoding"] === "gzip" ? gunzipSync(answer.bytes) : answer.bytes;
    assert.deepEqual(JSON.parse(bytes).metadata, metadata);
  });

  it("identity is no compression", async () =>
    assert.equal((await server.post("Health", { ...json, "Content-Encoding": "identity" }, "{}")).status, 200));

  it("others are not understood, and it says which are", async () => {
    for (const [encoding, body] of [["br", "{}"], ["deflate", deflateSync("{}")], ["zstd", "{}"], ["gzip, gzip", "{}"]]) {
      const answer = await server.post("Health", { ...json, "Content-Encoding": encoding }, body);
      isError(answer, 501, "unimplemented");
    }
  });

  it("what is broken is an invalid argument", async () => {
    const good = gzipSync("{}"), damaged = Buffer.from(good);
    damaged[damaged.length - 5] ^= 1;
    for (const body of [Buffer.from("{}"), good.subarray(0, 10), damaged, Buffer.alloc(0)])
      isError(await server.post("Health", { ...json, "Content-Encoding": "gzip" }, body), 400, "invalid_argument");
  });

  it("a bomb does not go off", async () => {
    const bomb = gzipSync(Buffer.alloc(50_000_000, 0x20));
    const answer = await server.post("Health", { ...json, "Content-Encoding": "gzip" }, bomb);
    assert.ok([413, 429].includes(answer.status), String(answer.status));
    assert.equal(JSON.parse(answer.text).code, "resource_exhausted");
    assert.equal((await server.raw("/health")).status, 200);
  });
});

describe("sizes", () => {
  it("a body that is too large is refused", async () => {
    const answer = await server.post("Health", json, `{"x":"${"x".repeat(400_000)}"}`);
    assert.equal(answer.status, 413);
    assert.equal((await server.post("Health", json, `{"x":"${"x".repeat(200_000)}"}`)).status, 200);
  });
});

describe("the protocol's version", () => {
  it("is 1 where it is named", async () => {
    assert.equal((await server.post("Health", { ...json, "Connect-Protocol-Version": "1" }, "{}")).status, 200);
    isError(await server.post("Health", { ...json, "Connect-Protocol-Version": "2" }, "{}"), 400, "invalid_argument");
  });
});

describe("timeouts", () => {
  it("are numbers of up to ten digits", async () => {
    for (const [value, status] of [["10000", 200], ["9999999999", 200], ["soon", 400], ["99999999999", 400], ["-1", 400], ["1.5", 400]])
      assert.equal((await server.post("Health", { ...json, "Connect-Timeout-Ms": value }, "{}")).status, status, value);
  });

  it("end a wait", async () => {
    const call = timed(server.rpc("PollBootstrapRendezvous", { meshId: unique("m") }, { "Connect-Timeout-Ms": "400" }));
    await refused(call, 504, "deadline_exceeded");
    const { ms } = await call;
    assert.ok(ms >= 390 && ms < 900, `${ms} ms`);
  });
});

describe("errors", () => {
  it("15: broken bodies are the client's fault", async () => {
    for (const body of ["", "{", "[]", "null", "\"x\"", "{}{}"])
      for (const rpc of [...reading, ...writing.filter((name) => !name.endsWith("Relay"))])
        isError(await server.post(rpc, json, body), 400, "invalid_argument");
  });

  it("messages are valid UTF-8 whatever is quoted", async () => {
    const { body } = await server.rpc("LookupColony", { meshId: "é".repeat(64) });
    assert.equal(body.message, `colony ${"é".repeat(64)} not found`);
  });

  it("quote what was sent without breaking", async () => {
    const meshId = "\"\\\n</script>\u0001";
    assert.equal((await server.rpc("LookupColony", { meshId })).body.message, `colony ${meshId} not found`);
  });
});

describe("gRPC-Web", () => {
  const frame = (bytes, flags = 0) => {
    const head = Buffer.alloc(5);
    head[0] = flags;
    head.writeUInt32BE(bytes.length, 1);
    return Buffer.concat([head, bytes]);
  };
  // The frames of a body: messages, and the trailers as one object.
  function parse(bytes) {
    const messages = [], trailers = {};
    for (let at = 0; at < bytes.length;) {
      const flags = bytes[at], length = bytes.readUInt32BE(at + 1), body = bytes.subarray(at + 5, at + 5 + length);
      assert.equal(body.length, length);
      if (flags & 0x80)
        for (const line of body.toString().split("\r\n").filter(Boolean)) {
          const [, name, value] = line.match(/^([^:]+): ?(.*)$/);
          trailers[name.toLowerCase()] = value;
        }
      else messages.push(body);
      at += 5 + length;
    }
    return { messages, trailers };
  }
  async function call(rpc, bytes, { type = "application/grpc-web+proto", headers = {} } = {}) {
    const answer = await server.post(rpc, { "Content-Type": type, "X-Grpc-Web": "1", ...headers }, bytes);
    assert.equal(answer.status, 200, answer.text);
    const { messages, trailers } = parse(answer.bytes);
    const status = trailers["grpc-status"] ?? answer.headers["grpc-status"];
    const message = decodeURIComponent(trailers["grpc-message"] ?? answer.headers["grpc-message"] ?? "");
    return { status: Number(status), message, messages, type: answer.headers["content-type"] };
  }
  const lookup = (id) => frame(Buffer.concat([Buffer.from([0x0a, Buffer.byteLength(id)]), Buffer.from(id)]));

  it("answers messages and then trailers", async () => {
    const meshId = unique("m");
    await server.ok("RegisterColony", colonyOf(meshId));
    const found = await call("LookupColony", lookup(meshId));
    assert.equal(found.status, 0);
    assert.equal(found.messages.length, 1);
    assert.ok(found.messages[0].includes(meshId));
    assert.match(found.type, /^application\/grpc-web(\+proto)?$/);
  });

  it("speaks JSON as well", async () => {
    const { status, messages, type } = await call("Health", frame(Buffer.from("{}")), { type: "application/grpc-web+json" });
    assert.equal(status, 0);
    assert.equal(JSON.parse(messages[0]).status, "ok");
    assert.equal(type, "application/grpc-web+json");
  });

  it("understands gzip", async () => {
    const bytes = frame(gzipSync(Buffer.alloc(0)), 1);
    assert.equal((await call("Health", bytes, { headers: { "Grpc-Encoding": "gzip" } })).status, 0);
  });

  it("tells errors in the trailers", async () => {
    const cases = [
      ["LookupColony", lookup("nowhere"), 5, /colony nowhere not found/], ["LookupColony", lookup("é\n%"), 5, /colony é\n% not found/],
      ["LookupColony", frame(Buffer.alloc(0)), 3, /mesh_id is required/], ["RequestRelay", frame(Buffer.alloc(0)), 12, /[Rr]elay/],
      ["LookupColony", frame(Buffer.from([0x0a])), 3, /./],
    ];
    for (const [rpc, bytes, code, text] of cases) {
      const { status, message, messages } = await call(rpc, bytes);
      assert.deepEqual([status, messages.length], [code, 0], message);
      assert.match(message, text);
    }
  });

  it("a timeout ends a wait", async () => {
    const { status } = await call("PollBootstrapRendezvous", lookup(unique("m")), { headers: { "Grpc-Timeout": "300m" } });
    assert.equal(status, 4);
  });
});
