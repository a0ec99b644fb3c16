// Independent clients on the command line: `buf curl`, by each protocol, and curl.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { colonyOf, service, unique } from "./client.mjs";
import { offered, startHost } from "./hosts.mjs";
import { folder, run, schemaRoot } from "./packages.mjs";

let server, home;

before(async () => {
  server = await startHost();
  home = mkdtempSync(join(tmpdir(), "warren-buf-"));
});
after(async () => {
  await server?.stop();
  rmSync(home, { recursive: true, force: true });
});

describe("buf curl", () => {
  function call(options, method, request) {
    const { status, stdout, stderr } = run(join(folder, "node_modules/.bin/buf"), ["curl", "--schema", schemaRoot, ...options,
      "-d", JSON.stringify(request), `${server.url}${service}/${method}`], { env: { ...process.env, HOME: home, BUF_CACHE_DIR: home } });
    return status === 0 ? JSON.parse(stdout) : JSON.parse(stderr);
  }
  const protocols = [["Connect", ["--protocol", "connect"], ""], ["gRPC-Web", ["--protocol", "grpcweb"], ""],
    ["gRPC", ["--protocol", "grpc", "--http2-prior-knowledge"], "grpc"],
    ["Connect over HTTP/2", ["--protocol", "connect", "--http2-prior-knowledge"], "h2"]];
  for (const [name, options, what] of protocols)
    it(`calls by ${name}`, offered(what), () => {
      const meshId = unique("m");
      const registered = call(options, "RegisterColony", colonyOf(meshId));
      assert.equal(registered.ttl, 300);
      assert.equal(call(options, "LookupColony", { meshId }).pubkey, colonyOf(meshId).pubkey);
      const failed = call(options, "LookupColony", { meshId: "nowhere" });
      assert.equal(failed.code, "not_found");
      assert.equal(failed.message, "colony nowhere not found");
    });
});

describe("curl", () => {
  const curl = (...args) => run("curl", ["-sS", "-o", "-", "-w", "\n%{http_version} %{http_code}", ...args]).stdout.split("\n");
  const versions = [["HTTP/1.1", "--http1.1", "1.1", ""], ["HTTP/2 with prior knowledge", "--http2-prior-knowledge", "2", "h2"],
    ["the offer to upgrade to HTTP/2, which may be declined", "--http2", "1.1", ""]];
  for (const [name, option, version, what] of versions)
    it(`calls by ${name}`, offered(what), () => {
      const [body, status] = curl(option, "-H", "Content-Type: application/json", "-d", "{\"meshId\":\"nowhere\"}",
        `${server.url}${service}/LookupColony`);
      assert.equal(status, `${version} 404`);
      assert.deepEqual(JSON.parse(body), { code: "not_found", message: "colony nowhere not found" });
      const [page, ok] = curl(option, `${server.url}/health`);
      assert.equal(ok, `${version} 200`);
      assert.equal(JSON.parse(page).status, "ok");
    });

  it("uploads with Expect: 100-continue, in chunks, compressed answers welcome", () => {
    for (const header of ["Expect: 100-continue", "Transfer-Encoding: chunked"]) {
      const [body] = curl("--compressed", "-H", header, "-H", "Content-Type: application/json", "-d", "{}", `${server.url}${service}/Health`);
      assert.equal(JSON.parse(body).status, "ok");
    }
  });
});
