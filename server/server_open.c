/* How the server comes up: database, keys, certificate, sockets, sandbox. */
#include "server/server_internal.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "linux/clock.h"
#include "linux/entropy.h"
#include "linux/sandbox.h"
#include "linux/systemd.h"

/* Descriptors that are not connections: database, lock, listeners, the loop's own. */
#define FILES_RESERVED  64
#define CONNECTIONS_MAX 20000
/* One source may have this part of them. */
#define SHARES          4

static size_t connections_allowed(void)
{
	struct rlimit limit;
	rlim_t n;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 512;
	if (limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			(void)getrlimit(RLIMIT_NOFILE, &limit);
	}
	n = limit.rlim_cur > 2 * FILES_RESERVED ? limit.rlim_cur - FILES_RESERVED : FILES_RESERVED;
	return n < CONNECTIONS_MAX ? (size_t)n : CONNECTIONS_MAX;
}

/* --- the database and what is in it --------------------------------------------------------- */

/* Begins a transaction that service_new commits: what a first start makes is on disk at once, and
 * in whole. */
static enum err open_keys(struct server *s, char *why, size_t cap)
{
	struct keys_config cfg = { s->cfg->signing_key, s->cfg->signing_key_text,
	                           s->cfg->previous_keys_text, s->cfg->log, &linux_rng };
	struct sql sql = database_sql(s->db);
	enum err e = database_begin(s->db);

	if (!e)
		e = registry_migrate(&sql);
	if (!e)
		return keys_open(&cfg, s->db, clock_wall(), &s->keys, why, cap);
	snprintf(why, cap, "the database in %s cannot be brought up to date: %s", s->cfg->data_dir,
	         err_text(e));
	return e;
}

static enum err open_service(struct server *s, char *why, size_t cap)
{
	struct service_config cfg = {
		.log = s->cfg->log, .version = s->cfg->version, .edge = s->cfg->edge,
		.ttl_s = s->cfg->ttl_s, .stun_port = s->stun_at.port,
		.server_secret = keys_server_secret(s->keys), .tokens = keys_tokens(s->keys),
		.limit_factor = s->cfg->limit_factor, .strict_keys = s->cfg->strict_keys,
	};
	enum err e = service_new(&cfg, &s->loop, s->db, &s->service);
	const char *reason;

	if (e && database_degraded(s->db, &reason))
		snprintf(why, cap, "the database in %s cannot be used: %s", s->cfg->data_dir,
		         reason);
	else if (e)
		snprintf(why, cap, "the database in %s cannot be used: %s", s->cfg->data_dir,
		         err_text(e));
	return e;
}

/* --- sockets -------------------------------------------------------------------------------- */

static enum err cannot_listen(const char *what, const struct endpoint *at, int e, char *why,
                              size_t cap)
{
	char text[ENDPOINT_TEXT_MAX];
	struct text t = TEXT_IN(text);

	text_endpoint(&t, at);
	snprintf(why, cap, "cannot listen for %s on %s: %s; choose another with --%s", what, text,
	         uv_strerror(e), strcmp(what, "HTTP") == 0 ? "http" : "stun");
	return ERR_IO;
}

/* Sockets that were handed over and that nobody took. */
static enum err drop_fds(struct systemd_fd *fds, size_t n, enum err e)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i].fd >= 0)
			close(fds[i].fd);
	return e;
}

static enum err open_stun(struct server *s, struct systemd_fd *fds, size_t n, char *why, size_t cap)
{
	int e;

	for (size_t i = 0; i < n; i++) {
		if (fds[i].kind != SYSTEMD_DATAGRAM)
			continue;
		if (s->stun) {
			snprintf(why, cap, "more than one UDP socket was handed over; STUN takes "
			                   "one");
			return ERR_FULL;
		}
		e = stun_server_open_fd(&s->loop, fds[i].fd, &s->stun, &s->stun_at);
		if (e) {
			snprintf(why, cap, "the UDP socket that was handed over cannot be used: %s",
			         uv_strerror(e));
			return ERR_IO;
		}
		fds[i].fd = -1;
	}
	if (s->stun)
		return ERR_OK;
	e = stun_server_open(&s->loop, &s->cfg->stun, &s->stun, &s->stun_at);
	return e ? cannot_listen("STUN", &s->cfg->stun, e, why, cap) : ERR_OK;
}

static enum err open_http(struct server *s, struct systemd_fd *fds, size_t n, char *why, size_t cap)
{
	struct endpoint at;
	bool any = false;
	int e = 0;

	for (size_t i = 0; i < n && !e; i++) {
		if (fds[i].kind != SYSTEMD_STREAM)
			continue;
		if (str_eq(fds[i].name, "https") && !s->tls) {
			snprintf(why, cap, "a socket for https was handed over; give a certificate "
			                   "with --tls-cert and --tls-key");
			return ERR_INVALID;
		}
		e = web_listen_fd(s->web, fds[i].fd, &at);
		if (e)
			break;
		fds[i].fd = -1;
		if (!any)
			s->http_at = at;
		any = true;
	}
	if (e) {
		snprintf(why, cap, "a TCP socket that was handed over cannot be used: %s",
		         uv_strerror(e));
		return ERR_IO;
	}
	if (any)
		return ERR_OK;
	e = web_listen(s->web, &s->cfg->http, &s->http_at);
	return e ? cannot_listen("HTTP", &s->cfg->http, e, why, cap) : ERR_OK;
}

static enum err take_fds(struct systemd_fd *fds, size_t *n, char *why, size_t cap)
{
	enum err e = systemd_take_fds(fds, SYSTEMD_FDS_MAX, n);

	if (e)
		snprintf(why, cap, "the sockets in LISTEN_FDS cannot be taken over: %s",
		         err_text(e));
	for (size_t i = 0; !e && i < *n; i++) {
		if (fds[i].kind != SYSTEMD_OTHER)
			continue;
		snprintf(why, cap, "socket %zu that was handed over is neither a listening TCP "
		                   "nor a UDP socket", i + 1);
		e = ERR_INVALID;
	}
	return e;
}

static enum err open_web(struct server *s, char *why, size_t cap)
{
	struct web_host host = service_host(s->service);
	size_t max = connections_allowed();

	s->web = web_new(&s->loop, &host, max);
	if (!s->web) {
		snprintf(why, cap, "out of memory");
		return ERR_NOMEM;
	}
	web_limit_sources(s->web, max / SHARES, &s->cfg->edge);
	if (s->tls)
		web_set_tls(s->web, s->tls);
	return ERR_OK;
}

enum err server_open(struct server *s, char *why, size_t cap)
{
	struct systemd_fd fds[SYSTEMD_FDS_MAX];
	size_t n = 0;
	enum err e = take_fds(fds, &n, why, cap);

	if (!e && s->cfg->tls_cert)
		e = tls_context_new(s->cfg->tls_cert, s->cfg->tls_key, &s->tls, why, cap);
	if (!e)
		e = database_open(s->cfg->data_dir, s->cfg->log, &s->db, why, cap);
	if (!e)
		e = open_keys(s, why, cap);
	if (!e)
		e = open_stun(s, fds, n, why, cap);
	if (!e)
		e = open_service(s, why, cap);
	if (!e)
		e = open_web(s, why, cap);
	if (!e)
		e = open_http(s, fds, n, why, cap);
	return drop_fds(fds, n, e);
}

/* --- the sandbox ---------------------------------------------------------------------------- */

struct confines {
	struct sandbox_path path[SANDBOX_PATHS_MAX];
	size_t n;
	char text[4][PATH_MAX];
	size_t used;
};

static void let_read(struct confines *c, const char *path)
{
	c->path[c->n++] = (struct sandbox_path){ path, false };
}

/* FILE is often a link into another directory, and is replaced rather than rewritten: what must
 * stay readable is the directory that it stands in, and the one that it leads to. */
static void let_read_beside(struct confines *c, const char *file)
{
	char *copy = c->text[c->used++], *real = c->text[c->used++];

	snprintf(copy, PATH_MAX, "%s", file);
	let_read(c, dirname(copy));
	if (realpath(file, real))
		let_read(c, dirname(real));
}

enum err server_confine(const struct server *s, char *why, size_t cap)
{
	struct confines c = { .n = 0 };
	uint8_t digest[SHA256_LEN];

	/* What libraries read once, they read now. */
	tzset();
	sha256(digest, span_of("", 0));
	c.path[c.n++] = (struct sandbox_path){ s->cfg->data_dir, true };
	/* libuv keeps one to spare, SQLite seeds itself, the metrics tell the process's size. */
	let_read(&c, "/dev/null");
	let_read(&c, "/dev/urandom");
	let_read(&c, "/proc/self");
	if (s->cfg->tls_cert) {
		let_read_beside(&c, s->cfg->tls_cert);
		let_read_beside(&c, s->cfg->tls_key);
	}
	return sandbox_enter(c.path, c.n, s->cfg->log, why, cap);
}
