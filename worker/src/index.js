// The edge: every request comes in here.
import { configOf, machineOf } from "./config.js";
import { PREFIX, rpc, textError } from "./rpc.js";

export { MeshObject } from "./mesh.js";
export { IndexObject } from "./index-object.js";
export { ProbeObject } from "./probe-object.js";

const JWKS_MAX_AGE_S = 300, JWKS_WRONG_MAX_AGE_S = 60;

function jwks(env) {
  const machine = machineOf(env);
  return new Response(machine.jwks(), { headers: { "content-type": "application/json",
    "cache-control": `public, max-age=${machine.keysWrong ? JWKS_WRONG_MAX_AGE_S : JWKS_MAX_AGE_S}` } });
}

const pages = {
  "/health": (env) => Response.json({ status: "ok", version: configOf(env).version }),
  "/.well-known/jwks.json": jwks,
};

function page(request, env, show) {
  if (request.method !== "GET" && request.method !== "HEAD")
    return textError(405, { allow: "GET, HEAD" });
  const response = show(env);
  return request.method === "HEAD" ? new Response(null, response) : response;
}

export default {
  async fetch(request, env) {
    try {
      const url = new URL(request.url);
      configOf(env);
      if (url.pathname.startsWith(PREFIX)) return await rpc(request, env, url);
      return Object.hasOwn(pages, url.pathname) ? page(request, env, pages[url.pathname]) : textError(404);
    } catch (error) {
      console.error(`error edge: ${error.stack ?? error}`);
      return new Response("Internal Server Error", { status: 500 });
    }
  },
};
