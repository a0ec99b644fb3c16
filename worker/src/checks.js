// Reads messages as the native server does (server/json_read.c, server/protobin.c): what the
// library's codecs let pass and the native ones do not, and which field is wrong in which way. What
// passes here is then read by the library.
import { Code, ConnectError } from "@connectrpc/connect";
import { fromBinary, ScalarType } from "@bufbuild/protobuf";
import { RULES } from "../gen/limits.js";

const DEPTH_MAX = 64;
const TIMESTAMP = "google.protobuf.Timestamp";
const SECONDS_MIN = -62135596800n, SECONDS_MAX = 253402300799n; // the years 1 to 9999
const RANGES = {
  [ScalarType.INT32]: [-(2n ** 31n), 2n ** 31n - 1n],
  [ScalarType.UINT32]: [0n, 2n ** 32n - 1n],
  [ScalarType.INT64]: [-(2n ** 63n), 2n ** 63n - 1n],
};
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

export const invalid = (message) => new ConnectError(message, Code.InvalidArgument);

function wrong(path, what) {
  throw invalid(path ? `${path}: ${what}` : what);
}

// --- the schema -------------------------------------------------------------------------------

// The limits of the field or map entry of that full name; later rules count more.
function limitsOf(name) {
  return Object.assign({}, ...RULES.filter(([pattern]) =>
    name.endsWith(pattern.startsWith("*") ? pattern.slice(1) : `.${pattern}`)).map(([, limits]) => limits));
}

const schemas = new WeakMap();

// Of a message: its fields with their limits, and by the names that JSON knows them by.
function schemaOf(desc) {
  let schema = schemas.get(desc);
  if (schema) return schema;
  const fields = desc.fields.map((field) => {
    const name = `${desc.typeName}.${field.name}`;
    const known = { field, limits: limitsOf(name) };
    if (field.fieldKind === "map") {
      const entry = `${desc.typeName}.${field.name.replace(/(^|_)([a-z])/g, (_, __, c) => c.toUpperCase())}Entry`;
      known.key = limitsOf(`${entry}.key`);
      known.value = limitsOf(`${entry}.value`);
    }
    return known;
  });
  schema = { fields, byName: new Map(fields.flatMap((f) => [[f.field.name, f], [f.field.jsonName, f]])) };
  schemas.set(desc, schema);
  return schema;
}

// --- JSON -------------------------------------------------------------------------------------

// How deep brackets nest in TEXT, whose strings are taken out.
function depthOf(text) {
  let depth = 0, deepest = 0;
  for (const c of text) {
    if (c === "{" || c === "[") deepest = Math.max(deepest, ++depth);
    else if ((c === "}" || c === "]") && depth) depth--;
  }
  return deepest;
}

// JSON as it is written: every member of an object, even if its name stands twice, and numbers as
// text.
class Members {
  constructor() {
    this.entries = [];
  }
}

class NumberText {
  constructor(text) {
    this.text = text;
  }
}

const SPACE = /[ \t\r\n]*/y, STRING = /"(?:[^"\\]|\\[^])*"/y, WORD = /[^ \t\r\n,:\]}]+/y;
const WORDS = { true: true, false: false, null: null };

// Reads TEXT, which JSON.parse takes and which is not nested too deeply.
class Reader {
  #at = 0;

  constructor(text) {
    this.text = text;
  }

  #take(pattern) {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.text);
    this.#at += found.length;
    return found;
  }

  // Takes the next character if it is C.
  #accept(c) {
    this.#take(SPACE);
    if (this.text[this.#at] !== c) return false;
    this.#at++;
    return true;
  }

  #string() {
    this.#take(SPACE);
    return JSON.parse(this.#take(STRING));
  }

  // A name given twice is refused wherever it stands, known or not.
  #once({ entries }) {
    const names = new Set(entries.map(([name]) => name));
    if (names.size < entries.length) throw invalid("a name is given twice in an object");
  }

  #object() {
    const members = new Members();
    if (this.#accept("}")) return members;
    do {
      const name = this.#string();
      this.#accept(":");
      members.entries.push([name, this.value()]);
    } while (this.#accept(","));
    this.#accept("}");
    this.#once(members);
    return members;
  }

  #array() {
    const items = [];
    if (this.#accept("]")) return items;
    do items.push(this.value());
    while (this.#accept(","));
    this.#accept("]");
    return items;
  }

  value() {
    if (this.#accept("{")) return this.#object();
    if (this.#accept("[")) return this.#array();
    if (this.text[this.#at] === "\"") return this.#string();
    const word = this.#take(WORD);
    return Object.hasOwn(WORDS, word) ? WORDS[word] : new NumberText(word);
  }
}

function isUnicode(value) {
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\0");
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([name, v]) => isUnicode(name) && isUnicode(v));
}

function parse(bytes) {
  if (!bytes.length) throw invalid("the body is empty; send at least {}");
  let text, plain;
  try {
    text = strictUtf8.decode(bytes);
  } catch {
    throw invalid("the body is not JSON: it is not UTF-8");
  }
  if (depthOf(text.replace(/"(?:[^"\\]|\\[^])*"/g, "")) > DEPTH_MAX) throw invalid("the body is nested too deeply");
  try {
    plain = JSON.parse(text);
  } catch {
    throw invalid("the body is not JSON");
  }
  if (!isUnicode(plain)) throw invalid("the body is not JSON: a string is not Unicode, or has a NUL");
  return new Reader(text).value();
}

const NUMBER = /^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

// A JSON number or string that denotes an integer; 1.0 and 1e3 are integers too.
function readInteger(value, [low, high], path) {
  const text = value instanceof NumberText ? value.text : value;
  const parts = typeof text === "string" && text.match(NUMBER);
  if (!parts) wrong(path, "must be an integer");
  const whole = parts[2] === undefined && parts[3] === undefined;
  const real = Number(text);
  if (!whole && Number.isFinite(real) && !Number.isInteger(real)) wrong(path, "must be an integer");
  // Beyond 2^53 a double does not say which integer is meant.
  if (!whole && Math.abs(real) > 2 ** 53) wrong(path, "out of range");
  const integer = BigInt(whole ? text : real);
  if (integer < low || integer > high) wrong(path, "out of range");
  return integer.toString();
}

function readString(value, limits, path) {
  if (typeof value !== "string") wrong(path, "must be a string");
  if (utf8.encode(value).length > limits.bytes) wrong(path, `longer than ${limits.bytes} bytes`);
  return value;
}

function readBytes(value, limits, path) {
  if (typeof value !== "string") wrong(path, "must be a base64 string");
  const digits = value.replace(/=*$/, "");
  if (!/^[A-Za-z0-9+/_-]*$/.test(digits) || digits.length % 4 === 1) wrong(path, "is not base64");
  if (Math.floor(digits.length * 6 / 8) > limits.bytes) wrong(path, `longer than ${limits.bytes} bytes`);
  return digits.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat(-digits.length & 3);
}

function readEnum(value, desc, path) {
  if (typeof value !== "string") return Number(readInteger(value, RANGES[ScalarType.INT32], path));
  if (!desc.values.some((v) => v.name === value)) wrong(path, `no such value '${value.slice(0, 40)}'`);
  return value;
}

const TIME = /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d{1,9})?(?:[Zz]|[+-](\d\d):(\d\d))$/;

function readTimestamp(value, path) {
  const [, year, month, day, hour, minute, second, offHour = 0, offMinute = 0] =
    (typeof value === "string" && value.match(TIME) || []).map(Number);
  const days = new Date(0);
  if (year >= 1) days.setUTCFullYear(year, month, 0); // the month's last day
  const text = String(value).toUpperCase();
  const ok = year >= 1 && month >= 1 && month <= 12 && day >= 1 && day <= days.getUTCDate() && hour <= 23 && minute <= 59
    && second <= 59 && (Number.isNaN(offHour) || offHour <= 23) && (Number.isNaN(offMinute) || offMinute <= 59);
  const seconds = ok ? BigInt(Math.floor(Date.parse(text.replace(/\.\d+/, "")) / 1000)) : SECONDS_MIN - 1n;
  if (seconds < SECONDS_MIN || seconds > SECONDS_MAX) wrong(path, "must be an RFC 3339 time");
  return text;
}

function readScalar(value, type, limits, path) {
  if (type === ScalarType.STRING) return readString(value, limits, path);
  if (type === ScalarType.BYTES) return readBytes(value, limits, path);
  if (type !== ScalarType.BOOL) return readInteger(value, RANGES[type], path);
  if (typeof value !== "boolean") wrong(path, "must be true or false");
  return value;
}

function readList(value, known, path) {
  if (!Array.isArray(value)) wrong(path, "must be a list");
  if (value.length > known.limits.count) wrong(path, `more than ${known.limits.count} entries`);
  return value.map((item, i) => readValue(item, known, known.field.listKind, `${path}[${i}]`));
}

function readMap(value, known, path) {
  if (!(value instanceof Members)) wrong(path, "must be an object");
  const map = {};
  for (const [key, item] of value.entries) {
    const at = `${path}["${key.slice(0, 32)}"]`;
    if (utf8.encode(key).length > known.key.bytes) wrong(at, `key longer than ${known.key.bytes} bytes`);
    if (Object.hasOwn(map, key)) wrong(at, "given twice");
    if (Object.keys(map).length === known.limits.count) wrong(path, `more than ${known.limits.count} entries`);
    // Not map[key] = …, which would take "__proto__" for something else.
    Object.defineProperty(map, key, { value: readString(item, known.value, at), enumerable: true });
  }
  return map;
}

function readValue(value, known, kind, path) {
  if (kind === "enum") return readEnum(value, known.field.enum, path);
  if (kind === "message") return readMessage(value, known.field.message, path);
  return readScalar(value, known.field.scalar, known.limits, path);
}

// VALUE as canonical ProtoJSON, with what is not known left out.
function readMessage(value, desc, path) {
  if (desc.typeName === TIMESTAMP) return readTimestamp(value, path);
  if (!(value instanceof Members)) wrong(path, "must be an object");
  const { byName } = schemaOf(desc);
  const seen = new Set(), out = {};
  for (const [name, item] of value.entries) {
    const known = byName.get(name);
    if (!known) continue;
    const { field } = known;
    const at = `${path}${path ? "." : ""}${field.name}`;
    if (seen.has(field)) wrong(at, "given twice");
    seen.add(field);
    if (item === null) continue;
    out[field.jsonName] = field.fieldKind === "list" ? readList(item, known, at)
      : field.fieldKind === "map" ? readMap(item, known, at) : readValue(item, known, field.fieldKind, at);
  }
  return out;
}

// --- protobuf ---------------------------------------------------------------------------------

function checkString(text, limits, path) {
  if (utf8.encode(text).length > limits.bytes) wrong(path, `longer than ${limits.bytes} bytes`);
  if (text.includes("\0")) wrong(path, "holds a zero byte");
}

function checkValue(value, { field, limits }, path) {
  if (field.message) checkMessage(value, field.message, path);
  else if (field.scalar === ScalarType.STRING) checkString(value, limits, path);
  else if (field.scalar === ScalarType.BYTES && value.length > limits.bytes) wrong(path, `longer than ${limits.bytes} bytes`);
}

function checkMessage(message, desc, path) {
  if (desc.typeName === TIMESTAMP) {
    const { seconds, nanos } = message;
    if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > 999_999_999)
      wrong(path, "is not a time of the years 1 to 9999");
    return;
  }
  for (const known of schemaOf(desc).fields) {
    const value = message[known.field.localName];
    const at = `${path}${path ? "." : ""}${known.field.name}`;
    if (value === undefined) continue;
    if (known.field.fieldKind === "list") value.forEach((item, i) => checkValue(item, known, `${at}[${i}]`));
    else if (known.field.fieldKind === "map") checkMap(value, known, at);
    else checkValue(value, known, at);
    if (known.field.fieldKind === "list" && value.length > known.limits.count)
      wrong(at, `more than ${known.limits.count} entries`);
  }
}

function checkMap(map, known, path) {
  const entries = Object.entries(map);
  entries.forEach(([key, value], i) => {
    checkString(key, known.key, `${path}[${i}].key`);
    checkString(value, known.value, `${path}[${i}].value`);
  });
  if (entries.length > known.limits.count) wrong(path, `more than ${known.limits.count} entries`);
}

// --- both -------------------------------------------------------------------------------------

// BYTES of JSON as the bytes of canonical ProtoJSON. Throws ConnectError.
export function checkJson(bytes, desc) {
  const value = parse(bytes);
  if (!(value instanceof Members)) throw invalid("the body must be a JSON object");
  return utf8.encode(JSON.stringify(readMessage(value, desc, "")));
}

// That BYTES are a protobuf message within its limits. Throws ConnectError.
export function checkProto(bytes, desc) {
  let message;
  try {
    message = fromBinary(desc, bytes);
  } catch {
    throw invalid("the body is not a protobuf message");
  }
  checkMessage(message, desc, "");
}
