// What a mesh tells the index: which agents it has, and that it has a colony. Renewals are not told,
// so the index is written to when parties come and go only. What was told is noted beside it, so that
// whatever happens in between, the next alarm finds what the index has not heard.
import { indexOfAgent, indexOfColonies } from "./index-object.js";

// Rows of host_told, and what ought to be told; NULL: nothing, the party is gone.
const AGENT = "SELECT t.since, t.sent, (SELECT created_at FROM agents WHERE mesh_id = ?1 AND agent_id = ?2"
  + " AND expires_at >= ?3) FROM (SELECT 1) LEFT JOIN host_told t ON t.id = ?2";
const COLONY = "SELECT t.since, t.sent, (SELECT created_at FROM colonies WHERE mesh_id = ?1"
  + " AND expires_at >= ?3) FROM (SELECT 1) LEFT JOIN host_told t ON t.id = ?2";
const ALL = "SELECT mesh_id, id FROM host_told WHERE sent = 0"
  + " OR (id = '' AND NOT EXISTS (SELECT 1 FROM colonies c WHERE c.mesh_id = host_told.mesh_id AND c.expires_at >= ?1))"
  + " OR (id <> '' AND NOT EXISTS (SELECT 1 FROM agents a WHERE a.mesh_id = host_told.mesh_id AND a.agent_id = host_told.id"
  + " AND a.expires_at >= ?1))";
const PUT = "INSERT INTO host_told (id, mesh_id, since, sent) VALUES (?1, ?2, ?3, 0)"
  + " ON CONFLICT (id) DO UPDATE SET since = excluded.since, sent = 0";

export class Telling {
  #busy = new Map(); // id -> the promise of what is being told about it
  #heard = new Set(); // ids that the index has heard of, whose rows do not say so yet

  constructor(database, env) {
    this.database = database;
    this.env = env;
  }

  // Tells the index of AGENT ("": the colony), if it does not know. Who waits for this knows that it
  // does. One at a time for each party, in order.
  about(mesh, agent) {
    const before = this.#busy.get(agent);
    // At once if nobody is before: then it is noted in the write that it is about.
    const mine = before ? before.catch(() => {}).then(() => this.#tell(mesh, agent)) : this.#tell(mesh, agent);
    this.#busy.set(agent, mine);
    const done = () => this.#busy.get(agent) === mine && this.#busy.delete(agent);
    mine.then(done, done);
    return mine;
  }

  async #tell(mesh, agent) {
    const [[since, sent, now]] = this.database.run(agent ? AGENT : COLONY, mesh, agent, Date.now());
    if (now === null && since === null) return;
    if (now === since && (sent || this.#heard.has(agent))) return;
    this.#heard.delete(agent);
    if (now === null) {
      await this.#remove(mesh, agent);
      this.database.run("DELETE FROM host_told WHERE id = ?1", agent);
      return;
    }
    if (now !== since) this.database.run(PUT, agent, mesh, now);
    await this.#put(mesh, agent, now);
    // Written with the next sweep: until then it costs nothing but to tell again after a restart.
    this.#heard.add(agent);
  }

  #put(mesh, agent, since) {
    return agent ? indexOfAgent(this.env, agent).put(agent, mesh, since) : indexOfColonies(this.env).addColony(mesh);
  }

  #remove(mesh, agent) {
    return agent ? indexOfAgent(this.env, agent).remove(agent, mesh) : indexOfColonies(this.env).removeColony(mesh);
  }

  // Tells of all that the index has not heard. What it cannot be told now is left for the next time.
  async aboutAll() {
    if (this.database.empty) return;
    for (const id of this.#heard) this.database.run("UPDATE host_told SET sent = 1 WHERE id = ?1", id);
    this.#heard.clear();
    const stale = this.database.run(ALL, Date.now());
    await Promise.all(stale.map(([mesh, id]) => this.about(mesh, id).catch(() => {})));
  }

  // When the colony's lease ends, in Unix ms: its row may be kept for long after, and the index counts
  // it until it is told.
  due() {
    const [[at]] = this.database.empty ? [[null]]
      : this.database.run("SELECT min(expires_at) FROM colonies WHERE expires_at >= ?1", Date.now());
    return at === null ? Infinity : at + 1;
  }
}
