#include "stun/stun.h"

#include "crypto/crypto.h"

#define CLASS_MASK       0x0110U
#define FINGERPRINT_XOR  0x5354554eU /* "STUN", RFC 8489 section 14.7 */

bool stun_is_message(const void *p, size_t len)
{
	const uint8_t *b = p;

	return len >= STUN_HEADER_LEN && (b[0] & 0xc0) == 0 && load_be32(b + 4) == STUN_COOKIE &&
	       (b[3] & 3) == 0 && (size_t)load_be16(b + 2) + STUN_HEADER_LEN == len;
}

/* RFC 8489 section 5: M11..M7 C1 M6..M4 C0 M3..M0. */
static uint16_t method_of(uint16_t type)
{
	return (uint16_t)((type & 0x000f) | (type & 0x00e0) >> 1 | (type & 0x3e00) >> 2);
}

static size_t padded(size_t n)
{
	return (n + 3) & ~(size_t)3;
}

static bool framing_holds(struct span attrs)
{
	struct reader r = reader_of(attrs);

	while (r.left && !r.failed) {
		uint16_t len;

		(void)read_be16(&r);
		len = read_be16(&r);
		(void)read_bytes(&r, padded(len));
	}
	return !r.failed;
}

enum err stun_parse(struct span bytes, struct stun_msg *out)
{
	struct stun_msg m;
	uint16_t type;

	if (!stun_is_message(bytes.p, bytes.len))
		return ERR_INVALID;
	type = load_be16(bytes.p);
	m.class = (enum stun_class)(type & CLASS_MASK);
	m.method = method_of(type);
	m.txid = bytes.p + 8;
	m.whole = bytes;
	m.attrs = span_of(bytes.p + STUN_HEADER_LEN, bytes.len - STUN_HEADER_LEN);
	if (!framing_holds(m.attrs))
		return ERR_INVALID;
	*out = m;
	return ERR_OK;
}

/* The attribute at *POS of the attribute area, whatever it is. */
static bool next_raw(const struct stun_msg *m, size_t *pos, struct stun_attr_view *out)
{
	const uint8_t *p = m->attrs.p + *pos;

	if (*pos >= m->attrs.len)
		return false;
	out->type = load_be16(p);
	out->value = span_of(p + 4, load_be16(p + 2));
	out->at = STUN_HEADER_LEN + *pos;
	*pos += 4 + padded(out->value.len);
	return true;
}

static bool integrity_before(const struct stun_msg *m, size_t at)
{
	struct stun_attr_view a;
	size_t pos = 0;

	while (next_raw(m, &pos, &a) && a.at < at)
		if (a.type == STUN_MESSAGE_INTEGRITY)
			return true;
	return false;
}

bool stun_next(const struct stun_msg *m, size_t *pos, struct stun_attr_view *out)
{
	/* The high bit of *POS remembers that MESSAGE-INTEGRITY has gone by. */
	const size_t sealed = ~(SIZE_MAX >> 1);
	size_t at = *pos & ~sealed;
	bool behind = (*pos & sealed) != 0;

	while (next_raw(m, &at, out)) {
		if (behind && out->type != STUN_FINGERPRINT &&
		    out->type != STUN_MESSAGE_INTEGRITY_SHA256)
			continue;
		behind = behind || out->type == STUN_MESSAGE_INTEGRITY;
		*pos = at | (behind ? sealed : 0);
		return true;
	}
	return false;
}

bool stun_find(const struct stun_msg *m, uint16_t type, struct stun_attr_view *out)
{
	size_t pos = 0;

	while (stun_next(m, &pos, out))
		if (out->type == type)
			return true;
	return false;
}

/* RFC 8489 sections 14.1 and 14.2: a zero byte, the family, port, address. */
static bool read_addr(struct span value, struct endpoint *out)
{
	struct reader r = reader_of(value);
	struct endpoint e = { .port = 0 };
	uint8_t family;
	const uint8_t *ip;

	(void)read_u8(&r);
	family = read_u8(&r);
	e.port = read_be16(&r);
	if (family != 1 && family != 2)
		return false;
	e.ip.family = family == 1 ? IP_V4 : IP_V6;
	ip = read_bytes(&r, ip_len((enum ip_family)e.ip.family));
	if (!ip || r.left)
		return false;
	e.ip = ip_from_bytes(ip, (enum ip_family)e.ip.family);
	*out = e;
	return true;
}

bool stun_find_addr(const struct stun_msg *m, uint16_t type, struct endpoint *out)
{
	struct stun_attr_view a;

	return stun_find(m, type, &a) && read_addr(a.value, out);
}

bool stun_find_xor_addr(const struct stun_msg *m, uint16_t type, struct endpoint *out)
{
	struct endpoint e;

	if (!stun_find_addr(m, type, &e))
		return false;
	/* Cookie and transaction id are one run of 16 bytes in the header. */
	e.port = (uint16_t)(e.port ^ STUN_COOKIE >> 16);
	for (unsigned i = 0; i < ip_len((enum ip_family)e.ip.family); i++)
		e.ip.bytes[i] ^= m->whole.p[4 + i];
	*out = e;
	return true;
}

bool stun_find_xor_mapped(const struct stun_msg *m, struct endpoint *out)
{
	return stun_find_xor_addr(m, STUN_XOR_MAPPED_ADDRESS, out) ||
	       stun_find_addr(m, STUN_MAPPED_ADDRESS, out);
}

bool stun_find_error(const struct stun_msg *m, unsigned *code, struct span *reason)
{
	struct stun_attr_view a;
	unsigned hundreds, number;

	if (!stun_find(m, STUN_ERROR_CODE, &a) || a.value.len < 4)
		return false;
	hundreds = a.value.p[2] & 7U;
	number = a.value.p[3];
	if (hundreds < 3 || hundreds > 6 || number > 99)
		return false;
	*code = hundreds * 100 + number;
	*reason = span_of(a.value.p + 4, a.value.len - 4);
	return true;
}

uint32_t stun_crc32(struct span bytes)
{
	static const uint32_t nibble[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c
	};
	uint32_t crc = 0xffffffff;

	for (size_t i = 0; i < bytes.len; i++) {
		crc ^= bytes.p[i];
		crc = crc >> 4 ^ nibble[crc & 15];
		crc = crc >> 4 ^ nibble[crc & 15];
	}
	return ~crc;
}

enum err stun_check_fingerprint(const struct stun_msg *m)
{
	struct stun_attr_view a;
	uint32_t crc;

	if (!stun_find(m, STUN_FINGERPRINT, &a))
		return ERR_NOT_FOUND;
	if (a.value.len != 4 || a.at + 8 != m->whole.len)
		return ERR_INVALID;
	crc = stun_crc32(span_of(m->whole.p, a.at)) ^ FINGERPRINT_XOR;
	return crc == load_be32(a.value.p) ? ERR_OK : ERR_INVALID;
}

/* Room for the protected part of any message we accept with integrity: the HMAC is taken over a
 * copy, because the length in the header must first be set to end with MESSAGE-INTEGRITY. */
#define INTEGRITY_INPUT_MAX 2048

enum err stun_check_integrity(const struct stun_msg *m, struct span key)
{
	uint8_t copy[INTEGRITY_INPUT_MAX], mac[STUN_INTEGRITY_LEN];
	struct stun_attr_view a;

	if (!stun_find(m, STUN_MESSAGE_INTEGRITY, &a))
		return ERR_NOT_FOUND;
	if (a.value.len != STUN_INTEGRITY_LEN || a.at > sizeof(copy) || integrity_before(m, a.at))
		return ERR_AUTH;
	memcpy(copy, m->whole.p, a.at);
	store_be16(copy + 2, (uint16_t)(a.at + 4 + STUN_INTEGRITY_LEN - STUN_HEADER_LEN));
	hmac_sha1(mac, key, span_of(copy, a.at));
	return ct_equal(mac, a.value.p, sizeof(mac)) ? ERR_OK : ERR_AUTH;
}

static bool in_list(const uint16_t *list, size_t n, uint16_t v)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == v)
			return true;
	return false;
}

size_t stun_unknown_required(const struct stun_msg *m, const uint16_t *known, size_t n_known,
                             uint16_t *out, size_t max)
{
	struct stun_attr_view a;
	size_t pos = 0, n = 0;

	while (n < max && stun_next(m, &pos, &a)) {
		if (a.type >= 0x8000 || in_list(known, n_known, a.type) ||
		    in_list(out, n, a.type))
			continue;
		out[n++] = a.type;
	}
	return n;
}
