#include "node/json.h"

#include <time.h>

json_t *json_key(const uint8_t key[static X25519_LEN])
{
	char buf[BASE64_LEN(X25519_LEN) + 1];
	struct text t = TEXT_IN(buf);

	text_base64(&t, key, X25519_LEN);
	return json_string(buf);
}

json_t *json_ip(const struct ip_addr *ip)
{
	char buf[IP_TEXT_MAX];
	struct text t = TEXT_IN(buf);

	text_ip(&t, ip);
	return json_string(buf);
}

json_t *json_prefix(const struct ip_prefix *p)
{
	char buf[PREFIX_TEXT_MAX];
	struct text t = TEXT_IN(buf);

	text_prefix(&t, p);
	return json_string(buf);
}

json_t *json_endpoint(const struct endpoint *e)
{
	char buf[ENDPOINT_TEXT_MAX];
	struct text t = TEXT_IN(buf);

	if (e->ip.family == IP_NONE)
		return json_null();
	text_endpoint(&t, e);
	return json_string(buf);
}

json_t *json_time(uint64_t unix_s)
{
	time_t s = (time_t)unix_s;
	char buf[32];
	struct tm tm;

	if (!unix_s || !gmtime_r(&s, &tm))
		return json_null();
	strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_string(buf);
}

json_t *json_path(const struct interface_path *p)
{
	return json_pack("{s:i, s:b, s:s, s:s}", "lanes", (int)p->lanes, "steered", p->steered,
	                 "tun", p->tun, "udp", p->udp);
}
