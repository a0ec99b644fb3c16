#include "server/sockaddr.h"

#include <netinet/in.h>
#include <string.h>

bool endpoint_from_sockaddr(const struct sockaddr_storage *ss, struct endpoint *out)
{
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)ss;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

	*out = (struct endpoint){ .port = 0 };
	if (ss->ss_family == AF_INET) {
		out->ip = ip_from_bytes((const uint8_t *)&in4->sin_addr, IP_V4);
		out->port = ntohs(in4->sin_port);
		return true;
	}
	if (ss->ss_family != AF_INET6)
		return false;
	out->ip = ip_from_bytes((const uint8_t *)&in6->sin6_addr, IP_V6);
	out->ip = ip_unmap(&out->ip);
	out->port = ntohs(in6->sin6_port);
	if (out->ip.family == IP_V6)
		out->scope_id = in6->sin6_scope_id;
	return true;
}

socklen_t sockaddr_from_endpoint(const struct endpoint *e, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in4 = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;

	memset(ss, 0, sizeof(*ss));
	if (e->ip.family == IP_V4) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(e->port);
		memcpy(&in4->sin_addr, e->ip.bytes, 4);
		return sizeof(*in4);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(e->port);
	in6->sin6_scope_id = e->scope_id;
	memcpy(&in6->sin6_addr, e->ip.bytes, 16);
	return sizeof(*in6);
}
