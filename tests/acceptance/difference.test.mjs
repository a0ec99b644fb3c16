// The same requests to both hosts: what comes back must be the same, but for ids, times and tokens.
// Everything a client can see is compared: status, content type, the headers that matter, the body.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { agentOf, colonyOf, from, json, service, unique } from "./client.mjs";
import { startNative } from "./native.mjs";
import { startWorker } from "./worker.mjs";

let hosts;

const options = { signingKey: "none" };
before(async () => (hosts = [await startNative(options), await startWorker(options)]));
after(() => Promise.all((hosts ?? []).map((host) => host.stop())));

const proto = { "Content-Type": "application/proto" };
const grpcWeb = { "Content-Type": "application/grpc-web+proto" };
const mesh = unique("m"), agent = unique("a"), record = { ciphertext: "AAAA", gcmNonce: "AAAAAAAAAAAAAAAA", writeToken: "AAAA" };
const edge = from("203.0.113.5");
const field = (tag, text) => Buffer.concat([Buffer.from([(tag << 3) | 2, Buffer.byteLength(text)]), Buffer.from(text)]);

// A request: what it is called, verb, path, headers, body. Answers feed later requests by SAVE.
const rpc = (method, body = {}, headers = {}, more = {}) =>
  ({ method: "POST", path: `${service}/${method}`, headers: { ...json, ...headers }, body, ...more });
const get = (path, headers = {}) => ({ method: "GET", path, headers });
const reading = (method, query) => get(`${service}/${method}?${new URLSearchParams(query)}`);
const save = (name, pick) => ({ save: (memory, body) => (memory[name] = pick(body)) });
// The words of a codec about what is broken are its own.
const loose = { loose: true };

const requests = [
  get("/health"), get("/nope"), get("/"), get("/.well-known/jwks.json"), get(`${service}/Health`), get(`${service}/RegisterColony`),
  { method: "POST", path: "/health", headers: json, body: {} }, { method: "HEAD", path: "/health", headers: {} },
  { method: "PUT", path: `${service}/Health`, headers: json, body: {} }, { method: "DELETE", path: `${service}/Health`, headers: {} },
  { method: "OPTIONS", path: `${service}/Health`, headers: { Origin: "http://x", "Access-Control-Request-Method": "POST" } },
  { method: "POST", path: "/other.Service/Health", headers: json, body: {} },
  rpc("Nonsense"), rpc(""), rpc("RequestRelay"), rpc("ReleaseRelay"), rpc("RequestRelay", ""), rpc("health"),
  rpc("Health"), rpc("Health", "", {}, loose), rpc("Health", "{", {}, loose), rpc("Health", "[]", {}, loose), rpc("Health", "null", {}, loose),
  rpc("Health", "{}{}", {}, loose), rpc("Health", "{\"x\":1}"), rpc("Health", {}, { "Content-Type": "text/plain" }, loose),
  rpc("Health", {}, { "Content-Type": "application/grpc-web-text+xml" }, loose),
  rpc("Health", {}, { "Content-Encoding": "br" }, loose), rpc("Health", {}, { "Connect-Timeout-Ms": "soon" }, loose),
  rpc("Health", {}, { "Connect-Timeout-Ms": "5000" }), rpc("Health", {}, { "Connect-Protocol-Version": "2" }, loose),
  rpc("Health", `{"x":"${"x".repeat(300_000)}"}`, {}, loose), rpc("Health", gzipSync("{}"), { "Content-Encoding": "gzip" }),
  rpc("Health", Buffer.from("nonsense"), { "Content-Encoding": "gzip" }, loose),

  rpc("RegisterColony"), rpc("RegisterColony", { meshId: mesh }), rpc("RegisterColony", { meshId: mesh, pubkey: "k" }),
  rpc("RegisterColony", { meshId: mesh, pubkey: "k", endpoints: [] }), rpc("RegisterColony", colonyOf("x".repeat(129)), {}, loose),
  rpc("RegisterColony", colonyOf(mesh, { connectPort: -1 }), {}, loose), rpc("RegisterColony", colonyOf(mesh, { metadata: { a: 5 } }), {}, loose),
  rpc("RegisterColony", `{"meshId":"a","meshId":"${mesh}","pubkey":"k","endpoints":["x"]}`, {}, loose),
  rpc("RegisterColony", `{"meshId":"a","mesh_id":"${mesh}","pubkey":"k","endpoints":["x"]}`, {}, loose),
  rpc("LookupColony", "{\"meshId\":\"\\ud800\"}", {}, loose), rpc("LookupColony", "{\"meshId\":\"a\\u0000b\"}", {}, loose),
  rpc("RegisterColony", colonyOf(mesh, { observedEndpoint: { ip: "10.0.0.1", port: 5, protocol: "udp", viaRelay: true } }), edge,
    save("colony", (body) => body.leaseToken)),
  rpc("RegisterColony", colonyOf(mesh, { pubkey: "other" })), rpc("LookupColony", { meshId: mesh }), rpc("LookupColony", { mesh_id: mesh }),
  reading("LookupColony", { encoding: "json", message: JSON.stringify({ meshId: mesh }) }),
  reading("LookupColony", { encoding: "json", message: "{}" }), { ...reading("LookupColony", { encoding: "json", message: "{" }), loose: true },
  { ...reading("LookupColony", { encoding: "xml", message: "{}" }), loose: true }, reading("RegisterColony", { encoding: "json", message: "{}" }),
  rpc("LookupColony"), rpc("LookupColony", { meshId: "nowhere" }), rpc("LookupColony", { meshId: null }), rpc("LookupColony", { meshId: "é\"\\\n" }),
  rpc("LookupColony", field(1, mesh), proto), rpc("LookupColony", "", proto), rpc("LookupColony", Buffer.from([0xff]), proto, loose),
  rpc("LookupColony", field(1, "nowhere"), proto), rpc("LookupColony", Buffer.from([0x0a, 1, 0xff]), proto, loose),
  rpc("LookupColony", Buffer.concat([Buffer.alloc(5), Buffer.alloc(0)]), grpcWeb, { frames: true }),
  rpc("LookupColony", Buffer.concat([Buffer.from([0, 0, 0, 0, 9]), field(1, "nowhere")]), grpcWeb, { frames: true }),
  rpc("RegisterColony", colonyOf(unique("m"), { proof: "AAAA", proofTime: "5" }), {}, loose),
  rpc("RegisterColony", colonyOf(unique("m"), { publicEndpoint: { caFingerprint: { algorithm: "ROT13" } } }), {}, loose),

  rpc("RegisterAgent"), rpc("RegisterAgent", { agentId: agent }), rpc("RegisterAgent", { agentId: agent, meshId: mesh }),
  rpc("RegisterAgent", { agentId: agent, meshId: mesh, pubkey: "k" }),
  rpc("RegisterAgent", agentOf(mesh, agent, { metadata: { b: "2", a: "1" } }), edge, save("agent", (body) => body.leaseToken)),
  rpc("LookupAgent"), rpc("LookupAgent", { meshId: mesh }), rpc("LookupAgent", { agentId: agent }), rpc("LookupAgent", { agentId: agent, meshId: mesh }),
  rpc("LookupAgent", { agentId: "nobody" }), rpc("LookupAgent", { agentId: agent, meshId: "elsewhere" }),
  rpc("GetObservedAddress"), rpc("GetObservedAddress", {}, edge), rpc("GetObservedAddress", {}, from("2001:db8::1")),
  reading("GetObservedAddress", { encoding: "json", message: "{}" }),

  rpc("CreateBootstrapToken"), rpc("CreateBootstrapToken", { reefId: "r", colonyId: "c", agentId: "a" }),
  rpc("CreateBootstrapToken", { reefId: "r", colonyId: "c", agentId: "a", intent: "register" }),
  rpc("RedeemBootstrapToken"), rpc("RedeemBootstrapToken", { meshId: mesh }), rpc("RedeemBootstrapToken", { meshId: mesh, jwt: "x" }),
  rpc("RedeemBootstrapToken", (m) => ({ meshId: mesh, jwt: "x", leaseToken: m.colony })),

  rpc("PublishBootstrapRendezvous"), rpc("PublishBootstrapRendezvous", { meshId: mesh, ciphertext: "AAAA" }),
  rpc("PublishBootstrapRendezvous", { meshId: mesh, ...record, recordId: "unknown" }),
  rpc("PublishBootstrapRendezvous", { meshId: mesh, ...record }, {}, save("record", (body) => body.recordId)),
  rpc("PublishBootstrapRendezvous", (m) => ({ meshId: mesh, ...record, recordId: m.record })),
  rpc("PublishBootstrapRendezvous", (m) => ({ meshId: mesh, ...record, recordId: m.record, writeToken: "BBBB" })),
  rpc("PublishBootstrapRendezvous", { meshId: mesh, ...record, verifyReachability: true, probeEndpoint: "127.0.0.1:1" }, edge),
  rpc("PublishBootstrapRendezvous", { meshId: mesh, ...record, gcmNonce: "A".repeat(20) }, {}, loose),
  rpc("PollBootstrapRendezvous"), rpc("PollBootstrapRendezvous", { meshId: mesh, waitSeconds: 0 }),
  rpc("PollBootstrapRendezvous", { meshId: unique("m"), waitSeconds: 0 }),
  rpc("PollBootstrapRendezvous", { meshId: unique("m") }, { "Connect-Timeout-Ms": "100" }, loose),
  rpc("AckBootstrapRendezvous"), rpc("AckBootstrapRendezvous", { meshId: mesh }),
  rpc("AckBootstrapRendezvous", (m) => ({ meshId: mesh, recordId: m.record, writeToken: "BBBB" })),
  rpc("AckBootstrapRendezvous", (m) => ({ meshId: mesh, recordId: m.record, writeToken: "AAAA" })),
  ...Array.from({ length: 9 }, () => rpc("PublishBootstrapRendezvous", { meshId: mesh, ...record })),

  rpc("AwaitPunch"), rpc("AwaitPunch", { meshId: mesh }), rpc("AwaitPunch", (m) => ({ meshId: mesh, leaseToken: m.agent })),
  rpc("AwaitPunch", (m) => ({ meshId: mesh, leaseToken: m.colony, waitSeconds: 0 })),
  rpc("InitiatePunch"), rpc("InitiatePunch", { meshId: mesh }), rpc("InitiatePunch", { meshId: mesh, agentId: agent }),
  rpc("InitiatePunch", (m) => ({ meshId: mesh, agentId: agent, leaseToken: m.agent, waitSeconds: 0 })),
  rpc("AnswerPunch"), rpc("AnswerPunch", { meshId: mesh }), rpc("AnswerPunch", (m) => ({ meshId: mesh, leaseToken: m.colony })),
  rpc("AnswerPunch", (m) => ({ meshId: mesh, leaseToken: m.colony, punchId: "unknown" })),
  rpc("ReportPunch"), rpc("ReportPunch", (m) => ({ meshId: mesh, leaseToken: m.colony, punchId: "unknown", outcome: 1 })),
  rpc("ReportPunch", (m) => ({ meshId: mesh, leaseToken: m.colony, punchId: "unknown" })),
  rpc("ReportPunch", { meshId: mesh, punchId: "unknown", outcome: "NO_SUCH" }, {}, loose),

  rpc("DeregisterAgent"), rpc("DeregisterAgent", { meshId: mesh, agentId: agent }), rpc("DeregisterColony"), rpc("DeregisterColony", { meshId: mesh }),
  rpc("DeregisterAgent", (m) => ({ meshId: mesh, agentId: agent, leaseToken: m.agent })),
  rpc("DeregisterAgent", (m) => ({ meshId: mesh, agentId: agent, leaseToken: m.agent })),
  rpc("DeregisterColony", (m) => ({ meshId: mesh, leaseToken: m.colony })), rpc("LookupColony", { meshId: mesh }),
  rpc("LookupAgent", { agentId: agent }),
];

// What differs from call to call and from host to host.
const own = {
  leaseToken: "a lease token", recordId: "an id", punchId: "an id", serverKey: "a key", uptimeSeconds: "some time", registeredColonies: "a number",
};
function normal(value, name) {
  if (Array.isArray(value)) return value.map((one) => normal(one));
  if (value !== null && typeof value === "object")
    return Object.fromEntries(Object.entries(value).filter(([key]) => key !== "stunServers") // the Worker has no STUN
      .map(([key, one]) => [key, normal(one, key)]));
  if (name in own && value) return own[name];
  if (typeof value === "string" && /(At|lastSeen)$/.test(name ?? "")) return value.replace(/\d/g, "9").replace(/\.9+Z/, "Z");
  return value;
}

const parsed = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

function shown({ status, headers, bytes, text }, request) {
  const type = headers["content-type"]?.toLowerCase().replace(/; ?charset=utf-8$/, "");
  const seen = { status, type, allow: headers.allow, retry: headers["retry-after"], cache: headers["cache-control"] };
  const body = parsed(text);
  if (request.loose) return { ...seen, code: body?.code };
  if (request.frames) return { ...seen, body: text.toLowerCase().match(/grpc-status: ?\d+/)?.[0].replace(" ", "") };
  if (type === "application/proto") return { ...seen, length: bytes.length };
  return { ...seen, body: body === undefined ? text : normal(body) };
}

const nameOf = ({ method, path, headers, body }) =>
  `${method} ${path.slice(0, 90)} ${headers["Content-Type"] ?? ""} ${typeof body === "function" ? "..." : Buffer.isBuffer(body) ? body.toString("hex") : JSON.stringify(body)?.slice(0, 100) ?? ""}`;

describe("the two hosts", () => {
  const memories = [{}, {}];
  requests.forEach((request, i) =>
    it(`answer the same to ${i}: ${nameOf(request)}`, async () => {
      const [native, worker] = await Promise.all(hosts.map(async (host, which) => {
        const made = typeof request.body === "function" ? request.body(memories[which]) : request.body;
        const body = made === undefined || typeof made === "string" || Buffer.isBuffer(made) ? made : JSON.stringify(made);
        const answer = await host.raw(request.path, { method: request.method, headers: request.headers, body });
        if (request.save) request.save(memories[which], JSON.parse(answer.text));
        return shown(answer, request);
      }));
      assert.deepEqual(worker, native);
    }));

  // Fields of every kind with values of every kind, some of them right: which are refused is the same.
  const values = ["null", "\"\"", "\"x\"", "0", "-0", "-1", "1", "5", "1.5", "1e3", "1e-1", "1e40", "4294967295", "4294967296", "2147483648",
    "\"5\"", "\" 5\"", "\"-5\"", "\"+5\"", "\"05\"", "\"5.0\"", "\"1e3\"", "\"0x5\"", "\"9223372036854775807\"", "\"9223372036854775808\"",
    "12345678901234567890", "true", "false", "\"true\"", "[]", "{}", "[null]", "[\"x\"]", "[5]", "[[]]", "[{}]", "[\"x\",null]",
    "\"AAAA\"", "\"AAA\"", "\"A\"", "\"AAA=\"", "\"AA==\"", "\"AAAA=\"", "\"_-_-\"", "\"+/+/\"", "\"_-+/\"", "\"AB==\"", "\"A A A\"", "\"AA\\nAA\"",
    "{\"a\":\"b\"}", "{\"a\":null}", "{\"a\":5}", "{\"a\":[]}", "{\"\":\"\"}", "{\"ip\":\"10.0.0.1\"}", "{\"ip\":5}", "{\"ip\":null}", "{\"port\":\"x\"}",
    "{\"viaRelay\":1}", "{\"via_relay\":true}", "{\"enabled\":true}", "{\"enabled\":\"true\"}", "{\"caFingerprint\":{\"algorithm\":9}}",
    "{\"caFingerprint\":{\"algorithm\":\"X\"}}", "{\"caFingerprint\":{\"value\":\"A\"}}", "{\"updatedAt\":\"2026-02-29T00:00:00Z\"}",
    "{\"updatedAt\":\"2026-01-01T00:00:60Z\"}", "{\"updatedAt\":\"2026-01-01t00:00:00z\"}", "{\"updatedAt\":\"2026-01-01T00:00:00-00:00\"}",
    "{\"updatedAt\":\"2026-01-01T00:00:00+24:00\"}", "{\"updatedAt\":null}", "\"PUNCH_OUTCOME_DIRECT\"", "\"PUNCH_OUTCOME_NONE\"", "\"\\u0000\"",
    "\"\\ud800\"", "\"\\ud83e\\udd9d\"", "\"é\"", "01", "+1", ".5", "5.", "NaN", "Infinity", "tru", "'x'", "\"\t\"", "\"\\x\"", "[,]", "[1,]", "{\"a\"}",
    "{\"a\":1,\"a\":2}", "{a:1}"];
  const bodies = {
    RegisterColony: ["endpoints", "meshIpv4", "connectPort", "metadata", "observedEndpoint", "publicEndpoint", "proof", "proofTime", "unknown"],
    PublishBootstrapRendezvous: ["gcmNonce", "ttlSeconds"], PollBootstrapRendezvous: ["waitSeconds"], ReportPunch: ["outcome", "durationMs"],
    RegisterAgent: ["agentId"],
  };
  const needed = { RegisterColony: "\"pubkey\":\"k\",\"endpoints\":[\"e\"]", RegisterAgent: "\"agentId\":\"a\",\"pubkey\":\"k\",\"endpoints\":[\"e\"]",
    PublishBootstrapRendezvous: "\"ciphertext\":\"AAAA\",\"gcmNonce\":\"AAAA\",\"writeToken\":\"AAAA\"", ReportPunch: "\"punchId\":\"p\",\"outcome\":1" };

  for (const [method, fields] of Object.entries(bodies))
    it(`refuse the same of ${method}`, async () => {
      const id = (n) => `"meshId":"odd-${n}"`;
      const others = (name) => (needed[method] ?? "").split(/,(?=")/).filter((one) => one && !one.startsWith(`"${name}":`));
      const odd = fields.flatMap((name) => values.map((value) => [...others(name), `"${name}":${value}`]))
        .map((parts, n) => `{${[id(n), ...parts].join()}}`);
      const answer = async (host, body) => {
        const { status, text } = await host.post(method, { ...json, "Connect-Timeout-Ms": "60" }, body);
        // Held calls end in their deadline or, where the wait is short, in time.
        return `${method} ${body}: ${status} ${parsed(text)?.code ?? ""}`.replace(/200 $|504 deadline_exceeded$/, "is fine");
      };
      const answers = async (host) => {
        const seen = [];
        for (let at = 0; at < odd.length; at += 16)
          seen.push(...await Promise.all(odd.slice(at, at + 16).map((body) => answer(host, body))));
        return seen;
      };
      const [native, worker] = await Promise.all(hosts.map(answers));
      const different = native.flatMap((line, i) => (line === worker[i] ? [] : [`${line}, on the Worker ${worker[i].split(": ").at(-1)}`]));
      assert.deepEqual(different, []);
    });
});
