// Starts the Worker over a folder of its own, and calls it.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startWorker } from "../../worker/test-host.mjs";

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const service = "/coral.discovery.v1.DiscoveryService";

// What is written there is no slower than memory: making a database costs workerd some ten fsyncs.
const folder = () => mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "warren-worker-"));

export class Host {
  // VARS as the Worker has them.
  static async start(vars = {}) {
    const host = new Host();
    host.data = await folder();
    host.worker = await startWorker({ port: 0, data: host.data, vars: { LIMIT_FACTOR: "0", LOG_LEVEL: "warn", ...vars } });
    return host;
  }

  get url() {
    return this.worker.url;
  }

  async end() {
    await this.worker.stop();
    await rm(this.data, { recursive: true });
  }

  // A call on a connection of its own: { status, body }.
  rpc(method, body = {}, headers = {}) {
    const text = JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = http.request(`${this.url}${service}/${method}`, { method: "POST", agent: false,
        headers: { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(text), ...headers } }, (response) => {
        let answer = "";
        response.on("data", (piece) => (answer += piece));
        response.on("end", () => resolve({ status: response.statusCode, body: JSON.parse(answer) }));
      });
      request.on("error", reject);
      request.end(text);
    });
  }

  async ok(method, body, headers) {
    const { status, body: answer } = await this.rpc(method, body, headers);
    if (status !== 200) throw new Error(`${method}: ${status} ${JSON.stringify(answer)}`);
    return answer;
  }
}

export const colony = (meshId, more = {}) => ({ meshId, pubkey: "colony", endpoints: ["192.0.2.1:1"], ...more });
export const agent = (meshId, agentId, more = {}) => ({ meshId, agentId, pubkey: "agent", endpoints: ["192.0.2.2:1"], ...more });
