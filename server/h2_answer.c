#include "server/h2_answer.h"

#include <stdlib.h>
#include <string.h>

struct h2_answer {
	size_t body_len, at;
	size_t n_trailers;
	nghttp2_nv trailers[RESPONSE_HEADERS_MAX];
	uint8_t bytes[]; /* the body and the trailers' texts */
};

nghttp2_nv h2_nv(const char *name, const char *value)
{
	/* nghttp2 reads both, but its type does not say so. */
	union { const char *in; uint8_t *out; } n = { name }, v = { value };

	return (nghttp2_nv){ n.out, v.out, strlen(name), strlen(value), NGHTTP2_NV_FLAG_NONE };
}

static size_t count(const struct header *list)
{
	size_t n = 0;

	while (n < RESPONSE_HEADERS_MAX && list[n].name)
		n++;
	return n;
}

/* Writes V and a NUL so that they end at END; returns where it begins. */
static char *decimal(size_t v, char *end)
{
	*--end = '\0';
	do
		*--end = (char)('0' + v % 10);
	while (v /= 10);
	return end;
}

size_t h2_answer_head(const struct response *r, bool without_body, const char *date,
                      char numbers[H2_NUMBERS_MAX], nghttp2_nv list[H2_HEADERS_MAX])
{
	size_t n = 0, n_headers = count(r->headers), n_trailers = count(r->trailers);
	char *status = decimal(r->status, numbers + H2_NUMBERS_MAX);

	list[n++] = h2_nv(":status", status);
	list[n++] = h2_nv("date", date);
	if (r->content_type)
		list[n++] = h2_nv("content-type", r->content_type);
	if (!n_trailers)
		list[n++] = h2_nv("content-length", decimal(r->body_len, status));
	for (size_t i = 0; i < n_headers; i++)
		list[n++] = h2_nv(r->headers[i].name, r->headers[i].value);
	for (size_t i = 0; without_body && i < n_trailers; i++)
		list[n++] = h2_nv(r->trailers[i].name, r->trailers[i].value);
	return n;
}

static uint8_t *put(uint8_t **at, const char *text)
{
	uint8_t *start = *at;
	size_t n = strlen(text) + 1;

	memcpy(start, text, n);
	*at += n;
	return start;
}

struct h2_answer *h2_answer_new(const struct response *r)
{
	size_t n = count(r->trailers), room = r->body_len;
	struct h2_answer *a;
	uint8_t *at;

	for (size_t i = 0; i < n; i++)
		room += strlen(r->trailers[i].name) + strlen(r->trailers[i].value) + 2;
	a = malloc(sizeof(*a) + room);
	if (!a)
		return NULL;
	a->body_len = r->body_len;
	a->at = 0;
	a->n_trailers = n;
	if (r->body_len)
		memcpy(a->bytes, r->body, r->body_len);
	at = a->bytes + r->body_len;
	for (size_t i = 0; i < n; i++)
		a->trailers[i] = (nghttp2_nv){
			.name = put(&at, r->trailers[i].name),
			.value = put(&at, r->trailers[i].value),
			.namelen = strlen(r->trailers[i].name),
			.valuelen = strlen(r->trailers[i].value) };
	return a;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 chose the parameters */
ssize_t h2_answer_read(nghttp2_session *session, int32_t id, uint8_t *dst, size_t cap,
                       uint32_t *flags, nghttp2_data_source *source, void *user)
{
	struct h2_answer *a = source->ptr;
	size_t n = a->body_len - a->at < cap ? a->body_len - a->at : cap;

	(void)user;
	memcpy(dst, a->bytes + a->at, n);
	a->at += n;
	if (a->at < a->body_len)
		return (ssize_t)n;
	*flags |= NGHTTP2_DATA_FLAG_EOF;
	if (a->n_trailers) {
		*flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(session, id, a->trailers, a->n_trailers))
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)n;
}
