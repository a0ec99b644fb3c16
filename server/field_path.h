/* Where in a message a reader is, so that what it refuses can be named: "endpoints[3]",
 * "public_endpoint.ca_cert". Both codecs speak of fields in this way. */
#ifndef SERVER_FIELD_PATH_H
#define SERVER_FIELD_PATH_H

#include <stdbool.h>
#include <stddef.h>

struct codec_error {
	char text[192]; /* what is wrong, beginning with the field's path */
};

struct field_path {
	char text[96];
	size_t len;
	struct codec_error *error;
};

/* Puts the path and what is wrong there into the error. Always false, to be returned at once. */
bool path_wrong(struct field_path *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Extends the path and returns its former length, to be put back by path_leave. What does not fit
 * is cut: it serves for messages only. */
size_t path_enter(struct field_path *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void path_leave(struct field_path *p, size_t before);

#endif
