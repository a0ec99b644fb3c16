#include "base/addr.h"
#include "base/bytes.h"

struct ip_addr ip_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (struct ip_addr){ IP_V4, { a, b, c, d } };
}

struct ip_addr ip_from_bytes(const uint8_t *p, enum ip_family family)
{
	struct ip_addr ip = { (uint8_t)family, { 0 } };

	memcpy(ip.bytes, p, ip_len(family));
	return ip;
}

bool ip_eq(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool endpoint_eq(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && a->scope_id == b->scope_id && ip_eq(&a->ip, &b->ip);
}

bool prefix_contains(const struct ip_prefix *p, const struct ip_addr *ip)
{
	unsigned whole = p->len / 8, rest = p->len % 8;

	if (p->ip.family != ip->family || memcmp(p->ip.bytes, ip->bytes, whole) != 0)
		return false;
	return rest == 0 || ((p->ip.bytes[whole] ^ ip->bytes[whole]) >> (8 - rest)) == 0;
}

void prefix_mask(struct ip_prefix *p)
{
	for (unsigned i = 0; i < sizeof(p->ip.bytes); i++) {
		unsigned keep = p->len > i * 8 ? p->len - i * 8 : 0;

		if (keep < 8)
			p->ip.bytes[i] &= (uint8_t)(0xff00U >> keep);
	}
}

struct ip_addr ip_unmap(const struct ip_addr *ip)
{
	static const uint8_t mapped[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	if (ip->family != IP_V6 || memcmp(ip->bytes, mapped, sizeof(mapped)) != 0)
		return *ip;
	return ip_from_bytes(ip->bytes + 12, IP_V4);
}

struct range {
	uint8_t family, len;
	uint8_t bytes[16];
};

/* IANA special-purpose registries (RFC 6890 and its updates): what is not globally reachable. */
static const struct range not_public[] = {
	{ IP_V4, 8, { 0 } },                   /* this network */
	{ IP_V4, 8, { 10 } },                  /* RFC 1918 */
	{ IP_V4, 10, { 100, 64 } },            /* RFC 6598, carrier-grade NAT */
	{ IP_V4, 8, { 127 } },                 /* loopback */
	{ IP_V4, 16, { 169, 254 } },           /* link-local */
	{ IP_V4, 12, { 172, 16 } },            /* RFC 1918 */
	{ IP_V4, 24, { 192, 0, 0 } },          /* IETF protocol assignments */
	{ IP_V4, 24, { 192, 0, 2 } },          /* documentation */
	{ IP_V4, 16, { 192, 168 } },           /* RFC 1918 */
	{ IP_V4, 15, { 198, 18 } },            /* benchmarking */
	{ IP_V4, 24, { 198, 51, 100 } },       /* documentation */
	{ IP_V4, 24, { 203, 0, 113 } },        /* documentation */
	{ IP_V4, 4, { 224 } },                 /* multicast */
	{ IP_V4, 4, { 240 } },                 /* reserved, broadcast */
	{ IP_V6, 8, { 0 } },                   /* unspecified, loopback, mapped, translated */
	{ IP_V6, 64, { 1, 0 } },               /* discard-only 100::/64 */
	{ IP_V6, 32, { 0x20, 0x01, 0x0d, 0xb8 } }, /* documentation */
	{ IP_V6, 7, { 0xfc } },                /* unique local */
	{ IP_V6, 10, { 0xfe, 0x80 } },         /* link-local */
	{ IP_V6, 10, { 0xfe, 0xc0 } },         /* site-local, deprecated */
	{ IP_V6, 8, { 0xff } },                /* multicast */
};

static bool in_range_of(const struct range *r, const struct ip_addr *ip)
{
	struct ip_prefix p = { { r->family, { 0 } }, r->len };

	memcpy(p.ip.bytes, r->bytes, sizeof(p.ip.bytes));
	return prefix_contains(&p, ip);
}

bool ip_is_public(const struct ip_addr *ip)
{
	struct ip_addr a = ip_unmap(ip);

	if (a.family == IP_NONE)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(not_public); i++)
		if (in_range_of(&not_public[i], &a))
			return false;
	return true;
}

bool ip_is_link_local(const struct ip_addr *ip)
{
	if (ip->family == IP_V4)
		return ip->bytes[0] == 169 && ip->bytes[1] == 254;
	return ip->family == IP_V6 && ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

bool ip_is_loopback(const struct ip_addr *ip)
{
	static const uint8_t one[16] = { [15] = 1 };

	if (ip->family == IP_V4)
		return ip->bytes[0] == 127;
	return ip->family == IP_V6 && memcmp(ip->bytes, one, sizeof(one)) == 0;
}

bool ip_is_unspecified(const struct ip_addr *ip)
{
	static const uint8_t zero[16];

	return memcmp(ip->bytes, zero, sizeof(zero)) == 0;
}

bool ip_is_multicast(const struct ip_addr *ip)
{
	if (ip->family == IP_V4)
		return (ip->bytes[0] & 0xf0) == 0xe0;
	return ip->family == IP_V6 && ip->bytes[0] == 0xff;
}

static enum err parse_v4(const char *s, size_t n, uint8_t out[static 4])
{
	size_t at = 0;

	for (int i = 0; i < 4; i++) {
		size_t start = at;
		uint64_t v;

		while (at < n && s[at] != '.')
			at++;
		if (at - start > 3 || (at - start > 1 && s[start] == '0') ||
		    parse_u64(s + start, at - start, 255, &v))
			return ERR_INVALID;
		out[i] = (uint8_t)v;
		if (i < 3 && at++ >= n)
			return ERR_INVALID;
	}
	return at == n ? ERR_OK : ERR_INVALID;
}

static int hex_nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* One group of 1 to 4 hex digits at *AT. */
static enum err parse_group(const char *s, size_t n, size_t *at, uint8_t *out)
{
	unsigned v = 0;
	size_t start = *at;

	while (*at < n && hex_nibble(s[*at]) >= 0 && *at - start < 4)
		v = v << 4 | (unsigned)hex_nibble(s[(*at)++]);
	if (*at == start)
		return ERR_INVALID;
	store_be16(out, (uint16_t)v);
	return ERR_OK;
}

/* RFC 4291 section 2.2: groups, one "::", an IPv4 tail. FILL counts bytes written, GAP is where
 * the "::" stood. */
static enum err parse_v6(const char *s, size_t n, uint8_t out[static 16])
{
	uint8_t b[16] = { 0 };
	size_t at = 0, fill = 0, gap = SIZE_MAX;

	if (n >= 2 && s[0] == ':' && s[1] == ':') {
		gap = 0;
		at = 2;
	}
	while (at < n) {
		size_t start = at;

		if (fill > 14 || parse_group(s, n, &at, b + fill))
			return ERR_INVALID;
		if (at < n && s[at] == '.') {
			if (fill > 12 || parse_v4(s + start, n - start, b + fill))
				return ERR_INVALID;
			fill += 4;
			break;
		}
		fill += 2;
		if (at == n)
			break;
		if (s[at++] != ':' || at == n)
			return ERR_INVALID;
		if (s[at] == ':') {
			if (gap != SIZE_MAX)
				return ERR_INVALID;
			gap = fill;
			at++;
		}
	}
	if (gap == SIZE_MAX ? fill != 16 : fill > 14)
		return ERR_INVALID;
	memset(out, 0, 16);
	if (gap == SIZE_MAX)
		gap = fill;
	memcpy(out, b, gap);
	memcpy(out + 16 - (fill - gap), b + gap, fill - gap);
	return ERR_OK;
}

static bool has_char(const char *s, size_t n, char c)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] == c)
			return true;
	return false;
}

enum err ip_parse(const char *s, size_t n, struct ip_addr *out)
{
	struct ip_addr ip = { IP_NONE, { 0 } };
	enum err e;

	if (has_char(s, n, ':')) {
		ip.family = IP_V6;
		e = parse_v6(s, n, ip.bytes);
	} else {
		ip.family = IP_V4;
		e = parse_v4(s, n, ip.bytes);
	}
	if (!e)
		*out = ip;
	return e;
}

enum err prefix_parse(const char *s, size_t n, struct ip_prefix *out)
{
	struct ip_prefix p;
	size_t slash = 0;
	uint64_t len;
	enum err e;

	while (slash < n && s[slash] != '/')
		slash++;
	e = ip_parse(s, slash, &p.ip);
	if (e)
		return e;
	len = ip_len(p.ip.family) * 8;
	if (slash < n) {
		if (n - slash > 4)
			return ERR_INVALID;
		e = parse_u64(s + slash + 1, n - slash - 1, len, &len);
		if (e)
			return e;
	}
	p.len = (uint8_t)len;
	*out = p;
	return ERR_OK;
}

enum err endpoint_parse(const char *s, size_t n, struct endpoint *out)
{
	struct endpoint ep = { .port = 0 };
	size_t colon = n, host, host_len;
	uint64_t v;

	while (colon > 0 && s[colon - 1] != ':')
		colon--;
	if (colon < 2 || n - colon > 5 || parse_u64(s + colon, n - colon, 65535, &v))
		return ERR_INVALID;
	ep.port = (uint16_t)v;
	host = 0;
	host_len = colon - 1;
	if (s[0] == '[') {
		size_t scope = 1;

		if (s[host_len - 1] != ']')
			return ERR_INVALID;
		host = 1;
		host_len -= 1;
		while (scope < host_len && s[scope] != '%')
			scope++;
		if (scope < host_len) {
			if (parse_u64(s + scope + 1, host_len - scope - 1, UINT32_MAX, &v))
				return ERR_INVALID;
			ep.scope_id = (uint32_t)v;
		}
		host_len = scope - 1;
	}
	if (ip_parse(s + host, host_len, &ep.ip) || (ep.ip.family == IP_V6) != (host == 1))
		return ERR_INVALID;
	*out = ep;
	return ERR_OK;
}

static void text_v4(struct text *t, const uint8_t *b)
{
	for (int i = 0; i < 4; i++) {
		if (i)
			text_ch(t, '.');
		text_u64(t, b[i]);
	}
}

static void text_group(struct text *t, unsigned v)
{
	static const char digits[] = "0123456789abcdef";
	int shift = 12;

	while (shift > 0 && (v >> shift) == 0)
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		text_ch(t, digits[v >> shift & 15]);
}

/* RFC 5952: the longest run of two or more zero groups becomes "::", the first one on a tie. */
static void text_v6(struct text *t, const uint8_t *b)
{
	int best = -1, best_len = 1;

	for (int i = 0; i < 8; i++) {
		int len = 0;

		while (i + len < 8 && load_be16(b + 2 * (i + len)) == 0)
			len++;
		if (len > best_len) {
			best = i;
			best_len = len;
		}
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			text_str(t, "::");
			i += best_len - 1;
			continue;
		}
		if (i && (best < 0 || i != best + best_len))
			text_ch(t, ':');
		text_group(t, load_be16(b + 2 * i));
	}
}

void text_ip(struct text *t, const struct ip_addr *ip)
{
	struct ip_addr v4 = ip_unmap(ip);

	if (ip->family == IP_V4) {
		text_v4(t, ip->bytes);
	} else if (v4.family == IP_V4) {
		text_str(t, "::ffff:");
		text_v4(t, v4.bytes);
	} else if (ip->family == IP_V6) {
		text_v6(t, ip->bytes);
	} else {
		text_ch(t, '-');
	}
}

void text_prefix(struct text *t, const struct ip_prefix *p)
{
	text_ip(t, &p->ip);
	text_ch(t, '/');
	text_u64(t, p->len);
}

void text_endpoint(struct text *t, const struct endpoint *e)
{
	if (e->ip.family != IP_V6) {
		text_ip(t, &e->ip);
	} else {
		text_ch(t, '[');
		text_ip(t, &e->ip);
		if (e->scope_id) {
			text_ch(t, '%');
			text_u64(t, e->scope_id);
		}
		text_ch(t, ']');
	}
	text_ch(t, ':');
	text_u64(t, e->port);
}

void text_kv_endpoint(struct text *t, const char *key, const struct endpoint *e)
{
	text_kv(t, key, "");
	text_endpoint(t, e);
}
