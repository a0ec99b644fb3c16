// The registry, as WebAssembly: one instance per isolate, which all objects of the isolate share.
// wasm/abi.h describes what passes between the two. Everything here is synchronous.
import module from "../warren.wasm";
import * as primitives from "./crypto.js";

// Offsets in struct frame.
const NOW = 0, WALL = 8, TICKET = 16, DEADLINE = 24, METHOD = 32, REQUEST = 36, SOURCE = 44, HOST = 52;
const OUT_TICKET = 64, CODE = 72, RETRY_AFTER = 76, MESSAGE = 80, RESPONSE = 88, OUT_SOURCE = 96, PORT = 104;

// struct sql_value, and enum sql_type.
const VALUE_SIZE = 24, VALUE_INTEGER = 8, VALUE_BYTES = 16;
const SQL_NULL = 0, SQL_INTEGER = 1, SQL_TEXT = 2, SQL_BLOB = 3;

export const TIME_NEVER = 0xffff_ffff_ffff_ffffn;
const NS_PER_MS = 1_000_000n;
const LIMIT_BUCKETS = 1024; // of one mesh: its sources and leases
// Registries that stay open. One takes some hundred kilobytes, and an isolate has 128 MB; those of
// meshes that nobody asked for the longest, and that hold nothing, are closed.
const MESHES_MAX = 128;
const RANDOM_AHEAD = 1024; // bytes fetched at once
export const LOG_LEVELS = ["error", "warn", "info", "debug", "trace"]; // enum log_level

const utf8 = new TextDecoder();
const utf8Encoder = new TextEncoder();
const none = new Uint8Array(0);

// Date.now() that never goes back: the machine's monotonic clock. Inside an isolate it stands still
// while code runs, which suits a machine that is handed the time.
let latest = 0;
export function now() {
  return (latest = Math.max(latest, Date.now()));
}

export class Machine {
  constructor(config) {
    this.broken = false;
    this.logLevel = config.logLevel;
    this.meshes = new Map(); // id -> the mesh; the last that was asked for is last
    this.nextId = 1;
    this.strings = new Map(); // address of a constant -> its text
    this.randomLeft = none;
    const host = {
      sql: (...args) => this.#sql(...args),
      log: (level, subsystem, message, fields) => this.#log(level, subsystem, message, fields),
      panic: (file, line, what) => {
        throw new Error(`${this.#text(file)}:${line}: ${this.#text(what)}`);
      },
      random: (p, n) => this.#random(p, n),
      ...primitives.imports((p, n) => this.#bytes.subarray(p, p + n)),
    };
    this.wasm = new WebAssembly.Instance(module, { host }).exports;
    this.wasm.start(Math.max(0, this.logLevel));
    this.frame = this.wasm.frame();
    this.#configure(config);
  }

  #configure(config) {
    const failed = this.#withText(config.version, (version) =>
      this.wasm.configure(version, config.ttl, config.limitFactor, LIMIT_BUCKETS, config.strictKeys ? 1 : 0));
    if (failed) throw new Error("SERVICE_VERSION is longer than 32 bytes");
    if (config.serverKey) this.#with(config.serverKey, (p) => this.wasm.set_server_secret(p));
    // Without its keys the service has much to do still; what wants them says so.
    this.keysWrong = config.tokenKeysWrong;
    for (const k of config.tokenKeys) this.#addKey(k);
    if (this.keysWrong) console.error(`error keys: ${this.keysWrong}`);
  }

  #addKey({ id, key, listed }) {
    if (this.keysWrong) return;
    this.#withText(id, (kid) => this.#with(key, (p) => {
      if (this.wasm.add_key(kid, p, key.length, listed ? 1 : 0))
        this.keysWrong = `the token key with id "${id}" is not one: ids are of A-Z a-z 0-9 - _ . and keys of 32 bytes, `
          + "or 64 with the public half; there may be 8";
    }));
  }

  // --- memory ---------------------------------------------------------------------------------

  // The views are made anew when the memory has grown.
  get #bytes() {
    if (this.view8?.buffer !== this.wasm.memory.buffer) {
      this.view8 = new Uint8Array(this.wasm.memory.buffer);
      this.view = new DataView(this.wasm.memory.buffer);
    }
    return this.view8;
  }

  get #data() {
    void this.#bytes;
    return this.view;
  }

  // Calls BACK with the address of a copy of BYTES, which is wiped afterwards.
  #with(bytes, back) {
    const size = bytes.length || 1;
    const p = this.wasm.allocate(size);
    if (!p) throw new Error("the machine is out of memory");
    this.#bytes.set(bytes, p);
    try {
      return back(p);
    } finally {
      this.wasm.release(p, size);
    }
  }

  #withText(text, back) {
    return this.#with(utf8Encoder.encode(`${text}\0`), back);
  }

  #textEnd(p) {
    return this.#bytes.indexOf(0, p);
  }

  #text(p) {
    return utf8.decode(this.#bytes.subarray(p, this.#textEnd(p)));
  }

  // The text of a string constant, which is decoded once.
  #constant(p) {
    let text = this.strings.get(p);
    if (text === undefined) this.strings.set(p, (text = this.#text(p)));
    return text;
  }

  // A copy of what a text_ref in the frame refers to.
  #ref(at) {
    const p = this.#data.getUint32(this.frame + at, true);
    return this.#bytes.slice(p, p + this.#data.getUint32(this.frame + at + 4, true));
  }

  #setRef(at, p, n) {
    this.#data.setUint32(this.frame + at, p, true);
    this.#data.setUint32(this.frame + at + 4, n, true);
  }

  #setTime() {
    const ms = BigInt(now());
    this.#data.setBigUint64(this.frame + NOW, ms * NS_PER_MS, true);
    this.#data.setBigUint64(this.frame + WALL, BigInt(Date.now()), true);
  }

  // Runs BACK; what it throws means that the machine's state is not to be trusted any more.
  #run(back) {
    if (this.broken) throw new Error("the machine has stopped");
    try {
      return back();
    } catch (error) {
      this.broken = true;
      throw error;
    }
  }

  // --- imports --------------------------------------------------------------------------------

  #random(p, n) {
    const bytes = this.#bytes;
    for (let done = 0; done < n;) {
      if (!this.randomLeft.length) this.randomLeft = crypto.getRandomValues(new Uint8Array(RANDOM_AHEAD));
      const take = Math.min(n - done, this.randomLeft.length);
      bytes.set(this.randomLeft.subarray(0, take), p + done);
      this.randomLeft.fill(0, 0, take);
      this.randomLeft = this.randomLeft.subarray(take);
      done += take;
    }
  }

  #log(level, subsystem, message, fields) {
    if (level > this.logLevel) return;
    const write = level === 0 ? console.error : level === 1 ? console.warn : console.log;
    write(`${LOG_LEVELS[level]} ${this.#text(subsystem)}: ${this.#text(message)} ${this.#text(fields)}`.trimEnd());
  }

  #value(p) {
    const data = this.#data;
    const type = data.getUint32(p, true);
    if (type === SQL_INTEGER) return Number(data.getBigInt64(p + VALUE_INTEGER, true));
    if (type === SQL_NULL) return null;
    const at = data.getUint32(p + VALUE_BYTES, true);
    const bytes = this.#bytes.slice(at, at + data.getUint32(p + VALUE_BYTES + 4, true));
    return type === SQL_TEXT ? utf8.decode(bytes) : bytes;
  }

  #sql(id, statement, binds, n, row, rowContext) {
    const values = [];
    for (let i = 0; i < n; i++) values.push(this.#value(binds + i * VALUE_SIZE));
    try {
      const rows = this.meshes.get(id).sql(this.#constant(statement), values);
      if (row) for (const columns of rows) this.#row(columns, row, rowContext);
      return 0;
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      console.error(`error sql: ${error.message} in ${this.#constant(statement)}`);
      return 1;
    }
  }

  // Lays the columns out as struct sql_value with their bytes behind them.
  #row(columns, row, context) {
    const encoded = columns.map((c) =>
      typeof c === "string" ? utf8Encoder.encode(c) : c instanceof ArrayBuffer ? new Uint8Array(c) : none);
    const head = columns.length * VALUE_SIZE;
    const size = encoded.reduce((sum, bytes) => sum + bytes.length, head);
    const p = this.wasm.allocate(size);
    if (!p) throw new Error("the machine is out of memory");
    const data = this.#data, bytes = this.#bytes;
    let at = p + head;
    columns.forEach((c, i) => {
      const value = p + i * VALUE_SIZE;
      data.setUint32(value, c === null ? SQL_NULL : typeof c === "number" ? SQL_INTEGER
        : typeof c === "string" ? SQL_TEXT : SQL_BLOB, true);
      if (typeof c === "number") data.setBigInt64(value + VALUE_INTEGER, BigInt(c), true);
      data.setUint32(value + VALUE_BYTES, at, true);
      data.setUint32(value + VALUE_BYTES + 4, encoded[i].length, true);
      bytes.set(encoded[i], at);
      at += encoded[i].length;
    });
    this.wasm.row(row, context, p, columns.length);
    this.wasm.release(p, size);
  }

  // --- meshes ---------------------------------------------------------------------------------

  // Opens a registry whose statements SQL runs: (statement, values) -> rows, each an array of null,
  // number, string or ArrayBuffer. What is returned names the mesh in all that follows, until its
  // .closed is true: then it has to be opened anew.
  open(sql) {
    const mesh = { id: this.nextId++, sql, closed: false };
    this.#closeIdle();
    this.meshes.set(mesh.id, mesh);
    mesh.p = this.#run(() => {
      this.#setTime();
      return this.wasm.mesh_open(mesh.id);
    });
    if (mesh.p) return mesh;
    this.meshes.delete(mesh.id);
    throw new Error(`the registry does not open: ${utf8.decode(this.#ref(MESSAGE))}`);
  }

  // Makes room for one more. Long polls and punches have deadlines of their own; a mesh without any
  // loses nothing but its rate limits' memory.
  #closeIdle() {
    for (const mesh of this.meshes.values()) {
      if (this.meshes.size < MESHES_MAX) return;
      if (this.wasm.mesh_deadline(mesh.p) === this.wasm.mesh_sweep_deadline(mesh.p)) this.close(mesh);
    }
  }

  close(mesh) {
    if (this.broken || mesh.closed) return;
    mesh.closed = true;
    this.wasm.mesh_close(mesh.p);
    this.meshes.delete(mesh.id);
  }

  // MESH is asked for: it is closed after all others.
  touch(mesh) {
    this.meshes.delete(mesh.id);
    this.meshes.set(mesh.id, mesh);
  }

  // Hands CALL to the registry: {ticket (a number), method, request (bytes of protobuf), source,
  // host, deadline (Unix ms, or undefined)}. Returns an answer if the request is not one; otherwise
  // take answers and probes.
  handle(mesh, call) {
    return this.#run(() => {
      const source = utf8Encoder.encode(call.source ?? "");
      const host = utf8Encoder.encode(`${call.host ?? ""}\0`);
      const all = new Uint8Array(call.request.length + source.length + host.length);
      all.set(call.request);
      all.set(source, call.request.length);
      all.set(host, call.request.length + source.length);
      return this.#with(all, (p) => {
        const data = this.#data;
        this.#setTime();
        data.setBigUint64(this.frame + TICKET, BigInt(call.method) << 32n | BigInt(call.ticket), true);
        data.setBigUint64(this.frame + DEADLINE, call.deadline === undefined ? TIME_NEVER
          : BigInt(Math.max(0, Math.round(call.deadline - Date.now() + now()))) * NS_PER_MS, true);
        data.setUint32(this.frame + METHOD, call.method, true);
        this.#setRef(REQUEST, p, call.request.length);
        this.#setRef(SOURCE, p + call.request.length, source.length);
        this.#setRef(HOST, p + call.request.length + source.length, host.length - 1);
        return this.wasm.mesh_handle(mesh.p) ? undefined : this.#answer();
      });
    });
  }

  #answer() {
    return {
      ticket: Number(this.#data.getBigUint64(this.frame + OUT_TICKET, true) & 0xffff_ffffn),
      code: this.#data.getUint32(this.frame + CODE, true),
      retryAfter: this.#data.getUint32(this.frame + RETRY_AFTER, true),
      message: utf8.decode(this.#ref(MESSAGE)),
      response: this.#ref(RESPONSE),
    };
  }

  // The answers that are ready.
  *answers(mesh) {
    while (this.#run(() => this.wasm.mesh_next_answer(mesh.p))) yield this.#answer();
  }

  cancel(mesh, method, ticket) {
    this.#run(() => {
      this.#data.setBigUint64(this.frame + TICKET, BigInt(method) << 32n | BigInt(ticket), true);
      this.wasm.mesh_cancel(mesh.p);
    });
  }

  tick(mesh) {
    this.#run(() => {
      this.#setTime();
      this.wasm.mesh_tick(mesh.p);
    });
  }

  // When tick wants to be called, in now()'s milliseconds: for anything, and for what is stored.
  // Infinity: never.
  deadline(mesh) {
    return milliseconds(this.#run(() => this.wasm.mesh_deadline(mesh.p)));
  }

  sweepDeadline(mesh) {
    return milliseconds(this.#run(() => this.wasm.mesh_sweep_deadline(mesh.p)));
  }

  // --- probes ---------------------------------------------------------------------------------

  // The probes that are to be made: {ticket, target, source}.
  *probes(mesh) {
    while (this.#run(() => this.wasm.mesh_next_probe(mesh.p)))
      yield {
        ticket: this.#data.getBigUint64(this.frame + OUT_TICKET, true),
        target: utf8.decode(this.#ref(RESPONSE)),
        source: utf8.decode(this.#ref(OUT_SOURCE)),
      };
  }

  // RESULT is an enum probe_result.
  probeDone(mesh, ticket, result, reason) {
    this.#run(() => this.#withText(reason, (p) => {
      this.#setTime();
      this.#data.setBigUint64(this.frame + TICKET, ticket, true);
      this.wasm.mesh_probe_done(mesh.p, result, p);
    }));
  }

  newQuota() {
    return this.#run(() => this.wasm.quota_new());
  }

  // Takes a slot of QUOTA for SOURCE to probe TARGET. Null when it is granted, else why it is not.
  acquire(quota, source, target) {
    const bytes = utf8Encoder.encode(source);
    return this.#run(() => this.#with(bytes, (s) => this.#withText(target, (t) => {
      this.#setTime();
      this.#setRef(SOURCE, s, bytes.length);
      const reason = this.wasm.quota_acquire(quota, t);
      return reason ? this.#text(reason) : null;
    })));
  }

  release(quota) {
    this.#run(() => this.wasm.quota_release(quota));
  }

  // Where TARGET may be dialled, {hostname, port}; null when it may not.
  probeAddress(target) {
    return this.#run(() => this.#withText(target, (p) => {
      if (!this.wasm.probe_address(p)) return null;
      const ip = utf8.decode(this.#ref(RESPONSE));
      // connect() wants IPv6 as URLs have it.
      return { hostname: ip.includes(":") ? `[${ip}]` : ip, port: this.#data.getUint32(this.frame + PORT, true) };
    }));
  }

  // The JSON Web Key Set, as text.
  jwks() {
    return this.#run(() => {
      this.wasm.jwks();
      return utf8.decode(this.#ref(RESPONSE));
    });
  }
}

function milliseconds(ns) {
  const unsigned = BigInt.asUintN(64, ns);
  return unsigned === TIME_NEVER ? Infinity : Number((unsigned + NS_PER_MS - 1n) / NS_PER_MS);
}
