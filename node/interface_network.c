/* The host around an interface: its own link's state, and addresses and routes that come and go. */
#include "node/interface_state.h"

#include <unistd.h>

#include "linux/clock.h"
#include "linux/netlink.h"
#include "linux/source.h"

#define SETTLE_MS  100  /* changes come in groups: link, addresses, routes */
#define RECHECK_MS 1000 /* longer than a datagram travels that was sent before the change */

/* ---- the own link ---- */

/* Bringing a link down ends its sessions, as it does for the kernel's WireGuard. */
static void reset_peers(struct interface *i, uint64_t now)
{
	for (struct wg_peer *p = NULL; (p = wg_peer_next(i->device, p)) != NULL;)
		wg_peer_reset(p, now);
}

/* Peers that are to be kept alive are greeted as soon as the link is up. */
static void greet_peers(struct interface *i, uint64_t now)
{
	for (struct wg_peer *p = NULL; (p = wg_peer_next(i->device, p)) != NULL;) {
		struct wg_peer_info info;

		wg_peer_info(p, &info);
		if (info.keepalive_s && info.path.remote.ip.family != IP_NONE)
			wg_peer_initiate(p, true, now);
	}
}

static void refresh_link(struct interface *i)
{
	struct netlink_link link;
	uint64_t now = clock_now();
	bool was_up = i->up;

	if (netlink_link_get(i->tun.ifindex, &link))
		return;
	if (link.mtu && link.mtu != i->mtu) {
		i->mtu = link.mtu;
		interface_lock(i);
		wg_set_mtu(i->device, link.mtu);
		interface_unlock(i);
		(void)!tun_set_gso_max(&i->tun, link.mtu, WG_HEADROOM + AEAD_TAG_LEN);
	}
	i->up = link.up;
	if (!i->plain || i->up == was_up)
		return;
	lanes_set_open(i->lanes, i->up);
	interface_lock(i);
	if (i->up)
		greet_peers(i, now);
	else
		reset_peers(i, now);
	interface_settle(i, now);
	interface_unlock(i);
}

bool interface_is_up(struct interface *i)
{
	/* The news of a link that just came up may still lie in the monitor's socket. */
	if (i->plain && !i->up)
		refresh_link(i);
	return i->up || !i->plain;
}

/* ---- the host's addresses and routes ---- */

bool interface_is_stale(const struct interface *i, const struct ip_addr *local, uint32_t ifindex)
{
	for (size_t k = 0; k < i->stale_count; k++)
		if (i->stale[k].ifindex == ifindex && ip_eq(&i->stale[k].local, local))
			return true;
	return false;
}

static void log_given_up(const struct interface *i, const struct wg_path *path)
{
	char line[160];
	struct text t = TEXT_IN(line);

	text_kv_endpoint(&t, "peer", &path->remote);
	text_kv(&t, "source", "");
	text_ip(&t, &path->local);
	log_emit(&i->log, LOG_DEBUG, "interface", "source address is no longer good, given up",
	         line);
}

/* Forgets the source of PATH, which P has. */
static void give_up_source(struct interface *i, struct wg_peer *p, const struct wg_path *path)
{
	log_given_up(i, path);
	wg_peer_drop_source(p);
	if (i->stale_count < STALE_MAX && !interface_is_stale(i, &path->local, path->ifindex))
		i->stale[i->stale_count++] = (struct stale_source){ path->local, path->ifindex };
}

/* Forgets the peer's cached source address if it is no good any more. The peer has no way to learn
 * where we are now except by hearing from us, so those with a session do. One that has a session but
 * no source lost it to a change before this one, when maybe nothing could be sent. */
static void check_source(struct interface *i, struct wg_peer *p, uint64_t now)
{
	struct wg_peer_info info;
	const struct wg_path *path = &info.path;

	wg_peer_info(p, &info);
	if (path->local.family != IP_NONE) {
		if (source_is_good(&path->remote, &path->local, path->ifindex, i->mark))
			return;
		give_up_source(i, p, path);
	}
	if (info.has_session)
		wg_peer_send_keepalive(p, now);
}

/* Twice for each change: the second time ends the ban on sources that the first one gave up, and
 * sees to those that did not fit into its list. */
static void on_settled(uv_timer_t *timer)
{
	struct interface *i = timer->data;
	uint64_t now = clock_now();

	i->stale_count = 0;
	interface_lock(i);
	for (struct wg_peer *p = NULL; (p = wg_peer_next(i->device, p)) != NULL;)
		check_source(i, p, now);
	interface_unlock(i);
	i->rechecking = !i->rechecking;
	if (i->rechecking)
		uv_timer_start(timer, on_settled, RECHECK_MS, 0);
	else
		i->stale_count = 0;
	if (i->rechecking && i->hooks.network_changed)
		i->hooks.network_changed(i->hooks.ctx, now);
	interface_kick(i);
}

/* Not pushed back by later changes: a link that flaps all the time would postpone it for ever. */
static void host_changed(struct interface *i)
{
	if (i->closing || (uv_is_active((uv_handle_t *)&i->network_timer) && !i->rechecking))
		return;
	i->rechecking = false;
	uv_timer_start(&i->network_timer, on_settled, SETTLE_MS, 0);
}

static void on_monitor(uv_poll_t *poll, int status, int events)
{
	struct interface *i = poll->data;
	struct netlink_changes changes = { false, false, false };

	(void)status;
	(void)events;
	netlink_monitor_read(i->monitor_fd, i->tun.ifindex, &changes);
	if (changes.own_gone) {
		interface_gone(i, "the TUN device was deleted");
		return;
	}
	if (changes.own)
		refresh_link(i);
	if (changes.host)
		host_changed(i);
}

/* ---- start and stop ---- */

static void on_closed(uv_handle_t *handle)
{
	interface_release(handle->data);
}

enum err interface_network_start(struct interface *i)
{
	i->network_timer.data = i->monitor_poll.data = i;
	uv_timer_init(i->loop, &i->network_timer);
	interface_hold(i);
	if (uv_poll_init(i->loop, &i->monitor_poll, i->monitor_fd))
		return ERR_IO;
	interface_hold(i);
	return uv_poll_start(&i->monitor_poll, UV_READABLE, on_monitor) ? ERR_IO : ERR_OK;
}

static void close_handle(uv_handle_t *handle)
{
	if (handle->type != UV_UNKNOWN_HANDLE && !uv_is_closing(handle))
		uv_close(handle, on_closed);
}

void interface_network_stop(struct interface *i)
{
	close_handle((uv_handle_t *)&i->network_timer);
	close_handle((uv_handle_t *)&i->monitor_poll);
}
