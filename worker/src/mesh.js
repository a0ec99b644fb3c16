// One mesh: the registry over the SQLite of a Durable Object.
import { DurableObject } from "cloudflare:workers";
import { Buffer } from "node:buffer";
import { configOf, machineOf } from "./config.js";
import { agree, withShared } from "./crypto.js";
import { Database } from "./database.js";
import { Telling } from "./telling.js";
import { now } from "./machine.js";
import { METHODS, UNAVAILABLE } from "./methods.js";

// Frees what an object had in the machine when the isolate outlives the object.
const abandoned = new FinalizationRegistry(({ machine, mesh }) => machine.close(mesh));

const TELLS = new Set(["RegisterColony", "RegisterAgent", "DeregisterColony", "DeregisterAgent"]
  .map((name) => METHODS.indexOf(name)));
const REGISTER_COLONY = METHODS.indexOf("RegisterColony");
const TICKETS = 0x7fff_ffff;
const PROBE_FAILED = 1; // enum probe_result

export class MeshObject extends DurableObject {
  #waiting = new Map(); // ticket -> resolve
  #lastTicket = 0;
  #timer;
  #timerAt = Infinity;
  #alarmAt;

  constructor(ctx, env) {
    super(ctx, env);
    this.database = new Database(ctx.storage);
    this.telling = new Telling(this.database, env);
    ctx.blockConcurrencyWhile(async () => {
      this.#alarmAt = (await ctx.storage.getAlarm()) ?? Infinity;
      this.#open();
    });
  }

  #open() {
    this.machine = machineOf(this.env);
    this.mesh = this.database.opening(() => this.machine.open(this.database.port));
    this.#timerAt = Infinity;
    abandoned.register(this, { machine: this.machine, mesh: this.mesh }, this);
    if (!this.database.empty) this.#sweep();
  }

  #close() {
    abandoned.unregister(this);
    this.machine.close(this.mesh);
  }

  // The machine, made anew if the one before has stopped: all that it held is answered and gone. Or
  // the mesh, opened anew if it was closed because it held nothing.
  #ready() {
    if (!this.machine.broken && !this.mesh.closed) return this.machine.touch(this.mesh);
    for (const resolve of this.#waiting.values())
      resolve({ code: UNAVAILABLE, message: "the server has restarted", response: new Uint8Array(0) });
    this.#waiting.clear();
    abandoned.unregister(this);
    this.#open();
  }

  // What goes wrong within BACK leaves nothing half-written.
  #atomic(back) {
    return this.ctx.storage.transactionSync(back);
  }

  // A call of the edge's: see call() in edge.js. The answer leaves when what it tells of is on disk:
  // that is what the object's output gate does by itself.
  async fetch(request) {
    const header = (name) => decodeURIComponent(request.headers.get(name) ?? "");
    const deadline = request.headers.get("deadline");
    const call = {
      method: Number(header("method")), mesh: header("mesh"), agent: header("agent"), source: header("source"),
      host: header("host-name"), deadline: deadline === null ? undefined : Number(deadline),
      request: new Uint8Array(await request.arrayBuffer()),
    };
    const proofKey = request.headers.get("proof-key");
    const [answer, told] = await this.#handle(call, proofKey, request.signal);
    await told;
    return new Response(answer.response, { headers: {
      code: String(answer.code), message: encodeURIComponent(answer.message),
      "retry-after": String(answer.retryAfter ?? 0) } });
  }

  async #handle(call, proofKey, signal) {
    const peer = proofKey ? new Uint8Array(Buffer.from(proofKey, "base64")) : undefined;
    const secret = configOf(this.env).serverKey;
    const shared = peer && secret ? await agree(secret, peer) : undefined;
    this.#ready();
    const ticket = (this.#lastTicket = (this.#lastTicket % TICKETS) + 1);
    // The index is told in the turn in which the answer came about, and so in the same write.
    const answered = new Promise((resolve) => this.#waiting.set(ticket, (answer) =>
      resolve([answer, answer.code === 0 && TELLS.has(call.method) && this.telling.about(call.mesh, call.agent)])));
    signal?.addEventListener("abort", () => this.#gone(call.method, ticket));
    const refused = this.#atomic(() =>
      withShared(peer, shared, () => this.machine.handle(this.mesh, { ...call, ticket })));
    if (refused) this.#resolve(refused);
    this.#after(call.method === REGISTER_COLONY);
    return answered;
  }

  // Whether there is nothing any more that an answer could come from.
  get #over() {
    return this.machine.broken || this.mesh.closed;
  }

  // The client of a call went away.
  #gone(method, ticket) {
    if (!this.#waiting.delete(ticket) || this.#over) return;
    this.machine.cancel(this.mesh, method, ticket);
    this.#after();
  }

  #resolve(answer) {
    this.#waiting.get(answer.ticket)?.(answer);
    this.#waiting.delete(answer.ticket);
  }

  // After whatever the machine was told: hand on what it answers, and wake it when it wants.
  #after(colonyChanged = false) {
    for (const answer of this.#atomic(() => [...this.machine.answers(this.mesh)])) this.#resolve(answer);
    for (const probe of this.machine.probes(this.mesh)) this.#probe(probe);
    this.#arm();
    this.#armAlarm(colonyChanged);
  }

  async #probe({ ticket, target, source }) {
    const prober = this.env.PROBE.get(this.env.PROBE.idFromName("probe"));
    const { result, reason } = await prober.probe(source, target)
      .catch(() => ({ result: PROBE_FAILED, reason: "" }));
    if (this.#over) return;
    this.#atomic(() => this.machine.probeDone(this.mesh, ticket, result, reason));
    this.#after();
  }

  // A timer runs only while calls are held: otherwise nothing but what is stored has a deadline, and
  // for that there is the alarm.
  #arm() {
    const at = this.#waiting.size ? this.machine.deadline(this.mesh) : Infinity;
    if (at === this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    if (at !== Infinity) this.#timer = setTimeout(() => this.#tick(), Math.max(0, at - now()));
  }

  #tick() {
    this.#timerAt = Infinity;
    if (this.#over) return;
    this.#atomic(() => this.machine.tick(this.mesh));
    this.#after();
  }

  // --- what is stored ends -------------------------------------------------------------------

  #sweep() {
    if (this.machine.sweepDeadline(this.mesh) <= now()) this.#atomic(() => this.machine.tick(this.mesh));
  }

  // Sets the alarm to when something stored is due. One that is set for earlier will see for itself.
  #armAlarm(colonyChanged) {
    if (this.database.empty) return;
    let at = this.machine.sweepDeadline(this.mesh);
    if (colonyChanged || this.#alarmAt === Infinity) at = Math.min(at, this.telling.due());
    if (at >= this.#alarmAt) return;
    this.#alarmAt = at;
    this.ctx.storage.setAlarm(Math.max(at, Date.now()));
  }

  async alarm() {
    this.#alarmAt = Infinity;
    this.#ready();
    this.#sweep();
    this.#after();
    await this.telling.aboutAll();
    if (!this.#waiting.size && !this.database.empty && this.database.hasNothing()) await this.#forget();
    else this.#armAlarm(true);
  }

  // The mesh is empty: its database goes, and with it what it costs.
  async #forget() {
    this.#close();
    this.ctx.storage.deleteAlarm();
    const deleted = this.ctx.storage.deleteAll();
    this.#alarmAt = Infinity;
    this.database = new Database(this.ctx.storage);
    this.telling = new Telling(this.database, this.env);
    this.#open();
    await deleted;
  }
}
