#include "stun/stun.h"

#include "crypto/crypto.h"

#define FINGERPRINT_XOR 0x5354554eU

static void set_length(struct writer *w, size_t whole)
{
	if (!w->failed)
		store_be16(w->p + 2, (uint16_t)(whole - STUN_HEADER_LEN));
}

void stun_begin(struct writer *w, enum stun_class class, uint16_t method,
                const uint8_t txid[static STUN_TXID_LEN])
{
	unsigned type = (method & 0x000fU) | (method & 0x0070U) << 1 | (method & 0x0f80U) << 2;

	w->len = 0;
	write_be16(w, (uint16_t)(type | (unsigned)class));
	write_be16(w, 0);
	write_be32(w, STUN_COOKIE);
	write_bytes(w, txid, STUN_TXID_LEN);
}

void stun_put(struct writer *w, uint16_t type, struct span value)
{
	static const uint8_t zeros[3];

	if (value.len > UINT16_MAX || w->len + value.len > UINT16_MAX - 8)
		w->failed = true;
	write_be16(w, type);
	write_be16(w, (uint16_t)value.len);
	write_bytes(w, value.p, value.len);
	write_bytes(w, zeros, (4 - value.len % 4) % 4);
	set_length(w, w->len);
}

void stun_put_u32(struct writer *w, uint16_t type, uint32_t value)
{
	uint8_t b[4];

	store_be32(b, value);
	stun_put(w, type, span_of(b, sizeof(b)));
}

static void put_addr(struct writer *w, uint16_t type, const struct endpoint *e, const uint8_t *mask)
{
	uint8_t b[20] = { 0, e->ip.family == IP_V6 ? 2 : 1 };
	unsigned n = ip_len((enum ip_family)e->ip.family);

	store_be16(b + 2, e->port);
	memcpy(b + 4, e->ip.bytes, n);
	if (mask) {
		b[2] ^= mask[0];
		b[3] ^= mask[1];
		for (unsigned i = 0; i < n; i++)
			b[4 + i] ^= mask[i];
	}
	stun_put(w, type, span_of(b, 4 + n));
}

void stun_put_addr(struct writer *w, uint16_t type, const struct endpoint *e)
{
	put_addr(w, type, e, NULL);
}

void stun_put_xor_addr(struct writer *w, uint16_t type, const struct endpoint *e)
{
	if (!w->failed)
		put_addr(w, type, e, w->p + 4);
}

void stun_put_error(struct writer *w, unsigned code, const char *reason)
{
	uint8_t b[4 + 128];
	struct writer value = writer_of(b, sizeof(b));

	write_be16(&value, 0);
	write_u8(&value, (uint8_t)(code / 100));
	write_u8(&value, (uint8_t)(code % 100));
	write_bytes(&value, reason, strlen(reason));
	w->failed = w->failed || value.failed;
	stun_put(w, STUN_ERROR_CODE, span_of(b, value.len));
}

void stun_put_integrity(struct writer *w, struct span key)
{
	uint8_t mac[STUN_INTEGRITY_LEN];

	if (w->failed)
		return;
	/* RFC 8489 section 14.5: the length counts this attribute, the input ends before it. */
	set_length(w, w->len + 4 + sizeof(mac));
	hmac_sha1(mac, key, span_of(w->p, w->len));
	stun_put(w, STUN_MESSAGE_INTEGRITY, span_of(mac, sizeof(mac)));
}

void stun_put_fingerprint(struct writer *w)
{
	if (w->failed)
		return;
	set_length(w, w->len + 8);
	stun_put_u32(w, STUN_FINGERPRINT, stun_crc32(span_of(w->p, w->len)) ^ FINGERPRINT_XOR);
}

void stun_build_binding_request(struct writer *w, const uint8_t txid[static STUN_TXID_LEN])
{
	stun_begin(w, STUN_REQUEST, STUN_BINDING, txid);
	stun_put_fingerprint(w);
}
