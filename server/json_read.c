#include "server/protojson.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pb_common.h"
#include "base/text.h"
#include "server/json_pull.h"
#include "server/rfc3339.h"
#include "server/schema_names.h"

/* Numbers are a double's at most: longer ones are written by nobody who means an integer. */
#define NUMBER_MAX 40

struct reading {
	struct json_pull json;
	struct field_path path;
};

static bool read_message(struct reading *r, const pb_msgdesc_t *desc, void *message);

#define WRONG(r, ...) path_wrong(&(r)->path, __VA_ARGS__)

/* What the JSON reader found: the body as a whole is to blame, not the field. */
static bool malformed(struct reading *r)
{
	path_leave(&r->path, 0);
	return WRONG(r, "the body is not JSON: byte %zu: %s", pull_offset(&r->json),
	             r->json.error ? r->json.error : "a value is missing");
}

/* WANT comes next. Something else of JSON's is the field's fault. */
static bool expect(struct reading *r, enum json_kind want, const char *otherwise)
{
	enum json_kind kind = pull_kind(&r->json);

	if (kind == want)
		return true;
	return kind == KIND_BAD ? malformed(r) : WRONG(r, "%s", otherwise);
}

/* --- scalars -------------------------------------------------------------------------------- */

/* Decimal digits with perhaps a sign, as they stand. False when they are beyond 64 bits. */
static bool plain_integer(struct span s, int64_t *out)
{
	bool negative = s.p[0] == '-';
	uint64_t limit = (uint64_t)INT64_MAX + negative, v;

	if (parse_u64((const char *)s.p + negative, s.len - negative, limit, &v))
		return false;
	*out = negative ? (int64_t)(0 - v) : (int64_t)v;
	return true;
}

/* 1.0 and 1e3 are integers too. */
static bool real_integer(struct reading *r, struct span s, int64_t *out)
{
	char text[NUMBER_MAX + 1];
	double real;

	if (s.len > NUMBER_MAX)
		return WRONG(r, "must be an integer");
	memcpy(text, s.p, s.len);
	text[s.len] = '\0';
	real = strtod(text, NULL);
	if (real != floor(real))
		return WRONG(r, "must be an integer");
	/* Beyond 2^53 a double does not say which integer is meant. */
	if (fabs(real) > 9007199254740992.0)
		return WRONG(r, "out of range");
	*out = (int64_t)real;
	return true;
}

/* A JSON number, or one in a string, that denotes an integer in [LO, HI]. */
static bool read_integer(struct reading *r, int64_t lo, int64_t hi, int64_t *out)
{
	enum json_kind kind = pull_kind(&r->json);
	struct span s;

	*out = 0;
	if (kind == KIND_BAD)
		return malformed(r);
	if (kind != KIND_STRING && kind != KIND_NUMBER)
		return WRONG(r, "must be an integer");
	if (kind == KIND_STRING ? !pull_string(&r->json, &s) : !pull_number(&r->json, &s))
		return malformed(r);
	if (s.len == 0 || number_length((const char *)s.p, s.len) != s.len)
		return WRONG(r, "must be an integer");
	if (memchr(s.p, '.', s.len) || memchr(s.p, 'e', s.len) || memchr(s.p, 'E', s.len)) {
		if (!real_integer(r, s, out))
			return false;
	} else if (!plain_integer(s, out)) {
		return WRONG(r, "out of range");
	}
	return (*out >= lo && *out <= hi) || WRONG(r, "out of range");
}

static bool read_enum(struct reading *r, const struct field_name *name, void *out)
{
	struct span s;
	int64_t v;
	int value;

	if (pull_kind(&r->json) != KIND_STRING) {
		/* Numbers without a name are kept: they may have one in a newer version. */
		if (!read_integer(r, INT32_MIN, INT32_MAX, &v))
			return false;
		value = (int)v;
		memcpy(out, &value, sizeof(value));
		return true;
	}
	if (!pull_string(&r->json, &s))
		return malformed(r);
	for (value = 0; value <= ENUM_VALUE_MAX; value++) {
		const char *text = name->enum_text(value);

		if (!text || strlen(text) != s.len || memcmp(text, s.p, s.len) != 0)
			continue;
		memcpy(out, &value, sizeof(value));
		return true;
	}
	return WRONG(r, "no such value '%.*s'", (int)(s.len < 40 ? s.len : 40), (const char *)s.p);
}

static bool read_number(struct reading *r, const pb_field_iter_t *f, void *out)
{
	bool is_unsigned = PB_LTYPE(f->type) == PB_LTYPE_UVARINT;
	bool wide = f->data_size == sizeof(int64_t);
	int64_t v;
	int32_t narrow;

	if (!read_integer(r, is_unsigned ? 0 : wide ? INT64_MIN : INT32_MIN,
	                  wide ? INT64_MAX : is_unsigned ? UINT32_MAX : INT32_MAX, &v))
		return false;
	narrow = (int32_t)v;
	memcpy(out, wide ? (const void *)&v : &narrow, f->data_size);
	return true;
}

static bool read_bool(struct reading *r, bool *out)
{
	enum json_kind kind = pull_kind(&r->json);

	if (kind != KIND_TRUE && kind != KIND_FALSE)
		return expect(r, KIND_TRUE, "must be true or false");
	*out = kind == KIND_TRUE;
	return pull_literal(&r->json, kind) || malformed(r);
}

static bool copy_string(struct reading *r, struct span s, const char *what, size_t cap, char *out)
{
	if (s.len >= cap)
		return WRONG(r, "%slonger than %zu bytes", what, cap - 1);
	memcpy(out, s.p, s.len);
	out[s.len] = '\0';
	return true;
}

static bool read_string(struct reading *r, size_t cap, char *out)
{
	struct span s;

	if (!expect(r, KIND_STRING, "must be a string"))
		return false;
	if (!pull_string(&r->json, &s))
		return malformed(r);
	return copy_string(r, s, "", cap, out);
}

static bool read_bytes_field(struct reading *r, size_t size, pb_bytes_array_t *out)
{
	size_t cap = size - offsetof(pb_bytes_array_t, bytes), n = 0;
	struct span s;
	enum err e;

	if (!expect(r, KIND_STRING, "must be a base64 string"))
		return false;
	if (!pull_string(&r->json, &s))
		return malformed(r);
	e = base64_decode_any((const char *)s.p, s.len, out->bytes, cap, &n);
	if (e == ERR_TRUNCATED)
		return WRONG(r, "longer than %zu bytes", cap);
	if (e)
		return WRONG(r, "is not base64");
	out->size = (pb_size_t)n;
	return true;
}

static bool read_timestamp(struct reading *r, google_protobuf_Timestamp *out)
{
	struct span s;

	if (!expect(r, KIND_STRING, "must be an RFC 3339 time"))
		return false;
	if (!pull_string(&r->json, &s))
		return malformed(r);
	return rfc3339_parse((const char *)s.p, s.len, &out->seconds, &out->nanos) ||
	       WRONG(r, "must be an RFC 3339 time");
}

static bool read_value(struct reading *r, const pb_field_iter_t *f, const struct field_name *name,
                       void *out)
{
	switch (PB_LTYPE(f->type)) {
	case PB_LTYPE_BOOL:
		return read_bool(r, out);
	case PB_LTYPE_VARINT:
	case PB_LTYPE_UVARINT:
		return name->enum_text ? read_enum(r, name, out) : read_number(r, f, out);
	case PB_LTYPE_BYTES:
		return read_bytes_field(r, f->data_size, out);
	case PB_LTYPE_STRING:
		return read_string(r, f->data_size, out);
	case PB_LTYPE_SUBMESSAGE:
		return read_message(r, f->submsg_desc, out);
	default:
		core_panic(__FILE__, __LINE__, "a field type that the schema does not use");
	}
}

/* --- structure ------------------------------------------------------------------------------ */

static bool read_list(struct reading *r, const pb_field_iter_t *f, const struct field_name *name)
{
	pb_size_t *n = f->pSize;
	char *p = f->pData;
	bool first = true;

	if (!expect(r, KIND_ARRAY, "must be a list"))
		return false;
	if (!pull_open(&r->json))
		return malformed(r);
	while (pull_next_item(&r->json, &first)) {
		size_t before;

		if (*n == f->array_size)
			return WRONG(r, "more than %u entries", (unsigned)f->array_size);
		before = path_enter_item(&r->path, *n);
		if (!read_value(r, f, name, p))
			return false;
		path_leave(&r->path, before);
		p += f->data_size;
		(*n)++;
	}
	return !r->json.error || malformed(r);
}

/* One member of a map; keys begin their entries. */
static bool read_entry(struct reading *r, const pb_field_iter_t *f, struct span key, char *entry)
{
	pb_size_t *n = f->pSize;
	pb_field_iter_t e;
	size_t before;

	INVARIANT(pb_field_iter_begin(&e, f->submsg_desc, entry));
	if (!copy_string(r, key, "key ", e.data_size, e.pData))
		return false;
	before = path_enter_key(&r->path, e.pData);
	for (pb_size_t i = 0; i < *n; i++)
		if (strcmp((const char *)f->pData + (size_t)i * f->data_size, e.pData) == 0)
			return WRONG(r, "given twice");
	INVARIANT(pb_field_iter_next(&e));
	if (!read_string(r, e.data_size, e.pData))
		return false;
	path_leave(&r->path, before);
	(*n)++;
	return true;
}

static bool read_map(struct reading *r, const pb_field_iter_t *f)
{
	const pb_size_t *n = f->pSize;
	struct span key;
	bool first = true;

	if (!expect(r, KIND_OBJECT, "must be an object"))
		return false;
	if (!pull_open(&r->json))
		return malformed(r);
	while (pull_next_member(&r->json, &first, &key)) {
		if (*n == f->array_size)
			return WRONG(r, "more than %u entries", (unsigned)f->array_size);
		if (!read_entry(r, f, key, (char *)f->pData + (size_t)*n * f->data_size))
			return false;
	}
	return !r->json.error || malformed(r);
}

static bool read_field(struct reading *r, const pb_field_iter_t *f, const struct field_name *name)
{
	if (PB_HTYPE(f->type) == PB_HTYPE_REPEATED) {
		if (PB_LTYPE(f->type) == PB_LTYPE_SUBMESSAGE &&
		    message_names(f->submsg_desc)->kind == MESSAGE_MAP_ENTRY)
			return read_map(r, f);
		return read_list(r, f, name);
	}
	if (f->pSize)
		*(bool *)f->pSize = true;
	return read_value(r, f, name, f->pData);
}

/* Whether KEY is NAME or its lowerCamelCase. */
static bool key_matches(struct span key, const char *name)
{
	const char *p = (const char *)key.p, *end = p + key.len;

	if (strlen(name) == key.len && memcmp(name, p, key.len) == 0)
		return true;
	for (; *name; name++, p++) {
		char want = *name;

		if (want == '_' && name[1])
			want = (char)(*++name - 'a' + 'A');
		if (p == end || *p != want)
			return false;
	}
	return p == end;
}

static bool find_field(const struct message_names *names, struct span key, pb_field_iter_t *f)
{
	pb_size_t first = f->index;

	do {
		if (key_matches(key, names->fields[f->index].name))
			return true;
		(void)pb_field_iter_next(f);
	} while (f->index != first);
	return false;
}

/* The value of the member that F is for. */
static bool read_member(struct reading *r, const pb_field_iter_t *f, const struct field_name *name,
                        uint64_t *seen)
{
	size_t before = path_enter(&r->path, name->name);

	if (*seen >> f->index & 1)
		return WRONG(r, "given twice");
	*seen |= (uint64_t)1 << f->index;
	if (pull_kind(&r->json) == KIND_NULL) {
		if (!pull_literal(&r->json, KIND_NULL))
			return malformed(r);
	} else if (!read_field(r, f, name)) {
		return false;
	}
	path_leave(&r->path, before);
	return true;
}

static bool read_message(struct reading *r, const pb_msgdesc_t *desc, void *message)
{
	const struct message_names *names = message_names(desc);
	bool any_field, first = true;
	struct span key;
	uint64_t seen = 0;
	pb_field_iter_t f;

	if (names->kind == MESSAGE_TIMESTAMP)
		return read_timestamp(r, message);
	if (!expect(r, KIND_OBJECT, "must be an object"))
		return false;
	if (!pull_open(&r->json))
		return malformed(r);
	any_field = pb_field_iter_begin(&f, desc, message);
	while (pull_next_member(&r->json, &first, &key)) {
		if (!any_field || !find_field(names, key, &f)) {
			if (!pull_skip(&r->json))
				return malformed(r);
		} else if (!read_member(r, &f, &names->fields[f.index], &seen)) {
			return false;
		}
	}
	return !r->json.error || malformed(r);
}

bool protojson_read(const char *text, size_t n, const pb_msgdesc_t *desc, void *message,
                    size_t message_size, struct codec_error *error)
{
	struct reading r = { .json = pull_of(text, n), .path = { .error = error } };
	enum json_kind kind;
	bool ok;

	memset(message, 0, message_size);
	error->text[0] = '\0';
	if (n == 0)
		return WRONG(&r, "the body is empty; send at least {}");
	kind = pull_kind(&r.json);
	if (kind != KIND_BAD && kind != KIND_OBJECT)
		return WRONG(&r, "the body must be a JSON object");
	ok = kind == KIND_OBJECT ? read_message(&r, desc, message) : malformed(&r);
	if (ok && !pull_end(&r.json))
		ok = malformed(&r);
	pull_free(&r.json);
	return ok;
}
