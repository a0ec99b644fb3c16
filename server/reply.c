#include "server/reply.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "server/protojson.h"

#define FRAME_HEAD 5
#define FLAG_TRAILERS 0x80 /* gRPC-Web: the frame holds the trailers */

static bool is_framed(const struct envelope *env)
{
	return env->protocol != PROTOCOL_CONNECT;
}

/* Begins a frame; returns where. */
static size_t frame_open(struct buffer *b, uint8_t flags)
{
	const uint8_t head[FRAME_HEAD] = { flags };
	size_t at = b->len;

	buffer_add(b, head, sizeof(head));
	return at;
}

static void frame_close(struct buffer *b, size_t at)
{
	if (!b->failed)
		store_be32((uint8_t *)b->p + at + 1, (uint32_t)(b->len - at - FRAME_HEAD));
}

static void drop_body(struct reply *r)
{
	if (r->body.p)
		wipe(r->body.p, r->body.cap);
	buffer_free(&r->body);
}

void reply_message(struct reply *r, const struct envelope *env, const pb_msgdesc_t *desc,
                   const void *message)
{
	size_t at;

	r->code = STATUS_OK;
	if (!is_framed(env)) {
		codec_write(env->codec, &r->body, desc, message);
		return;
	}
	at = frame_open(&r->body, 0);
	codec_write(env->codec, &r->body, desc, message);
	frame_close(&r->body, at);
}

void reply_error(struct reply *r, enum status code, const char *text)
{
	size_t left = strlen(text), n;

	r->code = code;
	drop_body(r);
	buffer_free(&r->text);
	for (const char *p = text; left; p += n, left -= n) {
		n = utf8_length(p, left);
		if (n) {
			buffer_add(&r->text, p, n);
		} else {
			buffer_ch(&r->text, '?');
			n = 1;
		}
	}
	buffer_ch(&r->text, '\0');
}

void reply_refusal(struct reply *r, const struct refusal *why)
{
	reply_error(r, why->code, why->why.text);
	r->http = why->http;
	r->header = why->header;
}

/* gRPC over HTTP/2, "Percent-Encoded". */
static void percent_encode(struct buffer *out, const char *s)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x20 && c <= 0x7e && c != '%') {
			buffer_ch(out, *s);
			continue;
		}
		buffer_ch(out, '%');
		buffer_ch(out, hex[c >> 4]);
		buffer_ch(out, hex[c & 15]);
	}
}

static size_t count(const struct header *h)
{
	size_t n = 0;

	while (n < RESPONSE_HEADERS_MAX && h[n].name)
		n++;
	return n;
}

static void add_header(struct header *h, const char *name, const char *value)
{
	size_t n = count(h);

	INVARIANT(n < RESPONSE_HEADERS_MAX);
	h[n] = (struct header){ name, value };
}

static void close_connect(struct reply *r, const struct envelope *env, struct response *out)
{
	if (r->code == STATUS_OK) {
		out->status = 200;
		out->content_type = env->content_type;
		return;
	}
	out->status = r->http ? r->http : status_http(r->code);
	out->content_type = "application/json";
	buffer_str(&r->body, "{\"code\":");
	protojson_quote(&r->body, status_name(r->code));
	buffer_str(&r->body, ",\"message\":");
	protojson_quote(&r->body, r->text.failed ? "" : r->text.p);
	buffer_ch(&r->body, '}');
}

static void grpc_trailers(struct reply *r, struct header *trailers)
{
	snprintf(r->status_text, sizeof(r->status_text), "%d", (int)r->code);
	add_header(trailers, "grpc-status", r->status_text);
	if (r->code == STATUS_OK)
		return;
	if (!r->text.failed) {
		percent_encode(&r->quoted, r->text.p);
		buffer_ch(&r->quoted, '\0');
		add_header(trailers, "grpc-message", r->quoted.failed ? "" : r->quoted.p);
	}
	if (r->retry_after_s)
		add_header(trailers, "retry-after", r->retry_text);
}

static void to_base64(struct buffer *body)
{
	struct buffer text = { 0 };
	struct text t;

	if (buffer_reserve(&text, BASE64_LEN(body->len) + 1)) {
		t = text_in(text.p, text.cap);
		text_base64(&t, body->p, body->len);
		text.len = t.len;
	}
	text.failed |= body->failed;
	buffer_free(body);
	*body = text;
}

/* gRPC-Web has its trailers in the body, in a frame of their own. */
static void close_web(struct reply *r, const struct envelope *env)
{
	struct header trailers[RESPONSE_HEADERS_MAX] = { { NULL, NULL } };
	size_t at = frame_open(&r->body, FLAG_TRAILERS);

	grpc_trailers(r, trailers);
	for (size_t i = 0; i < count(trailers); i++) {
		buffer_str(&r->body, trailers[i].name);
		buffer_str(&r->body, ": ");
		buffer_str(&r->body, trailers[i].value);
		buffer_str(&r->body, "\r\n");
	}
	frame_close(&r->body, at);
	if (env->protocol == PROTOCOL_GRPC_WEB_TEXT)
		to_base64(&r->body);
}

void reply_close(struct reply *r, const struct envelope *env, struct response *out)
{
	*out = (struct response){ .status = 200, .content_type = env->content_type };
	if (r->header.name)
		add_header(out->headers, r->header.name, r->header.value);
	snprintf(r->retry_text, sizeof(r->retry_text), "%u", (unsigned)r->retry_after_s);
	/* gRPC's errors are one block of headers, which the trailers are part of. */
	if (r->retry_after_s && env->protocol != PROTOCOL_GRPC)
		add_header(out->headers, "retry-after", r->retry_text);
	if (env->protocol == PROTOCOL_CONNECT)
		close_connect(r, env, out);
	else if (env->protocol == PROTOCOL_GRPC)
		grpc_trailers(r, out->trailers);
	else
		close_web(r, env);
	if (r->body.failed || r->text.failed || r->quoted.failed) {
		*out = (struct response){ .status = 503, .close = true };
		return;
	}
	/* An error of gRPC's has trailers only. */
	if (env->protocol == PROTOCOL_GRPC && r->code != STATUS_OK)
		return;
	out->body = r->body.p ? r->body.p : "";
	out->body_len = r->body.len;
}

void reply_free(struct reply *r)
{
	drop_body(r);
	buffer_free(&r->text);
	buffer_free(&r->quoted);
}
