/* A plain Binding server, RFC 8489 section 12. */
#include "stun/stun.h"

/* Enough to name what is wrong; a request stuffed with unknown attributes gets no longer list. */
#define UNKNOWN_MAX 8

static enum stun_verdict refuse_unknown(const struct stun_msg *m, const uint16_t *unknown, size_t n,
                                        struct writer *w)
{
	uint8_t list[2 * UNKNOWN_MAX];

	for (size_t i = 0; i < n; i++)
		store_be16(list + 2 * i, unknown[i]);
	stun_begin(w, STUN_ERROR, m->method, m->txid);
	stun_put_error(w, STUN_ERR_UNKNOWN_ATTRIBUTE, "Unknown Attribute");
	stun_put(w, STUN_UNKNOWN_ATTRIBUTES, span_of(list, 2 * n));
	return STUN_REFUSED;
}

enum stun_verdict stun_respond(struct span request, const struct endpoint *from,
                               const struct endpoint *local, struct writer *w)
{
	/* A client may send credentials although nobody asked: they are understood, and ignored. */
	static const uint16_t known[] = {
		STUN_MAPPED_ADDRESS, STUN_USERNAME, STUN_MESSAGE_INTEGRITY, STUN_REALM, STUN_NONCE,
		STUN_MESSAGE_INTEGRITY_SHA256, STUN_XOR_MAPPED_ADDRESS, STUN_ERROR_CODE,
		STUN_UNKNOWN_ATTRIBUTES
	};
	uint16_t unknown[UNKNOWN_MAX];
	enum stun_verdict verdict;
	struct stun_msg m;
	enum err fingerprint;
	size_t n;

	if (stun_parse(request, &m) || m.class != STUN_REQUEST || m.method != STUN_BINDING)
		return STUN_DROP;
	fingerprint = stun_check_fingerprint(&m);
	if (fingerprint == ERR_INVALID)
		return STUN_DROP;
	n = stun_unknown_required(&m, known, ARRAY_LEN(known), unknown, UNKNOWN_MAX);
	if (n) {
		verdict = refuse_unknown(&m, unknown, n, w);
	} else {
		stun_begin(w, STUN_SUCCESS, STUN_BINDING, m.txid);
		stun_put_xor_addr(w, STUN_XOR_MAPPED_ADDRESS, from);
		stun_put_addr(w, STUN_RESPONSE_ORIGIN, local);
		verdict = STUN_ANSWERED;
	}
	if (fingerprint == ERR_OK)
		stun_put_fingerprint(w);
	return w->failed ? STUN_DROP : verdict;
}
