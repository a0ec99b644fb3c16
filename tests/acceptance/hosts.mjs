// The two hosts of the server, started the same way. HOST in the environment chooses: native, the
// binary that WARREN names, or worker, the Worker that `make worker` built, in workerd.
import { startNative } from "./native.mjs";
import { startWorker } from "./worker.mjs";

export const kind = process.env.HOST ?? "native";
const starters = { native: startNative, worker: startWorker };
if (!(kind in starters)) throw new Error(`HOST=${kind}: there are native and worker`);

// What a host does not offer at all, with the reason. All else is tested on both.
const absent = {
  native: {},
  worker: {
    h2: "workerd gives Workers HTTP/1.1; HTTP/2 and TLS end at Cloudflare's edge",
    grpc: "a Worker cannot send trailers, which gRPC needs",
    tls: "TLS ends at Cloudflare's edge",
    sockets: "what no HTTP client sends is answered by Cloudflare's edge, not by the Worker",
    stun: "Workers have no UDP",
    metrics: "no object sees all the others; Cloudflare's own analytics count the requests",
    proxies: "Cloudflare's edge sets CF-Connecting-IP itself, and no other proxy is trusted",
    leaving: "workerd sees that a client has gone only when it answers; calls are held until their time is over",
    files: "there is no disk of its own, no command line and no log file",
    "made keys": "secrets are configured: a Worker cannot keep what it made up",
  },
};

// The options of a test or suite about WHAT: skipped, with the reason, where the host has none of it.
export const offered = (what) => ({ skip: absent[kind][what] ?? false });
export const can = (what) => !(what in absent[kind]);

// Starts the chosen host. OPTIONS, the same for both:
//   ttl           seconds that a registration lasts
//   signingKey    { id, privateKey } of bootstrap tokens, "none"; by default the host's own way
//   previousKeys  list of { id, publicKey }: keys that signed before
//   limitFactor   multiplies the rate limits, 0: none
//   strictKeys    refuse public keys that are none
// Both believe CF-Connecting-IP. The Client that comes back also has stop(); restart(more) and
// crash(more), which end it in an orderly way or by SIGKILL and start it again on what it stored,
// with MORE of the options changed.
export const startHost = (options = {}) => starters[kind](options);
