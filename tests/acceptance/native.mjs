// Starts and stops the binary.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "./client.mjs";

export const binary = process.env.WARREN;

// Tests may fail half way and leave servers behind: end files that start some in a test with this.
const running = new Set();
export const killStray = () => running.forEach((child) => child.kill("SIGKILL"));
process.on("exit", killStray);

function argumentsOf(o) {
  const args = ["server", "--http", o.http ?? "127.0.0.1:0", "--stun", o.stun ?? "127.0.0.1:0", "--data", o.data];
  if (o.trustProxy !== "none") args.push("--trust-proxy", o.trustProxy ?? "127.0.0.1");
  if (o.ttl) args.push("--ttl", String(o.ttl));
  if (o.signingKey === "none") args.push("--signing-key", "none");
  if (o.limitFactor !== undefined) args.push("--rate-limit-factor", String(o.limitFactor));
  if (o.strictKeys) args.push("--strict-keys");
  return [...args, ...(o.args ?? [])];
}

function environmentOf(o) {
  const env = { ...process.env, ...o.env };
  if (o.signingKey && o.signingKey !== "none") env.DISCOVERY_SIGNING_KEY = JSON.stringify(o.signingKey);
  if (o.previousKeys) env.DISCOVERY_PREVIOUS_KEYS = JSON.stringify(o.previousKeys);
  return env;
}

// Beside the options of hosts.mjs: data, a folder (by default a new one, which stop() removes); http
// and stun; args, more arguments; env; trustProxy, "none" for no proxy; fileBlocks, a limit on the size of files.
export class Native extends Client {
  static async start(options = {}) {
    const server = new Native();
    server.owned = !options.data;
    server.data = options.data ?? (await mkdtemp(join(tmpdir(), "warren-acceptance-")));
    await server.run(options);
    return server;
  }

  async run(options) {
    this.options = { ...options, data: this.data };
    const args = argumentsOf(this.options);
    // A limit on the size of files stands in for a full disk.
    const [command, all] = options.fileBlocks
      ? ["sh", ["-c", `ulimit -f ${options.fileBlocks}; exec "$0" "$@"`, binary, ...args]]
      : [binary, args];
    const child = spawn(command, all, { stdio: ["ignore", "pipe", "pipe"], env: environmentOf(options) });
    this.process = child;
    running.add(child);
    this.log = "";
    child.stderr.on("data", (data) => (this.log += data));
    this.exited = new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve({ code, signal }));
    }).finally(() => running.delete(child));
    this.line = await this.firstLine();
    const [, host, port, stun] = this.line.match(/^warren: serving http=(.*):(\d+) stun=.*:(\d+)$/);
    this.host = host;
    this.port = Number(port);
    this.stunPort = Number(stun);
    this.url = `http://127.0.0.1:${port}`;
  }

  firstLine() {
    return new Promise((resolve, reject) => {
      let text = "";
      this.process.stdout.on("data", (data) => {
        text += data;
        if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
      });
      this.exited.then(() => reject(new Error(`the server ended: ${this.log}`)), reject);
    });
  }

  async terminate() {
    this.process.kill("SIGTERM");
    return this.exited;
  }

  async crash(more = {}) {
    this.process.kill("SIGKILL");
    await this.exited;
    await this.run({ ...this.options, ...more });
  }

  async restart(more = {}) {
    await this.ended();
    await this.run({ ...this.options, ...more });
  }

  async ended() {
    const { code, signal } = await this.terminate();
    if (code !== 0) throw new Error(`the server ended with ${code ?? signal}: ${this.log}`);
  }

  async stop() {
    await this.ended();
    if (this.owned) await rm(this.data, { recursive: true });
  }
}

export function startNative(options) {
  if (!binary) throw new Error("WARREN must name the binary under test");
  return Native.start(options);
}
