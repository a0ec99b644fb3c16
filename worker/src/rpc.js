// The RPCs over HTTP. Protocols and codecs of Connect and gRPC-Web are @connectrpc/connect's and
// @bufbuild/protobuf's; what the native server does beyond them is done before (envelope.js) and
// after, so that clients cannot tell the two apart.
import { Code, createConnectRouter, createContextKey, createContextValues } from "@connectrpc/connect";
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
  return new Map(router.handlers.map((h) => [h.method.name, h]));
}

let handlers;

// Has the library answer: {status, header, body}. Its own adapter would make streams of the bytes,
// twice, which take longer than all else.
async function answer(name, opened, call) {
  handlers ??= makeHandlers();
  const { status, header, body } = await handlers.get(name)({
    httpVersion: "1.1", method: "POST", url: "https://worker/", header: new Headers({ "content-type": opened.type }),
    body: (async function* () { yield opened.body; })(), signal: call.signal,
    contextValues: createContextValues().set(CALL, call),
  });
  const pieces = [];
  for await (const piece of body ?? []) pieces.push(piece);
  return { status, header: new Headers(header), body: pieces.length === 1 ? pieces[0] : Buffer.concat(pieces) };
}

// Puts in what JSON leaves out when it is empty and clients count on.
function complete(body, desc) {
  const always = ALWAYS[desc.output.name];
  return always ? JSON.stringify({ ...always, ...JSON.parse(new TextDecoder().decode(body)) }) : body;
}

function textError(status, headers = {}) {
  const words = { 404: "Not Found", 405: "Method Not Allowed", 413: "Payload Too Large" };
  return new Response(words[status], { status, headers: { "content-type": "text/plain; charset=utf-8", ...headers } });
}

// The response, with what the library does not know of.
function finish({ status, header, body }, desc, { kind, fault }, call) {
  header.delete("content-length");
  if (fault?.header) header.set(...fault.header);
  if (call.retryAfter) header.set("retry-after", String(call.retryAfter));
  if (kind.answered) header.set("content-type", kind.answered);
  if (kind.text) body = Buffer.from(body).toString("base64");
  else if (kind.type === "application/json" && status === 200) body = complete(body, desc);
  return new Response(body, { status: fault?.status ?? status, headers: header });
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
  return finish(await answer(name, opened, call), desc, opened, call);
}

export { textError };
