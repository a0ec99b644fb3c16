// The independent clients: packages from the npm registry, which with-packages installed outside of
// the source tree, and the schema as protoc reads it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const folder = process.env.NODE_PACKAGES;
export const load = createRequire(join(folder, "package.json"));
export const schemaRoot = fileURLToPath(new URL("../../proto", import.meta.url));
export const schemaFile = "coral/discovery/v1/discovery.proto";

// The service's descriptor, for @bufbuild/protobuf.
export function serviceSchema() {
  const { createFileRegistry, fromBinary } = load("@bufbuild/protobuf");
  const { FileDescriptorSetSchema } = load("@bufbuild/protobuf/wkt");
  const dir = mkdtempSync(join(tmpdir(), "warren-schema-"));
  const file = join(dir, "set.bin");
  const { status, stderr } = spawnSync("protoc", ["-I", schemaRoot, "--include_imports",
    `--descriptor_set_out=${file}`, schemaFile], { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  const bytes = readFileSync(file);
  rmSync(dir, { recursive: true });
  return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes))
    .getService("coral.discovery.v1.DiscoveryService");
}

// Runs COMMAND; its output, and the time that it may take is bounded.
export function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", timeout: 20_000, ...options });
  if (error) throw error;
  return { status, stdout, stderr };
}
