// What stands twice, in C and in JavaScript, is the same.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import { ALWAYS, METHODS } from "../../worker/src/methods.js";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");
const camel = (name) => name.replace(/_([a-z])/g, (_, c) => c.toUpperCase());

it("the methods have the registry's numbers", () => {
  const names = [...read("core/rpc/methods.h").matchAll(/^\tX\(RPC_\w+, (\w+), (?:true|false)\)/gm)].map((m) => m[1]);
  assert.deepEqual(METHODS, names);
});

it("the fields that JSON always shows are the native server's", () => {
  const fields = [...read("server/schema_names.c").matchAll(/\{ (\w+)_fields, "(\w+)" \}/g)].map((m) => `${m[1]}.${camel(m[2])}`);
  assert.ok(fields.length > 10);
  assert.deepEqual(Object.entries(ALWAYS).flatMap(([message, all]) => Object.keys(all).map((field) => `${message}.${field}`)), fields);
});

it("the offsets of the frame are the machine's", () => {
  const js = Object.fromEntries([...read("worker/src/machine.js").matchAll(/\b([A-Z_]+) = (\d+)\b/g)].map((m) => [m[1], Number(m[2])]));
  const names = { method: "METHOD", host: "HOST", out_ticket: "OUT_TICKET", message: "MESSAGE", port: "PORT" };
  const asserts = [...read("worker/wasm/abi.h").matchAll(/offsetof\(struct frame, (\w+)\) == (\d+)/g)];
  assert.equal(asserts.length, 5);
  for (const [, field, offset] of asserts) assert.equal(js[names[field]], Number(offset), field);
});

it("tests run what is deployed: flags, dates, bindings, classes", () => {
  const wrangler = JSON.parse(read("worker/wrangler.jsonc").replace(/^\s*\/\/.*$/gm, ""));
  const host = read("worker/test-host.mjs");
  assert.ok(host.includes(`compatibilityDate = "${wrangler.compatibility_date}"`));
  assert.ok(host.includes(`compatibilityFlags = ${JSON.stringify(wrangler.compatibility_flags).replaceAll(",", ", ")}`));
  for (const { name, class_name } of wrangler.durable_objects.bindings) assert.ok(host.includes(`["${name}", "${class_name}"]`), name);
  assert.deepEqual(wrangler.migrations.flatMap((m) => m.new_sqlite_classes),
    wrangler.durable_objects.bindings.map((b) => b.class_name));
});
