/* A mesh message: as it is, and as the body of a packet whose lengths and checksum are right. What
 * parses can be built again, and parses to the same. */
#include "fuzz.h"

#include "mesh/inner.h"

#define IP6_HEADER 40
#define UDP_HEADER 8

static const struct ip_addr from = { IP_V6, { 0xfe, 0x80, 1 } }, to = { IP_V6, { 0xfe, 0x80, 2 } };

static uint32_t sum(const uint8_t *p, size_t len)
{
	uint32_t s = 0;

	for (size_t i = 0; i < len; i++)
		s += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return s;
}

static size_t wrap(uint8_t *out, const uint8_t *body, size_t len)
{
	struct inner_message ping = { .type = INNER_PING };
	size_t udp_len = UDP_HEADER + 3 + len;
	uint32_t s;

	(void)inner_build(out, INNER_MAX, &from, &to, &ping); /* its headers and its magic */
	memcpy(out + IP6_HEADER + UDP_HEADER + 3, body, len);
	store_be16(out + 4, (uint16_t)udp_len);
	store_be16(out + IP6_HEADER + 4, (uint16_t)udp_len);
	store_be16(out + IP6_HEADER + 6, 0);
	s = (uint32_t)udp_len + 17 + sum(out + 8, 32) + sum(out + IP6_HEADER, udp_len);
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	store_be16(out + IP6_HEADER + 6, s == 0xffff ? 0xffff : (uint16_t)~s);
	return IP6_HEADER + udp_len;
}

static void try(const uint8_t *p, size_t len)
{
	struct inner_message m, again;
	uint8_t built[INNER_MAX];
	size_t n;

	if (inner_parse(p, len, &from, &to, &m))
		return;
	n = inner_build(built, sizeof(built), &from, &to, &m);
	FUZZ_CHECK(n > 0);
	FUZZ_CHECK(inner_parse(built, n, &from, &to, &again) == ERR_OK);
	FUZZ_CHECK(again.type == m.type && again.id == m.id && again.stamp == m.stamp);
	FUZZ_CHECK(again.status == m.status && str_eq(again.agent_id, m.agent_id));
	FUZZ_CHECK(again.status <= ENROL_UNAVAILABLE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t packet[INNER_MAX + 16];
	size_t room = INNER_MAX - IP6_HEADER - UDP_HEADER - 3;

	try(data, size);
	try(packet, wrap(packet, data, size < room ? size : room));
	return 0;
}
