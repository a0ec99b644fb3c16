// HTTP/1.1 on raw sockets: pipelining, pieces, and what no HTTP client would send.
import assert from "node:assert/strict";
import net from "node:net";
import { after, before, describe, it } from "node:test";
import { colonyOf, json, service, sleep, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";

let server;

before(async () => (server = await startHost({ http: "[::]:0", stun: "[::]:0" })));
after(() => server?.stop());

// Sends TEXT on a connection of its own and returns all that comes back until the server closes,
// or for WAIT milliseconds.
function send(text, { wait = 1000, pieces = [] } = {}) {
  return new Promise((resolve) => {
    let answer = "";
    const socket = net.connect(server.port, "127.0.0.1");
    const timer = setTimeout(() => socket.destroy(), wait);
    socket.on("data", (data) => (answer += data));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      resolve(answer);
    });
    socket.write(text);
    (async () => {
      for (const piece of pieces) {
        await sleep(30);
        socket.write(piece);
      }
    })();
  });
}

const statuses = (text) => [...text.matchAll(/HTTP\/1\.1 (\d+) /g)].map((m) => Number(m[1]));

describe("HTTP/1.1", () => {
  it("messages are valid UTF-8 whatever is quoted", async () => {
    const odd = await send(Buffer.from(`POST ${service}/\xff\xfe"\\ HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n`
      + "Connection: close\r\n\r\n{}", "latin1"));
    assert.ok([400, 501].includes(statuses(odd)[0]));
    assert.ok(!odd.includes("\ufffd"));
  });

  it("keeps the connection, serves what was sent ahead in order", async () => {
    const one = (id) => {
      const body = JSON.stringify({ meshId: id });
      return `POST ${service}/LookupColony HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n`
        + `Content-Length: ${body.length}\r\n\r\n${body}`;
    };
    const ids = Array.from({ length: 50 }, (_, i) => `ahead-${i}`);
    const answer = await send(ids.map(one).join("") + "GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert.deepEqual(statuses(answer), [...Array(50).fill(404), 200]);
    assert.deepEqual([...answer.matchAll(/colony (ahead-\d+) not/g)].map((m) => m[1]), ids);
  });

  it("takes chunks, 100-continue, pieces, HTTP/1.0, absolute targets", async () => {
    const chunked = `POST ${service}/Health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n`
      + "Connection: close\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    assert.deepEqual(statuses(await send(chunked)), [200]);
    assert.deepEqual(statuses(await send("", { pieces: chunked.match(/[^]{1,40}/g) })), [200]);
    const expecting = await send(`POST ${service}/Health HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n`
      + "Expect: 100-continue\r\nConnection: close\r\n\r\n", { pieces: ["{}"] });
    assert.deepEqual(statuses(expecting), [100, 200]);
    assert.deepEqual(statuses(await send("GET /health HTTP/1.0\r\n\r\n")), [200]);
    assert.deepEqual(statuses(await send("GET http://h/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), [200]);
    assert.deepEqual(statuses(await send("GET /health?x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")), [200]);
  });

  it("answers a client that has shut its side", async () => {
    const answer = await new Promise((resolve) => {
      let text = "";
      const socket = net.connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true });
      socket.on("data", (data) => (text += data));
      socket.on("end", () => resolve(text) || socket.destroy());
      socket.end(`POST ${service}/Health HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}`);
    });
    assert.deepEqual(statuses(answer), [200]);
  });

  it("HEAD has no body", async () => {
    const answer = await send("HEAD /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert.match(answer, /^HTTP\/1\.1 200 OK\r\n[^]*Content-Length: [1-9][^]*\r\n\r\n$/);
  });

  it("refuses what is malformed or too large, and closes", async () => {
    const cases = [
      ["GET / HTTP/1.1\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400],
      ["GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400],
      ["BOO! / HTTP/1.1\r\nHost: h\r\n\r\n", 400],
      ["\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03", 400],
      [`GET /${"a".repeat(9000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
      [`GET / HTTP/1.1\r\nHost: h\r\nX: ${"a".repeat(20000)}\r\n\r\n`, 431],
      [`GET / HTTP/1.1\r\nHost: h\r\n${"A: b\r\n".repeat(150)}\r\n`, 431],
      [`POST ${service}/Health HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n`, 413],
      [`POST ${service}/Health HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
      [`POST ${service}/Health HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n`, 413],
    ];
    for (const [text, status] of cases) {
      const answer = await send(text, { wait: 3000 });
      assert.deepEqual(statuses(answer), [status], text.slice(0, 60));
      assert.match(answer, /Connection: close/);
    }
  });

  it("the upload of a body that is too large is answered, not reset", async () => {
    const body = "x".repeat(400_000);
    const answer = await server.raw(`${service}/Health`, { method: "POST", headers: json, body });
    assert.equal(answer.status, 413);
  });

  it("stands noise, half-open connections and a thousand visits", async () => {
    const noise = Array.from({ length: 50 }, (_, i) =>
      send(Buffer.from(Array.from({ length: 200 }, (_, k) => (i * 31 + k * k * 7) & 255)), { wait: 300 }));
    await Promise.all(noise);
    for (let i = 0; i < 1000; i += 50)
      await Promise.all(Array.from({ length: 50 }, () => new Promise((resolve) => {
        const socket = net.connect(server.port, "127.0.0.1", () => {
          if (i % 100) socket.write("POST / HTTP/1.1\r\nHo");
          socket.resetAndDestroy ? socket.resetAndDestroy() : socket.destroy();
          resolve();
        });
      })));
    await sleep(200);
    const page = await server.raw("/metrics");
    const open = Number(page.text.match(/warren_connections (\d+)/)[1]);
    assert.ok(open < 20, `${open} connections are open`);
  });

  it("names the STUN server by the name that the client used", async () => {
    const stunServers = async (Host) => {
      const answer = await server.raw(`${service}/RegisterColony`, { method: "POST", headers: { ...json, Host },
        body: JSON.stringify(colonyOf(unique("m"))) });
      return JSON.parse(answer.text).stunServers;
    };
    assert.deepEqual(await stunServers("warren.example:8080"), [`warren.example:${server.stunPort}`]);
    assert.deepEqual(await stunServers("[2001:db8::1]:8080"), [`[2001:db8::1]:${server.stunPort}`]);
    assert.deepEqual(await stunServers("192.0.2.1"), [`192.0.2.1:${server.stunPort}`]);
  });
});
