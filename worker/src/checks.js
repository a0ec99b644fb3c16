// What the library's codecs let pass and the native server does not.
import { Code, ConnectError } from "@connectrpc/connect";

const DEPTH_MAX = 64;
const utf8 = new TextDecoder("utf-8", { fatal: true });

const invalid = (message) => new ConnectError(message, Code.InvalidArgument);

function countMembers(value) {
  if (Array.isArray(value)) return value.reduce((n, v) => n + countMembers(v), 0);
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((n, v) => n + 1 + countMembers(v), 0);
}

// How deep brackets nest in TEXT, whose strings are taken out.
function depthOf(text) {
  let depth = 0, deepest = 0;
  for (const c of text) {
    if (c === "{" || c === "[") deepest = Math.max(deepest, ++depth);
    else if (c === "}" || c === "]") depth--;
  }
  return deepest;
}

// That BYTES are one JSON object in which no name stands twice: what parsers make of those differs,
// and so a name that was checked might not be the name that is used.
export function checkJson(bytes) {
  let text, value;
  try {
    text = utf8.decode(bytes);
  } catch {
    throw invalid("the body is not UTF-8");
  }
  const bare = text.replace(/"(?:[^"\\]|\\.)*"/g, '""');
  if (depthOf(bare) > DEPTH_MAX) throw invalid("the JSON is nested too deeply");
  try {
    value = JSON.parse(text);
  } catch {
    throw invalid("the body is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw invalid("the body is not a JSON object");
  if (bare.split(":").length - 1 !== countMembers(value)) throw invalid("a name stands twice in a JSON object");
}

// That no string within MESSAGE has a NUL or half a surrogate pair.
export function checkStrings(message) {
  for (const [name, value] of Object.entries(message)) {
    if (typeof value === "object" && value !== null && !(value instanceof Uint8Array)) checkStrings(value);
    for (const text of [name, value])
      if (typeof text === "string" && (text.includes("\0") || !text.isWellFormed()))
        throw invalid("a string is not text: it has a NUL or is not Unicode");
  }
}
