/* Protobuf to a message; what is accepted is written, read and written again, and must be the same:
 * as binary, and by way of JSON. */
#include "fuzz.h"

#include <string.h>

#include "rpc/methods.h"
#include "server/codec.h"

static union rpc_request request;

static void goes_round(const struct codec_message *m, enum codec codec, struct buffer *once)
{
	struct buffer twice = { 0 };
	struct codec_error e;

	once->len = 0;
	codec_write(codec, once, m->desc, m->p);
	FUZZ_CHECK(codec_read(codec, span_of(once->p, once->len), m, &e));
	codec_write(codec, &twice, m->desc, m->p);
	FUZZ_CHECK(once->len == twice.len);
	FUZZ_CHECK(!once->len || memcmp(once->p, twice.p, once->len) == 0);
	buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct rpc_method_info *info;
	struct codec_message m;
	struct buffer text = { 0 };
	struct codec_error e;

	/* The first byte chooses the message. */
	if (size == 0)
		return 0;
	info = rpc_method_info((enum rpc_method)(data[0] % RPC_METHOD_COUNT));
	m = (struct codec_message){ info->request, &request, info->request_size };
	if (!codec_read(CODEC_PROTO, span_of(data + 1, size - 1), &m, &e)) {
		FUZZ_CHECK(*e.text);
		return 0;
	}
	goes_round(&m, CODEC_PROTO, &text);
	goes_round(&m, CODEC_JSON, &text);
	goes_round(&m, CODEC_PROTO, &text);
	buffer_free(&text);
	return 0;
}
