/* ProtoJSON, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "rpc/methods.h"
#include "server/protojson.h"
#include "server/schema_names.h"

static RegisterColonyRequest colony;

static bool read_colony(const char *text, struct codec_error *e)
{
	return protojson_read(text, strlen(text), RegisterColonyRequest_fields, &colony,
	                      sizeof(colony), e);
}

static void accepts(const char *text)
{
	struct codec_error e;

	if (!read_colony(text, &e))
		fail_msg("%s: %s", text, e.text);
}

static void refuses(const char *text, const char *why)
{
	struct codec_error e;

	if (read_colony(text, &e))
		fail_msg("accepted: %s", text);
	if (!strstr(e.text, why))
		fail_msg("%s: '%s' does not say '%s'", text, e.text, why);
}

static void names_in_both_spellings(void **state)
{
	(void)state;
	accepts("{\"meshId\":\"a\",\"connect_port\":7,\"mesh_ipv4\":\"x\",\"meshIpv6\":\"y\"}");
	assert_string_equal(colony.mesh_id, "a");
	assert_int_equal(colony.connect_port, 7);
	assert_string_equal(colony.mesh_ipv4, "x");
	assert_string_equal(colony.mesh_ipv6, "y");
	accepts("{\"mesh_id\":\"b\",\"nobody\":{\"knows\":[1,2,{}]},\"mesh_Id\":1,\"MeshId\":2}");
	assert_string_equal(colony.mesh_id, "b");
}

static void null_is_unset(void **state)
{
	(void)state;
	accepts("{\"meshId\":null,\"endpoints\":null,\"metadata\":null,\"observedEndpoint\":null,"
	        "\"connectPort\":null,\"proof\":null,\"publicEndpoint\":{\"updatedAt\":null}}");
	assert_string_equal(colony.mesh_id, "");
	assert_false(colony.has_observed_endpoint);
	assert_true(colony.has_public_endpoint);
	assert_false(colony.public_endpoint.has_updated_at);
	refuses("{\"endpoints\":[null]}", "endpoints[0]: must be a string");
	refuses("{\"metadata\":{\"k\":null}}", "metadata[\"k\"]: must be a string");
}

static void integers(void **state)
{
	(void)state;
	accepts("{\"connectPort\":\"65535\",\"proofTime\":\"-9223372036854775807\"}");
	assert_int_equal(colony.connect_port, 65535);
	assert_true(colony.proof_time == -INT64_MAX);
	accepts("{\"connectPort\":4294967295,\"proofTime\":1e3}");
	assert_int_equal(colony.connect_port, UINT32_MAX);
	assert_int_equal(colony.proof_time, 1000);
	accepts("{\"connectPort\":8.0,\"proofTime\":\"1.5e1\"}");
	assert_int_equal(colony.connect_port, 8);
	assert_int_equal(colony.proof_time, 15);
	refuses("{\"connectPort\":4294967296}", "connect_port: out of range");
	refuses("{\"connectPort\":-1}", "connect_port: out of range");
	refuses("{\"connectPort\":1.5}", "connect_port: must be an integer");
	refuses("{\"connectPort\":\"\"}", "connect_port: must be an integer");
	refuses("{\"connectPort\":\" 1\"}", "connect_port: must be an integer");
	refuses("{\"connectPort\":\"0x10\"}", "connect_port: must be an integer");
	refuses("{\"connectPort\":\"1-2\"}", "connect_port: ");
	refuses("{\"connectPort\":true}", "connect_port: must be an integer");
	accepts("{\"proofTime\":\"9223372036854775807\"}");
	assert_true(colony.proof_time == INT64_MAX);
	accepts("{\"proofTime\":-9223372036854775808}");
	assert_true(colony.proof_time == INT64_MIN);
	accepts("{\"connectPort\":7,\"nobody\":[99999999999999999999,{\"x\":18446744073709551616}]}");
	assert_int_equal(colony.connect_port, 7);
	refuses("{\"proofTime\":9223372036854775808}", "proof_time: out of range");
	refuses("{\"proofTime\":\"9223372036854775808\"}", "proof_time: ");
	refuses("{\"proofTime\":1e30}", "proof_time: out of range");
}

static void enums_and_booleans(void **state)
{
	(void)state;
	accepts("{\"publicEndpoint\":{\"enabled\":true,\"caFingerprint\":"
	        "{\"algorithm\":\"FINGERPRINT_ALGORITHM_SHA256\"}}}");
	assert_true(colony.public_endpoint.enabled);
	assert_int_equal(colony.public_endpoint.ca_fingerprint.algorithm, 1);
	accepts("{\"publicEndpoint\":{\"caFingerprint\":{\"algorithm\":1}}}");
	assert_int_equal(colony.public_endpoint.ca_fingerprint.algorithm, 1);
	accepts("{\"publicEndpoint\":{\"caFingerprint\":{\"algorithm\":42}}}");
	assert_int_equal(colony.public_endpoint.ca_fingerprint.algorithm, 42);
	accepts("{\"publicEndpoint\":{\"caFingerprint\":{\"algorithm\":-3}}}");
	assert_int_equal((int)colony.public_endpoint.ca_fingerprint.algorithm, -3);
	refuses("{\"publicEndpoint\":{\"caFingerprint\":{\"algorithm\":\"MD5\"}}}",
	        "public_endpoint.ca_fingerprint.algorithm: no such value 'MD5'");
	refuses("{\"publicEndpoint\":{\"enabled\":\"true\"}}",
	        "public_endpoint.enabled: must be true or false");
	refuses("{\"publicEndpoint\":{\"enabled\":1}}", "must be true or false");
}

static void bytes_in_every_base64(void **state)
{
	static const char *const spellings[] = { "+/8=", "-_8=", "+/8", "-_8" };
	char text[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
		snprintf(text, sizeof(text), "{\"proof\":\"%s\"}", spellings[i]);
		accepts(text);
		assert_int_equal(colony.proof.size, 2);
		assert_memory_equal(colony.proof.bytes, "\xfb\xff", 2);
	}
	accepts("{\"proof\":\"\"}");
	assert_int_equal(colony.proof.size, 0);
	refuses("{\"proof\":\"!!\"}", "proof: is not base64");
	refuses("{\"proof\":7}", "proof: must be a base64 string");
	refuses("{\"proof\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}",
	        "proof: longer than 32 bytes");
}

/* {"NAME":"xxx…"} with N of them, or {"NAME":["y","y",…]}. */
static const char *long_string(const char *name, int n)
{
	static char text[2048], fill[1024];

	memset(fill, 'x', (size_t)n);
	fill[n] = '\0';
	snprintf(text, sizeof(text), "{\"%s\":\"%s\"}", name, fill);
	return text;
}

static const char *long_list(const char *name, int n)
{
	static char text[2048];
	size_t at = (size_t)snprintf(text, sizeof(text), "{\"%s\":[", name);

	for (int i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, i ? ",\"y\"" : "\"y\"");
	snprintf(text + at, sizeof(text) - at, "]}");
	return text;
}

static void sizes_are_bounded_and_named(void **state)
{
	(void)state;
	accepts(long_list("endpoints", 32));
	assert_int_equal(colony.endpoints_count, 32);
	refuses(long_list("endpoints", 33), "endpoints: more than 32 entries");
	accepts(long_string("meshId", 128));
	assert_int_equal(strlen(colony.mesh_id), 128);
	refuses(long_string("meshId", 129), "mesh_id: longer than 128 bytes");
	refuses("{\"metadata\":{\"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
	        "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk\":\"\"}}", "key longer than 64 bytes");
}

static void structure(void **state)
{
	char deep[400] = "{\"x\":";

	(void)state;
	refuses("", "empty");
	refuses("{", "not JSON");
	refuses("[]", "must be a JSON object");
	refuses("\"s\"", "must be a JSON object");
	refuses("null", "must be a JSON object");
	refuses("{} {}", "not JSON");
	refuses("{\"meshId\":\"\xff\"}", "not JSON");
	refuses("{\"meshId\":\"a\\u0000b\"}", "not JSON");
	refuses("{\"meshId\":\"a\",\"meshId\":\"b\"}", "not JSON");
	refuses("{\"metadata\":{\"k\":\"a\",\"\\u006b\":\"b\"}}", "not JSON");
	refuses("{\"meshId\":\"a\",\"mesh_id\":\"b\"}", "mesh_id: given twice");
	refuses("{\"meshId\":[]}", "mesh_id: must be a string");
	refuses("{\"endpoints\":{}}", "endpoints: must be a list");
	refuses("{\"metadata\":[]}", "metadata: must be an object");
	refuses("{\"observedEndpoint\":[]}", "observed_endpoint: must be an object");
	memset(deep + strlen(deep), '[', 100);
	refuses(deep, "nested too deeply");
	accepts("{\"x\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"}");
}

/* What RFC 8259 does not allow is refused wherever it stands; what it allows is taken. */
static void strict_json(void **state)
{
	static const char *const bad[] = {
		"{\"x\":}", "{\"x\":1,}", "{,}", "{\"x\" 1}", "{\"x\":1 \"y\":2}", "{x:1}", "{'x':1}",
		"{\"x\":[1,]}", "{\"x\":[,1]}", "{\"x\":[1 2]}", "{\"x\":[}", "{\"x\":01}", "{\"x\":-}",
		"{\"x\":1.}", "{\"x\":.5}", "{\"x\":1e}", "{\"x\":+1}", "{\"x\":NaN}", "{\"x\":tru}",
		"{\"x\":\"\t\"}", "{\"x\":\"\\x\"}", "{\"x\":\"\\u12g4\"}", "{\"x\":\"\\ud800\"}",
		"{\"x\":\"\\ud800\\u0041\"}", "{\"x\":\"\\udc00\"}", "{\"x\":\"\\u0000\"}", "{\"x\":\"",
		"{\"x\":\"\\", "{\"x\":\"\\u00", "{\"x\":\"\xc0\x80\"}", "{\"\xff\":1}", "{\"x\":1}]",
		"{\"x\":1} x", "\xef\xbb\xbf{}", "{\"x\":1", "{\"x\"", "{\"meshId\":\"a", "{\"meshId\":\"\\q\"}",
		"{\"meshId\":tru}", "{\"meshId\":null", "{\"meshId\":nul}", "{\"endpoints\":[\"a\"",
		"{\"metadata\":{\"a\":\"b\"", "{\"connectPort\":01}", "{\"connectPort\":1.}", "//\n{}", "\f{}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refuses(bad[i], "");
	accepts(" \t\r\n{ \"x\" : [ 1 , -0.5e+3 , { } , [ ] , \"\" , true , false , null ] } \n");
	accepts("{\"meshId\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\ude00\\u20ac\"}");
	assert_string_equal(colony.mesh_id, "\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80\xe2\x82\xac");
	accepts("{\"\\u006desh\\u0049d\":\"x\",\"\":1}");
	assert_string_equal(colony.mesh_id, "x");
	accepts("{\"proof\":\"AQ\\u003d\\u003D\"}");
	assert_int_equal(colony.proof.size, 1);
}

static void times(void **state)
{
	(void)state;
	accepts("{\"publicEndpoint\":{\"updatedAt\":\"2026-01-02T03:04:05.5+01:00\"}}");
	assert_int_equal(colony.public_endpoint.updated_at.seconds, 1767319445);
	assert_int_equal(colony.public_endpoint.updated_at.nanos, 500000000);
	refuses("{\"publicEndpoint\":{\"updatedAt\":\"yesterday\"}}",
	        "public_endpoint.updated_at: must be an RFC 3339 time");
	refuses("{\"publicEndpoint\":{\"updatedAt\":{\"seconds\":1}}}", "must be an RFC 3339 time");
}

static void writes(const pb_msgdesc_t *desc, const void *message, const char *want)
{
	struct buffer b = { 0 };

	protojson_write(&b, desc, message);
	buffer_ch(&b, '\0');
	assert_false(b.failed);
	assert_string_equal(b.p, want);
	buffer_free(&b);
}

static void zero_is_left_out_but_for_what_is_promised(void **state)
{
	static LookupColonyResponse lookup;
	static LookupAgentResponse agent;
	static AwaitPunchResponse await;
	HealthResponse health = { .registered_colonies = 0 };
	InitiatePunchResponse initiate = { .accepted = false };

	(void)state;
	writes(LookupColonyResponse_fields, &lookup,
	       "{\"endpoints\":[],\"observedEndpoints\":[]}");
	writes(LookupAgentResponse_fields, &agent, "{\"endpoints\":[],\"observedEndpoints\":[]}");
	writes(HealthResponse_fields, &health, "{\"uptimeSeconds\":\"0\",\"registeredColonies\":0}");
	writes(AwaitPunchResponse_fields, &await, "{\"offers\":[],\"timedOut\":false}");
	writes(InitiatePunchResponse_fields, &initiate, "{\"accepted\":false}");
}

static void everything_comes_back(void **state)
{
	static const char text[] =
		"{\"meshId\":\"m\\\"\\\\\\u0001\xc3\xa9\",\"pubkey\":\"k\",\"endpoints\":[\"a\",\"\"],"
		"\"connectPort\":1,\"metadata\":{\"b\":\"2\",\"a\":\"\"},"
		"\"observedEndpoint\":{\"ip\":\"1.2.3.4\",\"port\":5,\"viaRelay\":true},"
		"\"publicEndpoint\":{\"enabled\":true,\"caFingerprint\":{"
		"\"algorithm\":\"FINGERPRINT_ALGORITHM_SHA256\",\"value\":\"AAH/\"},"
		"\"updatedAt\":\"2026-01-02T02:04:05.000000001Z\"},"
		"\"proof\":\"AQ==\",\"proofTime\":\"-5\"}";

	(void)state;
	accepts(text);
	writes(RegisterColonyRequest_fields, &colony, text);
	assert_string_equal(protojson_string_field(RegisterColonyRequest_fields, &colony, "pubkey"),
	                    "k");
	assert_string_equal(protojson_string_field(HealthRequest_fields, &colony, "mesh_id"), "");
}

/* Each message that a method uses has its names, and so have the messages within. */
static void every_message_has_names(void **state)
{
	static union rpc_request request;
	static union rpc_response response;
	struct codec_error e;
	struct buffer b = { 0 };

	(void)state;
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		const struct rpc_method_info *info = rpc_method_info((enum rpc_method)i);

		assert_true(protojson_read("{\"a\":1}", 7, info->request, &request,
		                           info->request_size, &e));
		protojson_write(&b, info->response, &response);
		buffer_free(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_in_both_spellings),
		cmocka_unit_test(null_is_unset),
		cmocka_unit_test(integers),
		cmocka_unit_test(enums_and_booleans),
		cmocka_unit_test(bytes_in_every_base64),
		cmocka_unit_test(sizes_are_bounded_and_named),
		cmocka_unit_test(structure),
		cmocka_unit_test(strict_json),
		cmocka_unit_test(times),
		cmocka_unit_test(zero_is_left_out_but_for_what_is_promised),
		cmocka_unit_test(everything_comes_back),
		cmocka_unit_test(every_message_has_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
