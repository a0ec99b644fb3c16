/* A datagram through the parser, every reader of attributes, and the Binding server; its answer
 * must parse. */
#include "fuzz.h"

#include <stdlib.h>

#include "stun/stun.h"

static void read_all(const struct stun_msg *m)
{
	struct stun_attr_view a;
	struct endpoint e;
	struct span reason;
	uint16_t unknown[4];
	unsigned code;
	size_t pos = 0, total = 0;

	while (stun_next(m, &pos, &a))
		for (size_t i = 0; i < a.value.len; i++)
			total += a.value.p[i];
	(void)stun_find_xor_mapped(m, &e);
	(void)stun_find_error(m, &code, &reason);
	(void)stun_unknown_required(m, NULL, 0, unknown, ARRAY_LEN(unknown));
	if (stun_check_integrity(m, span_of("key", 3)) == ERR_OK && total == 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct endpoint from = { ip_v4(192, 0, 2, 1), 1, 0 }, local = { ip_v4(192, 0, 2, 2), 2, 0 };
	uint8_t buf[STUN_MESSAGE_MAX];
	struct writer w = writer_of(buf, sizeof(buf));
	struct stun_msg m;

	if (stun_parse(span_of(data, size), &m) == ERR_OK)
		read_all(&m);
	if (stun_respond(span_of(data, size), &from, &local, &w) == STUN_DROP)
		return 0;
	if (stun_parse(span_of(buf, w.len), &m) || stun_check_fingerprint(&m) == ERR_INVALID ||
	    w.len > size + 80)
		abort();
	return 0;
}
