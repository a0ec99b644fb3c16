// Bootstrap tokens and the keys that sign them (discovery.md sections 3.7 and 5).
import assert from "node:assert/strict";
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from "node:crypto";
import { after, before, describe, it } from "node:test";
import { agentOf, colonyOf, denied, invalid, refused, unique } from "./client.mjs";
import { kind, offered, startHost } from "./hosts.mjs";

// A signing key as DISCOVERY_SIGNING_KEY wants it, beside what the test needs of it.
function signingKey(id) {
  const { privateKey } = generateKeyPairSync("ed25519");
  const { d, x } = privateKey.export({ format: "jwk" });
  const seed = Buffer.from(d, "base64url"), publicKey = Buffer.from(x, "base64url");
  return { id, seed, x, privateKey, config: { id, privateKey: Buffer.concat([seed, publicKey]).toString("base64") },
    previous: { id, publicKey: publicKey.toString("base64") },
    jwk: { kid: id, kty: "OKP", crv: "Ed25519", x, use: "sig", alg: "EdDSA" } };
}

const first = signingKey("01HZX0000000000000000FIRST"), second = signingKey("01HZX000000000000000SECOND");
let server, keyless;

before(async () => {
  server = await startHost({ signingKey: first.config });
  keyless = await startHost({ signingKey: "none" });
});
after(async () => {
  await server?.stop();
  await keyless?.stop();
});

const wish = (colonyId, more = {}) => ({ reefId: "default", colonyId, agentId: "agent-1", intent: "register", ...more });
const part = (text) => JSON.parse(Buffer.from(text, "base64url"));
const keysOf = async (host) => JSON.parse((await host.raw("/.well-known/jwks.json")).text).keys;

// Verifies JWT with the listed keys, as a colony does; its header and claims.
function verified(jwt, keys) {
  const [header, claims, signature, ...rest] = jwt.split(".");
  assert.deepEqual(rest, []);
  const jwk = keys.find(({ kid }) => kid === part(header).kid);
  assert.ok(jwk, "the key is listed");
  const key = createPublicKey({ key: jwk, format: "jwk" });
  assert.ok(verify(null, Buffer.from(`${header}.${claims}`), key, Buffer.from(signature, "base64url")), "signature");
  return { header: part(header), claims: part(claims), signed: `${header}.${claims}`, signature };
}

describe("a bootstrap token", () => {
  it("16: is signed by the listed key, and claims what was asked for", async () => {
    const colonyId = unique("m"), before = Math.floor(Date.now() / 1000);
    const { jwt, expiresAt } = await server.ok("CreateBootstrapToken", wish(colonyId));
    const { header, claims, signed, signature } = verified(jwt, await keysOf(server));
    assert.deepEqual(header, { alg: "EdDSA", typ: "JWT", kid: first.id });
    const { jti, iat, exp, ...rest } = claims;
    assert.match(jti, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.ok(iat >= before && iat <= before + 2);
    assert.equal(exp - iat, 60);
    assert.strictEqual(expiresAt, String(exp));
    assert.deepEqual(rest, { iss: "coral-discovery", aud: ["coral-colony"], reef_id: "default", colony_id: colonyId,
      agent_id: "agent-1", intent: "register" });
    assert.equal(sign(null, Buffer.from(signed), first.privateKey).toString("base64url"), signature);
    assert.ok(!/[=+/]/.test(jwt), "base64url without padding");
  });

  it("is another each time", async () => {
    const all = await Promise.all(Array.from({ length: 5 }, (_, i) =>
      server.ok("CreateBootstrapToken", wish("m", { agentId: `a${i % 2}` }))));
    assert.equal(new Set(all.map(({ jwt }) => part(jwt.split(".")[1]).jti)).size, 5);
  });

  it("carries any id that a client may send", async () => {
    for (const agentId of ["\"}\\", "line\nfeed\u0001\u001f\u007f", "ünïcödé \u{1f99d}", "</script>", "x".repeat(128), "\u0001".repeat(128)]) {
      const colonyId = unique(agentId.length < 100 ? agentId : "m"), fields = { agentId, reefId: agentId, intent: "renew" };
      const { status, body } = await server.rpc("CreateBootstrapToken", wish(colonyId, fields));
      if (status === 400) { // what would not fit may be refused, but nothing else
        assert.equal(agentId, "\u0001".repeat(128));
        continue;
      }
      assert.equal(status, 200, JSON.stringify(body));
      const { claims } = verified(body.jwt, await keysOf(server));
      assert.deepEqual([claims.agent_id, claims.reef_id, claims.colony_id, claims.intent], [agentId, agentId, colonyId, "renew"]);
    }
  });

  it("says what is missing, in order", async () => {
    const body = {};
    for (const [name, field] of [["reef_id", "reefId"], ["colony_id", "colonyId"], ["agent_id", "agentId"], ["intent", "intent"]]) {
      await invalid(server.rpc("CreateBootstrapToken", body), new RegExp(`${name} is required`));
      body[field] = "x";
    }
    await server.ok("CreateBootstrapToken", body);
  });

  it("17: there is none without a key", async () => {
    await invalid(keyless.rpc("CreateBootstrapToken", {}), /reef_id is required/);
    await refused(keyless.rpc("CreateBootstrapToken", wish("m")), 500, "internal", /DISCOVERY_SIGNING_KEY not configured/);
  });
});

describe("the list of keys", () => {
  it("is a JSON Web Key Set that may be kept for five minutes", async () => {
    const page = await server.raw("/.well-known/jwks.json");
    assert.equal(page.status, 200);
    assert.match(page.headers["content-type"], /^application\/json/);
    assert.equal(page.headers["cache-control"], "public, max-age=300");
    assert.deepEqual(JSON.parse(page.text), { keys: [first.jwk] });
    assert.ok(!page.text.includes("\"d\""));
  });

  it("17: is empty without a key", async () => {
    const page = await keyless.raw("/.well-known/jwks.json");
    assert.equal(page.status, 200);
    assert.match(page.headers["content-type"], /^application\/json/);
    assert.equal(page.headers["cache-control"], "public, max-age=300");
    assert.deepEqual(JSON.parse(page.text), { keys: [] });
  });

  it("keeps the key that signed before, so that its tokens still verify", async () => {
    const host = await startHost({ signingKey: first.config });
    try {
      const old = await host.ok("CreateBootstrapToken", wish("m"));
      await host.restart({ signingKey: second.config, previousKeys: [first.previous] });
      const keys = await keysOf(host);
      assert.deepEqual(keys.map(({ kid }) => kid).sort(), [first.id, second.id]);
      assert.deepEqual(keys.find(({ kid }) => kid === first.id), first.jwk);
      verified(old.jwt, keys);
      const fresh = await host.ok("CreateBootstrapToken", wish("m"));
      assert.equal(verified(fresh.jwt, keys).header.kid, second.id);
      await host.restart({ signingKey: second.config, previousKeys: [first.config] });
      assert.equal((await keysOf(host)).length, 2);
    } finally {
      await host.stop();
    }
  });

  it("keeps it even when nobody configures it", offered("made keys"), async () => {
    const host = await startHost({ signingKey: first.config });
    try {
      await host.restart({ signingKey: second.config });
      assert.deepEqual((await keysOf(host)).map(({ kid }) => kid).sort(), [first.id, second.id]);
    } finally {
      await host.stop();
    }
  });

  it("without configuration there is a key that was made at the first start", offered("made keys"), async () => {
    const host = await startHost();
    try {
      const [key, ...rest] = await keysOf(host);
      assert.deepEqual(rest, []);
      const { jwt } = await host.ok("CreateBootstrapToken", wish("m"));
      verified(jwt, [key]);
      await host.restart();
      assert.deepEqual(await keysOf(host), [key]);
    } finally {
      await host.stop();
    }
  });
});

describe("a signing key", () => {
  const both = () => Buffer.from(first.config.privateKey, "base64");
  const forms = [
    ["URL-safe base64", () => both().toString("base64url")],
    ["the seed alone", () => first.seed.toString("base64")],
  ];
  for (const [name, privateKey] of forms)
    it(`may be given as ${name}`, async () => {
      const host = await startHost({ signingKey: { id: first.id, privateKey: privateKey() } });
      try {
        assert.deepEqual(await keysOf(host), [first.jwk]);
        verified((await host.ok("CreateBootstrapToken", wish("m"))).jwt, [first.jwk]);
      } finally {
        await host.stop();
      }
    });

  const broken = { id: first.id, privateKey: "AAAA" };
  it("that is broken stops the start, and is not shown", offered("made keys"), async () => {
    await assert.rejects(startHost({ signingKey: broken }), /DISCOVERY_SIGNING_KEY/);
    const mismatched = Buffer.concat([first.seed, Buffer.from(second.x, "base64url")]).toString("base64");
    await assert.rejects(startHost({ signingKey: { id: "x", privateKey: mismatched } }), (error) => {
      assert.ok(!error.message.includes(mismatched.slice(0, 20)));
      return true;
    });
  });

  it("that is broken signs nothing", { skip: kind === "native" && "the binary does not start with it" }, async () => {
    const host = await startHost({ signingKey: broken });
    try {
      await refused(host.rpc("CreateBootstrapToken", wish("m")), 500, "internal", /no signing key available/);
      assert.deepEqual(await keysOf(host), []);
    } finally {
      await host.stop();
    }
  });
});

describe("redeeming a token", () => {
  async function joining(host = server) {
    const meshId = unique("m");
    const { leaseToken } = await host.ok("RegisterColony", colonyOf(meshId));
    const { jwt, expiresAt } = await host.ok("CreateBootstrapToken", wish(meshId));
    return { meshId, leaseToken, jwt, expiresAt, redeem: (more = {}) =>
      host.rpc("RedeemBootstrapToken", { meshId, leaseToken, jwt, ...more }) };
  }
  const used = /not valid, or was used before/;

  it("tells the colony what it is for, once", async () => {
    const j = await joining();
    const { status, body } = await j.redeem();
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(body, { reefId: "default", agentId: "agent-1", intent: "register", expiresAt: j.expiresAt });
    await denied(j.redeem(), used);
    await denied(j.redeem(), used);
  });

  it("works once of ten at the same time", async () => {
    const j = await joining();
    const statuses = (await Promise.all(Array.from({ length: 10 }, () => j.redeem()))).map(({ status }) => status).sort();
    assert.deepEqual(statuses, [200, ...Array(9).fill(403)]);
  });

  it("is for the colony that the token names", async () => {
    const one = await joining(), other = await joining();
    await denied(other.redeem({ jwt: one.jwt }), used);
    await denied(other.redeem({ meshId: one.meshId }));
    await denied(one.redeem({ leaseToken: other.leaseToken }));
    await denied(one.redeem({ leaseToken: undefined }));
    const agent = await server.ok("RegisterAgent", agentOf(one.meshId, "a"));
    await denied(one.redeem({ leaseToken: agent.leaseToken }));
    assert.equal((await one.redeem()).status, 200);
  });

  it("refuses tokens that are none", async () => {
    const j = await joining(), elsewhere = await startHost({ signingKey: first.config });
    try {
      const foreign = await elsewhere.ok("CreateBootstrapToken", wish(j.meshId));
      const key = createPrivateKey({ key: { ...first.jwk, d: first.seed.toString("base64url") }, format: "jwk" });
      const [header, claims] = j.jwt.split(".");
      const forged = `${header}.${Buffer.from(JSON.stringify({ ...part(claims), agent_id: "b" })).toString("base64url")}`;
      const signed = `${forged}.${sign(null, Buffer.from(forged), key).toString("base64url")}`;
      for (const jwt of ["x", "a.b.c", j.jwt.slice(0, -1), `${j.jwt}A`, `${j.jwt} `, foreign.jwt, signed])
        await denied(j.redeem({ jwt }), used);
    } finally {
      await elsewhere.stop();
    }
    await invalid(j.redeem({ meshId: "" }), /mesh_id is required/);
    await invalid(j.redeem({ jwt: "" }), /jwt is required/);
    assert.equal((await j.redeem()).status, 200);
  });

  it("tokens and their use survive kill -9", async () => {
    const host = await startHost({ signingKey: first.config });
    try {
      const spent = await joining(host), fresh = await joining(host);
      assert.equal((await spent.redeem()).status, 200);
      await host.crash();
      await denied(spent.redeem(), used);
      assert.equal((await fresh.redeem()).status, 200);
    } finally {
      await host.stop();
    }
  });
});
