/* Opening, closing, and the small calls. */
#include "node/interface_state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "crypto/crypto.h"
#include "linux/clock.h"
#include "linux/entropy.h"
#include "linux/memory.h"
#include "linux/netlink.h"

#define DEFAULT_MTU 1420

static void destroy(struct interface *i)
{
	void (*closed)(void *ctx) = i->closed;
	void *ctx = i->closed_ctx;

	interface_control_free(i);
	if (i->monitor_fd >= 0)
		close(i->monitor_fd);
	if (i->timer_fd >= 0)
		close(i->timer_fd);
	lanes_stop(i->lanes);
	if (i->wake_fd >= 0)
		close(i->wake_fd);
	udp_close(i->udp);
	tun_close(&i->tun);
	wg_device_free(i->device);
	if (i->buffers) {
		wipe(i->scratch, BUFFER_STRIDE);
		free(i->buffers);
	}
	free(i);
	if (closed)
		closed(ctx);
}

void interface_hold(struct interface *i)
{
	i->open_handles++;
}

void interface_release(struct interface *i)
{
	if (--i->open_handles == 0)
		destroy(i);
}

void interface_gone(struct interface *i, const char *why)
{
	if (i->gone || i->closing)
		return;
	i->gone = true;
	log_emit(&i->log, LOG_INFO, "interface", why, "");
	if (i->hooks.gone)
		i->hooks.gone(i->hooks.ctx, why);
}

/* The line for the user. One at a time: it lives until the next failure. */
__attribute__((format(printf, 1, 2))) static const char *why_print(const char *format, ...)
{
	static char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	return line;
}

static enum err open_tun(struct interface *i, const char **why)
{
	enum err e = tun_open(&i->tun, i->name);

	switch (errno * (e != ERR_OK)) {
	case 0: break;
	case EPERM:
	case EACCES:
		*why = why_print("cannot create TUN device %s: %s; run as root or give CAP_NET_ADMIN",
		                 i->name, strerror(errno));
		break;
	case EBUSY:
		*why = why_print("cannot create TUN device %s: it is in use by another process",
		                 i->name);
		break;
	case EINVAL:
	case EEXIST:
		*why = why_print("cannot create TUN device %s: a link of another kind has that name",
		                 i->name);
		break;
	case ENOENT:
	case ENODEV:
	case ENXIO:
		*why = why_print("cannot create TUN device %s: no /dev/net/tun; load the module tun",
		                 i->name);
		break;
	default:
		*why = why_print("cannot create TUN device %s: %s", i->name, strerror(errno));
		break;
	}
	return e;
}

static enum err open_udp(struct interface *i, uint16_t port, const char **why)
{
	enum err e = udp_open(&i->udp, port);

	if (e == ERR_EXISTS && port)
		*why = why_print("UDP port %u is in use; choose another one or 0", port);
	else if (e)
		*why = why_print("cannot open a UDP socket: %s", strerror(errno));
	return e;
}

static enum err open_control(struct interface *i, const char **why)
{
	enum err e = interface_control_open(i);

	if (e == ERR_EXISTS)
		*why = why_print("interface %s already runs: another process serves "
		                 "/var/run/wireguard/%s.sock", i->name, i->name);
	else if (e)
		*why = why_print("cannot open /var/run/wireguard/%s.sock: %s", i->name,
		                 strerror(errno));
	/* Another network namespace may have an interface of that name: no reason for a mesh not to
	 * run. Two of them in one namespace meet at the TUN device. */
	if (!e || i->plain)
		return e;
	log_emit(&i->log, LOG_WARN, "interface", *why, "wg=unavailable");
	return ERR_OK;
}

static enum err open_device(struct interface *i, const struct interface_config *cfg)
{
	const struct wg_config config = { .alloc = linux_allocator,
		                          .rng = linux_rng,
		                          .log = cfg->log,
		                          .mtu = i->mtu,
		                          .lanes = (uint8_t)lanes_for_host(),
		                          .hold_unknown = cfg->hold_unknown,
		                          .managed = !cfg->plain };

	i->device = wg_device_new(&config, clock_now(), clock_wall());
	/* Untouched pages of the buffers cost nothing: they come as zero pages. */
	i->buffers = calloc(BUFFERS, BUFFER_STRIDE);
	if (!i->device || !i->buffers)
		return ERR_NOMEM;
	i->scratch = i->buffers + (size_t)(BUFFERS - 1) * BUFFER_STRIDE;
	return ERR_OK;
}

/* The packet path. Peers come later, so nothing flows yet. */
static enum err open_lanes(struct interface *i, const char **why)
{
	struct lanes_config cfg = { .device = i->device,
		                    .tun = &i->tun,
		                    .count = lanes_for_host(),
		                    .inner = i->hooks.inner != NULL };
	enum err e = ERR_IO;

	tun_set_offloads(&i->tun, true);
	(void)!tun_set_gso_max(&i->tun, i->mtu, WG_HEADROOM + AEAD_TAG_LEN); /* speed only */
	if (!i->tun.offers.multi_queue)
		cfg.count = 1;
	i->wake_fd = cfg.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (i->wake_fd >= 0)
		e = lanes_start(&cfg, &i->lanes);
	if (!e)
		e = lanes_set_udp(i->lanes, i->udp, 0);
	if (e)
		*why = why_print("cannot start the packet path: %s", strerror(errno));
	else
		lanes_set_open(i->lanes, !i->plain);
	return e;
}

/* Everything that can fail for reasons of the user, before there are handles on the loop. */
static enum err open_resources(struct interface *i, const struct interface_config *cfg,
                               const char **why)
{
	enum err e = open_device(i, cfg);

	*why = "out of memory";
	if (!e)
		e = open_control(i, why);
	if (!e)
		e = open_tun(i, why);
	if (!e && netlink_link_set_mtu(i->tun.ifindex, i->mtu)) {
		*why = why_print("cannot set the MTU of %s to %u: %s", i->name, i->mtu,
		                 strerror(errno));
		e = ERR_INVALID;
	}
	if (!e)
		e = open_udp(i, cfg->listen_port, why);
	if (!e)
		e = open_lanes(i, why);
	if (!e) {
		e = netlink_monitor_open(&i->monitor_fd);
		if (e)
			*why = why_print("cannot watch the network: %s", strerror(errno));
	}
	if (!e) {
		e = clock_timer_open(&i->timer_fd);
		if (e)
			*why = why_print("cannot create a timer: %s", strerror(errno));
	}
	return e;
}

static enum err start_handles(struct interface *i)
{
	enum err e = interface_io_start(i);

	if (!e)
		e = interface_network_start(i);
	if (!e)
		e = interface_control_start(i);
	return e;
}

/* The choice of a provider says something only when it was not the obvious one. */
static void log_ready(struct interface *i)
{
	const char *note = aead_provider_note();
	struct interface_path path;
	char line[256];
	struct text t = TEXT_IN(line);

	if (*note)
		log_emit(&i->log, LOG_WARN, "crypto", note, "");
	interface_path(i, &path);
	text_kv(&t, "name", i->name);
	text_kv_u64(&t, "port", udp_port(i->udp));
	text_kv_u64(&t, "mtu", i->mtu);
	text_kv(&t, "crypto", path.aead);
	text_kv_u64(&t, "lanes", path.lanes);
	text_kv(&t, "steered", path.steered ? "yes" : "no");
	text_kv(&t, "tun", path.tun);
	text_kv(&t, "udp", path.udp);
	log_emit(&i->log, LOG_INFO, "interface", "ready", line);
}

enum err interface_open(uv_loop_t *loop, const struct interface_config *cfg, struct interface **out,
                        const char **why)
{
	struct interface *i;
	enum err e;

	*out = NULL;
	*why = "";
	if (!tun_name_is_valid(cfg->name)) {
		*why = "an interface name has 1 to 15 printable characters without '/', ':' and '%'";
		return ERR_INVALID;
	}
	i = calloc(1, sizeof(*i));
	if (!i) {
		*why = "out of memory";
		return ERR_NOMEM;
	}
	i->loop = loop;
	i->hooks = cfg->hooks;
	i->log = cfg->log;
	i->plain = cfg->plain;
	i->mtu = cfg->mtu ? cfg->mtu : DEFAULT_MTU;
	i->tun.fd = i->monitor_fd = i->timer_fd = i->wake_fd = -1;
	i->armed_ns = TIME_NEVER;
	interface_hold(i);
	memcpy(i->name, cfg->name, strlen(cfg->name) + 1);
	e = open_resources(i, cfg, why);
	if (e) {
		interface_control_stop(i);
		interface_release(i);
		return e;
	}
	e = start_handles(i);
	if (e) {
		*why = "the event loop takes no more handles";
		interface_close(i, NULL, NULL);
		return e;
	}
	memory_drop_text();
	log_ready(i);
	*out = i;
	return ERR_OK;
}

void interface_close(struct interface *i, void (*closed)(void *ctx), void *ctx)
{
	if (i->closing)
		return;
	i->closing = true;
	i->hooks = (struct interface_hooks){ .ctx = NULL }; /* the owner hears nothing any more */
	i->closed = closed;
	i->closed_ctx = ctx;
	interface_control_stop(i);
	interface_network_stop(i);
	interface_io_stop(i);
	interface_release(i);
}

/* PORT 0: one of the kernel's choice. */
static int move_port(struct interface *i, uint16_t port)
{
	struct udp *before = i->udp, *after;
	enum err e;

	errno = 0;
	e = udp_open(&after, port);
	if (!e && i->mark)
		e = udp_set_mark(after, i->mark);
	if (e)
		return errno ? errno : ENOMEM;
	interface_io_unwatch(i);
	i->udp = after;
	e = lanes_set_udp(i->lanes, after, i->mark);
	udp_close(before);
	return e || interface_io_watch(i) ? EIO : 0;
}

int interface_set_port(struct interface *i, uint16_t port)
{
	return port == 0 || port == udp_port(i->udp) ? 0 : move_port(i, port);
}

enum err interface_rebind(struct interface *i)
{
	return move_port(i, 0) ? ERR_IO : ERR_OK;
}

int interface_set_mark(struct interface *i, uint32_t mark)
{
	if (mark != i->mark &&
	    (udp_set_mark(i->udp, mark) || lanes_set_mark(i->lanes, mark)))
		return errno;
	i->mark = mark;
	return 0;
}

struct wg_device *interface_device(struct interface *i)
{
	return i->device;
}

const char *interface_name(const struct interface *i)
{
	return i->name;
}

uint16_t interface_port(const struct interface *i)
{
	return udp_port(i->udp);
}

unsigned interface_index(const struct interface *i)
{
	return i->tun.ifindex;
}

void interface_stats(struct interface *i, struct interface_stats *out)
{
	*out = i->stats;
	wg_stats(i->device, &out->engine, clock_now());
	lanes_stats(i->lanes, &out->lanes);
	for (unsigned v = 0; v < WG_VERDICTS; v++)
		out->engine.verdicts[v] += out->lanes.verdicts[v];
	out->udp_rx += out->lanes.udp_rx;
	out->udp_tx += out->lanes.udp_tx;
	out->udp_tx_errors += out->lanes.udp_tx_errors;
	out->source_retries += out->lanes.source_retries;
	out->tun_rx += out->lanes.tun_rx;
	out->tun_tx += out->lanes.tun_tx;
	out->tun_tx_errors += out->lanes.tun_tx_errors;
}

void interface_path(struct interface *i, struct interface_path *out)
{
	static const char *const udp[] = { "none", "gso", "gro", "gso,gro" };
	const struct tun_offers *offers = &i->tun.offers;
	struct lanes_stats stats;

	lanes_stats(i->lanes, &stats);
	out->lanes = lanes_count(i->lanes);
	out->steered = stats.steered;
	out->tun = offers->uso ? "tso,uso" : offers->tso ? "tso" : "none";
	out->udp = udp[lanes_send_trains(i->lanes) | lanes_take_trains(i->lanes) << 1];
	out->aead = aead_provider();
}
