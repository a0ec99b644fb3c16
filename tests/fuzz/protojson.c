/* JSON to a message; what is accepted is written, read and written again, and must be the same. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "rpc/methods.h"
#include "server/protojson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static union rpc_request request;
	struct buffer once = { 0 }, twice = { 0 };
	const struct rpc_method_info *info;
	struct codec_error e;

	/* The first byte chooses the message. */
	if (size == 0)
		return 0;
	info = rpc_method_info((enum rpc_method)(data[0] % RPC_METHOD_COUNT));
	if (!protojson_read((const char *)data + 1, size - 1, info->request, &request,
	                    info->request_size, &e)) {
		if (!*e.text)
			abort();
		return 0;
	}
	protojson_write(&once, info->request, &request);
	if (!protojson_read(once.p, once.len, info->request, &request, info->request_size, &e))
		abort();
	protojson_write(&twice, info->request, &request);
	if (once.len != twice.len || memcmp(once.p, twice.p, once.len) != 0)
		abort();
	buffer_free(&once);
	buffer_free(&twice);
	return 0;
}
