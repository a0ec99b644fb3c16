#include "mesh/inner.h"

#define IP6_HEADER 40
#define UDP_HEADER 8
#define NEXT_UDP   17
#define VERSION    1

static const uint8_t magic[3] = { 'W', 'r', VERSION };

bool mesh_id_is_valid(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n >= MESH_ID_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

		if (!alnum && (i == 0 || (c != '.' && c != '_' && c != '-')))
			return false;
	}
	return true;
}

static void write_ip(struct writer *w, const struct ip_addr *ip)
{
	write_u8(w, ip->family);
	write_bytes(w, ip->bytes, sizeof(ip->bytes));
}

static void read_ip(struct reader *r, struct ip_addr *ip)
{
	ip->family = read_u8(r);
	read_copy(r, ip->bytes, sizeof(ip->bytes));
	if (ip->family != IP_V4 && ip->family != IP_V6 && ip->family != IP_NONE)
		r->failed = true;
}

static void read_prefix(struct reader *r, struct ip_prefix *p)
{
	read_ip(r, &p->ip);
	p->len = read_u8(r);
	if (p->len > ip_len(p->ip.family) * 8)
		r->failed = true;
}

static void write_id(struct writer *w, const char *id)
{
	write_u8(w, (uint8_t)strlen(id));
	write_bytes(w, id, strlen(id));
}

static void read_id(struct reader *r, char id[static MESH_ID_MAX])
{
	size_t n = read_u8(r);

	if (n >= MESH_ID_MAX) {
		r->failed = true;
		return;
	}
	read_copy(r, id, n);
	id[n] = '\0';
}

static void write_response(struct writer *w, const struct inner_message *m)
{
	write_u8(w, (uint8_t)m->status);
	write_be32(w, m->retry_after_s);
	write_u8(w, m->pair_key);
	write_bytes(w, m->nonce, sizeof(m->nonce));
	write_ip(w, &m->address4.ip);
	write_u8(w, m->address4.len);
	write_ip(w, &m->address6.ip);
	write_u8(w, m->address6.len);
	write_ip(w, &m->colony4);
	write_ip(w, &m->colony6);
	write_ip(w, &m->observed.ip);
	write_be16(w, m->observed.port);
}

static void read_response(struct reader *r, struct inner_message *m)
{
	uint8_t status = read_u8(r);

	if (status > ENROL_UNAVAILABLE)
		status = ENROL_UNAVAILABLE; /* a newer colony; it refuses in any case */
	m->status = (enum enrol_status)status;
	m->retry_after_s = read_be32(r);
	m->pair_key = read_u8(r) != 0;
	read_copy(r, m->nonce, sizeof(m->nonce));
	read_prefix(r, &m->address4);
	read_prefix(r, &m->address6);
	read_ip(r, &m->colony4);
	read_ip(r, &m->colony6);
	read_ip(r, &m->observed.ip);
	m->observed.port = read_be16(r);
}

static void write_body(struct writer *w, const struct inner_message *m)
{
	switch (m->type) {
	case INNER_ENROL_REQUEST:
		write_id(w, m->agent_id);
		write_bytes(w, m->nonce, sizeof(m->nonce));
		break;
	case INNER_ENROL_RESPONSE:
		write_response(w, m);
		break;
	case INNER_PING:
	case INNER_PONG:
		write_be64(w, m->stamp);
		write_u8(w, m->enrolled);
		break;
	case INNER_ENROL_CONFIRM:
	case INNER_ENROL_DONE:
		break;
	}
}

static enum err read_body(struct reader *r, struct inner_message *m)
{
	switch (m->type) {
	case INNER_ENROL_REQUEST:
		read_id(r, m->agent_id);
		read_copy(r, m->nonce, sizeof(m->nonce));
		break;
	case INNER_ENROL_RESPONSE:
		read_response(r, m);
		break;
	case INNER_PING:
	case INNER_PONG:
		m->stamp = read_be64(r);
		m->enrolled = read_u8(r) != 0;
		break;
	case INNER_ENROL_CONFIRM:
	case INNER_ENROL_DONE:
		break;
	default:
		return ERR_UNSUPPORTED;
	}
	return r->failed ? ERR_INVALID : ERR_OK;
}

static uint32_t sum_be16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (; len > 1; p += 2, len -= 2)
		sum += load_be16(p);
	return len ? sum + ((uint32_t)*p << 8) : sum;
}

/* RFC 8200 section 8.1: over the pseudo-header and the UDP datagram at P + IP6_HEADER. */
static uint16_t udp_checksum(const uint8_t *p, size_t udp_len)
{
	uint32_t sum = (uint32_t)udp_len + NEXT_UDP;

	sum = sum_be16(p + 8, 32, sum);
	sum = sum_be16(p + IP6_HEADER, udp_len, sum);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

size_t inner_build(uint8_t *out, size_t cap, const struct ip_addr *from, const struct ip_addr *to,
                   const struct inner_message *m)
{
	struct writer w = writer_of(out, cap);
	size_t udp_len;
	uint16_t sum;

	write_be32(&w, 6U << 28);
	write_be16(&w, 0);
	write_u8(&w, NEXT_UDP);
	write_u8(&w, 1); /* hop limit: it is not forwarded */
	write_bytes(&w, from->bytes, 16);
	write_bytes(&w, to->bytes, 16);
	write_be16(&w, INNER_PORT);
	write_be16(&w, INNER_PORT);
	write_be32(&w, 0);
	write_bytes(&w, magic, sizeof(magic));
	write_u8(&w, (uint8_t)m->type);
	write_be32(&w, m->id);
	write_body(&w, m);
	if (w.failed)
		return 0;
	udp_len = w.len - IP6_HEADER;
	store_be16(out + 4, (uint16_t)udp_len);
	store_be16(out + IP6_HEADER + 4, (uint16_t)udp_len);
	sum = udp_checksum(out, udp_len);
	store_be16(out + IP6_HEADER + 6, sum ? sum : 0xffff);
	return w.len;
}

enum err inner_parse(const uint8_t *p, size_t len, const struct ip_addr *from,
                     const struct ip_addr *to, struct inner_message *out)
{
	struct reader r;
	const uint8_t *udp = p + IP6_HEADER;
	size_t udp_len;

	if (len < IP6_HEADER + UDP_HEADER || p[0] >> 4 != 6 || p[6] != NEXT_UDP ||
	    memcmp(p + 8, from->bytes, 16) != 0 || memcmp(p + 24, to->bytes, 16) != 0)
		return ERR_INVALID;
	udp_len = load_be16(p + 4);
	if (udp_len < UDP_HEADER || udp_len > len - IP6_HEADER || load_be16(udp + 4) != udp_len ||
	    load_be16(udp) != INNER_PORT || load_be16(udp + 2) != INNER_PORT ||
	    (udp_checksum(p, udp_len) & 0xffff) != 0)
		return ERR_INVALID;
	r = reader_of(span_of(udp + UDP_HEADER, udp_len - UDP_HEADER));
	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < sizeof(magic); i++)
		if (read_u8(&r) != magic[i])
			return ERR_INVALID;
	out->type = (enum inner_type)read_u8(&r);
	out->id = read_be32(&r);
	return read_body(&r, out);
}
