// The envelopes of Connect and gRPC-Web, opened: what a request carries is found, decompressed and
// checked before the library sees it, in the order in which the native server looks (server/rpc.c,
// server/envelope.c). What is wrong is left to the library to say, in the protocol of the call.
import { Code, ConnectError } from "@connectrpc/connect";
import { Buffer } from "node:buffer";
import { checkJson, checkProto, invalid } from "./checks.js";

export const BODY_MAX = 256 * 1024;
const FRAME_HEAD = 5, FLAG_COMPRESSED = 1;
const RELAY = new Set(["RequestRelay", "ReleaseRelay"]);

const kinds = {
  "application/json": { json: true, type: "application/json" },
  "application/proto": { json: false, type: "application/proto" },
  "application/grpc-web": { framed: true, json: false, type: "application/grpc-web+proto" },
  "application/grpc-web+proto": { framed: true, json: false, type: "application/grpc-web+proto" },
  "application/grpc-web+json": { framed: true, json: true, type: "application/grpc-web+json" },
  "application/grpc-web-text": { framed: true, text: true, json: false, type: "application/grpc-web+proto" },
  "application/grpc-web-text+proto": { framed: true, text: true, json: false, type: "application/grpc-web+proto" },
};
const TYPES = Object.keys(kinds).join(", ");

// A refusal that comes with a header, or a status that is not its code's.
class Refusal extends ConnectError {
  constructor(message, code, { header, status } = {}) {
    super(message, code);
    this.header = header;
    this.status = status;
  }
}

// All of STREAM, or undefined when it is more than BODY_MAX bytes.
export async function readBounded(stream) {
  const chunks = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > BODY_MAX) return undefined;
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks, size));
}

async function decompress(encoding, header, bytes) {
  const name = (encoding ?? "").toLowerCase();
  if (name === "" || name === "identity") return bytes;
  if (name !== "gzip")
    throw new Refusal("only gzip compression is understood here", Code.Unimplemented, { header: [header, "gzip, identity"] });
  // Nothing needs no compression, and some clients then do without its header too.
  if (!bytes.length) return bytes;
  let plain;
  try {
    plain = await readBounded(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  } catch {
    throw invalid("the message is not gzip");
  }
  if (!plain) throw new ConnectError("the message is too large", Code.ResourceExhausted);
  return plain;
}

// --- telling them apart -----------------------------------------------------------------------

export function isGet(request, url) {
  return request.method === "GET" && url.searchParams.has("message") && url.searchParams.has("encoding");
}

// What kind of call this is; undefined for none.
function kindOf(request, url) {
  if (isGet(request, url)) return kinds[`application/${url.searchParams.get("encoding")}`];
  const type = (request.headers.get("content-type") ?? "").toLowerCase();
  if (type === "") return kinds["application/json"];
  const bare = type.match(/^[^; \t]*/)[0];
  if (Object.hasOwn(kinds, bare)) return { ...kinds[bare], answered: kinds[bare].framed ? bare : undefined };
  // Clients that hide JSON's type in something longer are deployed (discovery.md 1.1).
  return type.includes("application/json") ? kinds["application/json"] : undefined;
}

// --- timeouts ---------------------------------------------------------------------------------

const UNITS_MS = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

// When the client gives up, in Unix ms; undefined if it did not say.
function deadlineOf(headers, framed) {
  const text = headers.get(framed ? "grpc-timeout" : "connect-timeout-ms");
  if (!text) return undefined;
  const match = text.match(framed ? /^(\d{1,8})([HMSmun])$/ : /^(\d{1,10})$/);
  if (!match) throw invalid("the timeout is malformed");
  const ms = Number(match[1]) * UNITS_MS[match[2] ?? "m"];
  if (ms === 0) throw new ConnectError("the call came too late", Code.DeadlineExceeded);
  return Date.now() + ms;
}

// --- opening ----------------------------------------------------------------------------------

async function openGet(url) {
  const query = url.searchParams;
  if (query.has("connect") && query.get("connect") !== "v1") throw invalid("the parameter connect must be v1");
  if (/[?&]message=[^&]*%(?![0-9A-Fa-f]{2})/.test(url.search)) throw invalid("the parameter message is not percent-encoded");
  const text = query.get("message");
  if (query.get("base64") !== "1") return decompress(query.get("compression"), "accept-encoding", new TextEncoder().encode(text));
  const digits = text.replace(/=*$/, "");
  if (!/^[A-Za-z0-9+/_-]*$/.test(digits) || digits.length % 4 === 1) throw invalid("the parameter message is not base64");
  return decompress(query.get("compression"), "accept-encoding", new Uint8Array(Buffer.from(digits, "base64url")));
}

// The one message of a framed call.
function openFrame(headers, body) {
  if (!body.length) throw new ConnectError("the call carries no message", Code.Unimplemented);
  const length = body.length < FRAME_HEAD ? Infinity : new DataView(body.buffer, body.byteOffset).getUint32(1);
  if (FRAME_HEAD + length > body.length) throw invalid("the message is cut short");
  if (body[0] > FLAG_COMPRESSED) throw new ConnectError("the message has flags that it may not have", Code.Internal);
  if (FRAME_HEAD + length < body.length) throw new ConnectError("the call carries more than one message", Code.Unimplemented);
  const message = body.subarray(FRAME_HEAD);
  const encoding = headers.get("grpc-encoding") ?? "";
  if (!(body[0] & FLAG_COMPRESSED)) return message;
  if (["", "identity"].includes(encoding.toLowerCase()))
    throw new ConnectError("the message is compressed, grpc-encoding is not set", Code.Internal);
  return decompress(encoding, "grpc-accept-encoding", message);
}

// gRPC-Web's text form: pieces of base64, each perhaps padded.
function openText(body) {
  const text = new TextDecoder().decode(body);
  const pieces = text.match(/[^=]+=*/g) ?? [];
  if (/[^A-Za-z0-9+/_=-]/.test(text) || pieces.some((p) => p.replace(/=*$/, "").length % 4 === 1))
    throw invalid("the body is not base64");
  return new Uint8Array(Buffer.concat(pieces.map((p) => Buffer.from(p, "base64"))));
}

function frame(message) {
  const out = new Uint8Array(FRAME_HEAD + message.length);
  new DataView(out.buffer).setUint32(1, message.length);
  out.set(message, FRAME_HEAD);
  return out;
}

async function openMessage(request, url, kind, body) {
  const { headers } = request;
  if (isGet(request, url)) return openGet(url);
  if (kind.framed) return openFrame(headers, kind.text ? openText(body) : body);
  if ((headers.get("connect-protocol-version") || "1") !== "1") throw invalid("Connect-Protocol-Version must be 1");
  return decompress(headers.get("content-encoding"), "accept-encoding", body);
}

async function openCall(request, url, kind, desc, body) {
  if (RELAY.has(desc.name)) throw new ConnectError(`${desc.name}: relay not supported`, Code.Unimplemented);
  if (!kind)
    throw new Refusal("this content type is not understood here", Code.InvalidArgument, { header: ["accept-post", TYPES], status: 415 });
  const deadline = deadlineOf(request.headers, kind.framed);
  let message = await openMessage(request, url, kind, body);
  if (kind.json) message = checkJson(message, desc.input);
  else checkProto(message, desc.input);
  return { deadline, message };
}

// Opens a call of DESC with the bytes BODY. Returns {kind, deadline, type, body, fault}: the type and
// the body to hand to the library, which are an empty message when FAULT, a ConnectError, is to be its
// answer.
export async function open(request, url, desc, body) {
  const kind = kindOf(request, url);
  const known = kind ?? kinds["application/json"];
  let opened, fault;
  try {
    opened = await openCall(request, url, kind, desc, body);
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    fault = error;
    opened = { message: known.json ? new TextEncoder().encode("{}") : new Uint8Array(0) };
  }
  return { kind: known, deadline: opened.deadline, type: known.type, fault,
    body: known.framed ? frame(opened.message) : opened.message };
}
