// What the Worker is configured with: variables and secrets (docs/worker.md).
import { Buffer } from "node:buffer";
import { LOG_LEVELS, Machine } from "./machine.js";

const TTL_DEFAULT = 300, TTL_MAX = 86400;

function number(env, name, low, high, absent) {
  const text = env[name];
  if (text === undefined || text === "") return absent;
  const value = Number(text);
  if (!Number.isInteger(value) || value < low || value > high)
    throw new Error(`${name} is not a number from ${low} to ${high}`);
  return value;
}

function flag(env, name) {
  const value = env[name] ?? "";
  if (["", "0", "false", false].includes(value)) return false;
  if (["1", "true", true].includes(value)) return true;
  throw new Error(`${name} is neither "true" nor "false"`);
}

// The bytes of standard or URL-safe base64; what is wrong with it never shows the text: it is a key.
function bytes(text, name) {
  if (typeof text !== "string" || !/^[A-Za-z0-9+/_-]*={0,2}$/.test(text.trim()))
    throw new Error(`${name} is not base64`);
  return new Uint8Array(Buffer.from(text.trim().replaceAll("-", "+").replaceAll("_", "/"), "base64"));
}

function json(env, name, absent) {
  if (!env[name]) return absent;
  if (typeof env[name] !== "string") return env[name];
  try {
    return JSON.parse(env[name]);
  } catch {
    throw new Error(`${name} is not JSON`);
  }
}

// {"id": ..., "privateKey": ...}, or {"id": ..., "publicKey": ...} for one that is only listed.
function tokenKey(k, name, signs) {
  if (typeof k?.id !== "string") throw new Error(`${name} has no "id"`);
  if (k.privateKey === undefined && (signs || k.publicKey === undefined))
    throw new Error(`${name} has no "${signs ? "privateKey" : "publicKey"}"`);
  const listed = k.privateKey === undefined;
  return { id: k.id, key: bytes(listed ? k.publicKey : k.privateKey, name), listed };
}

// The keys, the signing one first; or none, and what is wrong with them.
function tokenKeys(env) {
  try {
    const signing = json(env, "DISCOVERY_SIGNING_KEY");
    const previous = json(env, "DISCOVERY_PREVIOUS_KEYS", []);
    if (!Array.isArray(previous)) throw new Error("DISCOVERY_PREVIOUS_KEYS is not a list");
    const listed = previous.map((k) => tokenKey(k, "DISCOVERY_PREVIOUS_KEYS", false));
    return { tokenKeys: signing ? [tokenKey(signing, "DISCOVERY_SIGNING_KEY", true), ...listed] : listed };
  } catch (error) {
    return { tokenKeys: [], tokenKeysWrong: error.message };
  }
}

function serverKey(env) {
  if (!env.WARREN_SERVER_KEY) return undefined;
  const key = bytes(env.WARREN_SERVER_KEY, "WARREN_SERVER_KEY");
  if (key.length !== 32) throw new Error("WARREN_SERVER_KEY is not of 32 bytes");
  return key;
}

// An index of LOG_LEVELS, -1 for silence; a name that is none means info (discovery.md section 7).
function logLevel(env) {
  if (env.LOG_LEVEL === "silent") return -1;
  return LOG_LEVELS.includes(env.LOG_LEVEL) ? LOG_LEVELS.indexOf(env.LOG_LEVEL) : LOG_LEVELS.indexOf("info");
}

export function readConfig(env) {
  return {
    version: env.SERVICE_VERSION || "0.0.0",
    ttl: number(env, "DEFAULT_TTL_SECONDS", 1, TTL_MAX, TTL_DEFAULT),
    limitFactor: number(env, "LIMIT_FACTOR", 0, 1_000_000, 1),
    strictKeys: flag(env, "STRICT_KEYS"),
    logLevel: logLevel(env),
    stunServers: (env.STUN_SERVERS || "").split(",").map((s) => s.trim()).filter(Boolean).slice(0, 4),
    serverKey: serverKey(env),
    ...tokenKeys(env),
  };
}

// One configuration and one machine per isolate. A machine that has stopped is replaced; what it
// held in memory, long polls and punches, is lost, and clients ask again.
let config, machine;

export function configOf(env) {
  return (config ??= readConfig(env));
}

export function machineOf(env) {
  if (!machine || machine.broken) machine = new Machine(configOf(env));
  return machine;
}
