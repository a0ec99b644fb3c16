/* The envelopes in which a unary call may come: Connect, over POST or GET; gRPC; gRPC-Web, plain or
 * as base64 text. Here they are told apart and opened; reply.h closes the answer's. Nothing here
 * knows connections. */
#ifndef SERVER_ENVELOPE_H
#define SERVER_ENVELOPE_H

#include "base/time.h"
#include "rpc/methods.h"
#include "rpc/status.h"
#include "server/codec.h"
#include "server/web.h"

enum protocol { PROTOCOL_CONNECT, PROTOCOL_GRPC, PROTOCOL_GRPC_WEB, PROTOCOL_GRPC_WEB_TEXT };

struct envelope {
	enum protocol protocol;
	enum codec codec;
	const char *content_type; /* of the answer; static */
};

/* Why a call was not let in. */
struct refusal {
	enum status code;
	unsigned http;        /* Connect's HTTP status, 0: the code's own */
	struct header header; /* one more; static text */
	struct codec_error why;
};

/* Every content type that is understood, as accept-post lists them. */
extern const char envelope_types[];

/* Whether Q is a Connect call over GET: it has the parameters that make it one. */
bool envelope_is_get(const struct http_request *q);

/* Tells the protocol by the content type, or by the GET parameters. False when it is none of ours;
 * *ENV then is Connect's, which every error can be told in. */
bool envelope_find(const struct http_request *q, struct envelope *env);

/* When the client gives up, by the protocol's own header; TIME_NEVER if it does not say. False when
 * the header makes no sense. */
bool envelope_deadline(const struct http_request *q, const struct envelope *env, uint64_t now,
                       uint64_t *deadline);

/* Takes the message out of Q: out of its query or its frame, decoded and decompressed. *MESSAGE
 * points into Q or into STORAGE, which the caller frees in every case. False with *WHY. */
bool envelope_open(const struct http_request *q, const struct envelope *env,
                   struct buffer *storage, struct span *message, struct refusal *why);

/* Sets *WHY and returns false, for `return refuse(…)`. TEXT is cut to what fits. */
bool refuse(struct refusal *why, enum status code, const char *text);

#endif
