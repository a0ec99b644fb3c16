/* A connection's bytes, in pieces that the first byte chooses. */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "server/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_reader *r = http_reader_new();
	size_t step, at = 1;
	enum http_event e = HTTP_MORE;

	if (!r || size == 0) {
		http_reader_free(r);
		return 0;
	}
	step = data[0] ? data[0] : 4096;
	while (at < size && e != HTTP_BAD) {
		size_t n = size - at < step ? size - at : step, used;

		e = http_feed(r, (const char *)data + at, n, &used);
		if (used > n || (e == HTTP_MORE && used != n) ||
		    (e == HTTP_BAD && http_bad_status(r) < 400))
			abort();
		at += used;
		if (e == HTTP_COMPLETE && strlen(http_request(r)->host) > 255)
			abort();
	}
	http_reader_free(r);
	return 0;
}
