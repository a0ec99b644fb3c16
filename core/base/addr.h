/* IP addresses, prefixes and UDP endpoints, independent of the host's socket structures. */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include "base/text.h"

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

/* An address; IPv4 uses the first four bytes, the rest are zero. Network order. */
struct ip_addr {
	uint8_t family; /* enum ip_family */
	uint8_t bytes[16];
};

struct ip_prefix {
	struct ip_addr ip;
	uint8_t len; /* bits */
};

/* A UDP endpoint. scope_id is the interface index for IPv6 link-local addresses, else 0. */
struct endpoint {
	struct ip_addr ip;
	uint16_t port;
	uint32_t scope_id;
};

#define IP_TEXT_MAX       46 /* with the NUL */
#define PREFIX_TEXT_MAX   50
#define ENDPOINT_TEXT_MAX 64 /* "[v6%scope]:port" */

struct ip_addr ip_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
struct ip_addr ip_from_bytes(const uint8_t *p, enum ip_family family);
static inline unsigned ip_len(enum ip_family family)
{
	return family == IP_V4 ? 4 : family == IP_V6 ? 16 : 0;
}
bool ip_eq(const struct ip_addr *a, const struct ip_addr *b);
bool endpoint_eq(const struct endpoint *a, const struct endpoint *b);
bool prefix_contains(const struct ip_prefix *p, const struct ip_addr *ip);
/* Clears the bits behind the prefix length. */
void prefix_mask(struct ip_prefix *p);
/* ::ffff:a.b.c.d becomes a.b.c.d; anything else stays. */
struct ip_addr ip_unmap(const struct ip_addr *ip);
/* Whether the address can be reached over the public Internet: not unspecified, loopback,
 * link-local, multicast, broadcast, RFC 1918, RFC 6598, ULA, documentation or otherwise reserved.
 * IPv4-mapped IPv6 is judged as IPv4. */
bool ip_is_public(const struct ip_addr *ip);
bool ip_is_link_local(const struct ip_addr *ip);
bool ip_is_loopback(const struct ip_addr *ip);
bool ip_is_unspecified(const struct ip_addr *ip);
bool ip_is_multicast(const struct ip_addr *ip);

/* Strict forms: four decimal octets without leading zeros; RFC 4291 text for IPv6. */
enum err ip_parse(const char *s, size_t n, struct ip_addr *out) MUST_CHECK;
/* "ip/len", or "ip" meaning all its bits. Host bits are kept. */
enum err prefix_parse(const char *s, size_t n, struct ip_prefix *out) MUST_CHECK;
/* "v4:port" or "[v6]:port", with an optional numeric "%scope"; port 0..65535. */
enum err endpoint_parse(const char *s, size_t n, struct endpoint *out) MUST_CHECK;

/* RFC 5952 text. */
void text_ip(struct text *t, const struct ip_addr *ip);
void text_prefix(struct text *t, const struct ip_prefix *p);
void text_endpoint(struct text *t, const struct endpoint *e);
void text_kv_endpoint(struct text *t, const char *key, const struct endpoint *e);

#endif
