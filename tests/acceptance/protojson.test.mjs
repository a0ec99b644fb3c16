// ProtoJSON (protobuf.dev/programming-guides/json): every form that a field may come in, and its
// canonical form on the way out. What goes in with RegisterColony comes out of LookupColony.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { colonyOf, invalid, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";

let server;

before(async () => (server = await startHost()));
after(() => server?.stop());

// Registers TEXT, the fields of a colony as they are written, and returns what is found of it.
async function stored(text) {
  const meshId = unique("m");
  const { status, body } = await server.rpc("RegisterColony",
    `{"meshId":"${meshId}","pubkey":"k","endpoints":["192.0.2.1:1"]${text ? "," : ""}${text}}`);
  assert.equal(status, 200, `${text}: ${JSON.stringify(body)}`);
  return server.ok("LookupColony", { meshId });
}
const refuses = async (texts) => {
  for (const text of texts)
    await invalid(server.rpc("RegisterColony",
      `{"meshId":"${unique("m")}","pubkey":"k","endpoints":["192.0.2.1:1"],${text}}`)).catch((error) => {
      throw new Error(`${text}: ${error.message}`);
    });
};
const accepts = async (pick, rows) => {
  for (const [text, want] of rows) assert.deepEqual(pick(await stored(text)), want, text);
};

describe("names", () => {
  it("are camelCase or snake_case, all of them", async () => {
    const meshId = unique("m");
    await server.ok("RegisterColony", {
      mesh_id: meshId, pubkey: "k", endpoints: ["192.0.2.1:1"], mesh_ipv4: "10.42.0.1", mesh_ipv6: "fd42::1",
      connect_port: 1, public_port: 2, observed_endpoint: { ip: "192.0.2.5", port: 3, via_relay: true },
      public_endpoint: { ca_cert: "x", ca_fingerprint: { algorithm: 1 }, updated_at: "2026-01-02T03:04:05Z" },
    });
    const { lastSeen, nat, ...found } = await server.ok("LookupColony", { mesh_id: meshId });
    assert.deepEqual(found, {
      meshId, pubkey: "k", endpoints: ["192.0.2.1:1"], meshIpv4: "10.42.0.1", meshIpv6: "fd42::1", connectPort: 1,
      publicPort: 2, observedEndpoints: [{ ip: "192.0.2.5", port: 3, viaRelay: true }],
      publicEndpoint: { caCert: "x", caFingerprint: { algorithm: "FINGERPRINT_ALGORITHM_SHA256" },
        updatedAt: "2026-01-02T03:04:05Z" },
    });
  });

  it("that are not known are passed over, whatever is in them", () =>
    accepts((found) => found.pubkey, [
      ["\"unknown\":1", "k"], ["\"unknown\":{\"a\":[{\"b\":null},\"x\",1e400]}".replace(",1e400", ""), "k"],
      ["\"MeshId\":5", "k"], ["\"\":null", "k"], ["\"publicEndpoint\":{\"more\":[[]]}", "k"],
    ]));
});

describe("null", () => {
  it("is as good as absent, for every kind of field", async () => {
    const nulls = ["meshIpv4", "connectPort", "metadata", "observedEndpoint", "publicEndpoint", "proof", "proofTime"];
    const { lastSeen, nat, ...found } = await stored(nulls.map((name) => `"${name}":null`).join());
    assert.deepEqual(found, { meshId: found.meshId, pubkey: "k", endpoints: ["192.0.2.1:1"], observedEndpoints: [] });
    await accepts((f) => f.publicEndpoint, [
      ["\"publicEndpoint\":{\"enabled\":null,\"url\":\"u\",\"caFingerprint\":null,\"updatedAt\":null}", { url: "u" }],
      ["\"publicEndpoint\":{\"url\":\"u\",\"caFingerprint\":{\"algorithm\":null,\"value\":null}}", { url: "u", caFingerprint: {} }],
    ]);
  });

  it("is no element of a list and no value of a map", () =>
    refuses(["\"metadata\":{\"a\":null}", "\"publicEndpoint\":{\"caFingerprint\":[null]}"]));
});

describe("numbers", () => {
  const port = (found) => found.connectPort;

  it("may be written in any way that JSON has, or as strings", () =>
    accepts(port, [
      ["\"connectPort\":9000", 9000], ["\"connectPort\":\"9000\"", 9000], ["\"connectPort\":9e3", 9000],
      ["\"connectPort\":9000.0", 9000], ["\"connectPort\":4294967295", 4294967295],
      ["\"connectPort\":\"4294967295\"", 4294967295], ["\"connectPort\":0", undefined], ["\"connectPort\":-0", undefined],
    ]));

  it("must fit, be whole, and be numbers", () =>
    refuses(["-1", "4294967296", "1.5", "1e10", "\"-1\"", "\"4294967296\"", "\"x\"", "\"\"", "\"1 \"", "\" 1\"", "\"0x10\"",
      "true", "[]", "{}", "NaN", "1e999"].map((value) => `"connectPort":${value}`)));

  it("of 64 bits come as strings or numbers, and go as strings", async () => {
    assert.equal(typeof (await server.ok("Health")).uptimeSeconds, "string");
    const proven = (proofTime) => server.rpc("RegisterColony", `{"meshId":"${unique("m")}","pubkey":"k",`
      + `"endpoints":["192.0.2.1:1"],"proofTime":${proofTime}}`);
    for (const value of ["5", "\"5\"", "\"-9223372036854775808\"", "\"9223372036854775807\"", "-5", "5e3"])
      assert.equal((await proven(value)).status, 200, value);
    for (const value of ["\"9223372036854775808\"", "\"1.5\"", "1.5", "\"\"", "true", "\"five\""]) await invalid(proven(value));
  });
});

describe("strings", () => {
  it("are strings only", () =>
    refuses(["5", "true", "{}", "[]", "1.5"].map((value) => `"meshIpv4":${value}`)));

  it("escapes mean what they mean", () =>
    accepts((found) => found.metadata?.k, [
      ["\"metadata\":{\"k\":\"\\u00e9\\n\\\"\\\\\\/\\t\"}", "é\n\"\\/\t"], ["\"metadata\":{\"k\":\"\\ud83e\\udd9d\"}", "\u{1f99d}"],
      ["\"metadata\":{\"k\":\"\u{1f99d}\"}", "\u{1f99d}"], ["\"metadata\":{\"\\u006b\":\"v\"}", "v"],
      ["\"metadata\":{\"k\":\"\\u007f\\u2028\\u0001\"}", "\u007f\u2028\u0001"],
    ]));

  it("must be Unicode, and have no NUL", () =>
    refuses(["\"\\ud800\"", "\"\\udc00x\"", "\"a\\u0000b\"", "\"\t\"", "\"\\x41\""].map((value) => `"meshIpv4":${value}`)));

  it("must be UTF-8", async () => {
    const body = Buffer.concat([Buffer.from(`{"meshId":"${unique("m")}","pubkey":"k","endpoints":["`), Buffer.from([0xff, 0xc3, 0x28]),
      Buffer.from("\"]}")]);
    const answer = await server.post("RegisterColony", { "Content-Type": "application/json" }, body);
    assert.equal(answer.status, 400);
    assert.equal(JSON.parse(answer.text).code, "invalid_argument");
  });
});

describe("booleans", () => {
  it("are true or false", () =>
    accepts((found) => found.publicEndpoint.enabled, [
      ["\"publicEndpoint\":{\"enabled\":true}", true], ["\"publicEndpoint\":{\"enabled\":false}", undefined],
    ]));
  it("and nothing else", () =>
    refuses(["1", "\"true\"", "0", "\"\"", "{}"].map((value) => `"publicEndpoint":{"enabled":${value}}`)));
});

describe("bytes", () => {
  const value = (found) => found.publicEndpoint.caFingerprint.value;
  const field = (text) => `"publicEndpoint":{"caFingerprint":{"value":${JSON.stringify(text)}}}`;

  it("are base64, of the standard or the URL-safe alphabet, with or without padding", () =>
    accepts(value, [
      [field("+/+/+w=="), "+/+/+w=="], [field("-_-_-w=="), "+/+/+w=="], [field("+/+/+w"), "+/+/+w=="],
      [field("-_-_-w"), "+/+/+w=="], [field("AAAA"), "AAAA"], [field("/w"), "/w=="], [field("_-8"), "/+8="], [field(""), undefined],
    ]));

  it("and nothing else", () => refuses([field("A"), field("AAAAA"), field("!!!!"), field("AA*A"), field("=AAA"),
    "\"publicEndpoint\":{\"caFingerprint\":{\"value\":[1,2]}}", "\"publicEndpoint\":{\"caFingerprint\":{\"value\":5}}"]));
});

describe("enums", () => {
  const algorithm = (found) => found.publicEndpoint.caFingerprint.algorithm;
  const field = (text) => `"publicEndpoint":{"caFingerprint":{"algorithm":${text}}}`;

  it("come as name or number, and go as name where they have one", () =>
    accepts(algorithm, [
      [field("\"FINGERPRINT_ALGORITHM_SHA256\""), "FINGERPRINT_ALGORITHM_SHA256"], [field("1"), "FINGERPRINT_ALGORITHM_SHA256"],
      [field("0"), undefined], [field("\"FINGERPRINT_ALGORITHM_UNSPECIFIED\""), undefined], [field("4"), 4],
    ]));

  it("have no other names, and are whole", () =>
    refuses(["\"SHA256\"", "\"\"", "\"fingerprint_algorithm_sha256\"", "1.5", "true", "4294967296", "{}"].map(field)));
});

describe("timestamps", () => {
  const at = (found) => found.publicEndpoint.updatedAt;
  const field = (text) => `"publicEndpoint":{"updatedAt":${JSON.stringify(text)}}`;

  it("are RFC 3339, and come out in UTC with 0, 3, 6 or 9 digits", () =>
    accepts(at, [
      ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"], ["2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05Z"],
      ["2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100Z"], ["2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.123456Z"],
      ["2026-01-02T03:04:05.000000001Z", "2026-01-02T03:04:05.000000001Z"],
      ["2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05Z"], ["2026-01-01T00:00:00-23:59", "2026-01-01T23:59:00Z"],
      ["1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"], ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"],
      ["9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"], ["2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"],
    ].map(([text, want]) => [field(text), want])));

  it("and nothing else", () =>
    refuses(["soon", "", "2026-01-02", "2026-01-02T03:04:05", "2026-13-02T03:04:05Z", "2026-02-30T03:04:05Z",
      "2026-01-02T24:04:05Z", "2026-01-02T03:60:05Z", "2026-01-02 03:04:05Z", "2026-01-02T03:04:05+0100",
      "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2026-01-02T03:04:05.Z", "2026-01-02T03:04:05.1234567890Z"]
      .map(field).concat("\"publicEndpoint\":{\"updatedAt\":5}", "\"publicEndpoint\":{\"updatedAt\":{\"seconds\":1}}")));
});

describe("lists, maps and messages", () => {
  it("are what they are", () =>
    refuses(["\"endpoints\":\"192.0.2.1:1\"", "\"endpoints\":{\"0\":\"x\"}", "\"endpoints\":[5]", "\"endpoints\":[null]",
      "\"metadata\":[]", "\"metadata\":\"x\"", "\"metadata\":{\"a\":5}", "\"metadata\":{\"a\":{}}", "\"observedEndpoint\":[]",
      "\"observedEndpoint\":\"192.0.2.1:1\"", "\"publicEndpoint\":5", "\"publicEndpoint\":[]"]));

  it("empty ones are as good as absent, but for messages", () =>
    accepts(({ metadata, publicEndpoint }) => [metadata, publicEndpoint],
      [["\"metadata\":{},\"publicEndpoint\":{}", [undefined, {}]]]));
});

describe("a body that is not one message", () => {
  it("is an invalid argument", async () => {
    for (const body of ["", "{", "[]", "null", "\"x\"", "5", "{}{}", "{} x", "{'a':1}", "{\"a\":1,}", "{\"meshId\":\"a\"", "\ufeff{}",
      "[".repeat(10000), "{\"x\":".repeat(10000), "{\"x\":" + "[".repeat(2000) + "]".repeat(2000) + "}", "{\"x\":01}", "{\"x\":.5}", "// c\n{}"])
      await invalid(server.rpc("LookupColony", body)).catch((error) => {
        throw new Error(`${body.slice(0, 20)}: ${error.message}`);
      });
  });

  it("white space around it is nothing", async () => {
    assert.equal((await server.rpc("Health", " \r\n\t{ } \n")).status, 200);
  });
});

describe("answers", () => {
  it("show what clients count on even when it is zero or empty", async () => {
    const meshId = unique("m");
    const { leaseToken } = await server.ok("RegisterColony", colonyOf(meshId));
    const has = (body, ...names) => names.forEach((name) => assert.ok(name in body, name));
    has(await server.ok("LookupColony", { meshId }), "endpoints", "observedEndpoints");
    has(await server.ok("Health"), "uptimeSeconds", "registeredColonies");
    has(await server.ok("AwaitPunch", { meshId, leaseToken, waitSeconds: 0 }), "offers", "timedOut");
    has(await server.ok("PollBootstrapRendezvous", { meshId, waitSeconds: 0 }), "records", "timedOut");
    has(await server.ok("GetObservedAddress"), "publicIp");
  });
});
