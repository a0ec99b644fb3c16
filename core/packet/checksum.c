#include "packet/checksum.h"

#include "base/bytes.h"
#include "packet/headers.h"

/* RFC 1071 section 2 (B): the sum does not depend on the byte order but for a swap at the end. So
 * words are added as they lie in memory, 32 bits at a time into 64-bit lanes, where carries gather
 * by themselves. A lane of WHOLE adds both halves of its words at once and overflows, a lane of
 * HIGH the upper halves alone: what the lower ones come to is known from both.
 *
 * Vectors are gcc's and clang's own; a machine that has none gets plain arithmetic. */
#define BLOCK 64
typedef uint64_t lanes2 __attribute__((vector_size(16)));

/* Of whole blocks; N is a multiple of BLOCK. */
static uint64_t sum_blocks(const uint8_t *p, size_t n)
{
	lanes2 whole[2] = { { 0 } }, high[2] = { { 0 } }, x, y;

	for (; n; p += 32, n -= 32) {
		memcpy(&x, p, 16);
		memcpy(&y, p + 16, 16);
		whole[0] += x;
		high[0] += x >> 32;
		whole[1] += y;
		high[1] += y >> 32;
	}
	whole[0] += whole[1];
	high[0] += high[1];
	whole[0] += high[0] - (high[0] << 32);
	return whole[0][0] + whole[0][1];
}

#ifdef __x86_64__
typedef uint64_t lanes4 __attribute__((vector_size(32)));

/* The same for processors that take twice as much at once. */
__attribute__((target("avx2"))) static uint64_t sum_blocks_avx2(const uint8_t *p, size_t n)
{
	lanes4 whole[2] = { { 0 } }, high[2] = { { 0 } }, x, y;

	for (; n; p += BLOCK, n -= BLOCK) {
		memcpy(&x, p, 32);
		memcpy(&y, p + 32, 32);
		whole[0] += x;
		high[0] += x >> 32;
		whole[1] += y;
		high[1] += y >> 32;
	}
	whole[0] += whole[1];
	high[0] += high[1];
	whole[0] += high[0] - (high[0] << 32);
	return whole[0][0] + whole[0][1] + whole[0][2] + whole[0][3];
}
#endif

static uint64_t sum_in_memory_order(const uint8_t *p, size_t n)
{
	size_t blocks = n & ~(size_t)(BLOCK - 1);
	uint64_t sum = 0;
	uint32_t word;
	uint8_t rest[4] = { 0 };

#ifdef __x86_64__
	if (blocks && __builtin_cpu_supports("avx2"))
		sum = sum_blocks_avx2(p, blocks);
	else
#endif
		sum = sum_blocks(p, blocks);
	for (p += blocks, n -= blocks; n >= 4; p += 4, n -= 4) {
		memcpy(&word, p, 4);
		sum += word;
	}
	for (size_t i = 0; i < n; i++)
		rest[i] = p[i];
	memcpy(&word, rest, 4);
	return sum + word;
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

	return sum + (is_v4 ? packet_sum(ip + V4_SOURCE, 8) : packet_sum(ip + V6_SOURCE, 32));
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
