// What no single mesh knows: in which meshes an agent of a certain name is, for clients that look an
// agent up by its name alone, and how many colonies there are. Agents are spread over SHARDS objects
// by their names; colonies are counted in one.
import { DurableObject } from "cloudflare:workers";

const SHARDS = 16;
const FOUND_MAX = 16; // meshes that one lookup is told of

function hash(text) {
  let h = 0x811c9dc5; // FNV-1a
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

const named = (env, name) => env.INDEX.get(env.INDEX.idFromName(name));
export const indexOfAgent = (env, agent) => named(env, `agents-${hash(agent) % SHARDS}`);
export const indexOfColonies = (env) => named(env, "colonies");

const SCHEMA = [
  "CREATE TABLE IF NOT EXISTS agents (agent_id TEXT NOT NULL, mesh_id TEXT NOT NULL, since INTEGER NOT NULL,"
    + " PRIMARY KEY (agent_id, mesh_id)) WITHOUT ROWID",
  "CREATE TABLE IF NOT EXISTS colonies (mesh_id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
];

export class IndexObject extends DurableObject {
  constructor(ctx, env) {
    super(ctx, env);
    this.made = this.#run("SELECT 1 FROM sqlite_master WHERE name = 'colonies'").length > 0;
  }

  #run(statement, ...values) {
    return this.ctx.storage.sql.exec(statement, ...values).raw().toArray();
  }

  #write(statement, ...values) {
    if (!this.made) SCHEMA.forEach((s) => this.#run(s));
    this.made = true;
    this.#run(statement, ...values);
  }

  put(agent, mesh, since) {
    if (this.made && this.#run("SELECT 1 FROM agents WHERE agent_id = ?1 AND mesh_id = ?2 AND since = ?3", agent, mesh, since).length)
      return;
    this.#write("INSERT INTO agents (agent_id, mesh_id, since) VALUES (?1, ?2, ?3)"
      + " ON CONFLICT (agent_id, mesh_id) DO UPDATE SET since = excluded.since", agent, mesh, since);
  }

  remove(agent, mesh) {
    this.#write("DELETE FROM agents WHERE agent_id = ?1 AND mesh_id = ?2", agent, mesh);
  }

  // The meshes that have an agent of that name, the longest registered first.
  find(agent) {
    if (!this.made) return [];
    return this.#run("SELECT mesh_id FROM agents WHERE agent_id = ?1 ORDER BY since, mesh_id LIMIT ?2", agent, FOUND_MAX)
      .map(([mesh]) => mesh);
  }

  addColony(mesh) {
    if (this.made && this.#run("SELECT 1 FROM colonies WHERE mesh_id = ?1", mesh).length) return;
    this.#write("INSERT INTO colonies (mesh_id) VALUES (?1) ON CONFLICT DO NOTHING", mesh);
  }

  removeColony(mesh) {
    this.#write("DELETE FROM colonies WHERE mesh_id = ?1", mesh);
  }

  colonies() {
    return this.made ? this.#run("SELECT count(*) FROM colonies")[0][0] : 0;
  }
}
