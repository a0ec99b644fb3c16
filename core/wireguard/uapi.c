#include "wireguard/uapi.h"

/* Linux errno values, which are part of the protocol. */
enum { UAPI_OK = 0, UAPI_EPERM = 1, UAPI_ENOMEM = 12, UAPI_EINVAL = 22, UAPI_ENOSPC = 28 };

#define ANSWER_MAX (16U << 10) /* bytes that one call of wg_uapi_get_next may append */
/* The attributes of a peer with their longest values are far below this. */
#define PEER_MAX    1024
#define ALLOWED_MAX (sizeof("allowed_ip=\n") + PREFIX_TEXT_MAX)

static int errno_of(enum err e)
{
	if (e == ERR_OK || e == ERR_EXISTS)
		return UAPI_OK;
	return e == ERR_NOMEM ? UAPI_ENOMEM : e == ERR_FULL ? UAPI_ENOSPC : UAPI_EINVAL;
}

/* ---- set ---- */

struct value {
	const char *p;
	size_t len;
};

static bool is_word(struct value v, const char *word)
{
	return v.len == strlen(word) && memcmp(v.p, word, v.len) == 0;
}

static int parse_key(struct value v, uint8_t *key)
{
	return errno_of(hex_decode_exact(v.p, v.len, key, WG_KEY_LEN));
}

static int set_private_key(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	uint8_t key[WG_KEY_LEN], present[WG_KEY_LEN];
	int e = parse_key(v, key);

	/* A mesh knows its members by their keys. Its own may be set again, as wg syncconf does. */
	wg_get_private_key(s->device, present);
	if (!e && wg_is_managed(s->device) && !ct_equal(key, present, sizeof(key)))
		e = UAPI_EPERM;
	if (!e)
		wg_set_private_key(s->device, key, now);
	wipe(key, sizeof(key));
	wipe(present, sizeof(present));
	return e;
}

static int set_listen_port(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	uint64_t port;

	(void)now;
	if (parse_u64(v.p, v.len, UINT16_MAX, &port) != ERR_OK)
		return UAPI_EINVAL;
	s->host.has_listen_port = true;
	s->host.listen_port = (uint16_t)port;
	return UAPI_OK;
}

static int set_fwmark(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	uint64_t mark;

	(void)now;
	if (parse_u64(v.p, v.len, UINT32_MAX, &mark) != ERR_OK)
		return UAPI_EINVAL;
	s->host.has_fwmark = true;
	s->host.fwmark = (uint32_t)mark;
	return UAPI_OK;
}

/* Peers with a mark belong to the mesh, which holds pointers to them; it is asked to remove them by
 * its own commands. */
static int set_replace_peers(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	struct wg_peer *p, *kept = NULL;

	(void)now;
	if (!is_word(v, "true"))
		return UAPI_EINVAL;
	while ((p = wg_peer_next(s->device, kept))) {
		if (wg_is_managed(s->device) && wg_peer_user(p))
			kept = p;
		else
			wg_peer_remove(s->device, p);
	}
	return UAPI_OK;
}

/* Begins the section of a peer, and makes it if there is none. */
static int set_public_key(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	int e = parse_key(v, s->key);
	enum err added;

	if (e)
		return e;
	s->in_peer = true;
	s->skip_peer = s->new_peer = false;
	/* Lines about ourselves are ignored, so that one configuration may serve a network. */
	if (ct_equal(s->key, wg_public_key(s->device), WG_KEY_LEN) &&
	    !ct_is_zero(s->key, WG_KEY_LEN)) {
		s->skip_peer = true;
		return UAPI_OK;
	}
	added = wg_peer_add(s->device, s->key, &s->peer, now);
	s->new_peer = added == ERR_OK;
	return errno_of(added);
}

static int set_update_only(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	(void)now;
	if (!is_word(v, "true"))
		return UAPI_EINVAL;
	if (s->new_peer) {
		wg_peer_remove(s->device, s->peer);
		s->skip_peer = true;
	}
	return UAPI_OK;
}

static int set_remove(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	(void)now;
	if (!is_word(v, "true"))
		return UAPI_EINVAL;
	if (wg_is_managed(s->device) && wg_peer_user(s->peer))
		return UAPI_EPERM;
	wg_peer_remove(s->device, s->peer);
	s->skip_peer = true;
	return UAPI_OK;
}

static int set_preshared_key(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	uint8_t key[WG_KEY_LEN];
	int e = parse_key(v, key);

	(void)now;
	if (!e)
		wg_peer_set_psk(s->peer, key);
	wipe(key, sizeof(key));
	return e;
}

static int set_endpoint(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	struct endpoint e;

	(void)now;
	if (endpoint_parse(v.p, v.len, &e) != ERR_OK)
		return UAPI_EINVAL;
	wg_peer_set_endpoint(s->peer, &e);
	return UAPI_OK;
}

static int set_keepalive(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	uint64_t seconds;

	if (parse_u64(v.p, v.len, UINT16_MAX, &seconds) != ERR_OK)
		return UAPI_EINVAL;
	wg_peer_set_keepalive(s->peer, (uint16_t)seconds, now);
	return UAPI_OK;
}

static int set_replace_allowed_ips(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	(void)now;
	if (!is_word(v, "true"))
		return UAPI_EINVAL;
	wg_peer_disallow_all(s->peer);
	return UAPI_OK;
}

static bool has_slash(struct value v)
{
	for (size_t i = 0; i < v.len; i++) {
		if (v.p[i] == '/')
			return true;
	}
	return false;
}

/* "ip/len" adds, as does "+ip/len"; "-ip/len" takes away what is there. */
static int set_allowed_ip(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	bool sign = v.len && (v.p[0] == '-' || v.p[0] == '+');
	bool away = v.len && v.p[0] == '-';
	struct value text = { v.p + sign, v.len - sign };
	struct ip_prefix prefix;
	enum err e;

	(void)now;
	if (!has_slash(text) || prefix_parse(text.p, text.len, &prefix) != ERR_OK)
		return UAPI_EINVAL;
	if (!away)
		return errno_of(wg_peer_allow(s->peer, &prefix));
	e = wg_peer_disallow(s->peer, &prefix);
	return e == ERR_NOT_FOUND ? UAPI_OK : errno_of(e);
}

static int set_protocol_version(struct wg_uapi_set *s, struct value v, uint64_t now)
{
	(void)s;
	(void)now;
	return is_word(v, "1") ? UAPI_OK : UAPI_EINVAL;
}

struct attribute {
	const char *name;
	bool of_peer;
	int (*set)(struct wg_uapi_set *s, struct value v, uint64_t now);
};

static const struct attribute attributes[] = {
	{ "private_key", false, set_private_key },
	{ "listen_port", false, set_listen_port },
	{ "fwmark", false, set_fwmark },
	{ "replace_peers", false, set_replace_peers },
	{ "update_only", true, set_update_only },
	{ "remove", true, set_remove },
	{ "preshared_key", true, set_preshared_key },
	{ "endpoint", true, set_endpoint },
	{ "persistent_keepalive_interval", true, set_keepalive },
	{ "replace_allowed_ips", true, set_replace_allowed_ips },
	{ "allowed_ip", true, set_allowed_ip },
	{ "protocol_version", true, set_protocol_version },
};

/* Lines of a peer that is skipped are still checked, as far as the value alone allows. */
static int skip_value(const struct attribute *a, struct value v)
{
	return a->set == set_protocol_version ? a->set(NULL, v, 0) : UAPI_OK;
}

static int set_attribute(struct wg_uapi_set *s, const struct attribute *a, struct value v,
                         uint64_t now)
{
	if (a->of_peer != s->in_peer)
		return UAPI_EINVAL; /* device attributes come before the first peer */
	if (!a->of_peer)
		return a->set(s, v, now);
	/* Between two lines somebody else may have removed the peer. */
	s->peer = s->skip_peer ? NULL : wg_peer_find(s->device, s->key);
	return s->peer ? a->set(s, v, now) : skip_value(a, v);
}

void wg_uapi_set_begin(struct wg_uapi_set *s, struct wg_device *d)
{
	*s = (struct wg_uapi_set){ .device = d };
}

int wg_uapi_set_line(struct wg_uapi_set *s, const char *line, size_t len, uint64_t now)
{
	struct value name = { line, 0 }, v;

	while (name.len < len && line[name.len] != '=')
		name.len++;
	if (name.len == len)
		return UAPI_EINVAL;
	v = (struct value){ line + name.len + 1, len - name.len - 1 };
	if (is_word(name, "public_key"))
		return set_public_key(s, v, now);
	for (size_t i = 0; i < ARRAY_LEN(attributes); i++) {
		if (is_word(name, attributes[i].name))
			return set_attribute(s, &attributes[i], v, now);
	}
	return UAPI_EINVAL;
}

/* ---- get ---- */

enum stage { STAGE_DEVICE, STAGE_PEER, STAGE_ALLOWED, STAGE_END };

static void put(struct text *t, const char *key, uint64_t value)
{
	text_str(t, key);
	text_ch(t, '=');
	text_u64(t, value);
	text_ch(t, '\n');
}

static void put_key(struct text *t, const char *name, const uint8_t *key)
{
	text_str(t, name);
	text_ch(t, '=');
	text_hex(t, key, WG_KEY_LEN);
	text_ch(t, '\n');
}

static void get_device(const struct wg_uapi_get *g, struct text *out)
{
	uint8_t key[WG_KEY_LEN];

	if (wg_get_private_key(g->device, key))
		put_key(out, "private_key", key);
	if (g->host.listen_port)
		put(out, "listen_port", g->host.listen_port);
	if (g->host.fwmark)
		put(out, "fwmark", g->host.fwmark);
	wipe(key, sizeof(key));
}

static void get_peer(const struct wg_uapi_get *g, struct text *out)
{
	struct wg_peer_info info;
	uint8_t psk[WG_KEY_LEN];

	wg_peer_info(g->peer, &info);
	wg_peer_get_psk(g->peer, psk);
	put_key(out, "public_key", info.public_key);
	put_key(out, "preshared_key", psk);
	put(out, "protocol_version", 1);
	if (info.path.remote.ip.family != IP_NONE) {
		text_str(out, "endpoint=");
		text_endpoint(out, &info.path.remote);
		text_ch(out, '\n');
	}
	put(out, "last_handshake_time_sec", info.last_handshake.s);
	put(out, "last_handshake_time_nsec", info.last_handshake.ns);
	put(out, "tx_bytes", info.tx_bytes);
	put(out, "rx_bytes", info.rx_bytes);
	put(out, "persistent_keepalive_interval", info.keepalive_s);
	wipe(psk, sizeof(psk));
}

/* As many allowed IPs as fit below END. True when all are out. */
static bool get_allowed(struct wg_uapi_get *g, struct text *out, size_t end)
{
	struct ip_prefix prefix;

	while (out->len + ALLOWED_MAX <= end) {
		if (!wg_peer_allowed_next(g->peer, &g->cursor, &prefix))
			return true;
		text_str(out, "allowed_ip=");
		text_prefix(out, &prefix);
		text_ch(out, '\n');
	}
	return false;
}

static void next_peer(struct wg_uapi_get *g)
{
	g->peer = wg_peer_next(g->device, g->peer);
	g->cursor = 0;
	g->stage = g->peer ? STAGE_PEER : STAGE_END;
}

void wg_uapi_get_begin(struct wg_uapi_get *g, struct wg_device *d, const struct wg_uapi_host *host)
{
	*g = (struct wg_uapi_get){ .device = d, .host = *host, .stage = STAGE_DEVICE };
}

bool wg_uapi_get_next(struct wg_uapi_get *g, struct text *out, uint64_t now)
{
	size_t end = out->len + ANSWER_MAX;

	(void)now;
	if (g->stage == STAGE_DEVICE) {
		get_device(g, out);
		next_peer(g);
	}
	while (g->stage != STAGE_END && out->len + PEER_MAX <= end) {
		if (g->stage == STAGE_PEER)
			get_peer(g, out);
		g->stage = STAGE_ALLOWED;
		if (!get_allowed(g, out, end))
			return true;
		next_peer(g);
	}
	return g->stage != STAGE_END;
}
