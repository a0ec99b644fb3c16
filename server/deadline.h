/* Timeouts of many things by one timer of the loop. All timeouts of a class are equally long, so
 * that each class is a list in order of time: setting, clearing and finding the oldest cost a few
 * pointers, however many there are. */
#ifndef SERVER_DEADLINE_H
#define SERVER_DEADLINE_H

#include <uv.h>

#include "base/mem.h"

enum deadline_class {
	DEADLINE_NONE,
	DEADLINE_HANDSHAKE, /* TLS, and the first bytes that tell the protocol */
	DEADLINE_IDLE,      /* no request */
	DEADLINE_REQUEST,   /* a request that comes in */
	DEADLINE_WRITE,     /* an answer that goes out */
	DEADLINE_LINGER,    /* for the other side's end */
	DEADLINE_STREAM_REQUEST, /* the same of one stream among many */
	DEADLINE_STREAM_WRITE,
	DEADLINE_CLASSES
};

/* Belongs to the caller; all zero is one that is not set. */
struct deadline {
	struct deadline *prev, *next; /* within its class, the sooner first */
	uint64_t at_ms;               /* by uv_now */
	/* It passed as one of CLASS, and is not set any more. */
	void (*passed)(struct deadline *d, enum deadline_class class);
	enum deadline_class class;
};

struct deadlines {
	uv_timer_t timer;
	uint64_t timer_at_ms; /* UINT64_MAX: the timer does not run */
	struct {
		struct deadline *first, *last;
		uint64_t ms;
	} class[DEADLINE_CLASSES];
};

/* MS: how long those of each class are. */
void deadlines_init(struct deadlines *all, uv_loop_t *loop, const uint64_t ms[DEADLINE_CLASSES]);
/* Closes the loop's timer; CLOSED may be NULL, and finds ALL in the handle's data. */
void deadlines_close(struct deadlines *all, uv_close_cb closed);
/* Moves D to CLASS, beginning now. DEADLINE_NONE clears it. */
void deadline_set(struct deadlines *all, struct deadline *d, enum deadline_class class);
/* The one of CLASS that waits longest; NULL when there is none. */
struct deadline *deadline_oldest(const struct deadlines *all, enum deadline_class class);

#endif
