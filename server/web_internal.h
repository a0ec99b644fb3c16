/* What the files of the transport share: web.c accepts, conn.c moves bytes, h1.c and h2.c speak
 * HTTP over what conn.c moves. */
#ifndef SERVER_WEB_INTERNAL_H
#define SERVER_WEB_INTERNAL_H

#include "server/deadline.h"
#include "server/sources.h"
#include "server/tls.h"
#include "server/web.h"

#define WEB_LISTENERS_MAX 4
#define CONN_READ_MAX     65536
/* RFC 9113 section 3.4. */
#define H2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define H2_PREFACE_LEN 24

struct conn;

/* A version of HTTP. Each function may close the connection; only CLOSED and FREE are called when
 * it is closed. */
struct protocol {
	/* False: out of memory. */
	bool (*open)(struct conn *c);
	void (*input)(struct conn *c, const char *p, size_t n);
	/* What conn_write could not send at once is out. */
	void (*drained)(struct conn *c);
	/* The turn that conn_later asked for. */
	void (*turn)(struct conn *c);
	/* The client will send no more. */
	void (*ended)(struct conn *c);
	/* The connection's deadline passed; it is none of those that conn.c sets itself. */
	void (*late)(struct conn *c);
	/* No new requests are to be taken; what is under way finishes. */
	void (*stop)(struct conn *c);
	void (*closed)(struct conn *c);
	void (*free)(struct conn *c);
	void (*wait)(struct exchange *x);
	/* R's body may only be NULL when there is none. */
	void (*respond)(struct exchange *x, const struct response *r);
};

extern const struct protocol h1_protocol, h2_protocol;

struct exchange {
	struct conn *conn;
	void *call; /* the host's name for it while it waits */
};

enum conn_state {
	CONN_OPEN,
	CONN_ENDING,    /* what is queued goes out, then our side is shut */
	CONN_LINGERING, /* our side is shut; the client's rest is read and dropped, because closing
	                 * with unread data would reset the connection and our answer with it */
	CONN_CLOSED
};

struct conn {
	uv_poll_t poll;
	int fd;
	struct web *web;
	struct conn *prev, *next;             /* all of the web's */
	struct conn *prev_later, *next_later; /* those that wait for their turn */
	struct source *source; /* NULL: exempt */
	struct ip_addr peer;
	enum conn_state state;
	bool later;
	bool established; /* TLS */
	bool eof;     /* the client will send no more */
	bool paused;  /* nothing is read */
	int events;   /* that POLL waits for */
	uint8_t hello_len;
	char hello[H2_PREFACE_LEN]; /* what came before the protocol was known */
	struct tls *tls;            /* NULL: plain */
	const struct protocol *protocol; /* NULL: not known yet */
	void *session;                   /* the protocol's */
	struct deadline deadline;
	struct buffer out; /* what the socket did not take yet, the first SENT bytes gone */
	size_t sent;
};

struct listener {
	uv_poll_t poll;
	int fd;
	struct web *web;
};

struct web {
	uv_loop_t *loop;
	struct web_host host;
	struct listener listeners[WEB_LISTENERS_MAX];
	size_t n_listeners;
	struct tls_context *tls;
	struct deadlines deadlines;
	uv_idle_t turn;      /* gives connections their turn */
	uv_timer_t accept_again;
	bool stopping; /* nothing new is taken */
	bool finished; /* our handles are closed */
	size_t max, open, n; /* N: those whose memory is not yet gone as well */
	size_t n_streams; /* of HTTP/2 */
	size_t share;
	struct edge proxies;
	struct sources sources;
	struct conn *conns;
	struct conn *later;
	struct web_counts counts;
	char read_buf[CONN_READ_MAX];
	char plain_buf[TLS_PLAIN_MAX]; /* what TLS made of it */
	struct buffer scratch;         /* where answers are put together */
	struct buffer frames;          /* and what HTTP/2 sends at a time */
	struct buffer spare;           /* an OUT for the next connection that needs one */
	time_t date_of;
	char date[48];
};

/* --- web.c ---------------------------------------------------------------------------------- */

/* For the Date header. */
const char *web_date(struct web *w);
/* An empty buffer to put an answer together in, good until the next call. */
struct buffer *web_scratch(struct web *w);
/* Whether there is room for one more connection of SOURCE, which counts it already, or could be
 * made. */
bool web_make_room(struct web *w, const struct source *source);
/* C is off the list and its memory is gone. */
void web_conn_gone(struct web *w, struct conn *c);

/* --- conn.c --------------------------------------------------------------------------------- */

/* Takes the connected, non-blocking socket FD over; SOURCE is counted down in the end. NULL: out
 * of memory, FD is closed. */
struct conn *conn_new(struct web *w, int fd, const struct ip_addr *peer, struct source *source);
/* Sends N bytes or queues what the socket does not take. C may be closed afterwards. */
void conn_write(struct conn *c, const char *p, size_t n);
/* Whether something is queued: DRAINED will come. */
bool conn_blocked(const struct conn *c);
/* Asks for a TURN within this turn of the loop, before it sleeps. */
void conn_later(struct conn *c);
/* Gives them. HANDLE's data is the web. */
void conn_turns(uv_idle_t *handle);
void conn_pause(struct conn *c, bool paused);
void conn_deadline(struct conn *c, enum deadline_class class);
/* Shuts our side once all is out, and closes when the client has done so as well. */
void conn_end(struct conn *c);
/* Closes now. What the host waits for is given up. */
void conn_close(struct conn *c);
/* Whether it serves nothing, and may be closed to make room. */
bool conn_idle(const struct conn *c);

#endif
