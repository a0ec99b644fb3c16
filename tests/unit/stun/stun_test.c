/* RFC 5769's vectors, and what must not be accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stun/stun.h"

static const uint8_t request[] = {
	0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
	0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10, 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73,
	0x74, 0x20, 0x63, 0x6c, 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
	0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36, 0x00, 0x06, 0x00, 0x09,
	0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76, 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14,
	0x9a, 0xea, 0xa7, 0x0c, 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
	0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf
};
static const uint8_t response4[] = {
	0x01, 0x01, 0x00, 0x3c, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
	0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63,
	0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43,
	0x00, 0x08, 0x00, 0x14, 0x2b, 0x91, 0xf5, 0x99, 0xfd, 0x9e, 0x90, 0xc3, 0x8c, 0x74, 0x89, 0xf9,
	0x2a, 0xf9, 0xba, 0x53, 0xf0, 0x6b, 0xe7, 0xd7, 0x80, 0x28, 0x00, 0x04, 0xc0, 0x7d, 0x4c, 0x96
};
static const uint8_t response6[] = {
	0x01, 0x01, 0x00, 0x48, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86,
	0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x0b, 0x74, 0x65, 0x73, 0x74, 0x20, 0x76, 0x65, 0x63,
	0x74, 0x6f, 0x72, 0x20, 0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa,
	0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9, 0x00, 0x08, 0x00, 0x14,
	0xa3, 0x82, 0x95, 0x4e, 0x4b, 0xe6, 0x7b, 0xf1, 0x17, 0x84, 0xc9, 0x7c, 0x82, 0x92, 0xc2, 0x75,
	0xbf, 0xe3, 0xed, 0x41, 0x80, 0x28, 0x00, 0x04, 0xc8, 0xfb, 0x0b, 0x4c
};
/* Section 2.4, long-term credentials. */
static const uint8_t request_long[] = {
	0x00, 0x01, 0x00, 0x60, 0x21, 0x12, 0xa4, 0x42, 0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0,
	0x29, 0xda, 0x41, 0x2e, 0x00, 0x06, 0x00, 0x12, 0xe3, 0x83, 0x9e, 0xe3, 0x83, 0x88, 0xe3, 0x83,
	0xaa, 0xe3, 0x83, 0x83, 0xe3, 0x82, 0xaf, 0xe3, 0x82, 0xb9, 0x00, 0x00, 0x00, 0x15, 0x00, 0x1c,
	0x66, 0x2f, 0x2f, 0x34, 0x39, 0x39, 0x6b, 0x39, 0x35, 0x34, 0x64, 0x36, 0x4f, 0x4c, 0x33, 0x34,
	0x6f, 0x4c, 0x39, 0x46, 0x53, 0x54, 0x76, 0x79, 0x36, 0x34, 0x73, 0x41, 0x00, 0x14, 0x00, 0x0b,
	0x65, 0x78, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x2e, 0x6f, 0x72, 0x67, 0x00, 0x00, 0x08, 0x00, 0x14,
	0xf6, 0x70, 0x24, 0x65, 0x6d, 0xd6, 0x4a, 0x3e, 0x02, 0xb8, 0xe0, 0x71, 0x2e, 0x85, 0xc9, 0xa2,
	0x8c, 0xa8, 0x96, 0x66
};
static const char password[] = "VOkJxbRl1RmTxUk/WvJxBt";

static struct span key(void)
{
	return span_of(password, sizeof(password) - 1);
}

#define SPAN(array) span_of((array), sizeof(array))

static void reads_the_request(void **state)
{
	struct stun_attr_view a;
	struct stun_msg m;

	(void)state;
	assert_true(stun_is_message(request, sizeof(request)));
	assert_int_equal(stun_parse(SPAN(request), &m), ERR_OK);
	assert_int_equal(m.class, STUN_REQUEST);
	assert_int_equal(m.method, STUN_BINDING);
	assert_true(stun_find(&m, STUN_USERNAME, &a));
	assert_int_equal(a.value.len, 9);
	assert_memory_equal(a.value.p, "evtj:h6vY", 9);
	assert_int_equal(stun_check_fingerprint(&m), ERR_OK);
	assert_int_equal(stun_check_integrity(&m, key()), ERR_OK);
	assert_int_equal(stun_check_integrity(&m, span_of("wrong", 5)), ERR_AUTH);
}

static void check_response(struct span bytes, const char *address)
{
	char text[ENDPOINT_TEXT_MAX];
	struct text t = TEXT_IN(text);
	struct endpoint e;
	struct stun_msg m;

	assert_int_equal(stun_parse(bytes, &m), ERR_OK);
	assert_int_equal(m.class, STUN_SUCCESS);
	assert_true(stun_find_xor_mapped(&m, &e));
	text_endpoint(&t, &e);
	assert_string_equal(text, address);
	assert_int_equal(stun_check_fingerprint(&m), ERR_OK);
	assert_int_equal(stun_check_integrity(&m, key()), ERR_OK);
}

static void reads_the_responses(void **state)
{
	(void)state;
	check_response(SPAN(response4), "192.0.2.1:32853");
	check_response(SPAN(response6), "[2001:db8:1234:5678:11:2233:4455:6677]:32853");
}

static void reads_long_term_credentials(void **state)
{
	/* MD5 of "マトリックス:example.org:TheMatrIX" */
	static const uint8_t md5[16] = {
		0xe8, 0xca, 0x7a, 0xd5, 0x9d, 0x5e, 0xb0, 0x51,
		0x8e, 0x31, 0x29, 0x11, 0xd2, 0xda, 0xb2, 0xa9
	};
	struct stun_msg m;

	(void)state;
	assert_int_equal(stun_parse(SPAN(request_long), &m), ERR_OK);
	assert_int_equal(stun_check_integrity(&m, SPAN(md5)), ERR_OK);
	assert_int_equal(stun_check_fingerprint(&m), ERR_NOT_FOUND);
}

static void every_flipped_bit_is_noticed(void **state)
{
	uint8_t copy[sizeof(response4)];
	struct stun_msg m;

	(void)state;
	for (size_t bit = 0; bit < sizeof(copy) * 8; bit++) {
		memcpy(copy, response4, sizeof(copy));
		copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (stun_parse(SPAN(copy), &m) == ERR_OK)
			assert_int_not_equal(stun_check_fingerprint(&m), ERR_OK);
	}
}

static void every_cut_is_refused(void **state)
{
	struct stun_msg m;

	(void)state;
	for (size_t n = 0; n < sizeof(request); n++)
		assert_int_equal(stun_parse(span_of(request, n), &m), ERR_INVALID);
}

static void builds_what_it_reads(void **state)
{
	uint8_t buf[STUN_MESSAGE_MAX], txid[STUN_TXID_LEN];
	struct writer w = writer_of(buf, sizeof(buf));
	struct stun_attr_view a;
	struct endpoint e;
	struct stun_msg m;
	struct span reason;
	unsigned code;

	(void)state;
	memcpy(txid, response6 + 8, sizeof(txid));
	assert_int_equal(endpoint_parse("[2001:db8::1]:7", 15, &e), ERR_OK);
	stun_begin(&w, STUN_ERROR, 0x5a5, txid);
	stun_put_xor_addr(&w, STUN_XOR_MAPPED_ADDRESS, &e);
	stun_put(&w, STUN_SOFTWARE, span_of("w", 1));
	stun_put_error(&w, 438, "Stale Nonce");
	stun_put_integrity(&w, key());
	stun_put_fingerprint(&w);
	assert_false(w.failed);
	assert_int_equal(stun_parse(span_of(buf, w.len), &m), ERR_OK);
	assert_int_equal(m.method, 0x5a5);
	assert_int_equal(m.class, STUN_ERROR);
	assert_int_equal(stun_check_fingerprint(&m), ERR_OK);
	assert_int_equal(stun_check_integrity(&m, key()), ERR_OK);
	assert_true(stun_find_xor_addr(&m, STUN_XOR_MAPPED_ADDRESS, &e));
	assert_int_equal(e.port, 7);
	assert_true(stun_find_error(&m, &code, &reason));
	assert_int_equal(code, 438);
	assert_int_equal(reason.len, 11);
	assert_true(stun_find(&m, STUN_SOFTWARE, &a));
	assert_int_equal(a.value.len, 1);
}

static void unprotected_attributes_are_not_seen(void **state)
{
	uint8_t buf[STUN_MESSAGE_MAX], txid[STUN_TXID_LEN] = { 1 };
	struct writer w = writer_of(buf, sizeof(buf));
	struct stun_attr_view a;
	struct stun_msg m;

	(void)state;
	stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
	stun_put_integrity(&w, key());
	stun_put(&w, STUN_USERNAME, span_of("eve", 3));
	stun_put_fingerprint(&w);
	assert_int_equal(stun_parse(span_of(buf, w.len), &m), ERR_OK);
	assert_false(stun_find(&m, STUN_USERNAME, &a));
	assert_int_equal(stun_check_integrity(&m, key()), ERR_OK);
	assert_int_equal(stun_check_fingerprint(&m), ERR_OK);
}

/* What the server says to REQUEST, parsed into M; the answer stays in BUF. */
static enum stun_verdict answer_to(struct span req, uint8_t *buf, struct stun_msg *m)
{
	struct endpoint from = { ip_v4(192, 0, 2, 9), 4242, 0 };
	struct endpoint local = { ip_v4(198, 51, 100, 1), 3478, 0 };
	struct writer w = writer_of(buf, STUN_MESSAGE_MAX);
	enum stun_verdict v = stun_respond(req, &from, &local, &w);

	*m = (struct stun_msg){ .txid = buf };
	if (v != STUN_DROP)
		assert_int_equal(stun_parse(span_of(buf, w.len), m), ERR_OK);
	return v;
}

static void answers_a_binding_request(void **state)
{
	uint8_t buf[STUN_MESSAGE_MAX], req[28], txid[STUN_TXID_LEN] = { 9, 8, 7 };
	struct writer w = writer_of(req, sizeof(req));
	struct endpoint e;
	struct stun_msg m;

	(void)state;
	stun_build_binding_request(&w, txid);
	assert_false(w.failed);
	assert_int_equal(answer_to(span_of(req, w.len), buf, &m), STUN_ANSWERED);
	assert_memory_equal(m.txid, txid, sizeof(txid));
	assert_true(stun_find_xor_mapped(&m, &e));
	assert_int_equal(e.port, 4242);
	assert_int_equal(e.ip.bytes[3], 9);
	assert_true(stun_find_addr(&m, STUN_RESPONSE_ORIGIN, &e));
	assert_int_equal(e.port, 3478);
	assert_int_equal(stun_check_fingerprint(&m), ERR_OK);
	req[STUN_HEADER_LEN + 5] ^= 1;
	assert_int_equal(answer_to(span_of(req, w.len), buf, &m), STUN_DROP);
}

static void answers_without_fingerprint_if_not_asked(void **state)
{
	uint8_t buf[STUN_MESSAGE_MAX], req[64], txid[STUN_TXID_LEN] = { 9 };
	struct writer w = writer_of(req, sizeof(req));
	struct stun_msg m;

	(void)state;
	stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
	assert_int_equal(answer_to(span_of(req, w.len), buf, &m), STUN_ANSWERED);
	assert_int_equal(stun_check_fingerprint(&m), ERR_NOT_FOUND);
}

static void refuses_unknown_required_attributes(void **state)
{
	uint8_t buf[STUN_MESSAGE_MAX], req[512], txid[STUN_TXID_LEN] = { 9 };
	struct writer w = writer_of(req, sizeof(req));
	struct stun_attr_view a;
	struct stun_msg m;
	struct span reason;
	unsigned code;

	(void)state;
	stun_begin(&w, STUN_REQUEST, STUN_BINDING, txid);
	stun_put_u32(&w, 0x7abc, 1);
	stun_put_u32(&w, 0x7abc, 2);
	stun_put_u32(&w, 0x8abc, 3); /* comprehension-optional */
	assert_int_equal(answer_to(span_of(req, w.len), buf, &m), STUN_REFUSED);
	assert_true(stun_find_error(&m, &code, &reason));
	assert_int_equal(code, 420);
	assert_true(stun_find(&m, STUN_UNKNOWN_ATTRIBUTES, &a));
	assert_int_equal(a.value.len, 2);
	assert_int_equal(load_be16(a.value.p), 0x7abc);
}

static void answers_nothing_but_requests(void **state)
{
	static const uint8_t wireguard[148] = { 1 };
	uint8_t buf[STUN_MESSAGE_MAX], req[64], txid[STUN_TXID_LEN] = { 9 };
	struct writer w = writer_of(req, sizeof(req));
	struct stun_msg m;

	(void)state;
	assert_int_equal(answer_to(SPAN(response4), buf, &m), STUN_DROP);
	assert_int_equal(answer_to(SPAN(wireguard), buf, &m), STUN_DROP);
	assert_false(stun_is_message(wireguard, sizeof(wireguard)));
	stun_begin(&w, STUN_INDICATION, STUN_BINDING, txid);
	assert_int_equal(answer_to(span_of(req, w.len), buf, &m), STUN_DROP);
	stun_begin(&w, STUN_REQUEST, 0x003, txid); /* Allocate */
	assert_int_equal(answer_to(span_of(req, w.len), buf, &m), STUN_DROP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_the_request),
		cmocka_unit_test(reads_the_responses),
		cmocka_unit_test(reads_long_term_credentials),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(every_cut_is_refused),
		cmocka_unit_test(builds_what_it_reads),
		cmocka_unit_test(unprotected_attributes_are_not_seen),
		cmocka_unit_test(answers_a_binding_request),
		cmocka_unit_test(answers_without_fingerprint_if_not_asked),
		cmocka_unit_test(refuses_unknown_required_attributes),
		cmocka_unit_test(answers_nothing_but_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
