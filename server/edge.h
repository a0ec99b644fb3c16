/* Proxies that are trusted to tell the client's address. */
#ifndef SERVER_EDGE_H
#define SERVER_EDGE_H

#include "base/addr.h"
#include "server/http.h"

#define EDGE_TRUSTED_MAX 32

struct edge {
	struct ip_prefix trusted[EDGE_TRUSTED_MAX];
	size_t n;
};

/* Comma-separated CIDRs or addresses. ERR_INVALID, ERR_FULL. */
enum err edge_parse(const char *list, struct edge *out) MUST_CHECK;

bool edge_trusts(const struct edge *e, const struct ip_addr *ip);

/* The client's address as a trusted proxy tells it; IP_NONE when PEER, the other end of the TCP
 * connection, is not one or tells nothing. */
struct ip_addr edge_client(const struct edge *e, const struct ip_addr *peer,
                           const struct http_request *q);

#endif
