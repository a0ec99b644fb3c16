/* Trains: datagrams that pass through the kernel as one. */
#include <errno.h>

#include "linux/udp_state.h"

size_t udp_receive_trains(struct udp *u, enum ip_family family, struct udp_train *t, size_t n)
{
	struct udp_origin o;
	size_t got;

	if (n > UDP_BATCH)
		n = UDP_BATCH;
	for (size_t i = 0; i < n; i++)
		udp_prepare(u, i, t[i].p, t[i].len);
	got = udp_take(u, family, n);
	for (size_t i = 0; i < got; i++) {
		t[i].len = udp_read_slot(u, i, &o);
		t[i].segment = o.segment && t[i].len ? o.segment : (uint16_t)t[i].len;
		t[i].remote = o.remote;
		t[i].local = o.local;
		t[i].ifindex = o.ifindex;
		t[i].tos = o.tos;
	}
	return got;
}

/* ---- sending ---- */

/* How far a call has come. */
struct progress {
	struct udp_train *t;
	size_t n;
	size_t train; /* the first that is not done with */
	uint32_t at;  /* what has gone of it */
	bool doubt;   /* the kernel called it invalid: for its segments, or for its source */
};

bool udp_sends_trains(const struct udp *u)
{
	return !u->no_segment;
}

/* How much of T goes next, behind the first AT bytes: as a train if it may. */
static uint32_t next_length(const struct udp *u, const struct udp_train *t, uint32_t at)
{
	uint32_t left = t->len - at, segments = 1, len;

	if (!t->segment)
		return left;
	if (!t->too_big && !u->no_segment)
		segments = UDP_TRAIN_BYTES / t->segment;
	if (segments > UDP_TRAIN_MAX)
		segments = UDP_TRAIN_MAX;
	len = segments > 1 ? segments * t->segment : t->segment;
	return len < left ? len : left;
}

static bool is_same_way(const struct udp_train *a, const struct udp_train *b)
{
	return a == b || (endpoint_eq(&a->remote, &b->remote) && ip_eq(&a->local, &b->local) &&
	                  a->ifindex == b->ifindex && a->tos == b->tos);
}

/* LEN bytes at P, on the way of T, into slot I. What slot I - 1 says of that way, which belongs to
 * BEFORE, is used again where it is the same. */
static void put_slot(struct udp *u, size_t i, const struct udp_train *t,
                     const struct udp_train *before, struct iovec bytes)
{
	uint16_t segment = bytes.iov_len > t->segment ? t->segment : 0;
	struct udp_way w = { .remote = &t->remote, .local = &t->local, .ifindex = t->ifindex,
		             .tos = t->tos, .segment = segment };
	bool same = i > 0 && is_same_way(t, before);
	uint16_t last = same && u->vectors[i - 1].iov_len > before->segment ? before->segment : 0;

	if (!same || segment != last) {
		udp_write_slot(u, i, bytes.iov_base, bytes.iov_len, &w);
		return;
	}
	u->vectors[i] = bytes;
	u->headers[i].msg_hdr = u->headers[i - 1].msg_hdr;
	u->headers[i].msg_hdr.msg_iov = &u->vectors[i];
}

/* Fills slots with what comes next, up to a change of the family. Returns how many. */
static size_t fill(struct udp *u, const struct progress *p)
{
	const struct udp_train *before = NULL;
	uint8_t family = p->t[p->train].remote.ip.family;
	size_t i = 0;

	for (size_t k = p->train; k < p->n && i < UDP_BATCH; k++) {
		const struct udp_train *t = &p->t[k];
		uint32_t at = k == p->train ? p->at : 0;

		if (t->remote.ip.family != family)
			break;
		do {
			uint32_t len = next_length(u, t, at);

			put_slot(u, i++, t, before, (struct iovec){ t->p + at, len });
			before = t;
			at += len;
		} while (at < t->len && i < UDP_BATCH);
	}
	return i;
}

static void next_train(struct progress *p)
{
	p->train++;
	p->at = 0;
	p->doubt = false;
}

static void advance(const struct udp *u, struct progress *p, size_t sent)
{
	for (size_t i = 0; i < sent; i++) {
		p->at += (uint32_t)u->vectors[i].iov_len;
		if (p->at >= p->t[p->train].len)
			next_train(p);
	}
}

/* The next train's source is no longer ours, as it seems: no train goes with it. */
static void drop_source(struct progress *p)
{
	struct ip_addr source = p->t[p->train].local;

	for (size_t k = p->train; k < p->n; k++) {
		if (!ip_eq(&p->t[k].local, &source))
			continue;
		p->t[k].source_failed = true;
		p->t[k].local = (struct ip_addr){ IP_NONE, { 0 } };
	}
}

/* The kernel refused what comes next. Each case changes how, or whether, that is tried again:
 * EIO           a link that cannot checksum segments, or a transformation (IPsec) on the way
 * EMSGSIZE      a segment is longer than the path's MTU
 * EINVAL        the same before Linux 6.14, or a source that is not ours
 * all others    for a datagram: the source, whatever the errno; else it cannot be sent */
static void after_refusal(struct udp *u, struct progress *p, int e)
{
	struct udp_train *t = &p->t[p->train];
	bool train = t->segment && next_length(u, t, p->at) > t->segment;

	if (train && (e == EIO || e == EOPNOTSUPP || e == ENOPROTOOPT)) {
		u->no_segment = true;
	} else if (train && (e == EMSGSIZE || e == EINVAL)) {
		t->too_big = true;
		p->doubt = e == EINVAL;
	} else if (t->local.family != IP_NONE) {
		if (p->doubt && p->at == 0)
			t->too_big = false;
		drop_source(p);
	} else {
		t->failed = true;
		next_train(p);
	}
}

size_t udp_send_trains(struct udp *u, struct udp_train *t, size_t n)
{
	struct progress p = { .t = t, .n = n };

	for (size_t i = 0; i < n; i++)
		t[i].failed = t[i].source_failed = t[i].too_big = false;
	while (p.train < n) {
		enum ip_family family = t[p.train].remote.ip.family;
		int sent;

		if (family == IP_NONE) {
			t[p.train].failed = true;
			next_train(&p);
			continue;
		}
		sent = sendmmsg(udp_fd(u, family), u->headers, (unsigned)fill(u, &p), 0);
		if (sent > 0)
			advance(u, &p, (size_t)sent);
		else if (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM)
			break;
		else if (errno != EINTR)
			after_refusal(u, &p, errno);
	}
	if (p.at > 0) {
		t[p.train].p += p.at;
		t[p.train].len -= p.at;
	}
	return p.train;
}
