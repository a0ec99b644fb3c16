/* The configuration protocol: set, get, and that what get says can be set. */
#include "wire.h"

#define KEY_A "b85996fecc9c7f1fc6d2572a76eda11d59bcd20be8e543b15ce4bd85a8e75a33"
#define KEY_B "58402e695ba1772b1cc9309755f043251ea77fdcf10fbe63989ceb7e19321376"
#define KEY_C "662e14fd594556f522604703340351258903b64f35553763f19426ab2a515c58"
#define SECRET "e84b5a6d2717c1003a13b431570353dbaca9146cf150c5f8575680feba52027a"
#define PSK "188515093e952f5f22e865cef3012e72f8b5f0b598ac0309d5dacce3b70fcf52"
#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

#define EINVAL_ 22

static int set_line(struct wire *w, struct wg_uapi_set *s, const char *line)
{
	return wg_uapi_set_line(s, line, strlen(line), w->now);
}

/* A whole request; the first error, if any. */
static int set(struct wire *w, const char *text, struct wg_uapi_host *host)
{
	struct wg_uapi_set s;
	int e = 0;

	wg_uapi_set_begin(&s, w->node[0].d);
	while (*text && !e) {
		size_t len = strcspn(text, "\n");

		e = wg_uapi_set_line(&s, text, len, w->now);
		text += len + (text[len] == '\n');
	}
	if (host)
		*host = s.host;
	return e;
}

static char *get_from(struct wg_device *d, const struct wg_uapi_host *host, uint64_t now)
{
	static char answer[4 << 20];
	static char piece[17 << 10];
	struct text all = TEXT_IN(answer);
	struct wg_uapi_get g;
	bool more;

	wg_uapi_get_begin(&g, d, host);
	do {
		struct text t = TEXT_IN(piece);

		more = wg_uapi_get_next(&g, &t, now);
		assert_false(t.truncated);
		assert_true(t.len <= 16 << 10);
		text_strn(&all, t.p, t.len);
	} while (more);
	assert_false(all.truncated);
	return answer;
}

static char *get(struct wire *w, const struct wg_uapi_host *host)
{
	return get_from(w->node[0].d, host, w->now);
}

static const char *const full =
	"private_key=" SECRET "\n"
	"listen_port=12912\n"
	"fwmark=255\n"
	"replace_peers=true\n"
	"public_key=" KEY_A "\n"
	"preshared_key=" PSK "\n"
	"replace_allowed_ips=true\n"
	"allowed_ip=192.168.4.4/32\n"
	"endpoint=[abcd:23::33%2]:51820\n"
	"public_key=" KEY_B "\n"
	"protocol_version=1\n"
	"allowed_ip=192.168.4.6/32\n"
	"allowed_ip=10.1.2.3/16\n"
	"persistent_keepalive_interval=111\n"
	"endpoint=182.122.22.19:3233\n"
	"public_key=" KEY_C "\n"
	"endpoint=5.152.198.39:51820\n"
	"allowed_ip=2001:db8::/48\n";

static const char *const full_answer =
	"private_key=" SECRET "\n"
	"listen_port=12912\n"
	"fwmark=255\n"
	"public_key=" KEY_A "\n"
	"preshared_key=" PSK "\n"
	"protocol_version=1\n"
	"endpoint=[abcd:23::33%2]:51820\n"
	"last_handshake_time_sec=0\n"
	"last_handshake_time_nsec=0\n"
	"tx_bytes=0\n"
	"rx_bytes=0\n"
	"persistent_keepalive_interval=0\n"
	"allowed_ip=192.168.4.4/32\n"
	"public_key=" KEY_B "\n"
	"preshared_key=" ZEROS "\n"
	"protocol_version=1\n"
	"endpoint=182.122.22.19:3233\n"
	"last_handshake_time_sec=0\n"
	"last_handshake_time_nsec=0\n"
	"tx_bytes=0\n"
	"rx_bytes=0\n"
	"persistent_keepalive_interval=111\n"
	"allowed_ip=192.168.4.6/32\n"
	"allowed_ip=10.1.0.0/16\n"
	"public_key=" KEY_C "\n"
	"preshared_key=" ZEROS "\n"
	"protocol_version=1\n"
	"endpoint=5.152.198.39:51820\n"
	"last_handshake_time_sec=0\n"
	"last_handshake_time_nsec=0\n"
	"tx_bytes=0\n"
	"rx_bytes=0\n"
	"persistent_keepalive_interval=0\n"
	"allowed_ip=2001:db8::/48\n";

static void set_and_get(void **state)
{
	struct wire w;
	struct wg_uapi_host host;

	(void)state;
	wire_up(&w, 1);
	assert_int_equal(set(&w, full, &host), 0);
	assert_true(host.has_listen_port && host.has_fwmark);
	assert_int_equal(host.listen_port, 12912);
	assert_int_equal(host.fwmark, 255);
	assert_string_equal(get(&w, &host), full_answer);
	/* Twice the same is the same. */
	assert_int_equal(set(&w, full, &host), 0);
	assert_string_equal(get(&w, &host), full_answer);
	wire_down(&w);
}

static void nothing_to_say(void **state)
{
	struct wire w;
	struct wg_uapi_host host = { 0 };

	(void)state;
	wire_up(&w, 1);
	assert_int_equal(set(&w, "private_key=" ZEROS "\n", NULL), 0);
	assert_string_equal(get(&w, &host), "");
	wire_down(&w);
}

static void updates(void **state)
{
	struct wire w;
	struct wg_uapi_host host;

	(void)state;
	wire_up(&w, 1);
	assert_int_equal(set(&w, full, &host), 0);
	/* Unknown peers are neither made by update_only nor by remove. */
	assert_int_equal(set(&w,
	                     "public_key=" SECRET "\nupdate_only=true\nallowed_ip=10.1.0.0/16\n"
	                     "public_key=" SECRET "\nremove=true\n",
	                     NULL),
	                 0);
	assert_string_equal(get(&w, &host), full_answer);
	/* Known ones are changed and removed; a prefix moves, or goes. */
	assert_int_equal(set(&w,
	                     "public_key=" KEY_C "\nupdate_only=true\n"
	                     "allowed_ip=192.168.4.4/32\nallowed_ip=+10.2.0.0/16\n"
	                     "allowed_ip=-2001:db8::/48\nallowed_ip=-10.1.0.0/16\n"
	                     "public_key=" KEY_A "\nremove=true\nallowed_ip=1.1.1.1/32\n",
	                     NULL),
	                 0);
	assert_int_equal(wg_peer_count(w.node[0].d), 2);
	assert_null(strstr(get(&w, &host), "abcd:23::33"));
	assert_null(strstr(get(&w, &host), "1.1.1.1"));
	assert_null(strstr(get(&w, &host), "2001:db8"));
	assert_non_null(strstr(get(&w, &host), "allowed_ip=10.1.0.0/16"));
	assert_non_null(strstr(get(&w, &host), "allowed_ip=192.168.4.4/32\n"
	                                       "allowed_ip=10.2.0.0/16\n"));
	assert_int_equal(set(&w, "replace_peers=true\n", NULL), 0);
	assert_int_equal(wg_peer_count(w.node[0].d), 0);
	wire_down(&w);
}

static void our_own_section_is_skipped(void **state)
{
	struct wire w;
	char line[200] = "public_key=";
	struct wg_uapi_set s;

	(void)state;
	wire_up(&w, 1);
	for (unsigned i = 0; i < 32; i++)
		snprintf(line + 11 + 2 * i, 3, "%02x", wg_public_key(w.node[0].d)[i]);
	wg_uapi_set_begin(&s, w.node[0].d);
	assert_int_equal(set_line(&w, &s, line), 0);
	assert_int_equal(set_line(&w, &s, "allowed_ip=10.0.0.0/8"), 0);
	assert_int_equal(set_line(&w, &s, "remove=true"), 0);
	assert_int_equal(wg_peer_count(w.node[0].d), 0);
	wire_down(&w);
}

/* On an interface of the mesh, its peers and its key are not for others to take. */
static void managed_device(void **state)
{
	struct wg_config cfg = { .managed = true };
	struct wire w;
	struct wg_peer *p;
	char line[100] = "private_key=";

	(void)state;
	wire_up_with(&w, 1, &cfg);
	assert_int_equal(set(&w, strchr(full, '\n') + 1, NULL), 0);
	p = wg_peer_next(w.node[0].d, wg_peer_next(w.node[0].d, NULL));
	wg_peer_set_user(p, &w);
	assert_int_equal(set(&w, "public_key=" KEY_B "\nremove=true\n", NULL), 1);
	assert_int_equal(set(&w, "replace_peers=true\n", NULL), 0);
	assert_int_equal(wg_peer_count(w.node[0].d), 1);
	assert_ptr_equal(wg_peer_next(w.node[0].d, NULL), p);
	assert_int_equal(set(&w, "private_key=" SECRET "\n", NULL), 1);
	assert_int_equal(set(&w, "private_key=" ZEROS "\n", NULL), 1);
	for (unsigned i = 0; i < 32; i++)
		snprintf(line + 12 + 2 * i, 3, "%02x", w.node[0].secret[i]);
	assert_int_equal(set(&w, line, NULL), 0);
	wire_down(&w);
}

/* Somebody else removes the peer while its section is read. */
static void peer_vanishes(void **state)
{
	struct wire w;
	struct wg_uapi_set s;

	(void)state;
	wire_up(&w, 1);
	wg_uapi_set_begin(&s, w.node[0].d);
	assert_int_equal(set_line(&w, &s, "public_key=" KEY_A), 0);
	wg_peer_remove(w.node[0].d, wg_peer_next(w.node[0].d, NULL));
	assert_int_equal(set_line(&w, &s, "allowed_ip=10.0.0.0/8"), 0);
	assert_int_equal(set_line(&w, &s, "remove=true"), 0);
	assert_int_equal(set_line(&w, &s, "update_only=true"), 0);
	wire_down(&w);
}

static void bad_device_lines(void **state)
{
	static const char *const bad[] = {
		"", "=", "private_key", "nonsense=1", "private_key=", "private_key=1234",
		("private_key=" SECRET "00"), ("private_key=" SECRET " "), "listen_port=",
		"listen_port=65536", "listen_port=-1", "listen_port= 1", "listen_port=0x10",
		"fwmark=4294967296", "fwmark=a", "replace_peers=false", "replace_peers=",
		"Listen_port=1", "public_key=zz", ("public_key=" KEY_A "0"),
		/* before any public_key */
		("preshared_key=" PSK), "endpoint=1.2.3.4:5", "allowed_ip=10.0.0.0/8",
		"remove=true",
		"protocol_version=1", "errno=0", "get=1",
	};
	struct wire w;

	(void)state;
	wire_up(&w, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wg_uapi_set s;

		wg_uapi_set_begin(&s, w.node[0].d);
		assert_int_equal(set_line(&w, &s, bad[i]), EINVAL_);
		assert_false(s.host.has_listen_port || s.host.has_fwmark);
	}
	assert_int_equal(wg_peer_count(w.node[0].d), 0);
	wire_down(&w);
}

static void bad_peer_lines(void **state)
{
	static const char *const bad[] = {
		"remove=false", "remove=", "update_only=1", "replace_allowed_ips=yes",
		"preshared_key=12", "endpoint=1.2.3.4", "endpoint=1.2.3.4:",
		"endpoint=1.2.3.4:65536",
		"endpoint=::1:5", "endpoint=host:5", "endpoint=",
		"persistent_keepalive_interval=65536",
		"persistent_keepalive_interval=off", "allowed_ip=10.0.0.0",
		"allowed_ip=10.0.0.0/33",
		"allowed_ip=::/129", "allowed_ip=10.0.0/8", "allowed_ip=", "allowed_ip=-",
		"allowed_ip=--10.0.0.0/8", "protocol_version=2", ("private_key=" SECRET),
		"listen_port=1", "fwmark=1", "replace_peers=true",
	};
	struct wire w;

	(void)state;
	wire_up(&w, 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct wg_uapi_set s;

		wg_uapi_set_begin(&s, w.node[0].d);
		assert_int_equal(set_line(&w, &s, "public_key=" KEY_A), 0);
		assert_int_equal(set_line(&w, &s, bad[i]), EINVAL_);
	}
	wire_down(&w);
}

/* Counters and times of a session show, and a big table comes in pieces. */
static void live_values(void **state)
{
	struct wire w;
	struct wg_uapi_host host = { 0 };

	(void)state;
	wire_up(&w, 2);
	wire_run(&w, 1500 * MS);
	wire_connect(&w, 0, 1);
	assert_non_null(strstr(get(&w, &host), "\nlast_handshake_time_sec=1700000001\n"
	                                       "last_handshake_time_nsec=502000000\n"
	                                       "tx_bytes=276\nrx_bytes=92\n"));
	wire_down(&w);
}

static void big_table_in_pieces(void **state)
{
	struct wire w;
	struct wg_uapi_host host = { 0 };
	const char *p;
	unsigned n = 0;

	(void)state;
	wire_up(&w, 1);
	for (unsigned i = 0; i < 300; i++) {
		struct ip_prefix prefix = prefix_of("10.0.0.0/32");
		uint8_t key[32];
		struct wg_peer *peer;

		rng_fill(&w.rng, key, 32);
		assert_int_equal(wg_peer_add(w.node[0].d, key, &peer, w.now), ERR_OK);
		for (unsigned k = 0; k < (i == 7 ? 3000 : i % 5); k++) {
			store_be32(prefix.ip.bytes, 0x0a000000 + i * 4096 + k);
			assert_int_equal(wg_peer_allow(peer, &prefix), ERR_OK);
		}
	}
	for (p = get(&w, &host); (p = strstr(p, "allowed_ip=")); p++)
		n++;
	assert_int_equal(n, 3000 + 60 * 10 - 2);
	wire_down(&w);
}

static void persistent_keepalive_speaks(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 1);
	assert_int_equal(set(&w,
	                     "public_key=" KEY_A "\npersistent_keepalive_interval=25\n"
	                     "endpoint=192.0.2.77:51820\n",
	                     NULL),
	                 0);
	wire_pump(&w, 0);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_INITIATION), 1);
	wire_down(&w);
}

static void limits_have_their_errno(void **state)
{
	struct wg_config cfg = { .max_peers = 1 };
	struct wire w;

	(void)state;
	wire_up_with(&w, 1, &cfg);
	assert_int_equal(set(&w, "public_key=" KEY_A "\n", NULL), 0);
	assert_int_equal(set(&w, "public_key=" KEY_B "\n", NULL), 28);
	w.meter.fail_at = w.meter.calls + 1;
	assert_int_equal(set(&w, "public_key=" KEY_A "\nallowed_ip=1.1.1.1/32\n", NULL), 12);
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_and_get),
		cmocka_unit_test(nothing_to_say),
		cmocka_unit_test(updates),
		cmocka_unit_test(our_own_section_is_skipped),
		cmocka_unit_test(managed_device),
		cmocka_unit_test(peer_vanishes),
		cmocka_unit_test(bad_device_lines),
		cmocka_unit_test(bad_peer_lines),
		cmocka_unit_test(live_values),
		cmocka_unit_test(big_table_in_pieces),
		cmocka_unit_test(persistent_keepalive_speaks),
		cmocka_unit_test(limits_have_their_errno),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
