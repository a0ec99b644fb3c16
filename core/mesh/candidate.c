#include "mesh/candidate.h"

/* RFC 8445 section 5.1.2.2 recommends these type preferences. */
static const struct {
	const char *name;
	uint32_t preference;
} types[] = {
	[CANDIDATE_HOST] = { "host", 126 },
	[CANDIDATE_SRFLX] = { "srflx", 100 },
	[CANDIDATE_PRFLX] = { "prflx", 110 },
	[CANDIDATE_RELAY] = { "relay", 0 },
};

const char *candidate_type_text(enum candidate_type type)
{
	return types[type].name;
}

void text_candidate(struct text *t, const struct candidate *c, size_t index)
{
	uint32_t local = 65535U - (uint32_t)index;

	text_str(t, "candidate:");
	text_u64(t, index + 1);
	text_str(t, " 1 udp ");
	text_u64(t, (types[c->type].preference << 24) + (local << 8) + 255);
	text_ch(t, ' ');
	text_ip(t, &c->endpoint.ip);
	text_ch(t, ' ');
	text_u64(t, c->endpoint.port);
	text_str(t, " typ ");
	text_str(t, types[c->type].name);
}

/* The next space-separated word of S, from *AT; its length in *LEN. */
static const char *word(const char *s, size_t n, size_t *at, size_t *len)
{
	const char *w;

	while (*at < n && s[*at] == ' ')
		(*at)++;
	w = s + *at;
	*len = 0;
	while (*at < n && s[*at] != ' ') {
		(*at)++;
		(*len)++;
	}
	return w;
}

static bool word_is(const char *w, size_t len, const char *what)
{
	if (len != strlen(what))
		return false;
	for (size_t i = 0; i < len; i++)
		if ((w[i] | 0x20) != what[i])
			return false;
	return true;
}

static enum err parse_type(const char *w, size_t len, enum candidate_type *out)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (word_is(w, len, types[i].name)) {
			*out = (enum candidate_type)i;
			return ERR_OK;
		}
	}
	return ERR_UNSUPPORTED;
}

enum err candidate_parse(const char *s, size_t n, struct candidate *out)
{
	struct candidate c = { .type = CANDIDATE_HOST };
	const char *w;
	size_t at = 0, len;
	uint64_t v;

	if (n >= CANDIDATE_TEXT_MAX * 2)
		return ERR_INVALID;
	(void)word(s, n, &at, &len); /* foundation, with or without "candidate:" */
	if (!len)
		return ERR_INVALID;
	w = word(s, n, &at, &len);
	if (parse_u64(w, len, 256, &v))
		return ERR_INVALID;
	if (v != 1)
		return ERR_UNSUPPORTED;
	w = word(s, n, &at, &len);
	if (!word_is(w, len, "udp"))
		return len ? ERR_UNSUPPORTED : ERR_INVALID;
	w = word(s, n, &at, &len);
	if (parse_u64(w, len, UINT32_MAX, &v))
		return ERR_INVALID;
	w = word(s, n, &at, &len);
	if (ip_parse(w, len, &c.endpoint.ip))
		return ERR_UNSUPPORTED; /* a name: mDNS candidates are not for us */
	w = word(s, n, &at, &len);
	if (parse_u64(w, len, 65535, &v))
		return ERR_INVALID;
	c.endpoint.port = (uint16_t)v;
	w = word(s, n, &at, &len);
	if (!word_is(w, len, "typ"))
		return ERR_INVALID;
	w = word(s, n, &at, &len);
	if (parse_type(w, len, &c.type) || !candidate_is_usable(&c.endpoint))
		return ERR_UNSUPPORTED;
	*out = c;
	return ERR_OK;
}

bool candidate_is_usable(const struct endpoint *e)
{
	struct ip_addr ip = ip_unmap(&e->ip);

	return ip.family != IP_NONE && e->port && !ip_is_unspecified(&ip) &&
	       !ip_is_multicast(&ip) && !ip_is_link_local(&ip) && !ip_is_loopback(&ip) &&
	       !(ip.family == IP_V4 && (ip.bytes[0] >= 240 || ip.bytes[0] == 0));
}

bool candidate_add(struct candidate *list, size_t *count, enum candidate_type type,
                   const struct endpoint *e)
{
	for (size_t i = 0; i < *count; i++)
		if (endpoint_eq(&list[i].endpoint, e))
			return false;
	if (*count == MESH_CANDIDATES_MAX || !candidate_is_usable(e))
		return false;
	list[(*count)++] = (struct candidate){ type, *e };
	return true;
}
