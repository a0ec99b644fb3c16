// A fleet that starts at once: a thousand registrations in one mesh, and in a thousand.
import assert from "node:assert/strict";
import { after, before, it } from "node:test";
import { Host, agent, colony } from "./host.mjs";

const N = 1000;
let host;
// The limits as they are by default: a fleet must not meet them.
before(async () => (host = await Host.start({ LIMIT_FACTOR: "1" })));
after(() => host.end());

// All at once, from one address, each on a connection of its own.
async function burst(t, call) {
  const begun = performance.now(), took = [];
  await Promise.all(Array.from({ length: N }, async (_, i) => {
    await call(i);
    took.push(performance.now() - begun);
  }));
  took.sort((a, b) => a - b);
  t.diagnostic(`${N} in ${Math.round(took[N - 1])} ms, half of them in ${Math.round(took[N / 2])} ms`);
}

const headers = { "CF-Connecting-IP": "203.0.113.9" };

it("a thousand agents of one mesh register, and renew", async (t) => {
  await host.ok("RegisterColony", colony("fleet"), headers);
  await burst(t, (i) => host.ok("RegisterAgent", agent("fleet", `agent-${i}`), headers));
  await burst(t, (i) => host.ok("RegisterAgent", agent("fleet", `agent-${i}`), headers));
  await burst(t, async (i) =>
    assert.equal((await host.ok("LookupAgent", { agentId: `agent-${i}` }, headers)).meshId, "fleet"));
});

it("a thousand meshes register, and renew", async (t) => {
  await burst(t, (i) => host.ok("RegisterColony", colony(`mesh-${i}`), headers));
  await burst(t, (i) => host.ok("RegisterColony", colony(`mesh-${i}`), headers));
  assert.equal((await host.ok("Health")).registeredColonies, N + 1);
});
