// Starts and stops the Worker, in workerd on this machine.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { Client } from "./client.mjs";

// The key of the proofs: a secret of the Worker, which the binary makes for itself.
const serverKey = randomBytes(32).toString("base64");

function varsOf(o) {
  const vars = { WARREN_SERVER_KEY: serverKey };
  if (o.ttl) vars.DEFAULT_TTL_SECONDS = String(o.ttl);
  if (o.signingKey && o.signingKey !== "none") vars.DISCOVERY_SIGNING_KEY = JSON.stringify(o.signingKey);
  if (o.previousKeys) vars.DISCOVERY_PREVIOUS_KEYS = JSON.stringify(o.previousKeys);
  if (o.limitFactor !== undefined) vars.LIMIT_FACTOR = String(o.limitFactor);
  if (o.strictKeys) vars.STRICT_KEYS = "true";
  return { ...vars, ...o.vars };
}

class Worker extends Client {
  async run(options) {
    // Loaded here, so that the tests of the binary need nothing of the Worker.
    const host = await import("../../worker/test-host.mjs");
    this.options = options;
    this.host = await host.startWorker({ port: 0, data: this.data, vars: varsOf(options) });
    this.url = this.host.url;
  }

  async crash(more = {}) {
    await this.host.kill();
    await this.run({ ...this.options, ...more });
  }

  async restart(more = {}) {
    await this.host.stop();
    await this.run({ ...this.options, ...more });
  }

  async stop() {
    await this.host.stop();
    await rm(this.data, { recursive: true, force: true });
  }
}

export async function startWorker(options) {
  const built = process.env.WARREN_WORKER;
  if (!built || !existsSync(join(built, "dist"))) throw new Error(`WARREN_WORKER=${built}: run make worker first`);
  const worker = new Worker();
  worker.data = await mkdtemp(join(tmpdir(), "warren-acceptance-"));
  await worker.run(options);
  return worker;
}
