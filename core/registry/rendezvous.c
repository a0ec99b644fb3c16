/* PublishBootstrapRendezvous, PollBootstrapRendezvous, AckBootstrapRendezvous (discovery.md 4): an
 * agent that can be reached leaves a sealed record, a colony that cannot collects it and dials.
 * Records are stored; polls, and publications that wait for a probe, are held in memory. */
#include "registry/punch.h"

#include "registry/probe.h"

#define TTL_MAX_S    90
#define RECORD_ID_LEN 26 /* a ULID */

static const struct rate publish_rate = { 5, 10 }, poll_rate = { 30, 10 };

/* What a publication stores: the request's fields, packed, since it may wait for a probe. */
struct publication {
	uint64_t ttl_ms;
	struct ip_addr source; /* of the call */
	uint8_t hash[SHA256_LEN]; /* of the write token */
	uint8_t nonce[12];
	size_t nonce_len, ciphertext_len, text_len;
	uint8_t data[]; /* the ciphertext, then mesh_id, record_id and probe_endpoint, each with its NUL */
};

static size_t publication_size(const struct publication *p)
{
	return sizeof(*p) + p->ciphertext_len + p->text_len;
}

static const char *mesh_of(const struct publication *p)
{
	return (const char *)p->data + p->ciphertext_len;
}

static const char *record_of(const struct publication *p)
{
	const char *mesh = mesh_of(p);

	return mesh + strlen(mesh) + 1;
}

static const char *target_of(const struct publication *p)
{
	const char *record = record_of(p);

	return record + strlen(record) + 1;
}

void publication_free(struct registry *r, struct publication *p)
{
	if (p)
		mem_free(r->cfg.alloc, p, publication_size(p));
}

static uint64_t ttl_of(int32_t seconds)
{
	if (seconds == 0) /* ProtoJSON leaves out a 0: it is the same as nothing said */
		return TTL_MAX_S;
	if (seconds < 0)
		return 1;
	return seconds < TTL_MAX_S ? (uint64_t)seconds : TTL_MAX_S;
}

static struct publication *publication_new(struct registry *r,
                                           const PublishBootstrapRendezvousRequest *q)
{
	const char *text[] = { q->mesh_id, q->record_id, q->probe_endpoint };
	size_t text_len = 0;
	struct publication *p;
	struct writer w;

	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		text_len += strlen(text[i]) + 1;
	p = mem_alloc(r->cfg.alloc, sizeof(*p) + q->ciphertext.size + text_len);
	if (!p)
		return NULL;
	p->ciphertext_len = q->ciphertext.size;
	p->text_len = text_len;
	p->nonce_len = q->gcm_nonce.size;
	p->ttl_ms = ttl_of(q->ttl_seconds) * 1000;
	p->source = caller_address(&r->call->caller);
	memcpy(p->nonce, q->gcm_nonce.bytes, q->gcm_nonce.size);
	sha256(p->hash, span_of(q->write_token.bytes, q->write_token.size));
	w = writer_of(p->data, p->ciphertext_len + text_len);
	write_bytes(&w, q->ciphertext.bytes, q->ciphertext.size);
	for (size_t i = 0; i < ARRAY_LEN(text); i++)
		write_bytes(&w, text[i], strlen(text[i]) + 1);
	return p;
}

/* --- stored --------------------------------------------------------------------------------- */

struct record_row {
	bool found;
	uint8_t hash[SHA256_LEN];
};

static void take_hash(void *ctx, const struct sql_value *c, size_t n)
{
	struct record_row *row = ctx;

	(void)n;
	row->found = c[0].bytes.len == SHA256_LEN;
	if (row->found)
		memcpy(row->hash, c[0].bytes.p, SHA256_LEN);
}

/* The hash of the write token of a record that is still there. */
static enum err find(struct registry *r, const char *mesh, const char *record,
                     struct record_row *row)
{
	struct sql_value binds[3] = { sql_text(record), sql_text(mesh), sql_integer(r->wall_ms) };

	*row = (struct record_row){ 0 };
	return sql_exec(&r->cfg.sql,
	                "SELECT write_token_hash FROM rendezvous"
	                " WHERE record_id = ?1 AND mesh_id = ?2 AND expires_at >= ?3",
	                binds, 3, take_hash, row);
}

static void count_row(void *ctx, const struct sql_value *c, size_t n)
{
	(void)c;
	(void)n;
	*(uint64_t *)ctx += 1;
}

/* How many records MESH has, at most REGISTRY_MESH_RECORDS_MAX. */
static enum err count(struct registry *r, const char *mesh, uint64_t *n)
{
	struct sql_value binds[3] = { sql_text(mesh), sql_integer(r->wall_ms),
		                      sql_integer(REGISTRY_MESH_RECORDS_MAX) };

	*n = 0;
	return sql_exec(&r->cfg.sql,
	                "SELECT 1 FROM rendezvous WHERE mesh_id = ?1 AND expires_at >= ?2 LIMIT ?3",
	                binds, 3, count_row, n);
}

/* Stores P as record ID: a new one, or in place of what it held. */
static enum err put(struct registry *r, const struct publication *p, const char *id)
{
	struct sql_value binds[7] = {
		sql_text(id), sql_text(mesh_of(p)), sql_blob(span_of(p->data, p->ciphertext_len)),
		sql_blob(span_of(p->nonce, p->nonce_len)), sql_blob(span_of(p->hash, SHA256_LEN)),
		sql_integer(r->wall_ms), sql_integer(r->wall_ms + p->ttl_ms),
	};

	return sql_exec(&r->cfg.sql,
	                "INSERT INTO rendezvous (record_id, mesh_id, ciphertext, gcm_nonce,"
	                " write_token_hash, published_at, expires_at)"
	                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
	                " ON CONFLICT (record_id) DO UPDATE SET ciphertext = excluded.ciphertext,"
	                " gcm_nonce = excluded.gcm_nonce, published_at = excluded.published_at,"
	                " expires_at = excluded.expires_at",
	                binds, 7, NULL, NULL);
}

static void take_record(void *ctx, const struct sql_value *c, size_t n)
{
	PollBootstrapRendezvousResponse *a = ctx;
	BootstrapRendezvousRecord *record = &a->records[a->records_count];

	(void)n;
	if (a->records_count == ARRAY_LEN(a->records) ||
	    c[0].bytes.len >= sizeof(record->record_id) ||
	    c[1].bytes.len > sizeof(record->ciphertext.bytes) ||
	    c[2].bytes.len > sizeof(record->gcm_nonce.bytes))
		return;
	memcpy(record->record_id, c[0].bytes.p, c[0].bytes.len);
	record->ciphertext.size = (pb_size_t)c[1].bytes.len;
	memcpy(record->ciphertext.bytes, c[1].bytes.p, c[1].bytes.len);
	record->gcm_nonce.size = (pb_size_t)c[2].bytes.len;
	memcpy(record->gcm_nonce.bytes, c[2].bytes.p, c[2].bytes.len);
	record->has_published_at = true;
	timestamp_from_ms(&record->published_at, (uint64_t)c[3].integer);
	a->records_count++;
}

/* The records of MESH into the response, oldest first; the rest is for the polls behind an ack. */
static enum err write_records(struct registry *r, const char *mesh)
{
	PollBootstrapRendezvousResponse *a = response_begin(r, RPC_POLL_RENDEZVOUS);
	struct sql_value binds[3] = { sql_text(mesh), sql_integer(r->wall_ms),
		                      sql_integer(ARRAY_LEN(a->records)) };
	enum err e = sql_exec(&r->cfg.sql,
	                      "SELECT record_id, ciphertext, gcm_nonce, published_at FROM rendezvous"
	                      " WHERE mesh_id = ?1 AND expires_at >= ?2"
	                      " ORDER BY published_at, record_id LIMIT ?3",
	                      binds, 3, take_record, a);

	a->timed_out = a->records_count == 0;
	return e;
}

/* --- publish -------------------------------------------------------------------------------- */

/* A ULID: 48 bits of time, 80 of chance, in Crockford's base 32. */
static void record_id_new(struct registry *r, char out[static RECORD_ID_LEN + 1])
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	uint8_t chance[10];
	uint64_t time = r->wall_ms;

	rng_fill(r->cfg.rng, chance, sizeof(chance));
	for (int i = 9; i >= 0; i--, time >>= 5)
		out[i] = alphabet[time & 31];
	for (unsigned i = 0; i < 16; i++) {
		unsigned bit = i * 5, at = bit / 8;
		unsigned two = (unsigned)chance[at] << 8 | (at + 1 < sizeof(chance) ? chance[at + 1] : 0);

		out[10 + i] = alphabet[two >> (11 - bit % 8) & 31];
	}
	out[RECORD_ID_LEN] = '\0';
}

/* Whoever polls MESH is to look again. */
static void wake(struct registry *r, const char *mesh)
{
	struct room *room = room_find(r, mesh);

	while (room && room->waiting[HELD_POLL])
		held_finish(r, room->waiting[HELD_POLL], OUTCOME_HAPPENED);
}

/* Whether record ID may be replaced by P. *GONE: there is none to replace. False with the answer
 * given. */
static bool may_replace(struct registry *r, const struct publication *p, const char *id, bool *gone)
{
	struct record_row row;

	*gone = false;
	if (find(r, mesh_of(p), id, &row)) {
		answer_storage(r);
		return false;
	}
	*gone = !row.found;
	if (!row.found || ct_equal(row.hash, p->hash, SHA256_LEN))
		return true;
	answer_error(r, STATUS_PERMISSION_DENIED, "write_token mismatch", "", "");
	return false;
}

static bool has_room(struct registry *r, const struct publication *p)
{
	uint64_t n;

	if (count(r, mesh_of(p), &n))
		answer_storage(r);
	else if (n >= REGISTRY_MESH_RECORDS_MAX)
		answer_limited(r, "the mesh has as many rendezvous records as it may", TTL_MAX_S);
	else
		return true;
	return false;
}

/* Stores P and answers the call being served. */
static void publish(struct registry *r, const struct publication *p)
{
	PublishBootstrapRendezvousResponse *a;
	char id[65];
	bool gone = false;

	INVARIANT(!str_copy(id, sizeof(id), record_of(p)));
	if (*id ? !may_replace(r, p, id, &gone) : !has_room(r, p))
		return;
	if (!*id)
		record_id_new(r, id);
	if (!gone && put(r, p, id)) {
		answer_storage(r);
		return;
	}
	a = response_begin(r, RPC_PUBLISH_RENDEZVOUS);
	a->success = !gone;
	if (!gone) {
		a->has_expires_at = true;
		timestamp_from_ms(&a->expires_at, r->wall_ms + p->ttl_ms);
		INVARIANT(!str_copy(a->record_id, sizeof(a->record_id), id));
		sweep_want(r, r->wall_ms + p->ttl_ms);
		r->stats.rendezvous_published++;
		wake(r, mesh_of(p));
	}
	answer_ok(r);
}

/* Holds the call until its probe is done. Takes P over; false, with P still the caller's, when
 * there is no room. */
static bool hold_for_probe(struct registry *r, struct publication *p)
{
	struct held *h = NULL;

	if (r->punches->n_probes < REGISTRY_PROBES_MAX)
		h = held_new(r, HELD_PROBE, 2 * PROBE_TIMEOUT_MS / 1000);
	if (!h)
		return false;
	h->publication = p;
	r->punches->n_probes++;
	r->punches->probe = h;
	return true;
}

static bool require_bytes(struct registry *r, size_t n, const char *field)
{
	return require(r, n ? "there" : "", field);
}

void call_publish_rendezvous(struct registry *r, const PublishBootstrapRendezvousRequest *q)
{
	struct publication *p;

	if (!require(r, q->mesh_id, "mesh_id") ||
	    !require_bytes(r, q->ciphertext.size, "ciphertext") ||
	    !require_bytes(r, q->gcm_nonce.size, "gcm_nonce") ||
	    !require_bytes(r, q->write_token.size, "write_token") ||
	    !admit_mesh(r, q->mesh_id, publish_rate))
		return;
	p = publication_new(r, q);
	if (!p || (q->verify_reachability && !hold_for_probe(r, p))) {
		publication_free(r, p);
		answer_limited(r, "too many calls are waiting", 1);
		return;
	}
	if (q->verify_reachability)
		return;
	publish(r, p);
	publication_free(r, p);
}

/* --- probes --------------------------------------------------------------------------------- */

bool registry_next_probe(struct registry *r, struct registry_probe *out)
{
	struct held *h = r->punches->probe;

	if (!h)
		return false;
	r->punches->probe = NULL;
	*out = (struct registry_probe){ .ticket = h->ticket, .target = target_of(h->publication),
	                                .source = h->publication->source };
	return true;
}

static void refuse_probe(struct registry *r, const char *reason)
{
	answer_error(r, STATUS_RESOURCE_EXHAUSTED, "reachability probe quota exceeded (", reason,
	             ")");
	r->answer.retry_after_s = PROBE_RETRY_AFTER_S;
}

static void fail_probe(struct registry *r)
{
	PublishBootstrapRendezvousResponse *a = response_begin(r, RPC_PUBLISH_RENDEZVOUS);

	a->probe_failed = true;
	answer_ok(r);
}

void registry_probe_done(struct registry *r, uint64_t ticket, enum probe_result result,
                         const char *reason, uint64_t now, struct wall_time wall)
{
	struct registry_call call = { .ticket = ticket, .method = RPC_PUBLISH_RENDEZVOUS,
		                      .deadline_ns = TIME_NEVER };
	struct held *h = held_find(r, ticket);
	struct publication *p;

	r->stats.probes[result]++;
	if (!h || h->kind != HELD_PROBE || h->ready)
		return;
	p = h->publication;
	h->publication = NULL;
	held_free(r, h);
	r->now = now;
	r->wall_ms = wall_ms(wall);
	/* For the answer; taken back below. */
	/* cppcheck-suppress autoVariables */
	r->call = &call;
	switch (result) {
	case PROBE_REACHED:
		publish(r, p);
		break;
	case PROBE_FAILED:
		fail_probe(r);
		break;
	case PROBE_REFUSED:
		refuse_probe(r, reason);
		break;
	}
	r->call = NULL;
	publication_free(r, p);
}

/* --- poll, ack ------------------------------------------------------------------------------ */

void rendezvous_end_poll(struct registry *r, const char *mesh, struct registry_answer *answer)
{
	if (!write_records(r, mesh))
		return;
	text_str(&r->message, "the server's database is not available");
	answer->code = STATUS_UNAVAILABLE;
	answer->response = NULL;
}

void call_poll_rendezvous(struct registry *r, const PollBootstrapRendezvousRequest *q)
{
	uint64_t wait = wait_of(q->has_wait_seconds, q->wait_seconds, REGISTRY_WAIT_MAX_S);

	if (!require(r, q->mesh_id, "mesh_id") || !admit_mesh(r, q->mesh_id, poll_rate))
		return;
	if (write_records(r, q->mesh_id)) {
		answer_storage(r);
		return;
	}
	if (wait == 0 || r->response.RPC_POLL_RENDEZVOUS_response.records_count)
		answer_ok(r);
	else if (!held_in_room(r, HELD_POLL, q->mesh_id, wait, REGISTRY_MESH_POLLS_MAX))
		answer_limited(r, "too many calls are waiting", 1);
}

void call_ack_rendezvous(struct registry *r, const AckBootstrapRendezvousRequest *q)
{
	struct sql_value id = sql_text(q->record_id);
	AckBootstrapRendezvousResponse *a;
	uint8_t hash[SHA256_LEN];
	struct record_row row;
	bool match;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->record_id, "record_id"))
		return;
	sha256(hash, span_of(q->write_token.bytes, q->write_token.size));
	if (find(r, q->mesh_id, q->record_id, &row)) {
		answer_storage(r);
		return;
	}
	match = row.found && ct_equal(row.hash, hash, SHA256_LEN);
	if (match && sql_exec(&r->cfg.sql, "DELETE FROM rendezvous WHERE record_id = ?1", &id, 1,
	                      NULL, NULL)) {
		answer_storage(r);
		return;
	}
	r->stats.rendezvous_acked += match;
	a = response_begin(r, RPC_ACK_RENDEZVOUS);
	/* One that is not there, or no more, was acknowledged before for all that matters. */
	a->success = match || !row.found;
	answer_ok(r);
}
