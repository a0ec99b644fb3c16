/* Envelopes: told apart, opened, closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "server/gzip.h"
#include "server/query.h"
#include "server/reply.h"

static struct http_request request;

static const struct http_request *post(const char *type, const void *body, size_t n)
{
	buffer_free(&request.body);
	memset(&request, 0, sizeof(request));
	snprintf(request.method, sizeof(request.method), "POST");
	snprintf(request.content_type, sizeof(request.content_type), "%s", type);
	request.query = "";
	buffer_add(&request.body, body, n);
	return &request;
}

static const struct http_request *get(const char *query)
{
	(void)post("", NULL, 0);
	snprintf(request.method, sizeof(request.method), "GET");
	request.query = query;
	return &request;
}

/* What is inside of Q must be WANT. */
static void opens(const struct http_request *q, const char *want, size_t n)
{
	struct buffer storage = { 0 };
	struct span message;
	struct refusal why;
	struct envelope env;

	assert_true(envelope_find(q, &env));
	if (!envelope_open(q, &env, &storage, &message, &why))
		fail_msg("%s", why.why.text);
	assert_int_equal(message.len, n);
	if (n)
		assert_memory_equal(message.p, want, n);
	buffer_free(&storage);
}

static struct refusal refuses(const struct http_request *q, enum status code)
{
	struct buffer storage = { 0 };
	struct span message;
	struct refusal why;
	struct envelope env;

	assert_true(envelope_find(q, &env));
	assert_false(envelope_open(q, &env, &storage, &message, &why));
	assert_int_equal(why.code, code);
	assert_true(*why.why.text);
	buffer_free(&storage);
	return why;
}

static void squeeze(struct buffer *out, const void *p, size_t n)
{
	z_stream z = { .next_in = (Bytef *)(uintptr_t)p, .avail_in = (uInt)n };

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_true(buffer_reserve(out, n + 100));
	z.next_out = (Bytef *)out->p + out->len;
	z.avail_out = (uInt)(out->cap - out->len);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len = out->cap - z.avail_out;
	deflateEnd(&z);
}

static void content_types(void **state)
{
	static const struct {
		const char *type;
		enum protocol protocol;
		enum codec codec;
	} known[] = {
		{ "", PROTOCOL_CONNECT, CODEC_JSON },
		{ "application/json", PROTOCOL_CONNECT, CODEC_JSON },
		{ "Application/JSON; charset=utf-8", PROTOCOL_CONNECT, CODEC_JSON },
		{ "text/x;application/json", PROTOCOL_CONNECT, CODEC_JSON },
		{ "application/proto", PROTOCOL_CONNECT, CODEC_PROTO },
		{ "application/proto; x=y", PROTOCOL_CONNECT, CODEC_PROTO },
		{ "application/grpc", PROTOCOL_GRPC, CODEC_PROTO },
		{ "application/grpc+proto", PROTOCOL_GRPC, CODEC_PROTO },
		{ "application/grpc+json", PROTOCOL_GRPC, CODEC_JSON },
		{ "application/grpc-web+json", PROTOCOL_GRPC_WEB, CODEC_JSON },
		{ "application/grpc-web", PROTOCOL_GRPC_WEB, CODEC_PROTO },
		{ "application/grpc-web-text+proto", PROTOCOL_GRPC_WEB_TEXT, CODEC_PROTO },
	};
	static const char *const unknown[] = { "text/plain", "application/protobuf",
		"application/grpc+thrift", "application/prot", "application/connect+proto", ";" };
	struct envelope env;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		assert_true(envelope_find(post(known[i].type, "", 0), &env));
		assert_int_equal(env.protocol, known[i].protocol);
		assert_int_equal(env.codec, known[i].codec);
	}
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		assert_false(envelope_find(post(unknown[i], "", 0), &env));
		assert_int_equal(env.protocol, PROTOCOL_CONNECT);
	}
}

static uint64_t deadline_of(const char *type, const char *timeout, bool *ok)
{
	const struct http_request *q = post(type, "", 0);
	struct envelope env;
	uint64_t deadline;

	snprintf(request.timeout_ms, sizeof(request.timeout_ms), "%s", timeout);
	snprintf(request.grpc_timeout, sizeof(request.grpc_timeout), "%s", timeout);
	assert_true(envelope_find(q, &env));
	*ok = envelope_deadline(q, &env, 1000, &deadline);
	return deadline;
}

static void timeouts(void **state)
{
	static const struct {
		const char *type, *timeout;
		uint64_t deadline;
	} good[] = {
		{ "", "", TIME_NEVER },
		{ "", "0", 1000 },
		{ "", "25000", 1000 + 25 * NS_PER_S },
		{ "", "9999999999", 1000 + 9999999999 * NS_PER_MS },
		{ "application/grpc", "", TIME_NEVER },
		{ "application/grpc", "1H", 1000 + 3600 * NS_PER_S },
		{ "application/grpc", "2M", 1000 + 120 * NS_PER_S },
		{ "application/grpc", "3S", 1000 + 3 * NS_PER_S },
		{ "application/grpc-web", "4m", 1000 + 4 * NS_PER_MS },
		{ "application/grpc", "5u", 6000 },
		{ "application/grpc", "00000006n", 1006 },
		{ "application/grpc", "99999999H", TIME_NEVER },
	};
	static const char *const bad[][2] = {
		{ "", "soon" }, { "", "-1" }, { "", "1.5" }, { "", "99999999999" }, { "", "5S" },
		{ "application/grpc", "5" }, { "application/grpc", "S" }, { "application/grpc", "5s" },
		{ "application/grpc", "123456789n" }, { "application/grpc", "-5S" },
		{ "application/grpc", "5 S" },
	};
	bool ok;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		uint64_t got = deadline_of(good[i].type, good[i].timeout, &ok);

		assert_true(ok);
		assert_true(got == good[i].deadline);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		(void)deadline_of(bad[i][0], bad[i][1], &ok);
		if (ok)
			fail_msg("accepted: %s", bad[i][1]);
	}
}

static void connect_post(void **state)
{
	struct buffer gz = { 0 };

	(void)state;
	opens(post("", "{}", 2), "{}", 2);
	opens(post("application/proto", NULL, 0), "", 0);
	(void)post("", "{}", 2);
	snprintf(request.connect_version, sizeof(request.connect_version), "1");
	snprintf(request.content_encoding, sizeof(request.content_encoding), "identity");
	opens(&request, "{}", 2);
	snprintf(request.connect_version, sizeof(request.connect_version), "2");
	(void)refuses(&request, STATUS_INVALID_ARGUMENT);
	squeeze(&gz, "{\"a\":1}", 7);
	(void)post("", gz.p, gz.len);
	snprintf(request.content_encoding, sizeof(request.content_encoding), "GZIP");
	opens(&request, "{\"a\":1}", 7);
	request.body.len--;
	(void)refuses(&request, STATUS_INVALID_ARGUMENT);
	(void)post("", "plain", 5);
	snprintf(request.content_encoding, sizeof(request.content_encoding), "gzip");
	(void)refuses(&request, STATUS_INVALID_ARGUMENT);
	request.body.len = 0;
	opens(&request, "", 0);
	snprintf(request.content_encoding, sizeof(request.content_encoding), "br");
	assert_string_equal(refuses(&request, STATUS_UNIMPLEMENTED).header.name, "accept-encoding");
	buffer_free(&gz);
}

static void bombs(void **state)
{
	static char zeros[HTTP_BODY_MAX + 1];
	struct buffer gz = { 0 }, out = { 0 };

	(void)state;
	squeeze(&gz, zeros, HTTP_BODY_MAX);
	assert_int_equal(gzip_open(span_of(gz.p, gz.len), HTTP_BODY_MAX, &out), ERR_OK);
	assert_int_equal(out.len, HTTP_BODY_MAX);
	out.len = 0;
	/* A second member, of one byte only. */
	squeeze(&gz, "x", 1);
	assert_int_equal(gzip_open(span_of(gz.p, gz.len), HTTP_BODY_MAX, &out), ERR_FULL);
	assert_true(out.cap < (size_t)4 * HTTP_BODY_MAX);
	out.len = 0;
	assert_int_equal(gzip_open(span_of(gz.p, gz.len), HTTP_BODY_MAX + 1, &out), ERR_OK);
	gz.len = 0;
	squeeze(&gz, zeros, sizeof(zeros));
	(void)post("", gz.p, gz.len);
	snprintf(request.content_encoding, sizeof(request.content_encoding), "gzip");
	(void)refuses(&request, STATUS_RESOURCE_EXHAUSTED);
	buffer_free(&gz);
	buffer_free(&out);
}

static void queries(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(query_value("a=1&b=%7B+%7d&&c&b=2", "b", &b), QUERY_FOUND);
	assert_int_equal(b.len, 3);
	assert_memory_equal(b.p, "{ }", 3);
	assert_true(query_is("a=1&b=2", "a", "1"));
	assert_false(query_is("a=1&b=2", "a", "12"));
	assert_true(query_is("x&c", "c", ""));
	assert_true(query_has("x&c", "x"));
	assert_false(query_has("", "x"));
	assert_false(query_has("xy=1&y", "x"));
	assert_int_equal(query_value("ab=1", "a", &b), QUERY_ABSENT);
	assert_int_equal(query_value("a=%", "a", &b), QUERY_MALFORMED);
	assert_int_equal(query_value("a=%1&b=0", "a", &b), QUERY_MALFORMED);
	assert_int_equal(query_value("a=%gg", "a", &b), QUERY_MALFORMED);
	buffer_free(&b);
}

static void connect_get(void **state)
{
	struct envelope env;

	(void)state;
	assert_false(envelope_is_get(get("")));
	assert_false(envelope_is_get(get("encoding=json")));
	assert_false(envelope_is_get(get("message=%7B%7D")));
	assert_false(envelope_is_get(post("", "", 0)));
	opens(get("connect=v1&encoding=json&message=%7B%7D"), "{}", 2);
	opens(get("message=&encoding=proto"), "", 0);
	assert_true(envelope_find(&request, &env));
	assert_string_equal(env.content_type, "application/proto");
	opens(get("encoding=proto&base64=1&message=CgJtMQ"), "\x0a\x02m1", 4);
	opens(get("encoding=proto&base64=1&message=CgJtMQ%3D%3D&compression=identity"),
	      "\x0a\x02m1", 4);
	opens(get("encoding=json&base64=1&compression=gzip&message="
	          "H4sIAAAAAAAAA6uuBQBDv6ajAgAAAA"), "{}", 2);
	assert_false(envelope_find(get("encoding=xml&message=a"), &env));
	(void)refuses(get("encoding=json&message=%zz"), STATUS_INVALID_ARGUMENT);
	(void)refuses(get("encoding=json&message=!&base64=1"), STATUS_INVALID_ARGUMENT);
	(void)refuses(get("encoding=json&message=a&connect=v2"), STATUS_INVALID_ARGUMENT);
	(void)refuses(get("encoding=json&message=a&compression=br"), STATUS_UNIMPLEMENTED);
	(void)refuses(get("encoding=json&message=a&compression=%"), STATUS_INVALID_ARGUMENT);
}

static void frames(void **state)
{
	static const char type[] = "application/grpc";
	struct buffer gz = { 0 };

	(void)state;
	opens(post(type, "\0\0\0\0\3abc", 8), "abc", 3);
	opens(post(type, "\0\0\0\0\0", 5), "", 0);
	(void)refuses(post(type, "", 0), STATUS_UNIMPLEMENTED);
	(void)refuses(post(type, "\0\0\0\0", 4), STATUS_INVALID_ARGUMENT);
	(void)refuses(post(type, "\0\0\0\0\4abc", 8), STATUS_INVALID_ARGUMENT);
	(void)refuses(post(type, "\0\xff\xff\xff\xff" "abc", 8), STATUS_INVALID_ARGUMENT);
	(void)refuses(post(type, "\2\0\0\0\3abc", 8), STATUS_INTERNAL);
	(void)refuses(post(type, "\x80\0\0\0\3abc", 8), STATUS_INTERNAL);
	(void)refuses(post(type, "\0\0\0\0\1a\0\0\0\0\1b", 12), STATUS_UNIMPLEMENTED);
	(void)refuses(post(type, "\1\0\0\0\1a", 6), STATUS_INTERNAL);
	snprintf(request.grpc_encoding, sizeof(request.grpc_encoding), "snappy");
	assert_string_equal(refuses(&request, STATUS_UNIMPLEMENTED).header.name,
	                    "grpc-accept-encoding");
	snprintf(request.grpc_encoding, sizeof(request.grpc_encoding), "gzip");
	(void)refuses(&request, STATUS_INVALID_ARGUMENT);
	buffer_add(&gz, "\1\0\0\0\0", 5);
	squeeze(&gz, "hello", 5);
	gz.p[4] = (char)(gz.len - 5);
	(void)post(type, gz.p, gz.len);
	snprintf(request.grpc_encoding, sizeof(request.grpc_encoding), "gzip");
	opens(&request, "hello", 5);
	buffer_free(&gz);
}

static void base64_text(void **state)
{
	static const char type[] = "application/grpc-web-text";

	(void)state;
	opens(post(type, "AAAAAANhYmM=", 12), "abc", 3);
	/* The frame in three pieces. */
	opens(post(type, "AA==AAAAAw==YWJj", 16), "abc", 3);
	(void)refuses(post(type, "", 0), STATUS_UNIMPLEMENTED);
	(void)refuses(post(type, "====", 4), STATUS_UNIMPLEMENTED);
	(void)refuses(post(type, "AAAAAANhYm!=", 12), STATUS_INVALID_ARGUMENT);
	(void)refuses(post(type, "AAAAA", 5), STATUS_INVALID_ARGUMENT);
	(void)refuses(post(type, "AAAAAANh", 8), STATUS_INVALID_ARGUMENT);
}

static struct envelope envelope_of(const char *type)
{
	struct envelope env;

	assert_true(envelope_find(post(type, "", 0), &env));
	return env;
}

static const char *header_of(const struct header *h, const char *name)
{
	for (size_t i = 0; i < RESPONSE_HEADERS_MAX && h[i].name; i++)
		if (strcmp(h[i].name, name) == 0)
			return h[i].value;
	return NULL;
}

static void body_is(const struct response *out, const char *want, size_t n)
{
	assert_non_null(out->body);
	assert_int_equal(out->body_len, n);
	assert_memory_equal(out->body, want, n);
}

static void errors_go_out(void **state)
{
	static const char web[] = "\x80\0\0\0\x42grpc-status: 8\r\ngrpc-message: 100%25 %C3%A9%0A?\r\n"
				  "retry-after: 60\r\n";
	static const char json[] = "{\"code\":\"resource_exhausted\",\"message\":"
				   "\"100% \xc3\xa9\\u000a?\"}";
	static const char *const types[] = { "", "application/grpc", "application/grpc-web" };
	struct response out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		struct envelope env = envelope_of(types[i]);
		struct reply r = { .retry_after_s = 60 };

		reply_error(&r, STATUS_RESOURCE_EXHAUSTED, "100% \xc3\xa9\n\xff");
		reply_close(&r, &env, &out);
		if (i == 1)
			assert_null(header_of(out.headers, "retry-after"));
		else
			assert_string_equal(header_of(out.headers, "retry-after"), "60");
		assert_int_equal(out.status, i ? 200 : 429);
		assert_string_equal(out.content_type, env.content_type);
		if (i == 0)
			body_is(&out, json, sizeof(json) - 1);
		else if (i == 2)
			body_is(&out, web, sizeof(web) - 1);
		if (i == 1) {
			assert_null(out.body);
			assert_string_equal(header_of(out.trailers, "grpc-status"), "8");
			assert_string_equal(header_of(out.trailers, "grpc-message"),
			                    "100%25 %C3%A9%0A?");
			assert_string_equal(header_of(out.trailers, "retry-after"), "60");
		}
		reply_free(&r);
	}
}

static void messages_go_out(void **state)
{
	static const struct {
		const char *type, *body;
		size_t n;
	} cases[] = {
		{ "application/json", "{\"success\":true}", 16 },
		{ "application/proto", "\x08\x01", 2 },
		{ "application/grpc", "\0\0\0\0\2\x08\x01", 7 },
		{ "application/grpc+json", "\0\0\0\0\x10{\"success\":true}", 21 },
		{ "application/grpc-web", "\0\0\0\0\2\x08\x01\x80\0\0\0\x10grpc-status: 0\r\n", 28 },
		{ "application/grpc-web-text",
		  "AAAAAAIIAYAAAAAQZ3JwYy1zdGF0dXM6IDANCg==", 40 },
	};
	const AckBootstrapRendezvousResponse message = { .success = true };
	struct response out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct envelope env = envelope_of(cases[i].type);
		struct reply r = { .code = STATUS_OK };

		reply_message(&r, &env, AckBootstrapRendezvousResponse_fields, &message);
		reply_close(&r, &env, &out);
		assert_int_equal(out.status, 200);
		assert_string_equal(out.content_type, cases[i].type);
		assert_false(out.close);
		body_is(&out, cases[i].body, cases[i].n);
		if (env.protocol == PROTOCOL_GRPC)
			assert_string_equal(header_of(out.trailers, "grpc-status"), "0");
		else
			assert_null(out.trailers[0].name);
		reply_free(&r);
	}
}

/* A message may turn into an error when the commit fails, and an empty one has a body all the same. */
static void replies_change(void **state)
{
	const struct envelope env = envelope_of("application/proto");
	const AckBootstrapRendezvousResponse message = { .success = true };
	struct reply r = { .code = STATUS_OK };
	struct response out;

	(void)state;
	reply_message(&r, &env, AckBootstrapRendezvousResponse_fields, &message);
	reply_error(&r, STATUS_UNAVAILABLE, "later");
	reply_close(&r, &env, &out);
	assert_int_equal(out.status, 503);
	assert_string_equal(out.content_type, "application/json");
	body_is(&out, "{\"code\":\"unavailable\",\"message\":\"later\"}", 40);
	reply_free(&r);
	r = (struct reply){ .code = STATUS_OK };
	reply_message(&r, &env, ReportPunchResponse_fields, &message);
	reply_close(&r, &env, &out);
	body_is(&out, "", 0);
	reply_free(&r);
}

static int drop_request(void **state)
{
	(void)state;
	buffer_free(&request.body);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(content_types),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(connect_post),
		cmocka_unit_test(bombs),
		cmocka_unit_test(queries),
		cmocka_unit_test(connect_get),
		cmocka_unit_test(frames),
		cmocka_unit_test(base64_text),
		cmocka_unit_test(errors_go_out),
		cmocka_unit_test(messages_go_out),
		cmocka_unit_test(replies_change),
	};

	return cmocka_run_group_tests(tests, NULL, drop_request);
}
