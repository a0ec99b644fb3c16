/* An answer as HTTP/2 sends it: its headers, and what has to be kept until it is sent. */
#ifndef SERVER_H2_ANSWER_H
#define SERVER_H2_ANSWER_H

#include <nghttp2/nghttp2.h>

#include "server/web.h"

#define H2_HEADERS_MAX (4 + 2 * RESPONSE_HEADERS_MAX)
#define H2_NUMBERS_MAX 48

/* Body and trailers. */
struct h2_answer;

/* A header that borrows both texts until nghttp2 has copied it. */
nghttp2_nv h2_nv(const char *name, const char *value);
/* Writes R's headers into LIST and returns how many there are. WITHOUT_BODY: its trailers are among
 * them (gRPC's "Trailers-Only"). They borrow from R, DATE and NUMBERS, which it fills. */
size_t h2_answer_head(const struct response *r, bool without_body, const char *date,
                      char numbers[H2_NUMBERS_MAX], nghttp2_nv list[H2_HEADERS_MAX]);
/* Copies R's body and trailers, to be freed with free(). NULL: out of memory. */
struct h2_answer *h2_answer_new(const struct response *r);
/* nghttp2 wants more of the body; SOURCE is the answer. Behind its end come the trailers. */
ssize_t h2_answer_read(nghttp2_session *session, int32_t id, uint8_t *dst, size_t cap,
                       uint32_t *flags, nghttp2_data_source *source, void *user);

#endif
