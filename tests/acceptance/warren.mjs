// Starts and stops the real binary, and calls it over plain HTTP.
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import http from "node:http";

export const binary = process.env.WARREN;
if (!binary) throw new Error("WARREN must name the binary under test");

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Tests that start servers of their own may fail half way and leave them: end the file with this.
const running = new Set();
export const killStray = () => running.forEach((child) => child.kill("SIGKILL"));

export class Server {
  // Serves on free ports with its data in a directory of its own, unless OPTIONS.data is given.
  static async start(options = {}) {
    const server = new Server();
    server.owned = !options.data;
    server.data = options.data ?? (await mkdtemp(join(tmpdir(), "warren-acceptance-")));
    await server.run(options);
    return server;
  }

  async run(options) {
    this.args = ["server", "--http", options.http ?? "127.0.0.1:0", "--stun", options.stun ?? "127.0.0.1:0",
      "--data", this.data, ...(options.args ?? [])];
    // A limit on the size of files stands in for a full disk.
    const [command, args] = options.fileBlocks
      ? ["sh", ["-c", `ulimit -f ${options.fileBlocks}; exec "$0" "$@"`, binary, ...this.args]]
      : [binary, this.args];
    this.process = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    const child = this.process;
    running.add(child);
    child.on("exit", () => running.delete(child));
    this.log = "";
    this.process.stderr.on("data", (data) => (this.log += data));
    this.exited = new Promise((resolve) =>
      this.process.on("exit", (code, signal) => resolve({ code, signal })));
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
      this.exited.then(() => reject(new Error(`the server ended: ${this.log}`)));
    });
  }

  // Kills it as a crash would, and starts it again on the same data.
  async crash(options = {}) {
    this.process.kill("SIGKILL");
    await this.exited;
    await this.run(options);
  }

  async terminate() {
    this.process.kill("SIGTERM");
    return this.exited;
  }

  async stop() {
    const { code, signal } = await this.terminate();
    if (this.owned) await rm(this.data, { recursive: true });
    if (code !== 0) throw new Error(`the server ended with ${code ?? signal}: ${this.log}`);
  }

  // A Connect unary call. BODY is sent as JSON; { status, headers, body } comes back.
  async rpc(method, body, headers = {}, signal) {
    const response = await fetch(`${this.url}/coral.discovery.v1.DiscoveryService/${method}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...headers },
      body: typeof body === "string" ? body : JSON.stringify(body),
      signal,
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined };
  }

  // A call that must succeed; its body.
  async ok(method, body, headers) {
    const answer = await this.rpc(method, body, headers);
    if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  // A request with nothing added to it: fetch() sends no Host or Content-Type of one's choice.
  raw(path, { method = "GET", headers = {}, body } = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request(`${this.url}${path}`, { method, headers, agent: false }, (response) => {
        let text = "";
        response.on("data", (data) => (text += data));
        response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, text }));
      });
      request.on("error", reject);
      request.end(body);
    });
  }
}

let count = 0;
export const unique = (name) => `${name}-${process.pid}-${++count}`;

export const colonyOf = (meshId, more = {}) => ({
  meshId, pubkey: "Y29sb255LWNvbG9ueS1jb2xvbnktY29sb255LWNvbG8=", endpoints: ["192.0.2.1:41580"], ...more,
});
export const agentOf = (meshId, agentId, more = {}) => ({
  meshId, agentId, pubkey: "YWdlbnQtYWdlbnQtYWdlbnQtYWdlbnQtYWdlbnQtYWc=", endpoints: ["192.0.2.2:5000"], ...more,
});
