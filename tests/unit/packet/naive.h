/* Packets built, checked and split the obvious way, to hold the module's own ways against. */
#ifndef PACKET_NAIVE_H
#define PACKET_NAIVE_H

#include "packet/coalesce.h"
#include "packet/segment.h"

#define NAIVE_PACKET_MAX  65575 /* IPv6's header and the most behind it */
#define NAIVE_HEADERS_MAX 256

/* What to build; zero means none of it. */
struct naive_spec {
	bool v6, tcp, may_fragment;
	uint8_t tos, ttl, flags;
	uint16_t id, source_port, window;
	uint16_t ip_options;  /* bytes: a multiple of 4 up to 40, or for IPv6 of 8 */
	uint16_t tcp_options; /* bytes: a multiple of 4 up to 40 */
	uint32_t seq, ack, payload;
	uint8_t salt;         /* payload and options are made from it */
};

/* Builds the packet at OUT, with its checksums; returns its length. */
uint32_t naive_build(uint8_t *out, const struct naive_spec *s);

/* A sum byte by byte, not folded. */
uint64_t naive_sum(const uint8_t *p, size_t n);

/* Where the TCP or UDP header begins; 0 if the packet is a fragment or has neither. */
uint32_t naive_l4(const uint8_t *p, uint32_t len);
/* Writes all checksums of the TCP or UDP packet anew; or says whether they are right. */
void naive_fill_checksums(uint8_t *p, uint32_t len);
bool naive_is_sound(const uint8_t *p, uint32_t len);

/* Changes the first two bytes of the payload so that the TCP or UDP sum comes out as zero. */
void naive_make_zero_sum(uint8_t *p, uint32_t len);

/* What the kernel says of the super-packet at P, whose checksum field becomes the kernel's. */
struct packet_offload naive_offload(uint8_t *p, uint32_t len, uint16_t gso_size);

/* What the kernel says of the super-packet at P, whose checksum it leaves to others. */
uint32_t naive_split(uint8_t *out, const uint8_t *p, uint32_t len, uint16_t gso_size, uint32_t k);

/* Whether two packets are the same but for what means nothing: the two zeros of a sum, and the
 * identifier of what may not be fragmented. */
bool naive_is_same(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len);

/* Coalesces the N packets (LENS[k] bytes at PACKETS[k], which must lie apart) and says whether all
 * of them come out, each once and in its flow's order, and the groups split into what went in.
 * The coalescer is left as it was after coalesce_finish. */
bool naive_coalesces(struct coalescer *c, uint8_t *const *packets, const uint32_t *lens, size_t n,
		     bool udp);

#endif
