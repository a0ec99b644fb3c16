// TLS on the HTTP port, and HTTP/2 by ALPN or prior knowledge (node:tls, node:http2, node:https).
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import tls from "node:tls";
import { colonyOf, json, service, sleep, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";
import { binary, killStray } from "./native.mjs";

let dir, server;
const file = (name) => join(dir, name);

// A certificate and its key, signed by itself.
function certificate(name) {
  const { status, stderr } = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-keyout", file(`${name}.key`), "-out", file(`${name}.crt`), "-days", "2", "-subj", `/CN=${name}`,
    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
}
const use = (name) => ["crt", "key"].forEach((kind) => copyFileSync(file(`${name}.${kind}`), file(`server.${kind}`)));
const options = () => ({ args: ["--tls-cert", file("server.crt"), "--tls-key", file("server.key")] });

before(async () => {
  dir = mkdtempSync(join(tmpdir(), "warren-tls-"));
  ["one", "two"].forEach(certificate);
  use("one");
  server = await startHost(options());
});
after(async () => {
  await server?.stop();
  killStray();
  rmSync(dir, { recursive: true });
});

// Shakes hands; what was agreed on, or the error.
function handshake(more = {}) {
  return new Promise((resolve) => {
    const socket = tls.connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false, ...more }, () => {
      resolve({ alpn: socket.alpnProtocol, protocol: socket.getProtocol(), name: socket.getPeerCertificate().subject.CN });
      socket.end();
    });
    socket.on("error", (error) => resolve({ error: error.code ?? error.message }));
  });
}

// One call on a session of HTTP/2: its headers, its text, its trailers.
function call(session, headers, body) {
  return new Promise((resolve, reject) => {
    const stream = session.request({ ":method": body === undefined ? "GET" : "POST", ...headers });
    const answer = { text: "", trailers: {} };
    stream.on("response", (got) => (answer.headers = got));
    stream.on("trailers", (got) => (answer.trailers = got));
    stream.on("data", (data) => (answer.text += data));
    stream.on("end", () => resolve(answer));
    stream.on("error", reject);
    stream.end(body);
  });
}
async function withSession(url, more, steps) {
  const session = http2.connect(url, more);
  session.on("error", () => {});
  try {
    return await steps(session);
  } finally {
    session.destroy();
  }
}
const rpc = (name) => ({ ":path": `${service}/${name}`, "content-type": "application/json" });
const authority = () => ({ ca: readFileSync(file("server.crt")) });

describe("TLS", () => {
  it("agrees on HTTP/2 or HTTP/1.1, as the client prefers what it knows", async () => {
    assert.equal((await handshake({ ALPNProtocols: ["h2", "http/1.1"] })).alpn, "h2");
    assert.equal((await handshake({ ALPNProtocols: ["http/1.1"] })).alpn, "http/1.1");
    assert.equal((await handshake()).alpn, false);
  });

  it("is of version 1.2 or 1.3", async () => {
    assert.equal((await handshake()).protocol, "TLSv1.3");
    assert.equal((await handshake({ maxVersion: "TLSv1.2" })).protocol, "TLSv1.2");
    const old = await handshake({ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" });
    assert.ok(old.error, JSON.stringify(old));
  });

  it("serves HTTP/1.1", async () => {
    const text = await new Promise((resolve, reject) => {
      const request = https.request({ ...authority(), port: server.port, host: "127.0.0.1", path: `${service}/LookupColony`, method: "POST",
        headers: json, agent: false }, (response) => {
        let got = "";
        response.on("data", (data) => (got += data));
        response.on("end", () => resolve(got));
      });
      request.on("error", reject);
      request.end("{\"meshId\":\"nowhere\"}");
    });
    assert.equal(JSON.parse(text).code, "not_found");
  });

  it("serves HTTP/2", () => withSession(`https://127.0.0.1:${server.port}`, authority(), async (session) => {
    const meshId = unique("m");
    const registered = await call(session, rpc("RegisterColony"), JSON.stringify(colonyOf(meshId)));
    assert.equal(registered.headers[":status"], 200);
    assert.deepEqual(JSON.parse(registered.text).stunServers, [`127.0.0.1:${server.stunPort}`]);
    assert.equal(JSON.parse((await call(session, rpc("LookupColony"), JSON.stringify({ meshId }))).text).meshId, meshId);
  }));

  it("shares its port with plain HTTP", async () => {
    assert.equal((await server.raw("/health")).status, 200);
    await withSession(server.url, {}, async (session) =>
      assert.equal((await call(session, { ":path": "/health" })).headers[":status"], 200));
  });

  it("a client that only seems to speak it is dropped, and nobody else", async () => {
    for (const text of ["\x16\x03\x01\x00\x05hello", "\x16\x03\x01\xff\xff", `\x16${"\x16".repeat(20000)}`])
      await new Promise((resolve) => {
        const socket = net.connect(server.port, "127.0.0.1");
        socket.on("error", () => {}).on("close", resolve).resume();
        socket.write(Buffer.from(text, "latin1"));
        setTimeout(() => socket.destroy(), 300);
      });
    assert.equal((await handshake()).name, "one");
  });

  it("large bodies go through whole", () => withSession(`https://127.0.0.1:${server.port}`, authority(), async (session) => {
    const meshId = unique("m");
    const fields = { publicEndpoint: { caCert: "c".repeat(16384) }, metadata: Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`k${i}`, "v".repeat(512)])) };
    await call(session, rpc("RegisterColony"), JSON.stringify(colonyOf(meshId, fields)));
    const all = await Promise.all(Array.from({ length: 50 }, () => call(session, rpc("LookupColony"), JSON.stringify({ meshId }))));
    for (const { text } of all) assert.deepEqual(JSON.parse(text).metadata, fields.metadata);
    const large = await call(session, rpc("Health"), `{"x":"${"x".repeat(400_000)}"}`).catch((error) => ({ error }));
    assert.ok(large.error || large.headers[":status"] === 413);
  }));
});

describe("SIGHUP", () => {
  const until = async (condition) => {
    for (let i = 0; i < 50 && !(await condition()); i++) await sleep(50);
    assert.ok(await condition());
  };

  it("takes up a new certificate; open connections go on", () =>
    withSession(`https://127.0.0.1:${server.port}`, authority(), async (session) => {
      assert.equal((await call(session, rpc("Health"), "{}")).headers[":status"], 200);
      use("two");
      server.process.kill("SIGHUP");
      await until(async () => (await handshake()).name === "two");
      assert.equal((await call(session, rpc("Health"), "{}")).headers[":status"], 200);
    }));

  it("keeps the old one when the new one is no good, and says so", async () => {
    const now = (await handshake()).name, length = server.log.length;
    for (const spoil of [() => writeFileSync(file("server.crt"), "not a certificate"),
      () => copyFileSync(file(now === "one" ? "two.key" : "one.key"), file("server.key"))]) {
      use(now);
      spoil();
      const before = server.log.length;
      server.process.kill("SIGHUP");
      await until(() => /certificate/.test(server.log.slice(before)));
      assert.equal((await handshake()).name, now);
    }
    assert.ok(!server.log.slice(length).includes("PRIVATE KEY"));
    use(now);
    server.process.kill("SIGHUP");
    assert.equal((await server.raw("/health")).status, 200);
  });
});

describe("a start with certificates that cannot be used", () => {
  const run = (...args) => spawnSync(binary, ["server", "--http", "127.0.0.1:0", "--stun", "127.0.0.1:0", "--data", file("data"), ...args],
    { encoding: "utf8", timeout: 5000 });

  it("is explained", () => {
    writeFileSync(file("broken"), "not a certificate");
    const cases = [[file("absent"), file("one.key"), 1], [file("one.crt"), file("absent"), 1], [file("broken"), file("one.key"), 1],
      [file("one.crt"), file("broken"), 1], [file("one.crt"), file("two.key"), 1]];
    for (const [cert, key, code] of cases) {
      const { status, stderr } = run("--tls-cert", cert, "--tls-key", key);
      assert.equal(status, code, stderr);
      assert.match(stderr, /^warren: server: .+\n$/);
    }
    assert.equal(run("--tls-cert", file("one.crt")).status, 2);
    assert.equal(run("--tls-key", file("one.key")).status, 2);
  });
});

describe("HTTP/2 with prior knowledge", () => {
  const session = (steps) => withSession(server.url, {}, steps);

  it("serves what HTTP/1.1 serves", () => session(async (s) => {
    assert.equal((await call(s, { ":path": "/nope" })).headers[":status"], 404);
    assert.equal((await call(s, { ":path": `${service}/Health` })).headers[":status"], 405);
    assert.equal((await call(s, { ":path": `${service}/Nonsense` }, "{}")).headers[":status"], 501);
    assert.equal((await call(s, rpc("LookupColony"), "{")).headers[":status"], 400);
    assert.equal((await call(s, { ...rpc("Health"), "content-type": "text/plain" }, "{}")).headers[":status"], 415);
  }));

  it("streams do not wait for one another", () => session(async (s) => {
    const meshId = unique("m");
    const held = Array.from({ length: 50 }, () => call(s, rpc("PollBootstrapRendezvous"), JSON.stringify({ meshId, waitSeconds: 1 })));
    const began = performance.now();
    assert.equal((await call(s, rpc("Health"), "{}")).headers[":status"], 200);
    assert.ok(performance.now() - began < 500);
    await Promise.all(held);
  }));

  it("gRPC's errors are trailers alone, and its status is 200", () => session(async (s) => {
    const grpc = { ":path": `${service}/LookupColony`, "content-type": "application/grpc", te: "trailers" };
    const { headers, trailers, text } = await call(s, grpc, Buffer.alloc(5));
    assert.equal(headers[":status"], 200);
    assert.match(headers["content-type"], /^application\/grpc/);
    assert.equal(trailers["grpc-status"] ?? headers["grpc-status"], "3");
    assert.equal(text, "");
  }));

  it("a stream that is reset is forgotten", () => session(async (s) => {
    const before = await server.raw("/metrics");
    for (let i = 0; i < 20; i++) {
      const stream = s.request({ ":method": "POST", ...rpc("PollBootstrapRendezvous") });
      stream.on("error", () => {});
      stream.end(JSON.stringify({ meshId: unique("m") }));
      await sleep(5);
      stream.close(http2.constants.NGHTTP2_CANCEL);
    }
    await sleep(200);
    const held = ({ text }) => text.match(/warren_held_calls (\d+)/)[1];
    assert.equal(held(await server.raw("/metrics")), held(before));
  }));

  it("noise after the preface ends the connection, and nothing else", async () => {
    for (const noise of ["\xff".repeat(100), "\0".repeat(1000), "\0\0\x04\x08\0\0\0\0\0\0\0\0\0", "\0\xff\xff\x01\x04\0\0\0\x01" + "a".repeat(70000)])
      await new Promise((resolve) => {
        const socket = net.connect(server.port, "127.0.0.1");
        socket.on("error", () => {}).on("close", resolve).resume();
        socket.write(Buffer.from(`PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0${noise}`, "latin1"));
        setTimeout(() => socket.destroy(), 500);
      });
    assert.equal((await server.raw("/health")).status, 200);
  });
});
