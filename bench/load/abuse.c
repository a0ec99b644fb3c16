/* Clients that no server wants: slow ones, ones that vanish, that send too much or nonsense, and a
 * great many that come and go. What they are told is read and counted, not judged. */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_NS    (10 * NS_PER_MS)
#define AGAIN_NS   (100 * NS_PER_MS) /* who was thrown out comes back after this */
#define EVENTS_MAX 512
#define JUNK_LEN   65536

enum foe_kind {
	FOE_SLOW,    /* a byte of a header every half second */
	FOE_SILENT,  /* half a request, and then nothing */
	FOE_VANISH,  /* half a request, and then gone without a FIN: half-open */
	FOE_BIG,     /* heads, targets and bodies without end */
	FOE_GARBAGE, /* noise; many good requests at once and then noise */
	FOE_CHURN,   /* comes, sometimes asks something, and goes */
	FOE_KINDS
};

static const char *const foe_names[FOE_KINDS] = { "slow", "silent", "vanish", "big", "garbage",
                                                  "churn" };
static const unsigned foe_count[FOE_KINDS] = {
	[FOE_SLOW] = 1000, [FOE_SILENT] = 300, [FOE_VANISH] = 300,
	[FOE_BIG] = 16,    [FOE_GARBAGE] = 16, [FOE_CHURN] = 256,
};

struct foe {
	enum foe_kind kind;
	int fd;
	bool connected;
	bool gone;     /* for good */
	unsigned id, step;
	uint64_t next; /* when it opens, or sends, again */
};

struct abuse {
	const struct options *o;
	int epoll;
	struct foe *foes;
	unsigned n;
	unsigned churned, opened[FOE_KINDS], shut[FOE_KINDS], answers[6];
	uint64_t start;
	char junk[JUNK_LEN];
};

static void foe_close(struct foe *f, uint64_t next)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	f->connected = false;
	f->next = next;
}

static void foe_open(struct abuse *a, struct foe *f)
{
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT, .data.ptr = f };
	struct sockaddr_in from = source_address(f->id, a->o->client.sources);
	int on = 1;

	f->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		return;
	(void)setsockopt(f->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if ((a->o->client.sources > 1 &&
	     bind(f->fd, (const struct sockaddr *)&from, sizeof(from))) ||
	    (connect(f->fd, (const struct sockaddr *)&a->o->client.to, sizeof(from)) &&
	     errno != EINPROGRESS) ||
	    epoll_ctl(a->epoll, EPOLL_CTL_ADD, f->fd, &e)) {
		foe_close(f, now_ns() + NS_PER_S);
		return;
	}
	f->step = 0;
	a->opened[f->kind]++;
	a->churned += f->kind == FOE_CHURN;
}

/* As much of it as the socket takes; the rest is not missed. */
static void throw(const struct foe *f, const char *p, size_t n)
{
	(void)send(f->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void throw_text(const struct foe *f, const char *text)
{
	throw(f, text, strlen(text));
}

static void vanish(struct foe *f)
{
	int on = 1;

	/* A socket in repair mode is closed without a word to the other side. Where that is not
	 * allowed, silence has to do. */
	if (setsockopt(f->fd, IPPROTO_TCP, TCP_REPAIR, &on, sizeof(on)) == 0) {
		foe_close(f, UINT64_MAX);
		f->gone = true;
	}
}

static void churn(struct foe *f, uint64_t now)
{
	struct linger reset = { 1, 0 };

	/* Half of them ask and wait for the answer; of the others, every second resets. */
	if (f->id % 2) {
		throw_text(f, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
		return;
	}
	if (f->id % 4 == 0)
		(void)setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	foe_close(f, now);
}

#define RPC_HEAD \
	"POST /coral.discovery.v1.DiscoveryService/RegisterAgent HTTP/1.1\r\n" \
	"Host: x\r\nContent-Type: application/json\r\n"

static void on_connected(struct abuse *a, struct foe *f)
{
	static const char *const big[] = {
		RPC_HEAD "Content-Length: 1000000000\r\n\r\n", /* a body that never ends */
		RPC_HEAD "X-Much: ",                           /* a header that never ends */
		"GET /",                                       /* a target that never ends */
		RPC_HEAD "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
	};
	uint64_t now = now_ns();

	f->connected = true;
	f->next = now;
	switch (f->kind) {
	case FOE_SLOW:
		throw_text(f, RPC_HEAD "X-Slow: ");
		break;
	case FOE_SILENT:
	case FOE_VANISH:
		throw_text(f, RPC_HEAD "Content-Length: 200\r\n\r\n{\"agentId\":\"");
		f->next = now + NS_PER_S;
		break;
	case FOE_BIG:
		throw_text(f, big[f->id % 4]);
		break;
	case FOE_GARBAGE:
		for (unsigned i = 0; i < 200 && f->id % 2; i++)
			throw_text(f, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
		throw(f, a->junk, JUNK_LEN / 4);
		break;
	case FOE_CHURN:
		churn(f, now);
		break;
	case FOE_KINDS:
		break;
	}
}

/* What an open connection does from time to time. */
static void act(struct abuse *a, struct foe *f, uint64_t now)
{
	if (f->kind == FOE_SLOW) {
		throw(f, "a", 1);
		f->next = now + NS_PER_S / 2;
	} else if (f->kind == FOE_VANISH) {
		vanish(f);
		f->next = UINT64_MAX;
	} else if (f->kind == FOE_BIG) {
		/* Printable, so that it is too long before it is malformed. */
		memset(a->junk, 'a', 8192);
		throw(f, a->junk, 8192);
		f->next = now + TICK_NS;
	} else {
		f->next = UINT64_MAX;
	}
}

static void on_readable(struct abuse *a, struct foe *f)
{
	char in[8192];
	ssize_t n = recv(f->fd, in, sizeof(in), MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 12 && memcmp(in, "HTTP/1.1 ", 9) == 0 && in[9] >= '1' && in[9] <= '5')
		a->answers[in[9] - '0']++;
	if (n > 0 && f->kind != FOE_CHURN)
		return;
	a->shut[f->kind] += n <= 0;
	foe_close(f, now_ns() + (f->kind == FOE_CHURN ? 0 : AGAIN_NS));
}

static void on_event(struct abuse *a, struct foe *f)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = f };
	int error = 0;
	socklen_t len = sizeof(error);

	if (f->fd < 0)
		return;
	if (f->connected) {
		on_readable(a, f);
	} else if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &error, &len) || error ||
	           epoll_ctl(a->epoll, EPOLL_CTL_MOD, f->fd, &e)) {
		a->shut[f->kind]++;
		foe_close(f, now_ns() + AGAIN_NS);
	} else {
		on_connected(a, f);
	}
}

/* Churn is paced: all of it over the whole time. */
static bool may_open(const struct abuse *a, const struct foe *f, uint64_t now)
{
	double share = (double)(now - a->start) / 1e9 / a->o->seconds;

	if (f->gone)
		return false;
	return f->kind != FOE_CHURN || (a->churned < share * a->o->requests &&
	                                a->churned < a->o->requests);
}

static void tick(struct abuse *a)
{
	uint64_t now = now_ns();

	for (unsigned i = 0; i < a->n; i++) {
		struct foe *f = &a->foes[i];

		if (f->next > now)
			continue;
		if (f->connected)
			act(a, f, now);
		else if (f->fd < 0 && may_open(a, f, now))
			foe_open(a, f);
	}
}

static void run(struct abuse *a)
{
	struct epoll_event events[EVENTS_MAX];
	uint64_t end, next;

	a->start = next = now_ns();
	end = a->start + (uint64_t)(a->o->seconds * 1e9);
	while (now_ns() < end) {
		uint64_t now = now_ns();
		struct timespec wait = { 0, next > now ? (long)(next - now) : 0 };
		int n = epoll_pwait2(a->epoll, events, EVENTS_MAX, &wait, NULL);

		for (int i = 0; i < n; i++)
			on_event(a, events[i].data.ptr);
		if (now_ns() < next)
			continue;
		tick(a);
		next = now_ns() + TICK_NS;
	}
}

static void print(const struct abuse *a)
{
	printf("{\"churned\":%u", a->churned);
	for (unsigned i = 0; i < FOE_KINDS; i++)
		printf(",\"%s_opened\":%u,\"%s_shut\":%u", foe_names[i],
		       a->opened[i], foe_names[i], a->shut[i]);
	printf(",\"answers_2xx\":%u,\"answers_4xx\":%u,\"answers_5xx\":%u}\n", a->answers[2],
	       a->answers[4], a->answers[5]);
}

static void muster(struct abuse *a)
{
	for (unsigned k = 0; k < FOE_KINDS; k++) {
		for (unsigned i = 0; strstr(a->o->foes, foe_names[k]) && i < foe_count[k]; i++) {
			a->foes[a->n] = (struct foe){ .kind = (enum foe_kind)k, .fd = -1,
			                              .id = a->n };
			a->n++;
		}
	}
}

/* The same noise in every run: xorshift32. */
static void make_junk(struct abuse *a)
{
	uint32_t x = 0x9e3779b9U;

	for (size_t i = 0; i < sizeof(a->junk); i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		a->junk[i] = (char)x;
	}
}

int abuse(const struct options *o)
{
	struct abuse *a = calloc(1, sizeof(*a));
	unsigned most = 0;

	if (!a)
		return failed("out of memory");
	a->o = o;
	a->epoll = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned k = 0; k < FOE_KINDS; k++)
		most += foe_count[k];
	a->foes = calloc(most, sizeof(*a->foes));
	make_junk(a);
	if (a->foes && a->epoll >= 0) {
		muster(a);
		run(a);
		print(a);
	}
	for (unsigned i = 0; a->foes && i < a->n; i++)
		foe_close(&a->foes[i], 0);
	if (a->epoll >= 0)
		close(a->epoll);
	free(a->foes);
	free(a);
	return DONE;
}
