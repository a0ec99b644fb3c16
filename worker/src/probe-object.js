// Reachability probes (discovery.md 4.2): one object for all meshes, because their quota is one. It
// dials itself, so that a slot is given back whatever becomes of who asked.
import { DurableObject } from "cloudflare:workers";
import { connect } from "cloudflare:sockets";
import { machineOf } from "./config.js";

const TIMEOUT_MS = 2000;
const REACHED = 0, FAILED = 1, REFUSED = 2; // enum probe_result

async function dial(address) {
  const socket = connect(address);
  const timeout = new Promise((resolve) => setTimeout(resolve, TIMEOUT_MS, FAILED));
  const opened = socket.opened.then(() => REACHED, () => FAILED);
  socket.closed.catch(() => {});
  try {
    return await Promise.race([opened, timeout]);
  } finally {
    socket.close().catch(() => {});
  }
}

export class ProbeObject extends DurableObject {
  // A machine that stopped takes the quota's memory with it, as a restart does.
  #ready() {
    const machine = machineOf(this.env);
    if (this.machine !== machine) this.quota = machine.newQuota();
    this.machine = machine;
    if (!this.quota) throw new Error("the machine is out of memory");
  }

  // Dials TARGET for SOURCE: {result, reason}.
  async probe(source, target) {
    this.#ready();
    const { machine, quota } = this;
    const reason = machine.acquire(quota, source, target);
    if (reason !== null) return { result: REFUSED, reason };
    try {
      const address = machine.probeAddress(target);
      return { result: address ? await dial(address) : FAILED, reason: "" };
    } catch {
      return { result: FAILED, reason: "" };
    } finally {
      if (!machine.broken) machine.release(quota);
    }
  }
}
