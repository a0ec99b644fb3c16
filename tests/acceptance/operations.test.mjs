// The binary as a process: starting, stopping, files, a full disk, what it logs.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { agentOf, colonyOf, sleep } from "./client.mjs";
import { startHost } from "./hosts.mjs";
import { binary, killStray } from "./native.mjs";

after(killStray);

const run = (...args) => spawnSync(binary, ["server", ...args], { encoding: "utf8", timeout: 5000 });

describe("storage", () => {
  it("a full disk is an error, and loses nothing that was acknowledged", async () => {
    const server = await startHost({ fileBlocks: 4000 });
    const metadata = { filler: "x".repeat(500) };
    const acknowledged = [];
    let refused;
    for (let i = 0; i < 2000 && !refused; i++) {
      const answer = await server.rpc("RegisterAgent", agentOf("m", `a${i}`, { metadata }));
      if (answer.status === 200) acknowledged.push(`a${i}`);
      else refused = answer;
    }
    assert.equal(refused.status, 503);
    assert.equal(refused.body.code, "unavailable");
    assert.ok(acknowledged.length > 10);
    assert.equal((await server.raw("/health")).status, 200);
    assert.equal((await server.rpc("LookupAgent", { meshId: "m", agentId: "a0" })).status, 200, "reads go on");
    await server.crash({ fileBlocks: undefined });
    for (const agentId of acknowledged)
      assert.equal((await server.rpc("LookupAgent", { meshId: "m", agentId })).status, 200, agentId);
    assert.equal((await server.rpc("RegisterAgent", agentOf("m", "later"))).status, 200);
    await server.stop();
  });

  it("files are private", async () => {
    const server = await startHost();
    await server.ok("RegisterColony", colonyOf("m"));
    for (const name of ["server.db", "server.db-wal", "server.lock"])
      assert.equal((await stat(join(server.data, name))).mode & 0o777, 0o600, name);
    await server.stop();
  });
});

describe("the log", () => {
  it("shows no token and no key", async () => {
    const server = await startHost({ args: ["--log-level", "trace"] });
    const { leaseToken } = await server.ok("RegisterColony", colonyOf("m"));
    await server.rpc("AwaitPunch", { meshId: "m", leaseToken, waitSeconds: 0 });
    await server.stop();
    assert.match(server.log, /info server: RegisterColony mesh=m client=127\.0\.0\.1 code=ok/);
    assert.ok(!server.log.includes(leaseToken.slice(0, 12)));
    assert.ok(!server.log.includes(colonyOf("m").pubkey));
  });
});

describe("stopping", () => {
  it("answers what is held, and ends well", async () => {
    const server = await startHost();
    const { leaseToken } = await server.ok("RegisterColony", colonyOf("m"));
    const agent = await server.ok("RegisterAgent", agentOf("m", "a"));
    const idle = net.connect(server.port, "127.0.0.1");
    idle.on("error", () => {});
    const initiated = server.rpc("InitiatePunch", { meshId: "m", agentId: "a", leaseToken: agent.leaseToken });
    await sleep(50);
    await server.rpc("AwaitPunch", { meshId: "m", leaseToken });
    const polled = server.rpc("AwaitPunch", { meshId: "m", leaseToken });
    await sleep(100);
    const began = Date.now();
    const ended = server.terminate();
    assert.deepEqual((await polled).body, { offers: [], timedOut: true });
    assert.equal((await initiated).body.accepted, false);
    assert.deepEqual(await ended, { code: 0, signal: null });
    assert.ok(Date.now() - began < 5000);
    idle.destroy();
    await rm(server.data, { recursive: true });
  });

  it("does not wait for ever for a client that stalls", async () => {
    const server = await startHost();
    const socket = net.connect(server.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write("POST /health HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx");
    await sleep(100);
    const began = Date.now();
    assert.deepEqual(await server.terminate(), { code: 0, signal: null });
    assert.ok(Date.now() - began < 5000);
    socket.destroy();
    await rm(server.data, { recursive: true });
  });
});

describe("starting", () => {
  it("two servers cannot share their data", async () => {
    const server = await startHost();
    const second = run("--http", "127.0.0.1:0", "--stun", "127.0.0.1:0", "--data", server.data);
    assert.equal(second.status, 1);
    assert.match(second.stderr, /^warren: server: another server is using .*\n$/);
    assert.equal(second.stdout, "");
    await server.stop();
  });

  it("a port that is taken is named", async () => {
    const server = await startHost();
    const data = await mkdtemp(join(tmpdir(), "warren-acceptance-"));
    const http = run("--http", `127.0.0.1:${server.port}`, "--stun", "127.0.0.1:0", "--data", data);
    assert.equal(http.status, 1);
    assert.match(http.stderr, /^warren: server: cannot listen for HTTP on 127\.0\.0\.1:\d+: address already in use.*\n$/);
    const stun = run("--http", "127.0.0.1:0", "--stun", `127.0.0.1:${server.stunPort}`, "--data", data);
    assert.equal(stun.status, 1);
    assert.match(stun.stderr, /cannot listen for STUN .*address already in use/);
    await server.stop();
    await rm(data, { recursive: true });
  });

  it("wrong usage is told apart", () => {
    for (const args of [["--http", "nowhere"], ["--http", "1.2.3.4:99999"], ["--ttl", "0"], ["--ttl", "x"],
      ["--trust-proxy", "10/8"], ["--log-level", "loud"], ["--frobnicate"], ["extra"]]) {
      const { status, stderr } = run(...args);
      assert.equal(status, 2, args.join(" "));
      assert.match(stderr, /^warren: .*\n$/);
    }
    const help = run("--help");
    assert.equal(help.status, 0);
    assert.match(help.stdout, /--trust-proxy CIDR/);
  });

  it("data that cannot be used is explained", async () => {
    const dir = await mkdtemp(join(tmpdir(), "warren-acceptance-"));
    await writeFile(join(dir, "server.db"), "not a database ".repeat(100));
    const broken = run("--http", "127.0.0.1:0", "--stun", "127.0.0.1:0", "--data", dir);
    assert.equal(broken.status, 1);
    assert.match(broken.stderr, /^warren: server: cannot open .*server\.db: file is not a database\n$/);
    const file = run("--http", "127.0.0.1:0", "--stun", "127.0.0.1:0", "--data", join(dir, "server.db"));
    assert.equal(file.status, 1);
    await rm(dir, { recursive: true });
  });

  it("serves both families on [::], and shows IPv4 clients as IPv4", async () => {
    const server = await startHost({ http: "[::]:0", stun: "[::]:0" });
    assert.match(server.line, /^warren: serving http=\[::\]:\d+ stun=\[::\]:\d+$/);
    await server.ok("Health", {});
    const six = await fetch(`http://[::1]:${server.port}/health`).then((r) => r.status, () => "no IPv6 here");
    assert.ok(six === 200 || six === "no IPv6 here");
    await server.stop();
    assert.match(server.log, /Health mesh=unknown client=127\.0\.0\.1 /);
  });
});
