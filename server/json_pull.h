/* A strict JSON reader (RFC 8259) that hands out one piece at a time and builds nothing: strings
 * point into the text unless they have escapes. What is read is UTF-8 without zero characters. */
#ifndef SERVER_JSON_PULL_H
#define SERVER_JSON_PULL_H

#include "base/bytes.h"
#include "server/buffer.h"

#define JSON_DEPTH_MAX 64

enum json_kind {
	KIND_BAD, /* none of the others: what is tried next fails */
	KIND_NULL,
	KIND_TRUE,
	KIND_FALSE,
	KIND_NUMBER,
	KIND_STRING,
	KIND_ARRAY,
	KIND_OBJECT
};

struct json_pull {
	const char *p, *end, *start;
	const char *error; /* the first thing that was wrong, NULL; static */
	unsigned depth;
	struct buffer scratch; /* the last string that had escapes */
};

struct json_pull pull_of(const char *text, size_t n);
void pull_free(struct json_pull *j);
/* Where in the text the reader is. */
size_t pull_offset(const struct json_pull *j);

/* What comes next; nothing is taken. */
enum json_kind pull_kind(struct json_pull *j);
/* The functions below take it, and return false with the error set when it is malformed. */
bool pull_literal(struct json_pull *j, enum json_kind kind);
/* OUT is valid until the next call. */
bool pull_string(struct json_pull *j, struct span *out);
/* OUT is the number as written, by JSON's grammar. */
bool pull_number(struct json_pull *j, struct span *out);
/* Whatever it is. */
bool pull_skip(struct json_pull *j);

/* Takes the bracket that pull_kind saw. Then pull_next_item or pull_next_member until it is false:
 * because the array or object ended, or because of an error. FIRST is the caller's, true at first. */
bool pull_open(struct json_pull *j);
bool pull_next_item(struct json_pull *j, bool *first);
/* The key is valid until the next call, like a string; its value comes next. */
bool pull_next_member(struct json_pull *j, bool *first, struct span *key);

/* Whether nothing but white space is left. */
bool pull_end(struct json_pull *j);

/* The length of the JSON number at the front of S, 0 if there is none. */
size_t number_length(const char *s, size_t n);

#endif
