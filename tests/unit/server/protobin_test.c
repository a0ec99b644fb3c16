/* Binary protobuf: what nanopb alone would let through, and what is refused with its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/methods.h"
#include "server/protobin.h"
#include "server/protojson.h"

static RegisterColonyRequest colony;

/* The message is copied to a block of its own size, so that reading past it is seen. */
static bool read_colony(const char *bytes, size_t n, struct codec_error *e)
{
	uint8_t *copy = malloc(n ? n : 1);
	bool ok;

	assert_non_null(copy);
	memcpy(copy, bytes, n);
	ok = protobin_read(span_of(copy, n), RegisterColonyRequest_fields, &colony, sizeof(colony), e);
	free(copy);
	return ok;
}

static void accepts_bytes(const char *bytes, size_t n)
{
	struct codec_error e;

	if (!read_colony(bytes, n, &e))
		fail_msg("%s", e.text);
}

static void refuses_bytes(const char *bytes, size_t n, const char *why)
{
	struct codec_error e;

	assert_false(read_colony(bytes, n, &e));
	assert_string_equal(e.text, why);
}

#define ACCEPTS(s)      accepts_bytes(s, sizeof(s) - 1)
#define REFUSES(s, why) refuses_bytes(s, sizeof(s) - 1, why)

static void fields_come_and_go(void **state)
{
	(void)state;
	ACCEPTS("");
	assert_string_equal(colony.mesh_id, "");
	ACCEPTS("\x0a\x01m\x1a\x01""a\x1a\x00\x30\x07\x3a\x06\x0a\x01k\x12\x01v\x42\x04\x0a\x02ip");
	assert_string_equal(colony.mesh_id, "m");
	assert_int_equal(colony.endpoints_count, 2);
	assert_int_equal(colony.connect_port, 7);
	assert_int_equal(colony.metadata_count, 1);
	assert_true(colony.has_observed_endpoint);
	assert_string_equal(colony.observed_endpoint.ip, "ip");
}

static void the_last_scalar_counts_and_the_unknown_is_skipped(void **state)
{
	(void)state;
	ACCEPTS("\x0a\x01m\x0a\x01n\x30\x01\x30\x02");
	assert_string_equal(colony.mesh_id, "n");
	assert_int_equal(colony.connect_port, 2);
	/* Fields 100, 101, 102, 65537 of every wire type. */
	ACCEPTS("\xa0\x06\xff\x01\xa9\x06""12345678\xb2\x06\x02\xff\x00\x8d\x80\x20""1234\x0a\x01x");
	assert_string_equal(colony.mesh_id, "x");
	/* An enum's number that has no name here. */
	ACCEPTS("\x52\x04\x22\x02\x08\x2a");
	assert_int_equal(colony.public_endpoint.ca_fingerprint.algorithm, 42);
}

static void strings_are_text(void **state)
{
	(void)state;
	ACCEPTS("\x0a\x02\xc3\xa9");
	REFUSES("\x0a\x02\xc3\x28", "mesh_id: is not UTF-8");
	REFUSES("\x0a\x01\xff", "mesh_id: is not UTF-8");
	REFUSES("\x0a\x02\xc0\x80", "mesh_id: is not UTF-8");
	REFUSES("\x0a\x03\xed\xa0\x80", "mesh_id: is not UTF-8");
	REFUSES("\x0a\x04\xf4\x90\x80\x80", "mesh_id: is not UTF-8");
	REFUSES("\x0a\x03""a\0b", "mesh_id: holds a zero byte");
	REFUSES("\x1a\x01""a\x1a\x01\x80", "endpoints[1]: is not UTF-8");
	REFUSES("\x3a\x03\x0a\x01\xff", "metadata[0].key: is not UTF-8");
	REFUSES("\x42\x03\x1a\x01\xff", "observed_endpoint.protocol: is not UTF-8");
}

static void limits_are_named(void **state)
{
	char text[300] = { 0x0a, (char)0x81, 0x01 };

	(void)state;
	memset(text + 3, 'm', 129);
	refuses_bytes(text, 132, "mesh_id: longer than 128 bytes");
	text[1] = (char)0x80;
	accepts_bytes(text, 131);
	for (int i = 0; i < 33; i++) {
		text[2 * i] = 0x1a;
		text[2 * i + 1] = 0;
	}
	accepts_bytes(text, 64);
	assert_int_equal(colony.endpoints_count, 32);
	refuses_bytes(text, 66, "endpoints: more than 32 entries");
	memcpy(text, "\x92\x03\x21", 3);
	refuses_bytes(text, 3 + 33, "proof: longer than 32 bytes");
	REFUSES("\x30\xff\xff\xff\xff\x7f",
	        "the body is not such a message: integer too large");
}

static void what_is_no_message(void **state)
{
	(void)state;
	REFUSES("\x0a", "the body is not a protobuf message");
	REFUSES("\x0a\x05""abc", "the body is not a protobuf message");
	REFUSES("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "the body is not a protobuf message");
	REFUSES("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "the body is not a protobuf message");
	REFUSES("\x00\x01", "the body is not a protobuf message");
	REFUSES("\x0b\x0c", "the body is not a protobuf message");
	REFUSES("{\"meshId\":\"m\"}", "the body is not a protobuf message");
	REFUSES("\x08\x01", "mesh_id: is of another type");
	REFUSES("\x32\x01m", "connect_port: is of another type");
	REFUSES("\x42\x01\x0a", "observed_endpoint: the body is not a protobuf message");
}

static void a_map_has_each_key_once(void **state)
{
	(void)state;
	ACCEPTS("\x3a\x06\x0a\x01""a\x12\x01""1\x3a\x06\x0a\x01""b\x12\x01""2"
	        "\x3a\x06\x0a\x01""a\x12\x01""3\x3a\x06\x0a\x01""c\x12\x01""4\x3a\x03\x0a\x01""b");
	assert_int_equal(colony.metadata_count, 3);
	assert_string_equal(colony.metadata[0].key, "a");
	assert_string_equal(colony.metadata[0].value, "3");
	assert_string_equal(colony.metadata[1].key, "b");
	assert_string_equal(colony.metadata[1].value, "");
	assert_string_equal(colony.metadata[2].key, "c");
	assert_string_equal(colony.metadata[2].value, "4");
}

static void times_are_in_range(void **state)
{
	(void)state;
	ACCEPTS("\x52\x04\x2a\x02\x08\x01");
	assert_int_equal(colony.public_endpoint.updated_at.seconds, 1);
	REFUSES("\x52\x05\x2a\x03\x10\xff\x7f"
	        "\x52\x0d\x2a\x0b\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
	        "public_endpoint.updated_at: is not a time of the years 1 to 9999");
	REFUSES("\x52\x0b\x2a\x09\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
	        "public_endpoint.updated_at: is not a time of the years 1 to 9999");
}

static void what_came_as_json_leaves_as_binary_and_back(void **state)
{
	static const char json[] =
		"{\"meshId\":\"m\",\"endpoints\":[\"a\",\"\"],\"connectPort\":4294967295,"
		"\"metadata\":{\"a\":\"\"},\"observedEndpoint\":{\"port\":5,\"viaRelay\":true},"
		"\"publicEndpoint\":{\"caFingerprint\":{\"value\":\"AAH/\"},"
		"\"updatedAt\":\"0001-01-01T00:00:00Z\"},\"proof\":\"AQ==\",\"proofTime\":\"-5\"}";
	struct buffer binary = { 0 }, text = { 0 };
	struct codec_error e;

	(void)state;
	assert_true(protojson_read(json, strlen(json), RegisterColonyRequest_fields, &colony,
	                           sizeof(colony), &e));
	protobin_write(&binary, RegisterColonyRequest_fields, &colony);
	accepts_bytes(binary.p, binary.len);
	protojson_write(&text, RegisterColonyRequest_fields, &colony);
	buffer_ch(&text, '\0');
	assert_string_equal(text.p, json);
	buffer_free(&binary);
	buffer_free(&text);
}

/* Messages without fields have no bytes; what they are sent is skipped. */
static void every_message_is_read(void **state)
{
	static union rpc_request request;
	static union rpc_response response;
	struct codec_error e;

	(void)state;
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		const struct rpc_method_info *info = rpc_method_info((enum rpc_method)i);
		struct buffer b = { 0 };

		assert_true(protobin_read(span_of("\xa0\x06\x01", 3), info->request, &request,
		                          info->request_size, &e));
		assert_true(protobin_read(span_of(NULL, 0), info->request, &request,
		                          info->request_size, &e));
		protobin_write(&b, info->response, &response);
		assert_int_equal(b.len, 0);
		assert_false(b.failed);
		buffer_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_come_and_go),
		cmocka_unit_test(the_last_scalar_counts_and_the_unknown_is_skipped),
		cmocka_unit_test(strings_are_text),
		cmocka_unit_test(limits_are_named),
		cmocka_unit_test(what_is_no_message),
		cmocka_unit_test(a_map_has_each_key_once),
		cmocka_unit_test(times_are_in_range),
		cmocka_unit_test(what_came_as_json_leaves_as_binary_and_back),
		cmocka_unit_test(every_message_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
