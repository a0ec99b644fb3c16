#include "node/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "linux/clock.h"
#include "linux/files.h"
#include "linux/unix_socket.h"

#define CONNECTIONS_MAX 16
#define REQUEST_MAX     4096
#define ANSWER_MAX      (32U << 20)
#define IDLE_MS         5000

struct control_server {
	uv_loop_t *loop;
	uv_poll_t poll;
	int fd;
	char path[FILES_PATH_MAX];
	control_handler handler;
	void *ctx;
	unsigned connections; /* they hold the server in memory */
	bool closing, polling;
};

struct connection {
	struct control_server *server;
	uv_pipe_t pipe;
	uv_timer_t timer;
	uv_write_t write;
	unsigned handles;
	char request[REQUEST_MAX];
	size_t len;
	char *answer;
};

static enum err socket_path(const char *interface_name, char *out, size_t cap)
{
	char dir[FILES_PATH_MAX];
	struct stat ns;
	enum err e = files_runtime_dir(dir, sizeof(dir));

	if (e)
		return e;
	if (stat("/proc/self/ns/net", &ns))
		return ERR_IO;
	if ((size_t)snprintf(out, cap, "%s/%s-%lu.sock", dir, interface_name,
	                     (unsigned long)ns.st_ino) >= cap)
		return ERR_TRUNCATED;
	return ERR_OK;
}

/* ---- the daemon's side ---- */

static void server_release(struct control_server *s)
{
	if (s->closing && !s->connections && !s->polling)
		free(s);
}

static void on_handle_closed(uv_handle_t *h)
{
	struct connection *c = h->data;
	struct control_server *s = c->server;

	if (--c->handles)
		return;
	free(c->answer);
	free(c);
	s->connections--;
	server_release(s);
}

static void connection_close(struct connection *c)
{
	if (uv_is_closing((uv_handle_t *)&c->pipe))
		return;
	uv_close((uv_handle_t *)&c->pipe, on_handle_closed);
	uv_close((uv_handle_t *)&c->timer, on_handle_closed);
}

static void on_idle(uv_timer_t *t)
{
	connection_close(t->data);
}

static void on_written(uv_write_t *w, int status)
{
	(void)status;
	connection_close(w->data);
}

static void answer(struct connection *c)
{
	json_t *request = json_loadb(c->request, c->len, JSON_REJECT_DUPLICATES, NULL);
	json_t *reply;
	uv_buf_t buf;

	if (json_is_object(request))
		reply = c->server->handler(c->server->ctx, request);
	else
		reply = json_pack("{s:s}", "error", "not a JSON object");
	json_decref(request);
	c->answer = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	if (!c->answer) {
		connection_close(c);
		return;
	}
	buf = uv_buf_init(c->answer, (unsigned)strlen(c->answer));
	c->write.data = c;
	if (uv_write(&c->write, (uv_stream_t *)&c->pipe, &buf, 1, on_written))
		connection_close(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct connection *c = h->data;

	(void)suggested;
	*buf = uv_buf_init(c->request + c->len, (unsigned)(sizeof(c->request) - c->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct connection *c = stream->data;

	(void)buf;
	if (n < 0) {
		connection_close(c);
		return;
	}
	c->len += (size_t)n;
	if (memchr(c->request, '\n', c->len)) {
		uv_read_stop(stream);
		answer(c);
	} else if (c->len == sizeof(c->request)) {
		connection_close(c);
	}
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
	struct control_server *s = poll->data;
	struct connection *c;
	int fd;

	(void)status;
	(void)events;
	if (unix_socket_accept(s->fd, &fd))
		return;
	c = s->connections < CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->server = s;
	s->connections++;
	uv_pipe_init(s->loop, &c->pipe, 0);
	uv_timer_init(s->loop, &c->timer);
	c->pipe.data = c->timer.data = c;
	c->handles = 2;
	if (uv_pipe_open(&c->pipe, fd)) {
		close(fd);
		connection_close(c);
		return;
	}
	uv_timer_start(&c->timer, on_idle, IDLE_MS, 0);
	uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
}

enum err control_listen(uv_loop_t *loop, const char *interface_name, control_handler handler,
                        void *ctx, struct control_server **out)
{
	struct control_server *s = calloc(1, sizeof(*s));
	enum err e;

	if (!s)
		return ERR_NOMEM;
	s->loop = loop;
	s->handler = handler;
	s->ctx = ctx;
	e = socket_path(interface_name, s->path, sizeof(s->path));
	if (!e)
		e = unix_socket_listen(s->path, &s->fd);
	if (e) {
		free(s);
		return e;
	}
	uv_poll_init(loop, &s->poll, s->fd);
	s->poll.data = s;
	s->polling = true;
	uv_poll_start(&s->poll, UV_READABLE, on_connection);
	*out = s;
	return ERR_OK;
}

static void on_poll_closed(uv_handle_t *h)
{
	struct control_server *s = h->data;

	close(s->fd);
	s->polling = false;
	server_release(s);
}

void control_close(struct control_server *s)
{
	if (!s)
		return;
	s->closing = true;
	unlink(s->path);
	uv_close((uv_handle_t *)&s->poll, on_poll_closed);
}

/* ---- the client's side ---- */

static enum err send_all(int fd, const char *p, size_t n)
{
	while (n) {
		ssize_t sent = write(fd, p, n);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return ERR_IO;
		p += sent;
		n -= (size_t)sent;
	}
	return ERR_OK;
}

static enum err receive_all(int fd, char **out, size_t *len)
{
	uint64_t end = clock_now() + 10 * NS_PER_S;
	size_t cap = 0, n = 0;
	char *buf = NULL;

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		uint64_t now = clock_now();
		ssize_t got;

		if (cap - n < 4096) {
			char *grown = cap < ANSWER_MAX ? realloc(buf, cap + 65536) : NULL;

			if (!grown)
				break;
			buf = grown;
			cap += 65536;
		}
		if (now >= end || poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) == 0)
			break;
		got = read(fd, buf + n, cap - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			*out = buf;
			*len = n;
			return got == 0 ? ERR_OK : ERR_IO;
		}
		n += (size_t)got;
	}
	free(buf);
	*out = NULL;
	return ERR_TIMEOUT;
}

enum err control_ask(const char *interface_name, const json_t *request, json_t **answer_out)
{
	char path[FILES_PATH_MAX];
	char *text = NULL, *line;
	size_t len = 0;
	int fd;
	enum err e = socket_path(interface_name, path, sizeof(path));

	if (!e)
		e = unix_socket_connect(path, &fd);
	if (e)
		return e == ERR_NOT_FOUND || e == ERR_IO ? ERR_NOT_FOUND : e;
	line = json_dumps(request, JSON_COMPACT);
	e = line ? send_all(fd, line, strlen(line)) : ERR_NOMEM;
	if (!e)
		e = send_all(fd, "\n", 1);
	if (!e)
		e = receive_all(fd, &text, &len);
	close(fd);
	free(line);
	if (!e) {
		*answer_out = json_loadb(text ? text : "", len, 0, NULL);
		e = json_is_object(*answer_out) ? ERR_OK : ERR_IO;
		if (e) {
			json_decref(*answer_out);
			*answer_out = NULL;
		}
	}
	free(text);
	return e;
}
