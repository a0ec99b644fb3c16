#include "packet/checksum.h"

#include "base/bytes.h"

/* RFC 1071 section 2 (B): the sum does not depend on the byte order but for a swap at the end. So
 * words are added as they lie in memory, 32 bits at a time into 64-bit lanes, where carries
 * gather by themselves. */
static uint64_t sum_in_memory_order(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;
	uint32_t word;
	uint16_t half = 0;

	for (; n >= 4; p += 4, n -= 4) {
		memcpy(&word, p, 4);
		sum += word;
	}
	if (n >= 2) {
		memcpy(&half, p, 2);
		sum += half;
		p += 2;
		n -= 2;
	}
	if (n) {
		half = 0;
		memcpy(&half, p, 1);
		sum += half;
	}
	return sum;
}

uint16_t packet_sum(const uint8_t *p, size_t n)
{
	uint64_t sum = sum_in_memory_order(p, n);
	uint16_t folded;
	uint8_t bytes[2];

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	folded = packet_fold((uint32_t)sum);
	memcpy(bytes, &folded, 2);
	return load_be16(bytes);
}

uint32_t packet_pseudo_sum(const uint8_t *ip, uint8_t protocol, uint32_t l4_len)
{
	bool is_v4 = ip[0] >> 4 == 4;
	uint32_t sum = (l4_len & 0xffff) + (l4_len >> 16) + protocol;

	return sum + (is_v4 ? packet_sum(ip + 12, 8) : packet_sum(ip + 8, 32));
}

enum err packet_checksum_finish(uint8_t *packet, uint32_t len, const struct packet_offload *o)
{
	uint32_t at = (uint32_t)o->csum_start + o->csum_offset;
	uint16_t sum;

	if (!o->needs_csum)
		return ERR_OK;
	if (len > UINT16_MAX || at + 2 > len)
		return ERR_INVALID;
	sum = (uint16_t)~packet_sum(packet + o->csum_start, len - o->csum_start);
	/* Zero means "none" in UDP (RFC 768); for others the two zeros are equal. */
	store_be16(packet + at, sum ? sum : 0xffff);
	return ERR_OK;
}
