/* Where in a message a reader is, so that what it refuses can be named: "endpoints[3]",
 * "public_endpoint.ca_cert". Both codecs speak of fields in this way. Keeping the path costs next
 * to nothing; it is put into words only when something is wrong. */
#ifndef SERVER_FIELD_PATH_H
#define SERVER_FIELD_PATH_H

#include <stdbool.h>
#include <stddef.h>

struct codec_error {
	char text[192]; /* what is wrong, beginning with the field's path */
};

/* Deeper than the schema nests, lists and maps counted twice. */
#define FIELD_PATH_MAX 8

struct field_path {
	struct path_step {
		const char *name; /* of a field, or a map's key; NULL: an item of a list */
		size_t index;     /* of the item; SIZE_MAX: NAME is a key */
	} step[FIELD_PATH_MAX];
	size_t depth;
	struct codec_error *error;
};

/* Puts the path and what is wrong there into the error. Always false, to be returned at once. */
bool path_wrong(const struct field_path *p, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* One step down, to a field, an item, or a key. Names are borrowed until path_leave. Each returns
 * the former depth, to be put back by path_leave. */
size_t path_enter(struct field_path *p, const char *name);
size_t path_enter_item(struct field_path *p, size_t index);
size_t path_enter_key(struct field_path *p, const char *key);
void path_leave(struct field_path *p, size_t before);

#endif
