// Runs the built Worker in workerd, as tests want it: on a port of this machine, with its objects on
// disk, so that they survive whatever ends it.
//
//   const host = await startWorker({ port: 0, data: "/some/folder", vars: { DEFAULT_TTL_SECONDS: "1" } });
//   host.url; await host.stop(); await host.kill(); await host.restart();
//
// WARREN_WORKER names the folder that `make worker` filled, build/worker by default.
import { spawn } from "node:child_process";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const START_MS = 10_000;
const built = () => resolve(process.env.WARREN_WORKER ?? fileURLToPath(new URL("../build/worker", import.meta.url)));

const text = (s) => JSON.stringify(String(s)); // as Cap'n Proto has it

// The configuration of workerd, which is what wrangler.jsonc says, with this machine around it.
function configuration({ modules, data, vars, port }) {
  const bindings = [["MESH", "MeshObject"], ["INDEX", "IndexObject"], ["PROBE", "ProbeObject"]];
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "warren", worker = .worker),
    (name = "disk", disk = (path = ${text(data)}, writable = true)),
    (name = "internet", network = (allow = ["public"])) ],
  sockets = [ (name = "http", address = ${text(`127.0.0.1:${port}`)}, http = (), service = "warren") ] );
const worker :Workerd.Worker = (
  modules = [ ${modules.join(", ")} ],
  compatibilityDate = "2026-01-01",
  compatibilityFlags = ["nodejs_compat", "enable_request_signal"],
  durableObjectNamespaces = [ ${bindings.map(([, name]) =>
    `(className = "${name}", uniqueKey = "warren-${name}", enableSql = true)`).join(", ")} ],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [ ${[...bindings.map(([name, of]) => `(name = "${name}", durableObjectNamespace = "${of}")`),
    ...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`)].join(", ")} ] );
`;
}

// Cap'n Proto embeds files by paths from the one that names them, in DATA.
async function modulesOf(dist, data) {
  const files = (await readdir(dist)).sort((a, b) => (b === "index.js") - (a === "index.js"));
  return files.filter((f) => /\.(js|wasm)$/.test(f)).map((f) =>
    `(name = ${text(f)}, ${f.endsWith(".wasm") ? "wasm" : "esModule"} = embed ${text(relative(data, join(dist, f)))})`);
}

class WorkerHost {
  constructor(options) {
    this.options = options;
    this.log = "";
  }

  async start() {
    const { port = 0, data, vars = {} } = this.options;
    const objects = join(data, "objects"), file = join(data, "workerd.capnp");
    await mkdir(objects, { recursive: true });
    const modules = await modulesOf(join(built(), "dist"), resolve(data));
    // The default that wrangler.jsonc sets, too.
    await writeFile(file, configuration({ modules, data: objects, port, vars: { SERVICE_VERSION: "0.1.0", ...vars } }),
      { mode: 0o600 });
    const arch = process.arch === "x64" ? "64" : process.arch;
    const binary = join(built(), "node_modules", "@cloudflare", `workerd-linux-${arch}`, "bin", "workerd");
    this.process = spawn(binary, ["serve", "--control-fd=3", file], { stdio: ["ignore", "pipe", "pipe", "pipe"] });
    this.exited = new Promise((done) => this.process.once("close", done));
    for (const stream of [this.process.stdout, this.process.stderr])
      stream.on("data", (piece) => (this.log = (this.log + piece).slice(-100_000)));
    this.url = `http://127.0.0.1:${await this.#port()}`;
    this.options = { ...this.options, port: Number(new URL(this.url).port) };
  }

  // workerd says on the control pipe what it listens on.
  #port() {
    return new Promise((resolve, reject) => {
      let said = "";
      const timer = setTimeout(() => reject(new Error(`workerd does not start:\n${this.log}`)), START_MS);
      this.process.stdio[3].on("data", (piece) => {
        said += piece;
        const port = said.match(/"event":"listen".*"port":(\d+)/)?.[1];
        if (!port) return;
        clearTimeout(timer);
        resolve(port);
      });
      this.exited.then((code) => {
        clearTimeout(timer);
        reject(new Error(`workerd ended with ${code}:\n${this.log}`));
      });
    });
  }

  async #end(signal) {
    this.process.kill(signal);
    await this.exited;
  }

  stop() {
    return this.#end("SIGTERM");
  }

  kill() {
    return this.#end("SIGKILL");
  }

  // Once more on the same port, over the same objects.
  async restart() {
    await this.stop();
    await this.start();
  }
}

export async function startWorker(options) {
  const host = new WorkerHost(options);
  await host.start();
  return host;
}
