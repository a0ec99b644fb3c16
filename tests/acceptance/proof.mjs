// The proof of possession of warren-api.md, computed with node:crypto.
import { createHmac, createPublicKey, diffieHellman, generateKeyPairSync, hkdfSync } from "node:crypto";

const label = "warren-register-v1";
const spki = Buffer.from("302a300506032b656e032100", "hex"); // RFC 8410: what precedes an X25519 key

export const now = () => Math.floor(Date.now() / 1000);

export function proofOf({ meshId, agentId = "", time = now(), shared }) {
  const message = Buffer.concat([Buffer.from(`${label}\0${meshId}\0${agentId}\0`), Buffer.alloc(8)]);
  message.writeBigInt64BE(BigInt(time), message.length - 8);
  const key = Buffer.from(hkdfSync("sha256", shared, Buffer.alloc(0), label, 32));
  return { proof: createHmac("sha256", key).update(message).digest("base64"), proofTime: String(time) };
}

// A party with a key of its own, and the fields of a registration that prove it.
export class Party {
  constructor(serverKey) {
    const { publicKey, privateKey } = generateKeyPairSync("x25519");
    const server = createPublicKey({ key: Buffer.concat([spki, Buffer.from(serverKey, "base64")]), format: "der", type: "spki" });
    this.pubkey = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
    this.shared = diffieHellman({ privateKey, publicKey: server });
  }

  proves(meshId, { agentId, time } = {}) {
    return { pubkey: this.pubkey, ...proofOf({ meshId, agentId, time, shared: this.shared }) };
  }
}
