/* The small parts of the mesh, each alone: secret, inner messages, candidates, outbox. */
#include "world.h"

static struct sim sim;

static int set_up(void **state)
{
	(void)state;
	sim_init(&sim, world_seed(1));
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sim_fini(&sim);
	return 0;
}

/* ---- secret ---- */

static void secret_round_trip(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct secret a, b;
		uint8_t key[32];
		char buf[SECRET_TEXT_MAX], padded[SECRET_TEXT_MAX + 16];
		struct text t = TEXT_IN(buf);

		rng_fill(&sim.rng, key, sizeof(key));
		secret_generate(&a, key, &sim.rng);
		text_secret(&t, &a);
		assert_false(t.truncated);
		assert_int_equal(strspn(buf, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		                             "0123456789-_"), strlen(buf));
		assert_int_equal(secret_parse(buf, strlen(buf), &b), ERR_OK);
		assert_memory_equal(&a, &b, sizeof(a));
		snprintf(padded, sizeof(padded), " \t%s\r\n\n", buf);
		assert_int_equal(secret_parse(padded, strlen(padded), &b), ERR_OK);
		assert_true(secret_fits(&b, key));
		key[31] ^= 1;
		assert_false(secret_fits(&b, key));
	}
}

static void expect_bad(const char *text, size_t len, const struct secret *real)
{
	struct secret out;

	/* Both alphabets of base64 are read, so '+' for '-' is no error. */
	if (secret_parse(text, len, &out) == ERR_OK)
		assert_memory_equal(&out, real, sizeof(out));
}

/* Every single character changed, dropped, doubled, or swapped with its neighbour. */
static void secret_typing_errors(void **state)
{
	static const char alphabet[] = "Aa0-_z9=+/ .";
	struct secret s, out;
	uint8_t key[32] = { 1 };
	char good[SECRET_TEXT_MAX], bad[SECRET_TEXT_MAX + 1];
	struct text t = TEXT_IN(good);
	size_t n;

	(void)state;
	secret_generate(&s, key, &sim.rng);
	text_secret(&t, &s);
	n = strlen(good);
	for (size_t i = 0; i < n; i++) {
		for (const char *c = alphabet; *c; c++) {
			memcpy(bad, good, n);
			bad[i] = *c;
			if (memcmp(bad, good, n) == 0)
				continue;
			expect_bad(bad, n, &s);
		}
		memcpy(bad, good, i);
		memcpy(bad + i, good + i + 1, n - i - 1);
		assert_int_not_equal(secret_parse(bad, n - 1, &out), ERR_OK);
		assert_int_not_equal(secret_parse(good, i, &out), ERR_OK);
		memcpy(bad, good, n);
		bad[i] = good[(i + 1) % n];
		bad[(i + 1) % n] = good[i];
		if (memcmp(bad, good, n) != 0)
			expect_bad(bad, n, &s);
	}
	good[12] = good[12] == 'x' ? 'y' : 'x'; /* right form, wrong sum */
	assert_int_equal(secret_parse(good, n, &out), ERR_AUTH);
	assert_int_equal(secret_parse("hunter2", 7, &out), ERR_INVALID);
	assert_int_equal(secret_parse("", 0, &out), ERR_INVALID);
	assert_int_equal(secret_parse("warren1-", 8, &out), ERR_INVALID);
	assert_int_equal(secret_parse("  \n ", 4, &out), ERR_INVALID);
}

static void derived_keys_differ(void **state)
{
	struct secret s;
	uint8_t k1[32] = { 1 }, k2[32] = { 2 }, n1[32] = { 3 }, n2[32] = { 4 };
	uint8_t a[32], b[32], pair[4][32];
	struct ip_addr l1 = key_link_local(k1), l2 = key_link_local(k2);

	(void)state;
	secret_generate(&s, k1, &sim.rng);
	secret_psk(a, &s, "one");
	secret_psk(b, &s, "two");
	assert_memory_not_equal(a, b, 32);
	secret_pair_psk(pair[0], a, k1, k2, n1, n2);
	secret_pair_psk(pair[1], a, k2, k1, n1, n2);
	secret_pair_psk(pair[2], a, k1, k2, n2, n1);
	secret_pair_psk(pair[3], b, k1, k2, n1, n2);
	for (int i = 0; i < 4; i++)
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(pair[i], pair[j], 32);
	assert_memory_not_equal(pair[0], a, 32);
	assert_true(ip_is_link_local(&l1) && !ip_eq(&l1, &l2));
}

/* ---- inner messages ---- */

static struct ip_addr from_ip, to_ip;

static struct inner_message message_of(enum inner_type type)
{
	struct inner_message m = { .type = type, .id = 0xdeadbeef };

	switch (type) {
	case INNER_ENROL_REQUEST:
		snprintf(m.agent_id, sizeof(m.agent_id), "%s", "an-agent.id_7");
		rng_fill(&sim.rng, m.nonce, sizeof(m.nonce));
		break;
	case INNER_ENROL_RESPONSE:
		m.status = ENROL_UNAVAILABLE;
		m.retry_after_s = 77;
		m.pair_key = true;
		rng_fill(&sim.rng, m.nonce, sizeof(m.nonce));
		m.address4 = (struct ip_prefix){ ip_v4(10, 42, 0, 7), 16 };
		m.address6 = (struct ip_prefix){ net_parse_ip("fd42::7"), 48 };
		m.colony4 = ip_v4(10, 42, 0, 1);
		m.colony6 = net_parse_ip("fd42::1");
		m.observed = (struct endpoint){ ip_v4(192, 0, 2, 1), 40000, 0 };
		break;
	case INNER_PING:
	case INNER_PONG:
		m.stamp = 0x0123456789abcdef;
		m.enrolled = type == INNER_PONG;
		break;
	case INNER_ENROL_CONFIRM:
	case INNER_ENROL_DONE:
		break;
	}
	return m;
}

static void same_message(const struct inner_message *a, const struct inner_message *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->id, b->id);
	assert_string_equal(a->agent_id, b->agent_id);
	assert_memory_equal(a->nonce, b->nonce, sizeof(a->nonce));
	assert_int_equal(a->status, b->status);
	assert_int_equal(a->retry_after_s, b->retry_after_s);
	assert_int_equal(a->pair_key, b->pair_key);
	assert_true(ip_eq(&a->address4.ip, &b->address4.ip) && a->address4.len == b->address4.len);
	assert_true(ip_eq(&a->address6.ip, &b->address6.ip) && a->address6.len == b->address6.len);
	assert_true(ip_eq(&a->colony4, &b->colony4) && ip_eq(&a->colony6, &b->colony6));
	assert_true(endpoint_eq(&a->observed, &b->observed));
	assert_int_equal(a->stamp, b->stamp);
	assert_int_equal(a->enrolled, b->enrolled);
}

static void inner_damage(const uint8_t *bytes, size_t len)
{
	uint8_t copy[INNER_MAX];
	struct inner_message out;

	for (size_t i = 0; i < len; i++) {
		uint8_t *exact = malloc(i ? i : 1); /* so that ASan sees a read past the end */

		memcpy(exact, bytes, i);
		assert_int_not_equal(inner_parse(exact, i, &from_ip, &to_ip, &out), ERR_OK);
		free(exact);
	}
	/* Every bit but those that no checksum covers: traffic class, flow label, hop limit. */
	for (size_t bit = 0; bit < len * 8; bit++) {
		memcpy(copy, bytes, len);
		copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if ((bit / 8 < 4 && bit / 4 != 1) || bit / 8 == 7)
			continue;
		assert_int_not_equal(inner_parse(copy, len, &from_ip, &to_ip, &out), ERR_OK);
	}
}

static void inner_messages(void **state)
{
	uint8_t key[32] = { 9 };

	(void)state;
	from_ip = key_link_local(key);
	key[0]++;
	to_ip = key_link_local(key);
	for (int type = INNER_ENROL_REQUEST; type <= INNER_PONG; type++) {
		struct inner_message m = message_of((enum inner_type)type), out;
		uint8_t bytes[INNER_MAX];
		size_t len = inner_build(bytes, sizeof(bytes), &from_ip, &to_ip, &m);

		assert_in_range(len, 56, INNER_MAX);
		assert_int_equal(inner_parse(bytes, len, &from_ip, &to_ip, &out), ERR_OK);
		same_message(&m, &out);
		assert_int_not_equal(inner_parse(bytes, len, &to_ip, &from_ip, &out), ERR_OK);
		for (size_t cap = 0; cap < len; cap++)
			assert_int_equal(inner_build(bytes, cap, &from_ip, &to_ip, &m), 0);
		inner_build(bytes, sizeof(bytes), &from_ip, &to_ip, &m);
		inner_damage(bytes, len);
		bytes[len] = 0xaa; /* WireGuard's padding may follow */
		assert_int_equal(inner_parse(bytes, len + 1, &from_ip, &to_ip, &out), ERR_OK);
	}
}

/* A well-formed packet whose fields are out of range. */
static void inner_nonsense(void **state)
{
	struct inner_message m = message_of(INNER_ENROL_RESPONSE), out;
	uint8_t bytes[INNER_MAX];
	size_t len;

	(void)state;
	m.type = (enum inner_type)99;
	len = inner_build(bytes, sizeof(bytes), &from_ip, &to_ip, &m);
	assert_int_equal(inner_parse(bytes, len, &from_ip, &to_ip, &out), ERR_UNSUPPORTED);
	m = message_of(INNER_ENROL_RESPONSE);
	m.address4.len = 33;
	len = inner_build(bytes, sizeof(bytes), &from_ip, &to_ip, &m);
	assert_int_equal(inner_parse(bytes, len, &from_ip, &to_ip, &out), ERR_INVALID);
	m = message_of(INNER_ENROL_RESPONSE);
	m.colony4.family = 5;
	len = inner_build(bytes, sizeof(bytes), &from_ip, &to_ip, &m);
	assert_int_equal(inner_parse(bytes, len, &from_ip, &to_ip, &out), ERR_INVALID);
	m = message_of(INNER_ENROL_RESPONSE);
	m.status = (enum enrol_status)6; /* a later version's reason is a refusal all the same */
	len = inner_build(bytes, sizeof(bytes), &from_ip, &to_ip, &m);
	assert_int_equal(inner_parse(bytes, len, &from_ip, &to_ip, &out), ERR_OK);
	assert_int_equal(out.status, ENROL_UNAVAILABLE);
}

static void ids(void **state)
{
	char longest[MESH_ID_MAX + 1];

	(void)state;
	memset(longest, 'a', sizeof(longest));
	longest[MESH_ID_MAX - 1] = '\0';
	assert_true(mesh_id_is_valid(longest));
	longest[MESH_ID_MAX - 1] = 'a';
	longest[MESH_ID_MAX] = '\0';
	assert_false(mesh_id_is_valid(longest));
	assert_true(mesh_id_is_valid("a") && mesh_id_is_valid("9.x_y-z"));
	assert_false(mesh_id_is_valid("") || mesh_id_is_valid("-a") || mesh_id_is_valid(".a") ||
	             mesh_id_is_valid("a b") || mesh_id_is_valid("a/b") || mesh_id_is_valid("ä"));
}

/* ---- candidates ---- */

static enum err parse(const char *s, struct candidate *c)
{
	return candidate_parse(s, strlen(s), c);
}

static void candidate_forms(void **state)
{
	static const char *const unsupported[] = {
		"candidate:1 1 tcp 1 192.0.2.1 5 typ host", "candidate:1 2 udp 1 192.0.2.1 5 typ host",
		"candidate:1 1 udp 1 7f3c.local 5 typ host", "candidate:1 1 udp 1 ff02::1 5 typ host",
		"candidate:1 1 udp 1 fe80::1 5 typ host", "candidate:1 1 udp 1 192.0.2.1 0 typ host",
		"candidate:1 1 udp 1 0.0.0.0 5 typ host", "candidate:1 1 udp 1 224.0.0.1 5 typ host",
		"candidate:1 1 udp 1 127.0.0.1 5 typ host", "candidate:1 1 udp 1 ::1 5 typ host",
		"candidate:1 1 udp 1 255.255.255.255 5 typ host",
		"candidate:1 1 udp 1 ::ffff:127.0.0.1 5 typ host",
		"candidate:1 1 udp 1 192.0.2.1 5 typ other", "candidate:1 1 udp 1 :: 5 typ host",
	};
	static const char *const invalid[] = {
		"", " ", "candidate:1", "candidate:1 1", "candidate:1 1 udp", "candidate:1 x udp 1 192.0.2.1 5",
		"candidate:1 1 udp -1 192.0.2.1 5 typ host", "candidate:1 1 udp 1 192.0.2.1 65536 typ host",
		"candidate:1 1 udp 4294967296 192.0.2.1 5 typ host",
		"candidate:1 1 udp 1 192.0.2.1 5 host", "candidate:1 1 udp 1 192.0.2.1 5",
		"candidate:1 257 udp 1 192.0.2.1 5 typ host", "candidate:1 1 udp 1 192.0.2.1 5x typ host",
	};
	struct candidate c;

	(void)state;
	/* RFC 8839 section 5.1 and its appendix. */
	assert_int_equal(parse("candidate:1 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr "
	                       "203.0.113.141 rport 8998", &c), ERR_OK);
	assert_int_equal(c.type, CANDIDATE_SRFLX);
	assert_int_equal(c.endpoint.port, 45664);
	assert_int_equal(parse("2 1 udp 2130706431 2001:db8::1 8998 typ host generation 0", &c),
	                 ERR_OK);
	assert_int_equal(c.endpoint.ip.family, IP_V6);
	assert_int_equal(parse("candidate:x 1 udp 0 198.51.100.1 1 typ relay", &c), ERR_OK);
	assert_int_equal(c.type, CANDIDATE_RELAY);
	assert_int_equal(parse("candidate:x 1 udp 0 198.51.100.1 1 typ prflx", &c), ERR_OK);
	for (size_t i = 0; i < ARRAY_LEN(unsupported); i++)
		assert_int_equal(parse(unsupported[i], &c), ERR_UNSUPPORTED);
	for (size_t i = 0; i < ARRAY_LEN(invalid); i++)
		assert_int_not_equal(parse(invalid[i], &c), ERR_OK);
}

static void candidate_round_trip(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++) {
		struct candidate c = { .type = (enum candidate_type)sim_below(&sim, 4) }, out;
		char buf[CANDIDATE_TEXT_MAX];
		struct text t = TEXT_IN(buf);

		rng_fill(&sim.rng, c.endpoint.ip.bytes, 16);
		c.endpoint.ip = ip_from_bytes(c.endpoint.ip.bytes, i % 2 ? IP_V4 : IP_V6);
		c.endpoint.port = (uint16_t)sim_below(&sim, 65536);
		text_candidate(&t, &c, (size_t)i % MESH_CANDIDATES_MAX);
		assert_false(t.truncated);
		if (!candidate_is_usable(&c.endpoint)) {
			assert_int_equal(parse(buf, &out), ERR_UNSUPPORTED);
			continue;
		}
		assert_int_equal(parse(buf, &out), ERR_OK);
		assert_int_equal(out.type, c.type);
		assert_true(endpoint_eq(&out.endpoint, &c.endpoint));
	}
}

static void candidate_garbage(void **state)
{
	static const char good[] = "candidate:1 1 udp 2130706431 192.0.2.1 8998 typ host";
	struct candidate c;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		size_t n = sim_below(&sim, sizeof(good));
		char *s = malloc(n ? n : 1);

		memcpy(s, good, n);
		for (unsigned k = sim_below(&sim, 4); n && k; k--)
			s[sim_below(&sim, (uint32_t)n)] = (char)sim_below(&sim, 256);
		if (candidate_parse(s, n, &c) == ERR_OK)
			assert_true(candidate_is_usable(&c.endpoint));
		free(s);
	}
}

static void candidate_lists(void **state)
{
	struct candidate list[MESH_CANDIDATES_MAX];
	struct endpoint e = { ip_v4(192, 0, 2, 1), 1, 0 };
	size_t n = 0;

	(void)state;
	for (uint16_t port = 1; port <= MESH_CANDIDATES_MAX; port++) {
		e.port = port;
		assert_true(candidate_add(list, &n, CANDIDATE_HOST, &e));
		assert_false(candidate_add(list, &n, CANDIDATE_SRFLX, &e));
	}
	e.port = 999;
	assert_false(candidate_add(list, &n, CANDIDATE_HOST, &e));
	assert_int_equal(n, MESH_CANDIDATES_MAX);
}

/* ---- outbox ---- */

static void outbox_bounds(void **state)
{
	struct outbox o = { .ring = calloc(MESH_ACTIONS_MAX, sizeof(*o.ring)) };
	struct endpoint e = { ip_v4(192, 0, 2, 1), 1, 0 };
	struct wg_peer *p = (struct wg_peer *)(void *)&o, *q = (struct wg_peer *)(void *)&e;
	struct mesh_action out, *a;
	size_t left = 0;

	(void)state;
	for (unsigned i = 0; i < MESH_ACTIONS_MAX + 7; i++)
		outbox_send(&o, &e, &i, sizeof(i), 0);
	assert_int_equal(o.lost, 7);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(outbox_take(&o, &out));
		assert_memory_equal(out.bytes, &i, sizeof(i));
	}
	for (unsigned i = 0; i < 100; i++) { /* across the end of the ring */
		a = outbox_add(&o, MESH_SEND_INNER);
		assert_non_null(a);
		a->peer = i % 2 ? p : q;
	}
	outbox_drop(&o, MESH_SEND_INNER, p);
	while (outbox_take(&o, &out)) {
		assert_ptr_not_equal(out.peer, p);
		left++;
	}
	assert_int_equal(left, MESH_ACTIONS_MAX - 100 + 50);
	free(o.ring);
}

/* ---- the simulator's own NAT: the trap is there, and so is the way out ---- */

static void order_of_arrival_trap(void **state)
{
	struct nat n = { .sim = &sim, .kind = NAT_MASQUERADE };
	struct ip_addr wan = ip_v4(203, 0, 113, 1);
	struct endpoint remote = { ip_v4(192, 0, 2, 1), 5000, 0 }, to = { wan, 41580, 0 };
	struct endpoint inside = { ip_v4(192, 168, 1, 2), 41580, 0 }, from = inside;

	(void)state;
	/* Out first: the port is kept, and the answer comes in. */
	nat_out(&n, &wan, &from, &remote);
	assert_true(endpoint_eq(&from, &to));
	assert_true(nat_in(&n, &remote, &to));
	assert_true(endpoint_eq(&to, &inside));
	/* In first, from another port: it stays outside, and the port is gone for that remote. */
	remote.port++;
	to = (struct endpoint){ wan, 41580, 0 };
	assert_false(nat_in(&n, &remote, &to));
	from = inside;
	nat_out(&n, &wan, &from, &remote);
	assert_int_not_equal(from.port, 41580);
	assert_int_equal(n.trapped, 1);
	/* With a filter nothing is remembered; and what is remembered is so for 30 s. */
	remote.port++;
	n.wan_filter = true;
	assert_false(nat_in(&n, &remote, &to));
	from = inside;
	nat_out(&n, &wan, &from, &remote);
	assert_int_equal(from.port, 41580);
	n.wan_filter = false;
	remote.port++;
	assert_false(nat_in(&n, &remote, &to));
	sim.now += 30 * S;
	from = inside;
	nat_out(&n, &wan, &from, &remote);
	assert_int_equal(from.port, 41580);
	nat_fini(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(secret_round_trip),
		cmocka_unit_test(secret_typing_errors),
		cmocka_unit_test(derived_keys_differ),
		cmocka_unit_test(inner_messages),
		cmocka_unit_test(inner_nonsense),
		cmocka_unit_test(ids),
		cmocka_unit_test(candidate_forms),
		cmocka_unit_test(candidate_round_trip),
		cmocka_unit_test(candidate_garbage),
		cmocka_unit_test(candidate_lists),
		cmocka_unit_test(outbox_bounds),
		cmocka_unit_test(order_of_arrival_trap),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
