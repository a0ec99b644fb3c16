/* Two engines: handshake, data, byte counters, events. */
#include "wire.h"

static void handshake_then_data(void **state)
{
	struct wire w;
	struct wg_event e;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	assert_int_equal(wire_ping(&w, 0, 1, 84), WG_STAGED);
	assert_true(info_of(&w, 0, 1).handshaking);
	assert_false(info_of(&w, 0, 1).has_session);
	wire_settle(&w);
	assert_int_equal(w.node[1].delivered, 1);
	assert_int_equal(w.node[1].last.len, 84);
	assert_ptr_equal(w.node[1].last.peer, peer_of(&w, 1, 0));
	assert_true(take_event(&w, 0, WG_EVENT_SESSION, &e));
	assert_true(e.first);
	assert_ptr_equal(e.peer, peer_of(&w, 0, 1));
	assert_true(take_event(&w, 1, WG_EVENT_SESSION, &e));
	assert_true(e.first);
	assert_int_equal(wire_ping(&w, 1, 0, 84), WG_SEND);
	wire_settle(&w);
	assert_int_equal(w.node[0].delivered, 1);
	assert_int_equal(w.node[0].event_count + w.node[1].event_count, 0);
	wire_down(&w);
}

/* One handshake and ten pings of 56 bytes each way, as the kernel counts them. */
static void byte_counters(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	for (unsigned i = 0; i < 10; i++) {
		wire_ping(&w, 0, 1, 84);
		wire_settle(&w);
		wire_ping(&w, 1, 0, 84);
		wire_settle(&w);
	}
	assert_int_equal(info_of(&w, 0, 1).tx_bytes, 148 + 10 * 128);
	assert_int_equal(info_of(&w, 0, 1).rx_bytes, 92 + 10 * 128);
	assert_int_equal(info_of(&w, 1, 0).tx_bytes, 92 + 10 * 128);
	assert_int_equal(info_of(&w, 1, 0).rx_bytes, 148 + 10 * 128);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_TRANSPORT), 10);
	wire_down(&w);
}

/* Without staged packets the initiator confirms with a keepalive. */
static void keepalive_confirms(void **state)
{
	struct wire w;

	(void)state;
	wire_up(&w, 2);
	wire_pair(&w, 0, 1);
	wg_peer_initiate(peer_of(&w, 0, 1), false, w.now);
	wire_pump(&w, 0);
	wire_settle(&w);
	assert_int_equal(sent_since(&w, 0, 0, MESSAGE_TRANSPORT), 1);
	assert_int_equal(sent_nth(&w, 0, 0, MESSAGE_TRANSPORT, 0)->len, 32);
	assert_int_equal(info_of(&w, 0, 1).tx_bytes, 148 + 32);
	assert_true(info_of(&w, 1, 0).has_session);
	assert_int_equal(w.node[1].delivered, 0);
	wire_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshake_then_data),
		cmocka_unit_test(byte_counters),
		cmocka_unit_test(keepalive_confirms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
