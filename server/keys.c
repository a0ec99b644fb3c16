#include "server/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/crypto.h"
#include "linux/files.h"
#include "server/keys_config.h"

#define RETIRED_MS (TOKEN_RETIRED_S * 1000ULL)

enum mode { MODE_NONE, MODE_AUTO, MODE_CONFIGURED };

struct keys {
	struct database *db;
	const struct logger *log;
	const struct rng *rng;
	enum mode mode;
	uint8_t server_secret[X25519_LEN];
	struct keys_given given;
	struct token_keys tokens;
	uint64_t deadline_ms;
};

/* One row of signing_keys. */
struct row {
	char kid[TOKEN_KID_MAX + 1];
	uint8_t private[TOKEN_SEED_LEN + TOKEN_PUBLIC_LEN];
	bool has_seed, retired, sound;
	uint64_t created_ms, retired_ms;
};

#define ROWS_MAX 16

struct rows {
	struct row row[ROWS_MAX]; /* the youngest first */
	size_t n;
};

static enum err exec(struct keys *k, const char *statement, const struct sql_value *binds, size_t n)
{
	struct sql sql = database_sql(k->db);

	return sql_exec(&sql, statement, binds, n, NULL, NULL);
}

/* --- the server's secret -------------------------------------------------------------------- */

struct secret_reading {
	uint8_t *out;
	bool found, sound;
};

static void take_secret(void *ctx, const struct sql_value *columns, size_t n)
{
	struct secret_reading *r = ctx;

	(void)n;
	r->found = true;
	r->sound = columns[0].type == SQL_BLOB && columns[0].bytes.len == X25519_LEN;
	if (r->sound)
		memcpy(r->out, columns[0].bytes.p, X25519_LEN);
}

static enum err open_secret(struct keys *k, char *why, size_t cap)
{
	struct secret_reading r = { k->server_secret, false, false };
	struct sql sql = database_sql(k->db);
	struct sql_value bind;
	enum err e = sql_exec(&sql, "SELECT value FROM settings WHERE name = 'server_secret'",
	                      NULL, 0, take_secret, &r);

	if (!e && r.found && !r.sound) {
		snprintf(why, cap, "the server's secret in the database is damaged; restore a "
		                   "copy");
		return ERR_IO;
	}
	if (e || r.found)
		return e;
	x25519_generate(k->server_secret, k->rng);
	bind = sql_blob(span_of(k->server_secret, X25519_LEN));
	return exec(k, "INSERT INTO settings (name, value) VALUES ('server_secret', ?1)", &bind, 1);
}

/* --- the table ------------------------------------------------------------------------------ */

/* kid, seed, public, created_at, retired_at */
static void take_row(void *ctx, const struct sql_value *c, size_t n)
{
	struct rows *rows = ctx;
	struct row *r;

	(void)n;
	/* Only restarts with ever new keys could fill it; the oldest are left out. */
	if (rows->n == ROWS_MAX)
		return;
	r = &rows->row[rows->n++];
	*r = (struct row){ .has_seed = c[1].type == SQL_BLOB, .retired = c[4].type == SQL_INTEGER,
	                   .created_ms = (uint64_t)c[3].integer,
	                   .retired_ms = (uint64_t)c[4].integer };
	r->sound = c[0].bytes.len < sizeof(r->kid) && c[2].bytes.len == TOKEN_PUBLIC_LEN &&
	           (!r->has_seed || c[1].bytes.len == TOKEN_SEED_LEN);
	if (!r->sound)
		return;
	memcpy(r->kid, c[0].bytes.p, c[0].bytes.len);
	if (r->has_seed)
		memcpy(r->private, c[1].bytes.p, TOKEN_SEED_LEN);
	memcpy(r->private + TOKEN_SEED_LEN, c[2].bytes.p, TOKEN_PUBLIC_LEN);
}

static enum err read_rows(struct keys *k, struct rows *rows)
{
	struct sql sql = database_sql(k->db);

	rows->n = 0;
	return sql_exec(&sql, "SELECT kid, seed, public, created_at, retired_at FROM signing_keys"
	                      " ORDER BY created_at DESC, kid", NULL, 0, take_row, rows);
}

/* The id of a key made here: its thumbprint (RFC 7638, RFC 8037 appendix A.3). */
static void make_kid(char kid[static TOKEN_KID_MAX + 1], const uint8_t public[static 32])
{
	uint8_t digest[SHA256_LEN];
	char jwk[128], x[BASE64_LEN(32) + 1];
	struct text t = text_in(x, sizeof(x));

	text_base64(&t, public, TOKEN_PUBLIC_LEN);
	base64_to_url(x);
	t = TEXT_IN(jwk);
	text_str(&t, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
	text_str(&t, x);
	text_str(&t, "\"}");
	sha256(digest, span_of(jwk, t.len));
	t = text_in(kid, TOKEN_KID_MAX + 1);
	text_base64(&t, digest, sizeof(digest));
	base64_to_url(kid);
}

/* A new key, which signs from AT on. */
static enum err make_key(struct keys *k, uint64_t at)
{
	uint8_t seed[ED25519_SEED_LEN], public[ED25519_PUBLIC_LEN];
	char kid[TOKEN_KID_MAX + 1];
	struct sql_value binds[4];
	enum err e;

	rng_fill(k->rng, seed, sizeof(seed));
	ed25519_public(public, seed);
	make_kid(kid, public);
	binds[0] = sql_text(kid);
	binds[1] = sql_blob(span_of(seed, sizeof(seed)));
	binds[2] = sql_blob(span_of(public, sizeof(public)));
	binds[3] = sql_integer(at);
	e = exec(k, "INSERT INTO signing_keys (kid, seed, public, created_at)"
	            " VALUES (?1, ?2, ?3, ?4)", binds, 4);
	wipe(seed, sizeof(seed));
	return e;
}

/* --- what the table should say -------------------------------------------------------------- */

static enum err forget_dead(struct keys *k, uint64_t now)
{
	struct sql_value bind = sql_integer(now > RETIRED_MS ? now - RETIRED_MS : 0);

	return exec(k, "DELETE FROM signing_keys WHERE retired_at < ?1", &bind, 1);
}

/* Every key but KID ("" for none) stops signing now. */
static enum err retire_others(struct keys *k, const char *kid, uint64_t now)
{
	struct sql_value binds[2] = { sql_integer(now), sql_text(kid) };

	return exec(k, "UPDATE signing_keys SET retired_at = ?1, seed = NULL"
	               " WHERE retired_at IS NULL AND kid <> ?2", binds, 2);
}

static enum err settle_configured(struct keys *k, uint64_t now)
{
	const struct token_key *key = &k->given.current;
	struct sql_value binds[3] = { sql_text(key->kid),
	                              sql_blob(span_of(key->public, TOKEN_PUBLIC_LEN)),
	                              sql_integer(now) };
	enum err e = retire_others(k, key->kid, now);

	if (e)
		return e;
	return exec(k, "INSERT INTO signing_keys (kid, public, created_at) VALUES (?1, ?2, ?3)"
	               " ON CONFLICT (kid) DO UPDATE SET public = excluded.public, seed = NULL,"
	               " retired_at = NULL WHERE public <> excluded.public"
	               " OR retired_at IS NOT NULL OR seed IS NOT NULL", binds, 3);
}

/* The key that signs at NOW: the youngest that has begun to. When the clock went back none may
 * have; then the one that is the first to. NULL when there is none at all. */
static const struct row *signing(const struct rows *rows, uint64_t now)
{
	const struct row *first = NULL;

	for (size_t i = 0; i < rows->n; i++) {
		const struct row *r = &rows->row[i];

		if (r->retired || !r->has_seed || !r->sound)
			continue;
		first = r;
		if (r->created_ms <= now)
			break;
	}
	return first;
}

/* The key that takes over from CURRENT; NULL while there is none. */
static const struct row *following(const struct rows *rows, const struct row *current)
{
	const struct row *next = NULL;

	for (const struct row *r = rows->row; r != current; r++)
		if (!r->retired && r->has_seed)
			next = r;
	return next;
}

static enum err retire_before(struct keys *k, const struct row *current, uint64_t now)
{
	struct sql_value binds[3] = { sql_integer(now), sql_integer(current->created_ms),
	                              sql_text(current->kid) };

	/* Those without a seed were configured, and are no more. */
	return exec(k, "UPDATE signing_keys SET retired_at = ?1, seed = NULL"
	               " WHERE retired_at IS NULL AND kid <> ?3"
	               " AND (seed IS NULL OR created_at <= ?2)", binds, 3);
}

static enum err settle_auto(struct keys *k, struct rows *rows, uint64_t now)
{
	const struct row *current = signing(rows, now);
	uint64_t ends;
	enum err e;

	if (!current) {
		e = retire_others(k, "", now);
		return e ? e : make_key(k, now);
	}
	e = retire_before(k, current, now);
	ends = current->created_ms + KEYS_ROTATE_MS;
	if (e || following(rows, current) || now + KEYS_AHEAD_MS < ends)
		return e;
	return make_key(k, ends > now + KEYS_AHEAD_MS ? ends : now + KEYS_AHEAD_MS);
}

/* --- what is listed ------------------------------------------------------------------------- */

static void list(struct token_keys *out, const struct token_key *key)
{
	for (size_t i = 0; i < out->n; i++)
		if (str_eq(out->key[i].kid, key->kid))
			return;
	if (out->n < TOKEN_KEYS_MAX)
		out->key[out->n++] = *key;
}

/* A row that is damaged cannot be listed; the others can. */
static void list_row(struct keys *k, struct token_keys *out, const struct row *r, bool may_sign)
{
	struct token_key key;
	enum err e = ERR_INVALID;

	if (r->sound && r->has_seed)
		e = token_key_load(&key, r->kid, span_of(r->private, sizeof(r->private)));
	else if (r->sound)
		e = token_key_load_public(&key, r->kid,
		                          span_of(r->private + TOKEN_SEED_LEN, TOKEN_PUBLIC_LEN));
	if (e) {
		log_emit(k->log, LOG_ERROR, "keys", "a signing key in the database is damaged", "");
		return;
	}
	key.signs = key.signs && may_sign;
	list(out, &key);
	wipe(&key, sizeof(key));
}

static void list_all(struct keys *k, const struct rows *rows, uint64_t now, struct token_keys *out)
{
	const struct row *current = k->mode == MODE_AUTO ? signing(rows, now) : NULL;

	out->n = 0;
	if (k->mode == MODE_CONFIGURED)
		list(out, &k->given.current);
	if (current)
		list_row(k, out, current, true);
	for (size_t i = 0; i < rows->n; i++)
		list_row(k, out, &rows->row[i], false);
	for (size_t i = 0; i < k->given.n_previous; i++)
		list(out, &k->given.previous[i]);
}

static uint64_t deadline(const struct keys *k, const struct rows *rows, uint64_t now)
{
	const struct row *current = k->mode == MODE_AUTO ? signing(rows, now) : NULL;
	const struct row *next = current ? following(rows, current) : NULL;
	uint64_t at = UINT64_MAX;

	if (next)
		at = next->created_ms;
	else if (current)
		at = current->created_ms + KEYS_ROTATE_MS - KEYS_AHEAD_MS;
	for (size_t i = 0; i < rows->n; i++)
		if (rows->row[i].retired && rows->row[i].retired_ms + RETIRED_MS + 1 < at)
			at = rows->row[i].retired_ms + RETIRED_MS + 1;
	return at;
}

/* Brings the table up to date, and tells what is listed then. */
static enum err settle(struct keys *k, uint64_t now, struct token_keys *tokens, uint64_t *next)
{
	struct rows rows;
	enum err e = forget_dead(k, now);

	if (!e)
		e = read_rows(k, &rows);
	if (e)
		return e;
	if (k->mode == MODE_AUTO)
		e = settle_auto(k, &rows, now);
	else if (k->mode == MODE_CONFIGURED)
		e = settle_configured(k, now);
	else
		e = retire_others(k, "", now);
	if (!e)
		e = read_rows(k, &rows);
	if (!e) {
		list_all(k, &rows, now, tokens);
		*next = deadline(k, &rows, now);
	}
	wipe(&rows, sizeof(rows));
	return e;
}

/* --- the face ------------------------------------------------------------------------------- */

static enum err read_given(struct keys *k, const struct keys_config *cfg, char *why, size_t cap)
{
	char text[KEYS_TEXT_MAX + 1];
	size_t n = 0;
	enum err e;

	if (cfg->previous && keys_given_previous(&k->given, cfg->previous, why, cap))
		return ERR_INVALID;
	if (str_eq(cfg->source, "none"))
		return ERR_OK;
	if (str_eq(cfg->source, "auto") && !cfg->current) {
		k->mode = MODE_AUTO;
		return ERR_OK;
	}
	k->mode = MODE_CONFIGURED;
	if (str_eq(cfg->source, "auto"))
		return keys_given_current(&k->given, cfg->current, "DISCOVERY_SIGNING_KEY", why,
		                          cap);
	e = files_read(cfg->source, text, KEYS_TEXT_MAX, &n);
	if (e)
		snprintf(why, cap, "cannot read the signing key %s: %s", cfg->source,
		         strerror(errno));
	text[n] = '\0';
	if (!e)
		e = keys_given_current(&k->given, text, cfg->source, why, cap);
	wipe(text, sizeof(text));
	return e;
}

enum err keys_open(const struct keys_config *cfg, struct database *db, struct wall_time wall,
                   struct keys **out, char *why, size_t why_cap)
{
	struct keys *k = calloc(1, sizeof(*k));
	enum err e;

	if (!k) {
		snprintf(why, why_cap, "out of memory");
		return ERR_NOMEM;
	}
	k->db = db;
	k->log = cfg->log;
	k->rng = cfg->rng;
	e = read_given(k, cfg, why, why_cap);
	if (e) {
		keys_close(k);
		return e;
	}
	snprintf(why, why_cap, "the server's keys cannot be kept in the database");
	e = open_secret(k, why, why_cap);
	if (!e)
		e = settle(k, wall_ms(wall), &k->tokens, &k->deadline_ms);
	if (e) {
		keys_close(k);
		return e;
	}
	*out = k;
	return ERR_OK;
}

void keys_close(struct keys *k)
{
	if (!k)
		return;
	wipe(k, sizeof(*k));
	free(k);
}

const struct token_keys *keys_tokens(const struct keys *k)
{
	return &k->tokens;
}

const uint8_t *keys_server_secret(const struct keys *k)
{
	return k->server_secret;
}

uint64_t keys_deadline_ms(const struct keys *k)
{
	return k->deadline_ms;
}

enum err keys_tick(struct keys *k, struct wall_time wall)
{
	struct token_keys fresh;
	uint64_t next, now = wall_ms(wall);
	enum err e;

	if (now < k->deadline_ms)
		return ERR_OK;
	e = database_begin(k->db);
	if (!e)
		e = settle(k, now, &fresh, &next);
	/* Nothing may be signed with a key that a crash would lose. A failed settle has spoiled the
	 * transaction, and ends it here as well. */
	if (database_commit(k->db) || e) {
		wipe(&fresh, sizeof(fresh));
		return ERR_IO;
	}
	if (!str_eq(k->tokens.key[0].kid, fresh.key[0].kid))
		log_emit(k->log, LOG_INFO, "keys", "tokens are signed with a new key", "");
	k->tokens = fresh;
	k->deadline_ms = next;
	wipe(&fresh, sizeof(fresh));
	return ERR_OK;
}
