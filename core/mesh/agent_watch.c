/* Noticing that the tunnel is dead, long before WireGuard's own timers (15 s) would.
 *
 * A ping goes out every 20 s, and whenever the tunnel falls silent after having been used: then the
 * other side may have finished, or may be gone, and one small question settles it. */
#include "mesh/agent_internal.h"

#define PING_EVERY_MS  20000
#define WATCH_NS       (500 * NS_PER_MS)
#define QUIET_NS       NS_PER_S
#define ACTIVE_NS      (700 * NS_PER_MS) /* traffic this close before a pong goes on behind it */
#define PING_RTO_NS    (400 * NS_PER_MS)
#define PINGS_LOST_MAX 3

static void ping(struct agent *a, uint64_t now)
{
	struct inner_message m = { .type = INNER_PING, .stamp = now };
	uint64_t rto = 4 * a->rtt_ns > PING_RTO_NS ? 4 * a->rtt_ns : PING_RTO_NS;

	if (rto > 2 * NS_PER_S)
		rto = 2 * NS_PER_S;
	agent_send_inner(a, &m);
	if (!a->pings_lost)
		a->ping_sent_ns = now;
	a->pings_lost++; /* until it is answered */
	a->ping_ns = now + rto;
}

static void rest(struct agent *a, uint64_t now)
{
	a->pings_lost = 0;
	a->ping_sent_ns = 0;
	a->ping_ns = now + (PING_EVERY_MS - 1000 + rng_below(&a->cfg.rng, 2000)) * NS_PER_MS;
}

void watch_begin(struct agent *a, uint64_t now)
{
	a->answering = false;
	a->pings_lost = 0;
	a->watch_ns = now + WATCH_NS;
	ping(a, now);
}

void watch_pong(struct agent *a, const struct inner_message *m, uint64_t now)
{
	if (m->stamp > now || now - m->stamp > 60 * NS_PER_S)
		return;
	a->rtt_ns = now - m->stamp ? now - m->stamp : 1;
	if (a->phase != AGENT_UP)
		return;
	a->last_pong_ns = now;
	a->answering = true;
	rest(a, now);
	if (!m->enrolled)
		agent_enter(a, AGENT_ENROL, now); /* the colony has forgotten us */
}

static void look(struct agent *a, const struct wg_peer_info *info, uint64_t now)
{
	uint64_t last = info->last_data_tx_ns > info->last_rx_ns ? info->last_data_tx_ns
	                                                         : info->last_rx_ns;
	bool used = last > a->last_pong_ns || a->last_pong_ns < a->active_ns + ACTIVE_NS;
	bool quiet = now >= info->last_rx_ns + QUIET_NS;

	if (last > a->last_pong_ns)
		a->active_ns = last;
	if (used && quiet && !a->pings_lost)
		ping(a, now);
}

void watch_tick(struct agent *a, uint64_t now)
{
	struct wg_peer_info info;

	if (now < a->watch_ns && now < a->ping_ns)
		return;
	wg_peer_info(a->peer, &info);
	if (now >= a->ping_ns) {
		if (a->pings_lost && info.last_rx_ns > a->ping_sent_ns) {
			/* The ping was lost, the tunnel is not. */
			rest(a, now);
			if (!a->answering)
				ping(a, now); /* somebody waits for the first pong */
		} else if (a->pings_lost < PINGS_LOST_MAX) {
			ping(a, now);
		} else {
			agent_why(a, "the colony stopped answering");
			log_emit(&a->cfg.log, LOG_WARN, "agent",
			         "the colony stopped answering; looking for another way", "");
			agent_enter(a, AGENT_CONNECT, now);
			return;
		}
	}
	if (now >= a->watch_ns) {
		a->watch_ns = now + WATCH_NS;
		look(a, &info, now);
	}
}

uint64_t watch_deadline(const struct agent *a)
{
	return time_min(a->ping_ns, a->watch_ns);
}
