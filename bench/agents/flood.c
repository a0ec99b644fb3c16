/* How fast a hub answers handshakes: the initiations are made beforehand and the responses are not
 * opened, so that a generator with one thread keeps ahead of a hub with many. */
#include "swarm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "linux/clock.h"

#define WAIT_NS       (3 * NS_PER_S)
#define INITIATION    148
#define RETRY_NS      (NS_PER_S / 4) /* one that is out for so long is lost */

struct flood {
	struct swarm *s;
	uint8_t (*initiations)[INITIATION];
	bool *answered;
	unsigned sent, responses, cookies;
	uint64_t first_ns, last_ns; /* of the responses */
};

static bool prepare(struct flood *f, struct member *m)
{
	struct wg_packet pkt = { .buf = f->initiations[m->number], .cap = INITIATION };

	m->swarm->now = clock_now();
	if (!member_open(m) || !plain_begin(m) || wg_output(m->device, &pkt, 1, m->swarm->now) != 1)
		return false;
	wg_device_free(m->device);
	m->device = NULL;
	return true;
}

static void send_next(struct flood *f)
{
	unsigned i = f->sent++;

	member_send(&f->s->members[i], &f->s->o->to, f->initiations[i], INITIATION);
}

/* Looks at the sockets of those between FIRST and the last that was sent. */
static void collect(struct flood *f, unsigned first)
{
	uint8_t bytes[256];

	for (unsigned i = first; i < f->sent; i++) {
		ssize_t n = f->answered[i] ? -1 : recv(f->s->members[i].fd, bytes, sizeof(bytes), 0);

		if (n <= 0)
			continue;
		f->answered[i] = true;
		f->responses += bytes[0] == 2;
		f->cookies += bytes[0] == 3;
		f->last_ns = clock_now();
	}
}

static void run(struct flood *f)
{
	const struct options *o = f->s->o;
	unsigned window = o->window ? o->window : o->count, oldest = 0, lost = 0;
	uint64_t until, progress;

	f->first_ns = f->last_ns = progress = clock_now();
	until = o->window ? TIME_NEVER : f->first_ns + WAIT_NS;
	while (f->responses + f->cookies + lost < o->count && clock_now() < until) {
		unsigned before = f->responses + f->cookies;

		while (f->sent < o->count && f->sent - f->responses - f->cookies - lost < window)
			send_next(f);
		collect(f, oldest);
		while (oldest < f->sent && f->answered[oldest])
			oldest++;
		if (f->responses + f->cookies != before)
			progress = clock_now();
		if (o->window && clock_now() > progress + RETRY_NS) {
			lost = f->sent - f->responses - f->cookies;
			progress = clock_now();
		}
	}
}

int flood(struct swarm *s)
{
	struct flood f = { .s = s };
	double seconds;
	int code = 0;

	f.initiations = calloc(s->o->count, sizeof(*f.initiations));
	f.answered = calloc(s->o->count, sizeof(*f.answered));
	for (unsigned i = 0; f.initiations && f.answered && i < s->o->count && !code; i++)
		if (!prepare(&f, &s->members[i]))
			code = failed("cannot prepare initiation %u", i);
	if (f.initiations && f.answered && !code) {
		run(&f);
		seconds = (double)(f.last_ns - f.first_ns) / 1e9;
		printf("{\"sent\":%u,\"responses\":%u,\"cookies\":%u,\"seconds\":%.3f,"
		       "\"rate\":%.0f}\n", f.sent, f.responses, f.cookies, seconds,
		       seconds > 0 ? f.responses / seconds : 0);
	}
	free(f.initiations);
	free(f.answered);
	return code;
}
