/* The answer to a call, closed into the envelope that the call came in. */
#ifndef SERVER_REPLY_H
#define SERVER_REPLY_H

#include "server/envelope.h"

struct reply {
	enum status code;
	unsigned http;          /* Connect's HTTP status of an error, 0: the code's own */
	struct header header;   /* one more; static text */
	uint32_t retry_after_s; /* 0: not said */
	struct buffer text;     /* of an error: what is wrong, as UTF-8 */
	struct buffer body;
	/* What the response points to. */
	char status_text[8], retry_text[16];
	struct buffer quoted;
};

/* R becomes the message *MESSAGE of type DESC. */
void reply_message(struct reply *r, const struct envelope *env, const pb_msgdesc_t *desc,
                   const void *message);
/* R becomes an error. TEXT may hold what clients sent: what is not UTF-8 in it is replaced. */
void reply_error(struct reply *r, enum status code, const char *text);
void reply_refusal(struct reply *r, const struct refusal *why);

/* Fills *OUT, which points into R, for web_respond. Once. Out of memory, it is a bare 503. */
void reply_close(struct reply *r, const struct envelope *env, struct response *out);
/* Wipes, for there may be tokens in it, and frees. */
void reply_free(struct reply *r);

#endif
