#include "server/edge.h"

#include <string.h>

enum err edge_parse(const char *list, struct edge *out)
{
	out->n = 0;
	while (*list) {
		size_t n = strcspn(list, ",");

		if (out->n == EDGE_TRUSTED_MAX)
			return ERR_FULL;
		if (prefix_parse(list, n, &out->trusted[out->n]))
			return ERR_INVALID;
		prefix_mask(&out->trusted[out->n++]);
		list += n + (list[n] == ',');
	}
	return ERR_OK;
}

bool edge_trusts(const struct edge *e, const struct ip_addr *ip)
{
	for (size_t i = 0; i < e->n; i++)
		if (prefix_contains(&e->trusted[i], ip))
			return true;
	return false;
}

/* An address, bare or with a port, with white space around. */
static bool read_address(const char *s, size_t n, struct ip_addr *out)
{
	struct endpoint e;

	while (n && (*s == ' ' || *s == '\t')) {
		s++;
		n--;
	}
	while (n && (s[n - 1] == ' ' || s[n - 1] == '\t'))
		n--;
	if (ip_parse(s, n, &e.ip) && endpoint_parse(s, n, &e))
		return false;
	*out = ip_unmap(&e.ip);
	return true;
}

/* The last address of X-Forwarded-For that is not a trusted proxy's: each proxy appends the peer
 * that it saw, so what stands before that entry is only the client's word. */
static bool from_forwarded(const struct edge *e, const char *list, struct ip_addr *out)
{
	size_t end = strlen(list);

	while (end) {
		size_t start = end;

		while (start && list[start - 1] != ',')
			start--;
		if (!read_address(list + start, end - start, out))
			return false;
		if (!edge_trusts(e, out))
			return true;
		end = start ? start - 1 : 0;
	}
	return false;
}

struct ip_addr edge_client(const struct edge *e, const struct ip_addr *peer,
                           const struct http_request *q)
{
	struct ip_addr none = { IP_NONE, { 0 } }, ip;

	if (!edge_trusts(e, peer))
		return none;
	if (*q->cf_ip && read_address(q->cf_ip, strlen(q->cf_ip), &ip))
		return ip;
	if (*q->forwarded && from_forwarded(e, q->forwarded, &ip))
		return ip;
	if (*q->real_ip && read_address(q->real_ip, strlen(q->real_ip), &ip))
		return ip;
	return none;
}
