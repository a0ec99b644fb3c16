/* The mesh's own messages, inside the tunnel: UDP over IPv6 between the link-local addresses that
 * belong to the two public keys. WireGuard has already authenticated the sender, so a message needs
 * no signature; the sender's identity is the peer it came from.
 *
 *   agent                                   colony
 *     | ENROL_REQUEST  id, nonce          ->  |  looks up or allocates the address, stores it
 *     | <- ENROL_RESPONSE addresses, nonce    |
 *     | stores the pair's key                 |
 *     | ENROL_CONFIRM                     ->  |  the pair's key is now the peer's pre-shared key
 *     | <- ENROL_DONE                         |
 *     | handshake with the pair's key     ->  |
 *     | PING -> <- PONG  every 20 s and whenever the tunnel falls silent
 *
 * Every message is answered by the same answer when it is repeated, so a lost one costs a
 * retransmission and nothing else. */
#ifndef MESH_INNER_H
#define MESH_INNER_H

#include "base/addr.h"
#include "base/bytes.h"
#include "mesh/action.h"

#define INNER_PORT 41580
#define INNER_MAX  MESH_BYTES_MAX

enum inner_type {
	INNER_ENROL_REQUEST = 1,
	INNER_ENROL_RESPONSE,
	INNER_ENROL_CONFIRM,
	INNER_ENROL_DONE,
	INNER_PING,
	INNER_PONG
};

enum enrol_status {
	ENROL_OK = 0,
	ENROL_ID_IN_USE = 1,    /* another key holds this id and was seen lately */
	ENROL_EXHAUSTED = 2,    /* no address left */
	ENROL_BAD_ID = 3,       /* not an agent id */
	ENROL_KEY_IN_USE = 4,   /* this key is enrolled under another id */
	ENROL_UNAVAILABLE = 5   /* the colony cannot store the enrolment now; try again */
};

struct inner_message {
	enum inner_type type;
	uint32_t id;                /* of the exchange; echoed */
	/* ENROL_REQUEST, ENROL_RESPONSE */
	char agent_id[MESH_ID_MAX];
	uint8_t nonce[32];
	/* ENROL_RESPONSE */
	enum enrol_status status;
	uint32_t retry_after_s;
	bool pair_key;              /* the pair is to move to a key of its own (else it has one) */
	struct ip_prefix address4, address6;
	struct ip_addr colony4, colony6;
	struct endpoint observed;   /* where the colony sees the agent */
	/* PING, PONG */
	uint64_t stamp;             /* the pinger's own clock; echoed */
	bool enrolled;              /* PONG: the colony knows this key as an agent */
};

/* Writes the whole IP packet; 0 if it does not fit (never, for valid messages). */
size_t inner_build(uint8_t *out, size_t cap, const struct ip_addr *from, const struct ip_addr *to,
                   const struct inner_message *m);

/* ERR_INVALID for anything that is not a whole, well-formed message from FROM to TO (checksums
 * included). Unknown message types are ERR_UNSUPPORTED. */
enum err inner_parse(const uint8_t *p, size_t len, const struct ip_addr *from,
                     const struct ip_addr *to, struct inner_message *out) MUST_CHECK;

/* 1 to 63 letters, digits, '.', '_', '-'; the first one a letter or digit. */
bool mesh_id_is_valid(const char *s);

#endif
