// The RPCs over HTTP. Protocols and codecs of Connect and gRPC-Web are @connectrpc/connect's and
// @bufbuild/protobuf's; what the native server does beyond them is done before (envelope.js) and
// after, so that clients cannot tell the two apart.
import { Code, createConnectRouter, createContextKey, createContextValues } from "@connectrpc/connect";
import { createFetchHandler } from "@connectrpc/connect/protocol";
import { Buffer } from "node:buffer";
import { DiscoveryService } from "../gen/coral/discovery/v1/discovery_pb.js";
import { invoke } from "./edge.js";
import { isGet, open, readBounded } from "./envelope.js";
import { ALWAYS } from "./methods.js";

export const PREFIX = `/${DiscoveryService.typeName}/`;
const NO_SIDE_EFFECTS = 1;
const CALL = createContextKey(undefined);

const byName = new Map(DiscoveryService.methods.map((m) => [m.name, m]));

// The library's handler of each method, by its name.
function makeHandlers() {
  const implementation = (desc) => (message, context) => invoke(desc, message, context.values.get(CALL));
  const router = createConnectRouter({ grpc: false });
  router.service(DiscoveryService, Object.fromEntries(
    DiscoveryService.methods.map((desc) => [desc.localName, implementation(desc)])));
  return new Map(router.handlers.map((h) => [h.method.name, createFetchHandler((r) =>
    h({ ...r, contextValues: createContextValues().set(CALL, calls.get(r.header)) }))]));
}

// The library hands the headers through as they are: by them a call is found again.
const calls = new WeakMap();
let handlers;

// Puts in what JSON leaves out when it is empty and clients count on.
async function complete(response, desc) {
  const always = ALWAYS[desc.output.name];
  if (!always) return response;
  return new Response(JSON.stringify({ ...always, ...await response.json() }), { status: response.status, headers: response.headers });
}

function textError(status, headers = {}) {
  const words = { 404: "Not Found", 405: "Method Not Allowed", 413: "Payload Too Large" };
  return new Response(words[status], { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers } });
}

// What the library answered, with what it does not know of.
async function finish(response, desc, opened, call) {
  const { kind, fault } = opened;
  if (kind.type === "application/json" && response.status === 200) response = await complete(response, desc);
  const headers = new Headers(response.headers);
  headers.delete("content-length");
  if (fault?.header) headers.set(...fault.header);
  if (call.retryAfter) headers.set("retry-after", String(call.retryAfter));
  if (kind.answered) headers.set("content-type", kind.answered);
  const body = kind.text ? Buffer.from(await response.arrayBuffer()).toString("base64") : response.body;
  return new Response(body, { status: fault?.status ?? response.status, headers });
}

function unknown(name) {
  return Response.json({ code: "unimplemented", message: `unknown RPC: ${name.slice(0, 80)}` }, { status: 501 });
}

export async function rpc(request, env, url) {
  const name = url.pathname.slice(PREFIX.length);
  const desc = byName.get(name);
  if (request.method !== "POST" && !(isGet(request, url) && desc?.idempotency === NO_SIDE_EFFECTS))
    return textError(405, { allow: "POST" });
  if (!desc) return unknown(name);
  const body = request.body ? await readBounded(request.body) : new Uint8Array(0);
  if (!body) return textError(413);
  const opened = await open(request, url, desc, body);
  const call = { env, source: request.headers.get("cf-connecting-ip") ?? "", signal: request.signal,
    host: url.hostname.replace(/^\[|\]$/g, ""), deadline: opened.deadline, fault: opened.fault };
  const inner = new Request(request.url, { method: "POST", headers: { "content-type": opened.type }, body: opened.body });
  calls.set(inner.headers, call);
  handlers ??= makeHandlers();
  return finish(await handlers.get(name)(inner), desc, opened, call);
}

export { textError };
