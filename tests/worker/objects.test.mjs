// The objects: what is stored where, the index, restarts, configuration.
import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Host, agent, colony, sleep } from "./host.mjs";

describe("a mesh", () => {
  let host;
  before(async () => (host = await Host.start()));
  after(() => host.end());

  // Whether any database of a mesh has TEXT in it.
  async function isStored(text) {
    const folder = join(host.data, "objects", "warren-MeshObject");
    for (const file of await readdir(folder).catch(() => []))
      if ((await readFile(join(folder, file))).includes(text)) return true;
    return false;
  }

  it("that is asked for but was never registered stores nothing", async () => {
    for (const method of ["LookupColony", "LookupAgent", "DeregisterColony", "AwaitPunch", "PollBootstrapRendezvous"])
      await host.rpc(method, { meshId: "nobody", agentId: "a", waitSeconds: 0 });
    assert.equal(await isStored("CREATE TABLE colonies"), false);
    assert.equal((await host.rpc("LookupColony", { meshId: "nobody" })).status, 404);
    await host.ok("RegisterColony", colony("somebody"));
    assert.equal(await isStored("CREATE TABLE colonies"), true);
  });

  it("that nobody stored anything in can still be waited at, and registered then", async () => {
    const polled = host.ok("PollBootstrapRendezvous", { meshId: "late", waitSeconds: 5 });
    await sleep(100);
    await host.ok("PublishBootstrapRendezvous", { meshId: "late", ciphertext: "AAAA", gcmNonce: "AAAAAAAAAAAAAAAA", writeToken: "AAAA" });
    assert.equal((await polled).records.length, 1);
  });

  it("keeps what it has when there are more than stay open", async () => {
    const names = Array.from({ length: 300 }, (_, i) => `open-${i}`);
    for (let i = 0; i < names.length; i += 20)
      await Promise.all(names.slice(i, i + 20).map((name) => host.ok("RegisterColony", colony(name, { metadata: { name } }))));
    // A poll that is held keeps its mesh open meanwhile.
    const { leaseToken } = await host.ok("RegisterColony", colony("held"));
    const { leaseToken: mine } = await host.ok("RegisterAgent", agent("held", "a"));
    const awaited = host.ok("AwaitPunch", { meshId: "held", leaseToken, waitSeconds: 20 });
    await sleep(100);
    for (let i = 0; i < names.length; i += 20)
      await Promise.all(names.slice(i, i + 20).map(async (name) =>
        assert.equal((await host.ok("LookupColony", { meshId: name })).metadata.name, name)));
    const initiated = host.ok("InitiatePunch", { meshId: "held", agentId: "a", leaseToken: mine, waitSeconds: 5 });
    const { offers } = await awaited;
    assert.equal(offers.length, 1);
    await host.ok("AnswerPunch", { meshId: "held", leaseToken, punchId: offers[0].punchId });
    assert.equal((await initiated).accepted, true);
  });
});

describe("the index", () => {
  let host;
  before(async () => (host = await Host.start({ DEFAULT_TTL_SECONDS: "2" })));
  after(() => host.end());

  const count = async () => (await host.ok("Health")).registeredColonies;
  const whereIs = async (agentId) => {
    const { status, body } = await host.rpc("LookupAgent", { agentId });
    return status === 200 ? body.meshId : status;
  };

  it("counts colonies once, and no longer than they live", async () => {
    await Promise.all(["a", "b", "c"].map((name) => host.ok("RegisterColony", colony(`count-${name}`))));
    await host.ok("RegisterColony", colony("count-a"));
    assert.equal(await count(), 3);
    await host.ok("RegisterAgent", agent("count-d", "x"));
    assert.equal(await count(), 3);
    const { leaseToken } = await host.ok("RegisterColony", colony("count-b"));
    await host.ok("DeregisterColony", { meshId: "count-b", leaseToken });
    assert.equal(await count(), 2);
    await sleep(1000);
    await host.ok("RegisterColony", colony("count-c"));
    await sleep(1500);
    assert.equal(await count(), 1);
    await sleep(1200);
    assert.equal(await count(), 0);
  });

  it("finds an agent by its name alone where it registered first, while it lives", async () => {
    for (const name of ["first", "second", "third"]) {
      await host.ok("RegisterAgent", agent(`find-${name}`, "roamer"));
      await sleep(20);
    }
    assert.equal(await whereIs("roamer"), "find-first");
    const again = await host.ok("RegisterAgent", agent("find-first", "roamer"));
    await host.ok("RegisterAgent", agent("find-third", "roamer"));
    assert.equal(await whereIs("roamer"), "find-first");
    await host.ok("DeregisterAgent", { meshId: "find-first", agentId: "roamer", leaseToken: again.leaseToken });
    assert.equal(await whereIs("roamer"), "find-second");
    await host.ok("RegisterAgent", agent("find-first", "roamer"));
    assert.equal(await whereIs("roamer"), "find-second");
    await sleep(2200);
    assert.equal(await whereIs("roamer"), 404);
  });

  it("knows of every agent that was told it is registered, whatever ends the Worker", async () => {
    const host = await Host.start();
    try {
      const told = [];
      const burst = Promise.all(Array.from({ length: 300 }, (_, i) =>
        host.ok("RegisterAgent", agent(`kill-${i % 7}`, `agent-${i}`)).then(() => told.push(i), () => {})));
      while (told.length < 40) await sleep(5);
      await host.worker.kill();
      await burst;
      await host.worker.start();
      for (const i of told) {
        assert.equal((await host.ok("LookupAgent", { agentId: `agent-${i}` })).meshId, `kill-${i % 7}`);
        await host.ok("LookupAgent", { agentId: `agent-${i}`, meshId: `kill-${i % 7}` });
      }
    } finally {
      await host.end();
    }
  });
});

describe("the configuration", () => {
  it("is refused as a whole when it is wrong, and says in the log what is", async () => {
    for (const vars of [{ DEFAULT_TTL_SECONDS: "soon" }, { LIMIT_FACTOR: "-1" }, { STRICT_KEYS: "maybe" }, { WARREN_SERVER_KEY: "c2hvcnQ=" },
      { WARREN_SERVER_KEY: "*" }, { SERVICE_VERSION: "x".repeat(40) }]) {
      const host = await Host.start(vars);
      try {
        const answer = await fetch(`${host.url}/.well-known/jwks.json`);
        assert.equal(answer.status, 500, JSON.stringify(vars));
        assert.equal(await answer.text(), "Internal Server Error");
        for (let i = 0; i < 100 && !host.worker.log; i++) await sleep(20);
        assert.match(host.worker.log, new RegExp(Object.keys(vars)[0]));
      } finally {
        await host.end();
      }
    }
  });

  it("names STUN servers to those who register", async () => {
    const host = await Host.start({ STUN_SERVERS: "stun.example:3478, stun2.example:3478" });
    try {
      assert.deepEqual((await host.ok("RegisterColony", colony("m"))).stunServers, ["stun.example:3478", "stun2.example:3478"]);
      assert.deepEqual((await host.ok("RegisterAgent", agent("m", "a"))).stunServers, ["stun.example:3478", "stun2.example:3478"]);
    } finally {
      await host.end();
    }
  });
});
