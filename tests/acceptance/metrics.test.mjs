// /metrics in OpenMetrics, and /stats (discovery.md section 7).
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, isIn, sleep, unique } from "./client.mjs";
import { startHost } from "./hosts.mjs";

let server;

before(async () => (server = await startHost()));
after(() => server?.stop());

// Reads OpenMetrics 1.0 strictly; samples by "name{labels}", families by name.
function parse(text) {
  assert.ok(text.endsWith("# EOF\n"), "ends with EOF");
  const families = new Map(), samples = new Map(), suffixes = { counter: ["_total", "_created"], gauge: [""], info: ["_info"],
    histogram: ["_bucket", "_sum", "_count", "_created"], unknown: [""], stateset: [""], summary: ["", "_sum", "_count", "_created"] };
  let current;
  for (const line of text.slice(0, -"# EOF\n".length).split("\n").slice(0, -1)) {
    const meta = line.match(/^# (TYPE|HELP|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/);
    if (meta) {
      const [, kind, name, value] = meta;
      if (current?.name !== name) {
        assert.ok(!families.has(name), `${name} comes in one piece`);
        families.set(name, (current = { name, samples: 0 }));
      }
      assert.equal(current.samples, 0, `${line} comes before the samples`);
      assert.ok(!(kind in current), `${line} comes once`);
      current[kind] = value;
      if (kind === "TYPE") assert.ok(value in suffixes, line);
      if (kind === "UNIT") assert.ok(name.endsWith(`_${value}`), line);
      continue;
    }
    const sample = line.match(/^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)$/);
    assert.ok(sample, `cannot read: ${line}`);
    const [, name, labels = "", value] = sample;
    assert.ok(suffixes[current.TYPE].some((suffix) => current.name + suffix === name), `${name} belongs to ${current.name}`);
    assert.ok(Number.isFinite(Number(value)), line);
    assert.ok(!samples.has(name + labels), `${name}${labels} comes once`);
    samples.set(name + labels, Number(value));
    current.samples++;
  }
  for (const { name, TYPE } of families.values()) if (TYPE === "histogram") checkHistogram(name, samples);
  return { families, samples, of: (name) => samples.get(name) ?? 0 };
}

function checkHistogram(name, samples) {
  const series = new Map();
  for (const [key, value] of samples) {
    const match = key.match(new RegExp(`^${name}_bucket\\{(.*?),?le="([^"]+)"\\}$`));
    if (!match) continue;
    const bound = match[2] === "+Inf" ? Infinity : Number(match[2]);
    series.set(match[1], [...(series.get(match[1]) ?? []), [bound, value]]);
  }
  for (const [labels, buckets] of series) {
    for (let i = 1; i < buckets.length; i++)
      assert.ok(buckets[i][0] > buckets[i - 1][0] && buckets[i][1] >= buckets[i - 1][1], `${name}{${labels}} rises`);
    assert.equal(buckets.at(-1)[0], Infinity);
    assert.equal(buckets.at(-1)[1], samples.get(`${name}_count${labels && `{${labels}}`}`), `${name}{${labels}} counts all`);
  }
}

async function scrape() {
  const page = await server.raw("/metrics");
  assert.equal(page.status, 200);
  assert.equal(page.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
  return { text: page.text, ...parse(page.text) };
}

describe("/metrics", () => {
  it("are OpenMetrics, and explain themselves", async () => {
    const { families } = await scrape();
    for (const { name, HELP, TYPE } of families.values()) assert.ok(HELP && TYPE, name);
  });

  it("count calls by method and code, and measure them", async () => {
    const before = await scrape(), meshId = unique("m");
    await server.ok("RegisterColony", colonyOf(meshId));
    await server.ok("LookupColony", { meshId });
    await server.rpc("LookupColony", { meshId: "nowhere" });
    await server.rpc("LookupColony", {});
    const now = await scrape();
    const more = (name) => now.of(name) - before.of(name);
    assert.equal(more("warren_rpcs_total{method=\"RegisterColony\",code=\"ok\"}"), 1);
    assert.equal(more("warren_rpcs_total{method=\"LookupColony\",code=\"ok\"}"), 1);
    assert.equal(more("warren_rpcs_total{method=\"LookupColony\",code=\"not_found\"}"), 1);
    assert.equal(more("warren_rpcs_total{method=\"LookupColony\",code=\"invalid_argument\"}"), 1);
    const histograms = [...now.families.values()].filter(({ TYPE }) => TYPE === "histogram").map(({ name }) => name);
    assert.ok(histograms.some((name) => /seconds$/.test(name)), "latency");
    assert.ok(histograms.some((name) => /commit|batch/.test(name)), "size of commits");
  });

  it("show what lives", async () => {
    const before = await scrape(), meshId = unique("m");
    const { leaseToken } = await server.ok("RegisterColony", colonyOf(meshId));
    await server.ok("RegisterAgent", agentOf(meshId, "a"));
    await server.ok("RegisterAgent", agentOf(meshId, "b"));
    const now = await scrape();
    assert.equal(now.of("warren_colonies") - before.of("warren_colonies"), 1);
    assert.equal(now.of("warren_agents") - before.of("warren_agents"), 2);
    await server.ok("DeregisterColony", { meshId, leaseToken });
    assert.equal((await scrape()).of("warren_colonies"), before.of("warren_colonies"));
    const polled = server.rpc("PollBootstrapRendezvous", { meshId, waitSeconds: 1 });
    await sleep(100);
    assert.equal((await scrape()).of("warren_held_calls"), 1);
    await polled;
    assert.equal((await scrape()).of("warren_held_calls"), 0);
  });

  it("count punches by outcome, and refusals by limits", async () => {
    const sum = ({ samples }, pattern) => [...samples].reduce((all, [key, value]) => (pattern.test(key) ? all + value : all), 0);
    const before = await scrape(), meshId = unique("m");
    const { leaseToken } = await server.ok("RegisterColony", colonyOf(meshId));
    const agent = await server.ok("RegisterAgent", agentOf(meshId, "a"));
    const initiated = server.rpc("InitiatePunch", { meshId, agentId: "a", leaseToken: agent.leaseToken });
    const { offers } = await server.ok("AwaitPunch", { meshId, leaseToken });
    await server.ok("AnswerPunch", { meshId, leaseToken, punchId: offers[0].punchId });
    await initiated;
    for (const token of [leaseToken, leaseToken, agent.leaseToken])
      await server.ok("ReportPunch", { meshId, punchId: offers[0].punchId, leaseToken: token, outcome: "PUNCH_OUTCOME_DIRECT", durationMs: 9 });
    let refusals = 0;
    for (let i = 0; i < 12; i++) refusals += (await server.rpc("PollBootstrapRendezvous", { meshId, waitSeconds: 0 })).status === 429;
    const now = await scrape();
    const direct = /^warren_punch\w*_total\{.*direct/;
    assert.equal(sum(now, direct) - sum(before, direct), 1, "each punch by its first report");
    const limited = /^warren_\w*limit\w*_total\{.*mesh/;
    assert.ok(refusals > 0);
    assert.equal(sum(now, limited) - sum(before, limited), refusals);
  });

  it("name no mesh, no agent, no address", async () => {
    const meshId = unique("secret"), agentId = unique("hidden");
    await server.ok("RegisterColony", colonyOf(meshId), { "CF-Connecting-IP": "203.0.113.200" });
    await server.ok("RegisterAgent", agentOf(meshId, agentId));
    const { text } = await scrape();
    for (const word of [meshId, agentId, "203.0.113.200", "127.0.0.1"]) assert.ok(!text.includes(word), word);
  });
});

describe("/stats", () => {
  it("counts the calls that succeeded, and at once", async () => {
    const stats = async () => {
      const page = await server.raw("/stats");
      assert.equal(page.status, 200);
      assert.match(page.headers["content-type"], /^application\/json/);
      return JSON.parse(page.text);
    };
    const before = await stats();
    assert.deepEqual(Object.keys(before).sort(), ["operationsLastHour", "timestamp"]);
    isIn(before.timestamp, 0);
    await server.ok("GetObservedAddress");
    await server.ok("GetObservedAddress");
    await server.rpc("LookupAgent", {});
    const { operationsLastHour: now } = await stats();
    assert.equal(now.GetObservedAddress - (before.operationsLastHour.GetObservedAddress ?? 0), 2);
    assert.equal(now.LookupAgent ?? 0, before.operationsLastHour.LookupAgent ?? 0);
  });
});
