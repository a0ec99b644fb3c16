#include "wireguard/ip.h"

#include "base/bytes.h"

#define V4_HEADER_LEN 20
#define V6_HEADER_LEN 40

enum ecn { ECN_NONE = 0, ECN_ECT1 = 1, ECN_ECT0 = 2, ECN_CE = 3, ECN_MASK = 3 };

static bool parse_v4(const uint8_t *p, uint32_t len, struct inner_packet *out)
{
	if (len < V4_HEADER_LEN)
		return false;
	*out = (struct inner_packet){ IP_V4, p + 12, p + 16, load_be16(p + 2) };
	if (out->len > len || out->len < V4_HEADER_LEN)
		out->len = 0;
	return true;
}

static bool parse_v6(const uint8_t *p, uint32_t len, struct inner_packet *out)
{
	if (len < V6_HEADER_LEN)
		return false;
	*out = (struct inner_packet){ IP_V6, p + 8, p + 24, V6_HEADER_LEN + load_be16(p + 4) };
	if (out->len > len)
		out->len = 0;
	return true;
}

bool wg_ip_parse(const uint8_t *p, uint32_t len, struct inner_packet *out)
{
	if (len && p[0] >> 4 == 4)
		return parse_v4(p, len, out);
	if (len && p[0] >> 4 == 6)
		return parse_v6(p, len, out);
	return false;
}

uint8_t wg_ip_ecn(const uint8_t *p)
{
	return p[0] >> 4 == 4 ? p[1] & ECN_MASK : p[1] >> 4 & ECN_MASK;
}

static void set_ecn_v4(uint8_t *p, uint8_t ecn)
{
	uint16_t before = load_be16(p), after;
	uint32_t sum;

	p[1] = (uint8_t)((p[1] & ~ECN_MASK) | ecn);
	after = load_be16(p);
	/* RFC 1624, equation 3. */
	sum = (uint32_t)(uint16_t)~load_be16(p + 10) + (uint16_t)~before + after;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	store_be16(p + 10, (uint16_t)~sum);
}

void wg_ip_merge_ecn(uint8_t *p, uint8_t outer_tos)
{
	uint8_t inner = wg_ip_ecn(p), outer = outer_tos & ECN_MASK;

	/* The RFC would drop a packet without ECN that was marked on its way. Nobody authenticates
	 * the outer header, and the kernel keeps such packets: so do we. */
	if (inner == ECN_NONE || inner == ECN_CE)
		return;
	if (outer != ECN_CE && !(outer == ECN_ECT1 && inner == ECN_ECT0))
		return;
	if (p[0] >> 4 == 4)
		set_ecn_v4(p, outer);
	else
		p[1] = (uint8_t)((p[1] & ~(ECN_MASK << 4)) | outer << 4);
}
