// The STUN responder, asked with datagrams made here.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import dgram from "node:dgram";
import { after, before, describe, it } from "node:test";
import { startHost } from "./hosts.mjs";

const cookie = Buffer.from([0x21, 0x12, 0xa4, 0x42]);
let server;

before(async () => (server = await startHost({ http: "[::]:0", stun: "[::]:0" })));
after(() => server?.stop());

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

function attribute(type, value) {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc(-value.length & 3)]);
}

function message(type, attributes = [], fingerprint = false) {
  const body = Buffer.concat(attributes);
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(body.length + (fingerprint ? 8 : 0), 2);
  const plain = Buffer.concat([head, cookie, randomBytes(12), body]);
  if (!fingerprint) return plain;
  const value = Buffer.alloc(4);
  value.writeUInt32BE((crc32(plain) ^ 0x5354554e) >>> 0);
  return Buffer.concat([plain, attribute(0x8028, value)]);
}

// The answer to REQUEST, or undefined when none comes.
function ask(request, host = "127.0.0.1") {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(host.includes(":") ? "udp6" : "udp4");
    const done = (answer) => {
      clearTimeout(timer);
      const port = socket.address().port;
      socket.close();
      resolve(answer && { ...answer, port });
    };
    const timer = setTimeout(() => done(undefined), 300);
    socket.on("message", (bytes, from) => done({ bytes, from }));
    socket.on("error", () => done(undefined));
    socket.send(request, server.stunPort, host);
  });
}

function attributes(bytes) {
  const found = new Map();
  for (let at = 20; at < bytes.length;) {
    const length = bytes.readUInt16BE(at + 2);
    found.set(bytes.readUInt16BE(at), bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length + (-length & 3);
  }
  return found;
}

describe("STUN", () => {
  it("tells the client's address and its own", async () => {
    const request = message(0x0001);
    const { bytes, from, port } = await ask(request);
    assert.equal(from.port, server.stunPort);
    assert.equal(from.address, "127.0.0.1");
    assert.equal(bytes.readUInt16BE(0), 0x0101);
    assert.equal(bytes.readUInt16BE(2), bytes.length - 20);
    assert.deepEqual(bytes.subarray(4, 20), request.subarray(4, 20));
    const found = attributes(bytes);
    const mapped = found.get(0x0020);
    assert.equal(mapped[1], 1);
    assert.equal(mapped.readUInt16BE(2) ^ 0x2112, port);
    assert.deepEqual([...mapped.subarray(4)].map((b, i) => b ^ cookie[i]), [127, 0, 0, 1]);
    const origin = found.get(0x802b);
    assert.equal(origin.readUInt16BE(2), server.stunPort);
    assert.deepEqual([...origin.subarray(4)], [127, 0, 0, 1]);
    assert.equal(found.has(0x8028), false);
  });

  it("answers with a fingerprint when it was asked with one", async () => {
    const { bytes } = await ask(message(0x0001, [], true));
    const value = attributes(bytes).get(0x8028);
    assert.equal(value.readUInt32BE(), (crc32(bytes.subarray(0, -8)) ^ 0x5354554e) >>> 0);
  });

  it("answers from the address that was asked", async () => {
    const { bytes, from } = await ask(message(0x0001), "127.0.0.2");
    assert.equal(from.address, "127.0.0.2");
    assert.deepEqual([...attributes(bytes).get(0x802b).subarray(4)], [127, 0, 0, 2]);
  });

  it("IPv6", async () => {
    const answer = await ask(message(0x0001), "::1");
    if (!answer) return; // no IPv6 here
    const mapped = attributes(answer.bytes).get(0x0020);
    assert.equal(mapped[1], 2);
    assert.equal(mapped.length, 20);
  });

  it("refuses what it must understand and does not", async () => {
    const { bytes } = await ask(message(0x0001, [attribute(0x7777, Buffer.alloc(5)), attribute(0xc001, Buffer.alloc(1))]));
    assert.equal(bytes.readUInt16BE(0), 0x0111);
    const found = attributes(bytes);
    assert.deepEqual([...found.get(0x0009).subarray(2, 4)], [4, 20]);
    assert.deepEqual([...found.get(0x000a)], [0x77, 0x77]);
  });

  it("is silent on all else", async () => {
    const damaged = message(0x0001, [], true);
    damaged[damaged.length - 1] ^= 1;
    const wrongLength = message(0x0001);
    wrongLength.writeUInt16BE(4, 2);
    const silent = [message(0x0011), message(0x0101), message(0x0111), message(0x0003), damaged, wrongLength,
      Buffer.alloc(0), Buffer.alloc(148, 1), message(0x0001).subarray(0, 19), Buffer.alloc(1472, 0xff)];
    const answers = await Promise.all(silent.map((bytes) => ask(bytes)));
    assert.deepEqual(answers.map((a) => a === undefined), silent.map(() => true));
    assert.ok(await ask(message(0x0001)));
  });
});
