// Runs the built Worker in workerd on a folder, until its standard input ends.
// usage: worker.mjs FOLDER, with WARREN_WORKER as `make worker` filled it
import { randomBytes } from "node:crypto";
import { startWorker } from "../worker/test-host.mjs";

const host = await startWorker({ port: 0, data: process.argv[2],
  vars: { WARREN_SERVER_KEY: randomBytes(32).toString("base64") } });
console.log(`serving ${new URL(host.url).host} ${host.process.pid}`);
process.stdin.resume();
await new Promise((done) => process.stdin.once("end", done));
await host.stop();
