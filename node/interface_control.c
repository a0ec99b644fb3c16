/* The configuration socket that wg(8) speaks to, /var/run/wireguard/NAME.sock.
 *
 * A request is taken whole before any of it is applied, and an answer is written down whole before
 * any of it is sent: what happens to a slow client's peers meanwhile cannot matter. */
#include "node/interface_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux/clock.h"
#include "linux/files.h"
#include "linux/unix_socket.h"
#include "wireguard/uapi.h"

#define DIRECTORY       "/var/run/wireguard"
#define CONNECTIONS_MAX 16
#define LINE_MAX_LEN    256       /* the longest that the protocol has is 77 */
#define REQUEST_MAX     (32 << 20) /* 65536 peers with everything, and more */
#define ANSWER_MAX      (64 << 20)
#define ANSWER_STEP     16384     /* what wg_uapi_get_next may append at once */
#define READS_MAX       16        /* reads of one client before the others have their turn */
#define READ_SIZE       4096
#define IDLE_MS         30000     /* a client that neither reads nor writes for so long is cut off */

struct buffer {
	char *p;
	size_t len, cap;
};

struct connection {
	struct control *control;
	int fd;
	uv_poll_t poll;
	uv_timer_t idle;
	unsigned handles;
	uint64_t active_ns;
	struct buffer in, out;
	size_t line_start, scanned; /* in IN */
	size_t sent;                /* of OUT */
	bool ending;                /* closes once OUT is sent */
};

struct control {
	struct interface *i;
	int fd;
	char path[sizeof(DIRECTORY) + TUN_NAME_MAX + 8];
	struct stat file; /* the socket file that we made */
	bool exists;
	uv_poll_t listener;
	uv_fs_event_t watcher;
	struct connection *connections[CONNECTIONS_MAX];
};

/* ---- buffers: keys are among their contents ---- */

static void buffer_free(struct buffer *b)
{
	if (b->p)
		wipe(b->p, b->cap);
	free(b->p);
	*b = (struct buffer){ NULL, 0, 0 };
}

/* Room for MORE bytes behind LEN, by moving to a buffer of at least double the size. */
static bool buffer_reserve(struct buffer *b, size_t more, size_t max)
{
	struct buffer bigger = { NULL, b->len, b->cap ? b->cap : READ_SIZE };

	if (b->p && b->cap - b->len >= more)
		return true;
	while (bigger.cap - b->len < more)
		bigger.cap *= 2;
	if (bigger.cap > max)
		return false;
	bigger.p = malloc(bigger.cap);
	if (!bigger.p)
		return false;
	if (b->p)
		memcpy(bigger.p, b->p, b->len);
	buffer_free(b);
	*b = bigger;
	return true;
}

/* ---- the two operations ---- */

/* Acts on what the lines so far ask of the host. errno value. */
static int apply_host(struct interface *i, struct wg_uapi_host *host)
{
	int e = 0;

	if (host->has_listen_port)
		e = interface_set_port(i, host->listen_port);
	if (!e && host->has_fwmark)
		e = interface_set_mark(i, host->fwmark);
	host->has_listen_port = host->has_fwmark = false;
	return e;
}

/* The lines of a set request up to the empty one. errno value of the first that fails; the ones
 * before it stay applied, as in the reference implementations. */
static int run_set(struct interface *i, const char *lines, size_t len)
{
	struct wg_uapi_set set;
	uint64_t now = clock_now();
	int e = 0;

	wg_uapi_set_begin(&set, i->device);
	while (len && !e) {
		size_t n = (size_t)((const char *)memchr(lines, '\n', len) - lines);

		interface_lock(i);
		if (n)
			e = wg_uapi_set_line(&set, lines, n, now);
		interface_unlock(i);
		if (!e)
			e = apply_host(i, &set.host);
		lines += n + 1;
		len -= n + 1;
	}
	wipe(&set, sizeof(set));
	return e;
}

static int run_get(struct interface *i, struct buffer *out)
{
	const struct wg_uapi_host host = { .has_listen_port = true,
		                           .listen_port = interface_port(i),
		                           .has_fwmark = i->mark != 0,
		                           .fwmark = i->mark };
	struct wg_uapi_get get;
	uint64_t now = clock_now();
	bool more = true;

	wg_uapi_get_begin(&get, i->device, &host);
	while (more) {
		struct text t;

		if (!buffer_reserve(out, ANSWER_STEP + 1, ANSWER_MAX))
			return ENOMEM;
		t = text_in(out->p + out->len, ANSWER_STEP + 1);
		more = wg_uapi_get_next(&get, &t, now);
		INVARIANT(!t.truncated);
		out->len += t.len;
	}
	return 0;
}

/* Runs the request of LEN bytes, its empty line included, and writes the answer to OUT. */
static void run_request(struct interface *i, const char *request, size_t len, struct buffer *out)
{
	const size_t first = sizeof("get=1\n") - 1; /* set=1 is as long */
	char line[32];
	int e, n;

	/* wg(8) expects what wireguard-go happens to send: negative after set, positive after get. */
	if (request[0] == 's') {
		e = -run_set(i, request + first, len - first - 1);
	} else if (len != first + 1) {
		e = EINVAL;
	} else {
		e = run_get(i, out);
		if (e)
			out->len = 0;
	}
	n = snprintf(line, sizeof(line), "errno=%d\n\n", e);
	if (!buffer_reserve(out, (size_t)n, ANSWER_MAX + ANSWER_STEP))
		return;
	memcpy(out->p + out->len, line, (size_t)n);
	out->len += (size_t)n;
}

/* ---- one connection ---- */

static void on_connection_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;
	struct interface *i = c->control->i;

	if (--c->handles == 0) {
		close(c->fd);
		buffer_free(&c->in);
		buffer_free(&c->out);
		free(c);
	}
	interface_release(i);
}

static void connection_close(struct connection *c)
{
	for (size_t k = 0; k < CONNECTIONS_MAX; k++)
		if (c->control->connections[k] == c)
			c->control->connections[k] = NULL;
	if (!uv_is_closing((uv_handle_t *)&c->idle)) {
		uv_close((uv_handle_t *)&c->poll, on_connection_closed);
		uv_close((uv_handle_t *)&c->idle, on_connection_closed);
	}
}

static void on_idle(uv_timer_t *timer)
{
	connection_close(timer->data);
}

static bool is_operation(const char *line, size_t len)
{
	return len == 5 && (memcmp(line, "get=1", 5) == 0 || memcmp(line, "set=1", 5) == 0);
}

/* Looks for the end of a request among the bytes not yet looked at. Returns its length, 0 when it
 * is not complete; false in *SANE when this is not the protocol. */
static size_t find_request(struct connection *c, bool *sane)
{
	while (c->scanned < c->in.len) {
		size_t len = c->scanned - c->line_start;

		if (c->in.p[c->scanned++] != '\n') {
			*sane = len < LINE_MAX_LEN;
			if (!*sane)
				return 0;
			continue;
		}
		if (c->line_start == 0) {
			*sane = is_operation(c->in.p, len);
			if (!*sane)
				return 0;
		}
		if (len == 0)
			return c->scanned;
		c->line_start = c->scanned;
	}
	return 0;
}

static void forget_request(struct connection *c, size_t len)
{
	memmove(c->in.p, c->in.p + len, c->in.len - len);
	c->in.len -= len;
	wipe(c->in.p + c->in.len, len);
	c->line_start = c->scanned = 0;
}

/* False when the connection is to be closed. */
static bool send_answer(struct connection *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.p + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
	}
	buffer_free(&c->out);
	c->sent = 0;
	return !c->ending;
}

/* Runs the requests that have come in whole, one answer at a time. */
static bool run_requests(struct connection *c)
{
	while (!c->out.len) {
		bool sane = true;
		size_t len = find_request(c, &sane);

		if (!sane)
			return false;
		if (!len)
			return true;
		run_request(c->control->i, c->in.p, len, &c->out);
		forget_request(c, len);
		interface_kick(c->control->i);
		if (!c->out.len || !send_answer(c))
			return false;
	}
	return true;
}

static bool read_requests(struct connection *c)
{
	for (int k = 0; k < READS_MAX && !c->out.len; k++) {
		ssize_t n;

		if (!buffer_reserve(&c->in, READ_SIZE, REQUEST_MAX))
			return false;
		n = recv(c->fd, c->in.p + c->in.len, c->in.cap - c->in.len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		if (n == 0)
			return false;
		c->in.len += (size_t)n;
		if (!run_requests(c))
			return false;
	}
	return true;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct connection *c = poll->data;
	bool go_on = status >= 0;

	if (go_on && events & UV_WRITABLE)
		go_on = send_answer(c) && run_requests(c);
	if (go_on && events & UV_READABLE)
		go_on = read_requests(c);
	/* Running a request may have ended the interface, and the connection with it. */
	if (uv_is_closing((uv_handle_t *)poll))
		return;
	if (!go_on) {
		connection_close(c);
		return;
	}
	c->active_ns = clock_now();
	uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
	uv_poll_start(poll, c->out.len ? UV_WRITABLE : UV_READABLE, on_connection);
}

/* ---- listening ---- */

/* A place in the table; the client that was silent for longest has to go if there is none. */
static size_t free_place(struct control *control)
{
	size_t oldest = 0;

	for (size_t k = 0; k < CONNECTIONS_MAX; k++) {
		if (!control->connections[k])
			return k;
		if (control->connections[k]->active_ns < control->connections[oldest]->active_ns)
			oldest = k;
	}
	connection_close(control->connections[oldest]);
	return oldest;
}

static void connection_open(struct control *control, int fd)
{
	struct connection *c = calloc(1, sizeof(*c));
	size_t place;

	if (!c || uv_poll_init(control->i->loop, &c->poll, fd)) {
		free(c);
		close(fd);
		return;
	}
	c->control = control;
	c->fd = fd;
	c->poll.data = c->idle.data = c;
	uv_timer_init(control->i->loop, &c->idle);
	c->handles = 2;
	interface_hold(control->i);
	interface_hold(control->i);
	c->active_ns = clock_now();
	place = free_place(control);
	control->connections[place] = c;
	uv_timer_start(&c->idle, on_idle, IDLE_MS, 0);
	uv_poll_start(&c->poll, UV_READABLE, on_connection);
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
	struct control *control = poll->data;
	int fd;

	(void)status;
	(void)events;
	for (int k = 0; k < CONNECTIONS_MAX; k++) {
		enum err e = unix_socket_accept(control->fd, &fd);

		if (!e) {
			connection_open(control, fd);
			continue;
		}
		if (e != ERR_AGAIN) {
			/* Polling on would only ask the same question for ever. */
			log_emit(&control->i->log, LOG_ERROR, "control",
			         "configuration socket given up", strerror(errno));
			uv_poll_stop(poll);
		}
		return;
	}
}

/* Whether the socket file is still the one that we made. */
static bool is_ours(const struct control *control)
{
	struct stat now;

	return control->exists && lstat(control->path, &now) == 0 &&
	       now.st_ino == control->file.st_ino && now.st_dev == control->file.st_dev;
}

static void on_file_changed(uv_fs_event_t *watcher, const char *name, int events, int status)
{
	struct control *control = watcher->data;

	(void)name;
	(void)events;
	(void)status;
	if (!is_ours(control))
		interface_gone(control->i, "its configuration socket was removed");
}

enum err interface_control_open(struct interface *i)
{
	struct control *control;
	enum err e = files_make_dir(DIRECTORY);

	if (e)
		return e;
	control = calloc(1, sizeof(*control));
	if (!control)
		return ERR_NOMEM;
	control->i = i;
	snprintf(control->path, sizeof(control->path), "%s/%s.sock", DIRECTORY, i->name);
	e = unix_socket_listen(control->path, &control->fd);
	if (e) {
		free(control);
		return e;
	}
	control->exists = lstat(control->path, &control->file) == 0;
	i->control = control;
	return ERR_OK;
}

enum err interface_control_start(struct interface *i)
{
	struct control *control = i->control;

	if (!control)
		return ERR_OK;
	control->listener.data = control->watcher.data = control;
	if (uv_poll_init(i->loop, &control->listener, control->fd))
		return ERR_IO;
	interface_hold(i);
	uv_fs_event_init(i->loop, &control->watcher);
	interface_hold(i);
	if (uv_fs_event_start(&control->watcher, on_file_changed, control->path, 0))
		log_emit(&i->log, LOG_WARN, "control",
		         "removing the configuration socket will not end the interface",
		         "reason=inotify");
	return uv_poll_start(&control->listener, UV_READABLE, on_listener) ? ERR_IO : ERR_OK;
}

static void on_closed(uv_handle_t *handle)
{
	struct control *control = handle->data;

	interface_release(control->i);
}

static void close_handle(uv_handle_t *handle)
{
	if (handle->type != UV_UNKNOWN_HANDLE && !uv_is_closing(handle))
		uv_close(handle, on_closed);
}

void interface_control_stop(struct interface *i)
{
	struct control *control = i->control;

	if (!control)
		return;
	for (size_t k = 0; k < CONNECTIONS_MAX; k++)
		if (control->connections[k])
			connection_close(control->connections[k]);
	close_handle((uv_handle_t *)&control->listener);
	close_handle((uv_handle_t *)&control->watcher);
	/* Somebody else may have taken the name since. */
	if (is_ours(control))
		unlink(control->path);
	control->exists = false;
}

void interface_control_free(struct interface *i)
{
	if (!i->control)
		return;
	close(i->control->fd);
	free(i->control);
	i->control = NULL;
}
