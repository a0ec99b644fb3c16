// The RPCs over HTTP. Envelopes and codecs of Connect and gRPC-Web are @connectrpc/connect's and
// @bufbuild/protobuf's; here stands what the native server does beyond them (docs/worker.md), so that
// clients cannot tell the two apart.
import { Code, ConnectError, createConnectRouter, createContextKey, createContextValues } from "@connectrpc/connect";
import { createFetchHandler } from "@connectrpc/connect/protocol";
import { DiscoveryService } from "../gen/coral/discovery/v1/discovery_pb.js";
import { invoke } from "./edge.js";
import { checkJson, checkStrings } from "./checks.js";
import { ALWAYS } from "./methods.js";

export const PREFIX = `/${DiscoveryService.typeName}/`;
export const BODY_MAX = 256 * 1024;
const CALLER = createContextKey(undefined);
const RELAY = new Set(["RequestRelay", "ReleaseRelay"]);

const byName = new Map(DiscoveryService.methods.map((m) => [m.name, m]));

function implementation(desc) {
  return (message, context) => {
    checkStrings(message);
    const left = context.timeoutMs();
    return invoke(desc, message, { ...context.values.get(CALLER),
      deadline: left === undefined ? undefined : Date.now() + left });
  };
}

const gzip = {
  name: "gzip",
  compress: async (bytes) => new Uint8Array(await new Response(
    new Blob([bytes]).stream().pipeThrough(new CompressionStream("gzip"))).arrayBuffer()),
  decompress: (bytes) => gunzip(bytes),
};

let handlers;

// The handler of each method, by its name.
function makeHandlers() {
  const router = createConnectRouter({ grpc: false, readMaxBytes: BODY_MAX, acceptCompression: [gzip],
    jsonOptions: { ignoreUnknownFields: true } });
  router.service(DiscoveryService, Object.fromEntries(
    DiscoveryService.methods.map((desc) => [desc.localName, implementation(desc)])));
  return new Map(router.handlers.map((h) => [h.method.name, h]));
}

export function errorResponse(code, message, status, headers = {}) {
  const name = Code[code].replace(/(?<=[a-z])[A-Z]/g, (c) => `_${c}`).toLowerCase();
  return Response.json({ code: name, message }, { status, headers });
}

// All of STREAM, or undefined when it is more than BODY_MAX bytes.
async function readBounded(stream) {
  const chunks = [];
  let size = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > BODY_MAX) {
      reader.cancel().catch(() => {});
      return undefined;
    }
    chunks.push(value);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

async function gunzip(bytes) {
  let plain;
  try {
    plain = await readBounded(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  } catch {
    throw new ConnectError("the body is not gzip", Code.InvalidArgument);
  }
  if (!plain) throw new ConnectError(`the message is larger than ${BODY_MAX} bytes`, Code.ResourceExhausted);
  return plain;
}

// Whether the body is Connect's JSON. Clients that send no type are deployed (discovery.md 1.1).
function isJson(type) {
  return type === "" || type.includes("application/json");
}

// The request as the library's handler gets it: its body in memory, checked beyond what the library
// checks.
async function prepare(request, body) {
  const headers = new Headers(request.headers);
  if (request.method !== "POST") {
    checkQuery(new URL(request.url).searchParams);
    return new Request(request.url, { method: request.method, headers, signal: request.signal });
  }
  const type = (headers.get("content-type") ?? "").toLowerCase();
  if (isJson(type)) {
    headers.set("content-type", "application/json");
    if (headers.get("content-encoding")?.toLowerCase() === "gzip") {
      body = await gunzip(body);
      headers.delete("content-encoding");
    }
    if (["", "identity"].includes((headers.get("content-encoding") ?? "").toLowerCase())) checkJson(body);
  }
  headers.set("content-length", String(body.length));
  return new Request(request.url, { method: "POST", headers, body, signal: request.signal });
}

function checkQuery(query) {
  if (query.get("encoding") !== "json" || query.has("compression") || query.get("base64") === "1") return;
  checkJson(new TextEncoder().encode(query.get("message") ?? ""));
}

// Puts in what JSON leaves out when it is empty and clients count on.
async function complete(response, desc) {
  const always = ALWAYS[desc.output.name];
  if (!always || response.status !== 200 || response.headers.get("content-type") !== "application/json")
    return response;
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  return new Response(JSON.stringify({ ...always, ...await response.json() }), { headers });
}

function callerOf(request, env) {
  const { hostname } = new URL(request.url);
  return { env, source: request.headers.get("cf-connecting-ip") ?? "", signal: request.signal,
    host: hostname.replace(/^\[|\]$/g, "") };
}

export async function rpc(request, env, name) {
  const desc = byName.get(name);
  if (!desc) return errorResponse(Code.Unimplemented, `unknown RPC: ${name.slice(0, 80)}`, 501);
  const reads = desc.idempotency === 1;
  const get = request.method === "GET" && reads && new URL(request.url).searchParams.has("encoding");
  if (request.method !== "POST" && !get)
    return new Response("Method Not Allowed", { status: 405, headers: { allow: reads ? "GET, POST" : "POST" } });
  const body = request.body ? await readBounded(request.body) : new Uint8Array(0);
  if (!body) return new Response("Payload Too Large", { status: 413 });
  const type = (request.headers.get("content-type") ?? "").toLowerCase();
  if (RELAY.has(name) && (isJson(type) || type.startsWith("application/proto")))
    return errorResponse(Code.Unimplemented, "relay not supported", 501);
  handlers ??= makeHandlers();
  try {
    const prepared = await prepare(request, body);
    const values = createContextValues().set(CALLER, callerOf(request, env));
    const handler = handlers.get(name);
    const response = await createFetchHandler((r) => handler({ ...r, contextValues: values }))(prepared);
    return complete(response, desc);
  } catch (error) {
    if (error instanceof ConnectError && error.code === Code.InvalidArgument)
      return errorResponse(error.code, error.rawMessage, 400);
    if (error instanceof ConnectError && error.code === Code.ResourceExhausted)
      return errorResponse(error.code, error.rawMessage, 429);
    throw error;
  }
}
