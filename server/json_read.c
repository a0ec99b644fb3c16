#include "server/protojson.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include <jansson.h>

#include "pb_common.h"
#include "base/text.h"
#include "server/rfc3339.h"
#include "server/schema_names.h"

/* ProtoJSON leaves it open what a field given twice means; the client did not mean it. */
#define PARSER_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY)

static bool read_message(struct field_path *r, json_t *json, const pb_msgdesc_t *desc,
                         void *message);

/* --- scalars -------------------------------------------------------------------------------- */

static size_t digits(const char *s)
{
	return strspn(s, "0123456789");
}

/* Whether S is written as JSON writes numbers (RFC 8259 section 6): strtod takes more. */
static bool is_number(const char *s)
{
	s += *s == '-';
	if (!digits(s) || (*s == '0' && digits(s) > 1))
		return false;
	s += digits(s);
	if (*s == '.' && !digits(s + 1))
		return false;
	if (*s == '.')
		s += 1 + digits(s + 1);
	if (*s == 'e' || *s == 'E') {
		s += s[1] == '+' || s[1] == '-' ? 2 : 1;
		if (!digits(s))
			return false;
		s += digits(s);
	}
	return *s == '\0';
}

/* A JSON number or string that denotes an integer in [LO, HI]; 1.0 and 1e3 are integers too. */
static bool read_integer(struct field_path *r, json_t *json, int64_t lo, int64_t hi, int64_t *out)
{
	const char *s = json_string_value(json);
	char none = '\0', *end = &none;
	double real;

	if (json_is_integer(json)) {
		*out = json_integer_value(json);
		return (*out >= lo && *out <= hi) || path_wrong(r, "out of range");
	}
	if (s && !is_number(s))
		return path_wrong(r, "must be an integer");
	if (s && strlen(s) < 24 && strspn(s, "0123456789-") == strlen(s)) {
		errno = 0;
		*out = strtoimax(s, &end, 10);
		if (*end || errno)
			return path_wrong(r, "'%s' is not an integer", s);
		return (*out >= lo && *out <= hi) || path_wrong(r, "out of range");
	}
	if (json_is_real(json))
		real = json_real_value(json);
	else if (s && strlen(s) < 32)
		real = strtod(s, &end);
	else
		return path_wrong(r, "must be an integer");
	if (*end || real != floor(real))
		return path_wrong(r, "must be an integer");
	/* Beyond 2^53 a double does not say which integer is meant. */
	if (fabs(real) > 9007199254740992.0)
		return path_wrong(r, "out of range");
	*out = (int64_t)real;
	return (*out >= lo && *out <= hi) || path_wrong(r, "out of range");
}

static bool read_enum(struct field_path *r, json_t *json, const struct field_name *name, void *out)
{
	const char *s = json_string_value(json);
	int64_t v;
	int value;

	if (s) {
		for (value = 0; value <= ENUM_VALUE_MAX; value++) {
			const char *text = name->enum_text(value);

			if (!text || strcmp(text, s) != 0)
				continue;
			memcpy(out, &value, sizeof(value));
			return true;
		}
		return path_wrong(r, "no such value '%.40s'", s);
	}
	/* Numbers without a name are kept: they may have one in a newer version. */
	if (!read_integer(r, json, INT32_MIN, INT32_MAX, &v))
		return false;
	value = (int)v;
	memcpy(out, &value, sizeof(value));
	return true;
}

static bool read_number(struct field_path *r, json_t *json, const pb_field_iter_t *f, void *out)
{
	bool is_unsigned = PB_LTYPE(f->type) == PB_LTYPE_UVARINT;
	bool wide = f->data_size == sizeof(int64_t);
	int64_t v;
	int32_t narrow;

	if (!read_integer(r, json, is_unsigned ? 0 : wide ? INT64_MIN : INT32_MIN,
	                  wide ? INT64_MAX : is_unsigned ? UINT32_MAX : INT32_MAX, &v))
		return false;
	narrow = (int32_t)v;
	memcpy(out, wide ? (const void *)&v : &narrow, f->data_size);
	return true;
}

static bool read_string(struct field_path *r, json_t *json, size_t cap, char *out)
{
	size_t n = json_string_length(json);

	if (!json_is_string(json))
		return path_wrong(r, "must be a string");
	if (n >= cap)
		return path_wrong(r, "longer than %zu bytes", cap - 1);
	memcpy(out, json_string_value(json), n);
	out[n] = '\0';
	return true;
}

static bool read_bytes_field(struct field_path *r, json_t *json, size_t size,
                             pb_bytes_array_t *out)
{
	size_t cap = size - offsetof(pb_bytes_array_t, bytes), n = 0;
	enum err e;

	if (!json_is_string(json))
		return path_wrong(r, "must be a base64 string");
	e = base64_decode_any(json_string_value(json), json_string_length(json), out->bytes, cap, &n);
	if (e == ERR_TRUNCATED)
		return path_wrong(r, "longer than %zu bytes", cap);
	if (e)
		return path_wrong(r, "is not base64");
	out->size = (pb_size_t)n;
	return true;
}

static bool read_timestamp(struct field_path *r, json_t *json, google_protobuf_Timestamp *out)
{
	if (!json_is_string(json) ||
	    !rfc3339_parse(json_string_value(json), json_string_length(json), &out->seconds,
	                   &out->nanos))
		return path_wrong(r, "must be an RFC 3339 time");
	return true;
}

static bool read_value(struct field_path *r, json_t *json, const pb_field_iter_t *f,
                       const struct field_name *name, void *out)
{
	switch (PB_LTYPE(f->type)) {
	case PB_LTYPE_BOOL:
		if (!json_is_boolean(json))
			return path_wrong(r, "must be true or false");
		*(bool *)out = json_is_true(json);
		return true;
	case PB_LTYPE_VARINT:
	case PB_LTYPE_UVARINT:
		return name->enum_text ? read_enum(r, json, name, out)
		                       : read_number(r, json, f, out);
	case PB_LTYPE_BYTES:
		return read_bytes_field(r, json, f->data_size, out);
	case PB_LTYPE_STRING:
		return read_string(r, json, f->data_size, out);
	case PB_LTYPE_SUBMESSAGE:
		return read_message(r, json, f->submsg_desc, out);
	default:
		core_panic(__FILE__, __LINE__, "a field type that the schema does not use");
	}
}

/* --- structure ------------------------------------------------------------------------------ */

static bool read_list(struct field_path *r, json_t *json, const pb_field_iter_t *f,
                      const struct field_name *name)
{
	char *p = f->pData;
	json_t *item;
	size_t i;

	if (!json_is_array(json))
		return path_wrong(r, "must be a list");
	if (json_array_size(json) > f->array_size)
		return path_wrong(r, "more than %u entries", (unsigned)f->array_size);
	json_array_foreach(json, i, item) {
		size_t before = path_enter_item(r, i);

		if (!read_value(r, item, f, name, p + i * f->data_size))
			return false;
		path_leave(r, before);
	}
	*(pb_size_t *)f->pSize = (pb_size_t)json_array_size(json);
	return true;
}

static bool read_map(struct field_path *r, json_t *json, const pb_field_iter_t *f)
{
	char *p = f->pData;
	const char *key;
	json_t *value;

	if (!json_is_object(json))
		return path_wrong(r, "must be an object");
	if (json_object_size(json) > f->array_size)
		return path_wrong(r, "more than %u entries", (unsigned)f->array_size);
	json_object_foreach(json, key, value) {
		size_t before = path_enter_key(r, key);
		pb_field_iter_t entry;

		INVARIANT(pb_field_iter_begin(&entry, f->submsg_desc, p));
		if (strlen(key) >= entry.data_size)
			return path_wrong(r, "key longer than %u bytes", (unsigned)entry.data_size - 1);
		memcpy(entry.pData, key, strlen(key) + 1);
		INVARIANT(pb_field_iter_next(&entry));
		if (!read_string(r, value, entry.data_size, entry.pData))
			return false;
		path_leave(r, before);
		p += f->data_size;
	}
	*(pb_size_t *)f->pSize = (pb_size_t)json_object_size(json);
	return true;
}

static bool read_field(struct field_path *r, json_t *json, const pb_field_iter_t *f,
                       const struct field_name *name)
{
	if (PB_HTYPE(f->type) == PB_HTYPE_REPEATED) {
		if (PB_LTYPE(f->type) == PB_LTYPE_SUBMESSAGE &&
		    message_names(f->submsg_desc)->kind == MESSAGE_MAP_ENTRY)
			return read_map(r, json, f);
		return read_list(r, json, f, name);
	}
	if (f->pSize)
		*(bool *)f->pSize = true;
	return read_value(r, json, f, name, f->pData);
}

/* Whether KEY is NAME or its lowerCamelCase. */
static bool key_matches(const char *key, const char *name)
{
	if (strcmp(key, name) == 0)
		return true;
	for (; *name; name++, key++) {
		char want = *name;

		if (want == '_' && name[1])
			want = (char)(*++name - 'a' + 'A');
		if (*key != want)
			return false;
	}
	return *key == '\0';
}

static bool find_field(const struct message_names *names, const char *key, pb_field_iter_t *f)
{
	pb_size_t first = f->index;

	do {
		if (key_matches(key, names->fields[f->index].name))
			return true;
		(void)pb_field_iter_next(f);
	} while (f->index != first);
	return false;
}

static bool read_message(struct field_path *r, json_t *json, const pb_msgdesc_t *desc,
                         void *message)
{
	const struct message_names *names = message_names(desc);
	pb_field_iter_t f;
	const char *key;
	uint64_t seen = 0;
	json_t *value;

	if (names->kind == MESSAGE_TIMESTAMP)
		return read_timestamp(r, json, message);
	if (!json_is_object(json))
		return path_wrong(r, "must be an object");
	if (!pb_field_iter_begin(&f, desc, message))
		return true; /* a message without fields */
	json_object_foreach(json, key, value) {
		size_t before;

		if (!find_field(names, key, &f))
			continue;
		before = path_enter(r, names->fields[f.index].name);
		if (seen >> f.index & 1)
			return path_wrong(r, "given twice");
		seen |= (uint64_t)1 << f.index;
		if (!json_is_null(value) && !read_field(r, value, &f, &names->fields[f.index]))
			return false;
		path_leave(r, before);
	}
	return true;
}

/* The deepest nesting of TEXT, strings left out of account. The parser recurses, so this is looked
 * at before it runs. */
static size_t depth_of(const char *text, size_t n)
{
	size_t depth = 0, deepest = 0;
	bool in_string = false;

	for (size_t i = 0; i < n; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && (text[i] == '{' || text[i] == '['))
			deepest = ++depth > deepest ? depth : deepest;
		else if (!in_string && (text[i] == '}' || text[i] == ']') && depth)
			depth--;
	}
	return deepest;
}

bool protojson_read(const char *text, size_t n, const pb_msgdesc_t *desc, void *message,
                    size_t message_size, struct codec_error *error)
{
	struct field_path r = { .error = error };
	json_error_t at;
	json_t *json;
	bool ok;

	memset(message, 0, message_size);
	error->text[0] = '\0';
	if (n == 0)
		return path_wrong(&r, "the body is empty; send at least {}");
	if (depth_of(text, n) > PROTOJSON_DEPTH_MAX)
		return path_wrong(&r, "the body is nested too deeply");
	json = json_loadb(text, n, PARSER_FLAGS, &at);
	/* A number beyond 64 bits, perhaps in a field that nobody here knows: a second reading takes all
	 * numbers as doubles. */
	if (!json && json_error_code(&at) == json_error_numeric_overflow)
		json = json_loadb(text, n, PARSER_FLAGS | JSON_DECODE_INT_AS_REAL, &at);
	if (!json)
		return path_wrong(&r, "the body is not JSON: line %d, column %d: %.50s", at.line, at.column,
		             at.text);
	if (json_is_object(json))
		ok = read_message(&r, json, desc, message);
	else
		ok = path_wrong(&r, "the body must be a JSON object");
	json_decref(json);
	return ok;
}
