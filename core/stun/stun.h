/* STUN (RFC 8489): messages read and written in the caller's buffers. No I/O, no state: who sends,
 * retransmits and matches transactions is the caller's business. Address families, error codes and
 * attribute numbers are the registry's. */
#ifndef STUN_STUN_H
#define STUN_STUN_H

#include "base/addr.h"
#include "base/bytes.h"

#define STUN_COOKIE        0x2112a442U
#define STUN_HEADER_LEN    20
#define STUN_TXID_LEN      12
#define STUN_INTEGRITY_LEN 20 /* HMAC-SHA1 */
#define STUN_DEFAULT_PORT  3478
/* What we build fits: RFC 8489 section 6.1 wants messages below the path MTU, 548 bytes of UDP
 * payload when IPv4's is unknown. */
#define STUN_MESSAGE_MAX   548

/* RFC 8489 section 5: the two class bits in their places within the message type. */
enum stun_class {
	STUN_REQUEST = 0x000,
	STUN_INDICATION = 0x010,
	STUN_SUCCESS = 0x100,
	STUN_ERROR = 0x110
};

enum stun_method { STUN_BINDING = 0x001 };

/* Attributes up to 0x7fff are comprehension-required (RFC 8489 section 14). */
enum stun_attr {
	STUN_MAPPED_ADDRESS = 0x0001,
	STUN_USERNAME = 0x0006,
	STUN_MESSAGE_INTEGRITY = 0x0008,
	STUN_ERROR_CODE = 0x0009,
	STUN_UNKNOWN_ATTRIBUTES = 0x000a,
	STUN_REALM = 0x0014,
	STUN_NONCE = 0x0015,
	STUN_MESSAGE_INTEGRITY_SHA256 = 0x001c,
	STUN_XOR_MAPPED_ADDRESS = 0x0020,
	STUN_SOFTWARE = 0x8022,
	STUN_FINGERPRINT = 0x8028,
	STUN_RESPONSE_ORIGIN = 0x802b /* RFC 5780 section 7.3 */
};

#define STUN_ERR_BAD_REQUEST       400
#define STUN_ERR_UNKNOWN_ATTRIBUTE 420

/* A parsed message: views into the caller's bytes, valid as long as these are. */
struct stun_msg {
	enum stun_class class;
	uint16_t method;
	const uint8_t *txid; /* STUN_TXID_LEN bytes */
	struct span whole;
	struct span attrs;
};

struct stun_attr_view {
	uint16_t type;
	struct span value; /* without padding */
	size_t at;         /* offset of the attribute's header within the message */
};

/* --- reading ------------------------------------------------------------------------------- */

/* Whether LEN bytes at P can be nothing else on a port shared with WireGuard: two zero bits, the
 * magic cookie, a length field that covers the datagram. Cheap; attributes are not looked at. */
bool stun_is_message(const void *p, size_t len);

/* Checks the header and the framing of every attribute. ERR_INVALID otherwise. */
enum err stun_parse(struct span bytes, struct stun_msg *out) MUST_CHECK;

/* Iterates: start with *POS = 0; false at the end. Attributes behind MESSAGE-INTEGRITY that it does
 * not protect are skipped, as RFC 8489 section 14.5 demands (FINGERPRINT is still seen). */
bool stun_next(const struct stun_msg *m, size_t *pos, struct stun_attr_view *out);

/* The first attribute of TYPE. */
bool stun_find(const struct stun_msg *m, uint16_t type, struct stun_attr_view *out);

/* An address attribute, plain or XORed with the cookie and transaction id. False when absent or
 * malformed. */
bool stun_find_addr(const struct stun_msg *m, uint16_t type, struct endpoint *out);
bool stun_find_xor_addr(const struct stun_msg *m, uint16_t type, struct endpoint *out);
/* The reflexive address of a Binding success: XOR-MAPPED-ADDRESS, or MAPPED-ADDRESS from servers
 * of RFC 3489's time. */
bool stun_find_xor_mapped(const struct stun_msg *m, struct endpoint *out);

/* ERROR-CODE: 300..699, and the reason phrase (not NUL-terminated). */
bool stun_find_error(const struct stun_msg *m, unsigned *code, struct span *reason);

/* ERR_OK when FINGERPRINT is the last attribute and right; ERR_NOT_FOUND when there is none;
 * ERR_INVALID when wrong or misplaced. */
enum err stun_check_fingerprint(const struct stun_msg *m) MUST_CHECK;

/* MESSAGE-INTEGRITY under KEY (the password, or MD5 of user:realm:password): ERR_OK, ERR_AUTH when
 * it does not match, ERR_NOT_FOUND when there is none. Compares in constant time. */
enum err stun_check_integrity(const struct stun_msg *m, struct span key) MUST_CHECK;

/* The comprehension-required attributes of M that are not in KNOWN[0..n_known). At most MAX of them
 * go to OUT, without repetition; returns how many did. */
size_t stun_unknown_required(const struct stun_msg *m, const uint16_t *known, size_t n_known,
                             uint16_t *out, size_t max);

/* --- writing -------------------------------------------------------------------------------
 * The writer holds one message from its first byte. Each call keeps the header's length true, so
 * the message is complete after any of them; check W->failed once at the end. MESSAGE-INTEGRITY
 * comes behind all that it protects and FINGERPRINT comes last. */

void stun_begin(struct writer *w, enum stun_class class, uint16_t method,
                const uint8_t txid[static STUN_TXID_LEN]);
void stun_put(struct writer *w, uint16_t type, struct span value);
void stun_put_u32(struct writer *w, uint16_t type, uint32_t value);
void stun_put_addr(struct writer *w, uint16_t type, const struct endpoint *e);
void stun_put_xor_addr(struct writer *w, uint16_t type, const struct endpoint *e);
/* CODE 300..699; REASON of at most 128 bytes. */
void stun_put_error(struct writer *w, unsigned code, const char *reason);
void stun_put_integrity(struct writer *w, struct span key);
void stun_put_fingerprint(struct writer *w);

/* A Binding request with FINGERPRINT: 28 bytes. */
void stun_build_binding_request(struct writer *w, const uint8_t txid[static STUN_TXID_LEN]);

/* --- answering ----------------------------------------------------------------------------- */

enum stun_verdict {
	STUN_DROP,     /* not STUN, not a request, or damaged: nothing may be sent */
	STUN_ANSWERED, /* a success is in the writer */
	STUN_REFUSED   /* an error response is in the writer */
};

/* What a plain Binding server (RFC 8489 section 12, no authentication) does with the datagram
 * REQUEST that came from FROM to LOCAL. Only requests are answered, so that two servers can never
 * be made to talk to each other, and no answer is much larger than what asked for it. */
enum stun_verdict stun_respond(struct span request, const struct endpoint *from,
                               const struct endpoint *local, struct writer *answer);

/* CRC-32 of ISO 3309 over BYTES, as FINGERPRINT uses it (before its XOR). */
uint32_t stun_crc32(struct span bytes);

#endif
