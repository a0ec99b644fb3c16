// Writes the limits of discovery.options as a module: the bounds of every field, which the messages in
// the machine have as well, so that a refusal can say which field is meant and what it may be.
// usage: node limits.mjs proto/coral/discovery/v1/discovery.options > gen/limits.js
import { readFileSync } from "node:fs";

const NAMES = { max_length: "bytes", max_size: "bytes", max_count: "count" };
const rules = [];
for (const line of readFileSync(process.argv[2], "utf8").split("\n")) {
  const [pattern, ...options] = line.replace(/#.*/, "").trim().split(/\s+/);
  const limits = Object.fromEntries(options.map((o) => o.split(":")).filter(([name]) => name in NAMES)
    .map(([name, value]) => [NAMES[name], Number(value)]));
  if (pattern && Object.keys(limits).length) rules.push([pattern, limits]);
}
process.stdout.write(`export const RULES = ${JSON.stringify(rules)};\n`);
