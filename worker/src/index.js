// The edge: every request comes in here.
import { configOf, machineOf } from "./config.js";
import { PREFIX, rpc } from "./rpc.js";

export { MeshObject } from "./mesh.js";
export { IndexObject } from "./index-object.js";
export { ProbeObject } from "./probe-object.js";

const JWKS_MAX_AGE_S = 300;

const pages = {
  "/health": (env) => Response.json({ status: "ok", version: configOf(env).version }),
  "/.well-known/jwks.json": (env) => new Response(machineOf(env).jwks(), { headers: {
    "content-type": "application/json", "cache-control": `public, max-age=${JWKS_MAX_AGE_S}` } }),
};

function page(request, env, show) {
  if (request.method !== "GET" && request.method !== "HEAD")
    return new Response("Method Not Allowed", { status: 405, headers: { allow: "GET, HEAD" } });
  const response = show(env);
  return request.method === "HEAD" ? new Response(null, response) : response;
}

export default {
  async fetch(request, env) {
    try {
      const { pathname } = new URL(request.url);
      configOf(env);
      if (pathname.startsWith(PREFIX)) return await rpc(request, env, pathname.slice(PREFIX.length));
      return Object.hasOwn(pages, pathname) ? page(request, env, pages[pathname]) : new Response("Not Found", { status: 404 });
    } catch (error) {
      console.error(`error edge: ${error.stack ?? error}`);
      return new Response("Internal Server Error", { status: 500 });
    }
  },
};
