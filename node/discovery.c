#include "node/discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linux/clock.h"
#include "node/discovery_curl.h"
#include "node/discovery_json.h"

#define BODY_MAX          (256 * 1024)
#define CONNECT_TIMEOUT_S 4L
#define CALL_TIMEOUT_S    8L   /* beyond what a long poll waits */
#define PATH              "/coral.discovery.v1.DiscoveryService/"

struct call {
	CURL *easy; /* NULL: free */
	struct curl_slist *headers;
	char *request;
	char *body;
	size_t len;
	enum rpc_method method;
	struct rpc_request *after; /* this call asks for the server's key, for that registration */
	char error[CURL_ERROR_SIZE];
};

/* A socket that curl wants watched. */
struct watch {
	uv_poll_t poll;
	struct discovery *owner;
	curl_socket_t fd;
};

struct lookup {
	uv_getaddrinfo_t req;
	struct discovery *owner; /* NULL: nobody waits any more */
};

/* What is known of the server's key, which proofs are made against. */
enum server_key { SERVER_KEY_UNKNOWN, SERVER_KEY_KNOWN, SERVER_KEY_NONE };

struct discovery {
	uv_loop_t *loop;
	bool proves;
	uint8_t private_key[X25519_LEN];
	enum server_key key_state;
	uint8_t key[X25519_LEN];
	int64_t clock_ahead_s; /* of the server's clock, which proofs must agree with, before ours */
	char *url;
	struct discovery_hooks hooks;
	struct discovery_curl curl;
	CURLM *multi;
	uv_timer_t timer;
	struct call calls[RPC_METHODS];
	struct stun_names names;
	struct endpoint servers[MESH_STUN_MAX];
	size_t server_count, name_next;
	struct lookup *lookup;
	bool lookup_again;
	void (*done)(void *ctx);
	void *done_ctx;
};

const char *discovery_url(const struct discovery *d)
{
	return d->url;
}

/* ---- libcurl's events on libuv ---- */

static void check_done(struct discovery *d);

static void on_socket(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct discovery *d = w->owner;
	int flags = 0, running;

	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	d->curl.multi_socket_action(d->multi, w->fd, flags, &running);
	check_done(d);
}

static void on_timer(uv_timer_t *timer)
{
	struct discovery *d = timer->data;
	int running;

	d->curl.multi_socket_action(d->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	check_done(d);
}

static int set_timer(CURLM *multi, long timeout_ms, void *ctx)
{
	struct discovery *d = ctx;

	(void)multi;
	if (uv_is_closing((uv_handle_t *)&d->timer))
		return 0;
	if (timeout_ms < 0)
		uv_timer_stop(&d->timer);
	else
		uv_timer_start(&d->timer, on_timer, (uint64_t)timeout_ms, 0);
	return 0;
}

static void free_handle(uv_handle_t *h)
{
	free(h->data);
}

static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct discovery *d = ctx;
	struct watch *w = socket_ctx;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			d->curl.multi_assign(d->multi, fd, NULL);
			uv_poll_stop(&w->poll);
			uv_close((uv_handle_t *)&w->poll, free_handle);
		}
		return 0;
	}
	if (!w) {
		w = calloc(1, sizeof(*w));
		if (!w)
			return -1;
		w->owner = d;
		w->fd = fd;
		w->poll.data = w;
		if (uv_poll_init_socket(d->loop, &w->poll, fd)) {
			free(w);
			return -1;
		}
		d->curl.multi_assign(d->multi, fd, w);
	}
	if (what != CURL_POLL_OUT)
		events |= UV_READABLE;
	if (what != CURL_POLL_IN)
		events |= UV_WRITABLE;
	uv_poll_start(&w->poll, events, on_socket);
	return 0;
}

static CURLM *new_multi(struct discovery *d)
{
	CURLM *m = d->curl.multi_init();

	if (!m)
		return NULL;
	d->curl.multi_setopt(m, CURLMOPT_SOCKETFUNCTION, watch_socket);
	d->curl.multi_setopt(m, CURLMOPT_SOCKETDATA, d);
	d->curl.multi_setopt(m, CURLMOPT_TIMERFUNCTION, set_timer);
	d->curl.multi_setopt(m, CURLMOPT_TIMERDATA, d);
	return m;
}

/* ---- STUN servers ---- */

static void resolve_next(struct discovery *d);

static void take_addresses(struct discovery *d, const struct addrinfo *list)
{
	for (const struct addrinfo *a = list; a; a = a->ai_next) {
		struct endpoint *e = &d->servers[d->server_count];

		if (d->server_count == MESH_STUN_MAX)
			return;
		memset(e, 0, sizeof(*e));
		if (a->ai_family == AF_INET) {
			struct sockaddr_in sin;

			memcpy(&sin, a->ai_addr, sizeof(sin));
			e->ip = ip_from_bytes((const uint8_t *)&sin.sin_addr, IP_V4);
			e->port = ntohs(sin.sin_port);
		} else if (a->ai_family == AF_INET6) {
			struct sockaddr_in6 sin6;

			memcpy(&sin6, a->ai_addr, sizeof(sin6));
			e->ip = ip_from_bytes((const uint8_t *)&sin6.sin6_addr, IP_V6);
			e->port = ntohs(sin6.sin6_port);
		} else {
			continue;
		}
		d->server_count++;
	}
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list)
{
	struct lookup *l = req->data;
	struct discovery *d = l->owner;

	if (d) {
		d->lookup = NULL;
		if (status == 0)
			take_addresses(d, list);
		d->name_next++;
		resolve_next(d);
	}
	uv_freeaddrinfo(list);
	free(l);
}

/* "host:port", "[v6]:port" into its parts. */
static bool split_name(const char *name, char *host, size_t cap, const char **port)
{
	const char *colon = strrchr(name, ':');
	size_t len;

	if (!colon || !colon[1])
		return false;
	*port = colon + 1;
	len = (size_t)(colon - name);
	if (len >= 2 && name[0] == '[' && name[len - 1] == ']') {
		name++;
		len -= 2;
	}
	if (!len || len >= cap)
		return false;
	memcpy(host, name, len);
	host[len] = '\0';
	return true;
}

static void resolve_next(struct discovery *d)
{
	struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM };
	char host[MESH_HOSTNAME_MAX];
	const char *port;

	for (; d->name_next < d->names.count; d->name_next++) {
		struct lookup *l;

		if (!split_name(d->names.name[d->name_next], host, sizeof(host), &port))
			continue;
		l = calloc(1, sizeof(*l));
		if (!l)
			return;
		l->owner = d;
		l->req.data = l;
		if (uv_getaddrinfo(d->loop, &l->req, on_resolved, host, port, &hints) == 0) {
			d->lookup = l;
			return;
		}
		free(l);
	}
	if (d->server_count)
		d->hooks.stun_servers(d->hooks.ctx, d->servers, d->server_count);
}

static void resolve(struct discovery *d, const struct stun_names *names)
{
	if (d->lookup || !names->count)
		return; /* the one under way serves as well */
	d->names = *names;
	d->name_next = 0;
	d->server_count = 0;
	resolve_next(d);
}

/* ---- calls ---- */

static void call_clear(struct discovery *d, struct call *c)
{
	if (c->easy) {
		d->curl.multi_remove_handle(d->multi, c->easy);
		d->curl.easy_cleanup(c->easy);
	}
	d->curl.slist_free_all(c->headers);
	if (c->request)
		wipe(c->request, strlen(c->request)); /* it holds the lease token */
	free(c->request);
	if (c->body)
		wipe(c->body, c->len);
	free(c->body);
	if (c->after)
		wipe(c->after, sizeof(*c->after));
	free(c->after);
	memset(c, 0, sizeof(*c));
}

static size_t on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct call *c = ctx;
	size_t len = size * n;
	char *grown;

	if (len > BODY_MAX - c->len)
		return 0;
	grown = realloc(c->body, c->len + len + 1);
	if (!grown)
		return 0;
	c->body = grown;
	memcpy(c->body + c->len, p, len);
	c->len += len;
	return len;
}

static void answer(struct discovery *d, struct call *c, CURLcode code)
{
	struct rpc_reply *reply = calloc(1, sizeof(*reply));
	struct stun_names *stun = calloc(1, sizeof(*stun));
	long status = 0;

	if (!reply || !stun)
		abort(); /* as core does when memory for a few kilobytes is gone */
	reply->method = c->method;
	d->curl.easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK) {
		discovery_decode(reply, stun, status, c->body ? c->body : "", c->len);
	} else {
		reply->result = RPC_UNREACHABLE;
		struct text t = TEXT_IN(reply->message);

		text_str(&t, d->url);
		text_str(&t, ": ");
		text_str(&t, *c->error ? c->error : d->curl.easy_strerror(code));
	}
	/* A proof that is refused may have been made against the key of a server that is gone. */
	if (reply->method == RPC_REGISTER && reply->result == RPC_DENIED)
		d->key_state = SERVER_KEY_UNKNOWN;
	call_clear(d, c);
	d->hooks.reply(d->hooks.ctx, reply);
	resolve(d, stun);
	wipe(reply, sizeof(*reply));
	free(reply);
	free(stun);
}

static void start(struct discovery *d, struct call *c, const struct rpc_request *r);

/* What Health has told. False when nobody has answered: then the registration has failed, too. */
static bool take_server_key(struct discovery *d, const struct call *c, CURLcode code)
{
	struct curl_header *date;
	long status = 0;
	time_t then;

	d->curl.easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code != CURLE_OK || status >= 500)
		return false;
	d->key_state = SERVER_KEY_NONE;
	if (status == 200 && discovery_decode_server_key(c->body ? c->body : "", c->len, d->key))
		d->key_state = SERVER_KEY_KNOWN;
	/* A device without a clock of its own does not know what year it is; the server does. */
	if (d->curl.easy_header(c->easy, "Date", 0, CURLH_HEADER, -1, &date) == CURLHE_OK) {
		then = d->curl.getdate(date->value, NULL);
		if (then != (time_t)-1)
			d->clock_ahead_s = (int64_t)then - (int64_t)clock_wall().s;
	}
	return true;
}

static void finish(struct discovery *d, struct call *c, CURLcode code)
{
	struct rpc_request *r = c->after;

	if (!r || !take_server_key(d, c, code)) {
		answer(d, c, code);
		return;
	}
	c->after = NULL;
	call_clear(d, c);
	start(d, c, r);
	wipe(r, sizeof(*r));
	free(r);
}

static struct call *call_of(struct discovery *d, const CURL *easy)
{
	for (size_t i = 0; i < RPC_METHODS; i++)
		if (d->calls[i].easy == easy)
			return &d->calls[i];
	return NULL;
}

static void check_done(struct discovery *d)
{
	CURLMsg *msg;
	int left;

	while ((msg = d->curl.multi_info_read(d->multi, &left))) {
		struct call *c = msg->msg == CURLMSG_DONE ? call_of(d, msg->easy_handle) : NULL;

		if (c)
			finish(d, c, msg->data.result);
	}
}

/* The proof that goes with a registration. False when there is none to give. */
static bool prove(const struct discovery *d, const struct rpc_request *r, struct evidence *out)
{
	struct registration_claim claim = { r->mesh_id, r->is_colony ? "" : r->agent_id, 0 };

	if (r->method != RPC_REGISTER || !d->proves || d->key_state != SERVER_KEY_KNOWN)
		return false;
	out->time_s = claim.time_s = (int64_t)clock_wall().s + d->clock_ahead_s;
	return registration_proof(out->proof, d->private_key, d->key, &claim) == ERR_OK;
}

/* Makes the call of R; or, if it has AFTER it a registration, the one for the server's key. */
static bool prepare(struct discovery *d, struct call *c, const struct rpc_request *r)
{
	struct evidence evidence;
	char url[1024];
	struct text t = TEXT_IN(url);

	text_str(&t, d->url);
	text_str(&t, PATH);
	text_str(&t, c->after ? "Health" : discovery_method_name(r));
	c->method = r->method;
	c->request = c->after ? strdup("{}")
		: discovery_encode(r, prove(d, r, &evidence) ? &evidence : NULL);
	c->easy = d->curl.easy_init();
	c->headers = d->curl.slist_append(NULL, "Content-Type: application/json");
	if (c->headers)
		d->curl.slist_append(c->headers, "Connect-Protocol-Version: 1");
	if (!c->request || !c->easy || !c->headers || t.truncated)
		return false;
	d->curl.easy_setopt(c->easy, CURLOPT_URL, url);
	d->curl.easy_setopt(c->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	d->curl.easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
	d->curl.easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->request);
	d->curl.easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE, (long)strlen(c->request));
	d->curl.easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
	d->curl.easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
	d->curl.easy_setopt(c->easy, CURLOPT_ERRORBUFFER, c->error);
	d->curl.easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
	/* A name server that does not answer must not hold up the loop when the call ends: the
	 * resolver's thread is left to finish by itself. */
	d->curl.easy_setopt(c->easy, CURLOPT_QUICK_EXIT, 1L);
	d->curl.easy_setopt(c->easy, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	d->curl.easy_setopt(c->easy, CURLOPT_TIMEOUT, (long)r->wait_s + CALL_TIMEOUT_S);
	d->curl.easy_setopt(c->easy, CURLOPT_TCP_KEEPALIVE, 1L);
	d->curl.easy_setopt(c->easy, CURLOPT_TCP_KEEPIDLE, 10L);
	d->curl.easy_setopt(c->easy, CURLOPT_TCP_KEEPINTVL, 5L);
	d->curl.easy_setopt(c->easy, CURLOPT_USERAGENT, "warren");
	return true;
}

static void start(struct discovery *d, struct call *c, const struct rpc_request *r)
{
	if (!prepare(d, c, r) || d->curl.multi_add_handle(d->multi, c->easy) != CURLM_OK) {
		if (!c->easy)
			abort(); /* out of memory */
		answer(d, c, CURLE_OUT_OF_MEMORY);
	}
}

void discovery_call(struct discovery *d, const struct rpc_request *r)
{
	struct call *c = &d->calls[r->method];

	call_clear(d, c);
	if (r->method == RPC_REGISTER && d->proves && d->key_state == SERVER_KEY_UNKNOWN) {
		c->after = malloc(sizeof(*c->after));
		if (!c->after)
			abort(); /* out of memory */
		*c->after = *r;
	}
	start(d, c, r);
}

void discovery_prove_with(struct discovery *d, const uint8_t private_key[static X25519_LEN])
{
	memcpy(d->private_key, private_key, sizeof(d->private_key));
	d->proves = true;
}

void discovery_cancel(struct discovery *d, enum rpc_method method)
{
	call_clear(d, &d->calls[method]);
}

void discovery_reset(struct discovery *d)
{
	bool out[RPC_METHODS];
	CURLM *fresh = new_multi(d);

	if (!fresh)
		return;
	for (size_t i = 0; i < RPC_METHODS; i++) {
		out[i] = d->calls[i].easy != NULL;
		call_clear(d, &d->calls[i]);
	}
	d->curl.multi_cleanup(d->multi);
	d->multi = fresh;
	for (size_t i = 0; i < RPC_METHODS; i++) {
		struct rpc_reply *reply = out[i] ? calloc(1, sizeof(*reply)) : NULL;

		if (!reply)
			continue;
		reply->method = (enum rpc_method)i;
		reply->result = RPC_UNREACHABLE;
		snprintf(reply->message, sizeof(reply->message), "the network changed");
		d->hooks.reply(d->hooks.ctx, reply);
		free(reply);
	}
}

/* ---- life ---- */

bool discovery_url_is_valid(const char *url, const char **why)
{
	const char *host;

	*why = "must begin with http:// or https://";
	if (strncmp(url, "http://", 7) == 0)
		host = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		host = url + 8;
	else
		return false;
	*why = "is not the URL of a server";
	return *host && *host != '/' && !strpbrk(url, " \t\r\n?#@") && strlen(url) <= 512;
}

static char *clean_url(const char *url, const char **why)
{
	size_t len = strlen(url);
	char *copy;

	if (!discovery_url_is_valid(url, why))
		return NULL;
	while (url[len - 1] == '/')
		len--;
	copy = strndup(url, len);
	if (!copy)
		*why = "out of memory";
	return copy;
}

enum err discovery_new(uv_loop_t *loop, const char *url, const struct discovery_hooks *hooks,
                       struct discovery **out, const char **why)
{
	struct discovery *d = calloc(1, sizeof(*d));

	*why = "out of memory";
	if (!d)
		return ERR_NOMEM;
	d->loop = loop;
	d->hooks = *hooks;
	d->url = clean_url(url, why);
	if (!d->url) {
		free(d);
		return ERR_INVALID;
	}
	*why = "cannot be asked: libcurl does not start; is libcurl4 installed?";
	if (discovery_curl_load(&d->curl) || d->curl.global_init(CURL_GLOBAL_DEFAULT) ||
	    !(d->multi = new_multi(d))) {
		free(d->url);
		free(d);
		return ERR_NOMEM;
	}
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	*out = d;
	return ERR_OK;
}

static void on_closed(uv_handle_t *h)
{
	struct discovery *d = h->data;
	void (*done)(void *ctx) = d->done;
	void *ctx = d->done_ctx;

	free(d->url);
	wipe(d, sizeof(*d));
	free(d);
	if (done)
		done(ctx);
}

void discovery_free(struct discovery *d, void (*done)(void *ctx), void *ctx)
{
	d->done = done;
	d->done_ctx = ctx;
	if (d->lookup) {
		d->lookup->owner = NULL;
		uv_cancel((uv_req_t *)&d->lookup->req);
	}
	for (size_t i = 0; i < RPC_METHODS; i++)
		call_clear(d, &d->calls[i]);
	d->curl.multi_cleanup(d->multi);
	d->curl.global_cleanup();
	uv_close((uv_handle_t *)&d->timer, on_closed);
}
