// The SQLite of one Durable Object, as the machine's SQL port and for what the host itself keeps.
//
// An object that nobody ever stored anything in stays without a database: anybody may look up any
// name, and each would cost storage. Until the first row is written, what makes the schema is only
// noted, and reads find nothing.

const WRITES_ROWS = /^(INSERT|UPDATE|REPLACE)\b/;
const READS = /^SELECT\b/;

// What the index has been told of this mesh: an agent's id, or "" for the colony, and since when it
// is registered. SENT is 0 while it may not have heard yet.
const TOLD = "CREATE TABLE IF NOT EXISTS host_told (id TEXT NOT NULL PRIMARY KEY, mesh_id TEXT NOT NULL,"
  + " since INTEGER NOT NULL, sent INTEGER NOT NULL)";

export class Database {
  #noted = []; // statements of the schema that have not run
  #opening = false;

  constructor(storage) {
    this.storage = storage;
    this.empty = !this.#rows("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'", []).length;
  }

  #rows(statement, values) {
    return this.storage.sql.exec(statement, ...values).raw().toArray();
  }

  // Runs BACK, in which the machine opens and brings the schema up to date: all of it or nothing.
  opening(back) {
    this.#opening = true;
    try {
      return this.storage.transactionSync(back);
    } finally {
      this.#opening = false;
    }
  }

  // The machine's port: (statement, values) -> rows.
  port = (statement, values) => {
    if (this.empty && this.#opening) {
      this.#noted.push([statement, values]);
      return [];
    }
    if (this.empty && !WRITES_ROWS.test(statement)) return [];
    if (this.empty) this.#make();
    return this.#rows(statement, values);
  };

  // Runs what was noted, now that there is something to store: what has no values all at once.
  #make() {
    let together = [TOLD];
    for (const [statement, values] of this.#noted) {
      if (READS.test(statement)) continue;
      if (!values.length) {
        together.push(statement);
        continue;
      }
      this.#rows(together.concat("SELECT 1").join(";"), []);
      together = [];
      this.#rows(statement, values);
    }
    this.#rows(together.concat("SELECT 1").join(";"), []);
    this.#noted = [];
    this.empty = false;
  }

  // A statement of the host's own.
  run(statement, ...values) {
    return this.empty ? [] : this.#rows(statement, values);
  }

  // Whether no row of anybody is left.
  hasNothing() {
    return ["colonies", "agents", "rendezvous", "tokens", "host_told"].every((table) =>
      !this.run(`SELECT 1 FROM ${table} LIMIT 1`).length);
  }
}
