// The crypto port of the machine, through node:crypto, which is synchronous here.
import crypto from "node:crypto";
import { Buffer } from "node:buffer";

// PKCS#8 and SPKI around 32-byte keys (RFC 8410).
const pkcs8 = { x25519: "302e020100300506032b656e04220420", ed25519: "302e020100300506032b657004220420" };
const KEY_LENGTH = 32;

function privateKey(kind, seed) {
  const der = Buffer.concat([Buffer.from(pkcs8[kind], "hex"), seed]);
  try {
    return crypto.createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  } finally {
    der.fill(0);
  }
}

function publicHalf(key) {
  return crypto.createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-KEY_LENGTH);
}

// X25519 is the one primitive that Workers offer asynchronously only. So whoever has a proof checked
// computes the shared secret first, and the machine finds it here.
const agreed = { peer: undefined, shared: undefined };

// Runs BACK, which may use the shared secret SHARED with the public key PEER (bytes).
export function withShared(peer, shared, back) {
  Object.assign(agreed, { peer, shared });
  try {
    return back();
  } finally {
    shared?.fill(0);
    Object.assign(agreed, { peer: undefined, shared: undefined });
  }
}

// The shared secret of SECRET and PEER, 32 bytes each; undefined when PEER is no usable key.
export async function agree(secret, peer) {
  const der = Buffer.concat([Buffer.from(pkcs8.x25519, "hex"), secret]);
  try {
    const own = await crypto.subtle.importKey("pkcs8", der, { name: "X25519" }, false, ["deriveBits"]);
    const other = await crypto.subtle.importKey("raw", peer, { name: "X25519" }, false, []);
    return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: other }, own, 256));
  } catch {
    return undefined; // a low-order point
  } finally {
    der.fill(0);
  }
}

// The machine's imports; MEMORY gives N bytes at P.
export function imports(memory) {
  return {
    sha256(out, p, n) {
      memory(out, 32).set(crypto.createHash("sha256").update(memory(p, n)).digest());
    },
    hmac_sha256(out, key, keyLength, p, n) {
      memory(out, 32).set(crypto.createHmac("sha256", memory(key, keyLength)).update(memory(p, n)).digest());
    },
    x25519_public(out, secret) {
      memory(out, KEY_LENGTH).set(publicHalf(privateKey("x25519", memory(secret, KEY_LENGTH))));
    },
    x25519(out, secret, peer) {
      if (!agreed.shared || !Buffer.from(agreed.peer).equals(memory(peer, KEY_LENGTH))) return 1;
      memory(out, KEY_LENGTH).set(agreed.shared);
      return 0;
    },
    ed25519_public(out, seed) {
      memory(out, KEY_LENGTH).set(publicHalf(privateKey("ed25519", memory(seed, KEY_LENGTH))));
    },
    ed25519_sign(out, seed, p, n) {
      memory(out, 64).set(crypto.sign(null, memory(p, n), privateKey("ed25519", memory(seed, KEY_LENGTH))));
    },
  };
}
