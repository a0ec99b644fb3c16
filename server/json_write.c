#include "server/protojson.h"

#include <string.h>

#include "pb_common.h"
#include "base/text.h"
#include "server/rfc3339.h"
#include "server/schema_names.h"

void protojson_quote(struct buffer *out, const char *s)
{
	static const char hex[] = "0123456789abcdef";
	const char *start = s;

	/* Room for all if nothing is escaped, as is the rule. */
	(void)buffer_reserve(out, strlen(s) + 2);
	buffer_ch(out, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buffer_add(out, start, (size_t)(s - start));
		start = s + 1;
		if (c == '"' || c == '\\') {
			buffer_ch(out, '\\');
			buffer_ch(out, (char)c);
		} else {
			buffer_str(out, "\\u00");
			buffer_ch(out, hex[c >> 4]);
			buffer_ch(out, hex[c & 15]);
		}
	}
	buffer_add(out, start, (size_t)(s - start));
	buffer_ch(out, '"');
}

static void write_name(struct buffer *out, const char *name)
{
	char *p;

	if (!buffer_reserve(out, strlen(name) + 3))
		return;
	p = out->p + out->len;
	*p++ = '"';
	for (; *name; name++) {
		if (*name == '_' && name[1])
			*p++ = (char)(*++name - 'a' + 'A');
		else
			*p++ = *name;
	}
	*p++ = '"';
	*p++ = ':';
	out->len = (size_t)(p - out->p);
}

static void write_base64(struct buffer *out, const void *p, size_t n)
{
	struct text t;

	buffer_ch(out, '"');
	if (buffer_reserve(out, BASE64_LEN(n) + 1)) {
		t = text_in(out->p + out->len, BASE64_LEN(n) + 1);
		text_base64(&t, p, n);
		out->len += t.len;
	}
	buffer_ch(out, '"');
}

static void write_timestamp(struct buffer *out, const google_protobuf_Timestamp *t)
{
	char text[RFC3339_MAX];

	/* Ours are always in range, and what came from a client was checked on its way in. */
	INVARIANT(rfc3339_format(text, t->seconds, t->nanos));
	protojson_quote(out, text);
}

static int64_t signed_value(const pb_field_iter_t *f, const void *p)
{
	int64_t v64;
	int32_t v32;

	if (f->data_size == sizeof(v64)) {
		memcpy(&v64, p, sizeof(v64));
		return v64;
	}
	memcpy(&v32, p, sizeof(v32));
	return v32;
}

static uint32_t unsigned_value(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void write_integer(struct buffer *out, const pb_field_iter_t *f, const void *p)
{
	/* 64-bit numbers are strings: JavaScript's have 53 bits. */
	bool quoted = f->data_size == sizeof(int64_t);
	char digits[24];
	struct text t = TEXT_IN(digits);

	if (quoted)
		text_ch(&t, '"');
	if (PB_LTYPE(f->type) == PB_LTYPE_UVARINT)
		text_u64(&t, unsigned_value(p));
	else
		text_i64(&t, signed_value(f, p));
	if (quoted)
		text_ch(&t, '"');
	buffer_add(out, digits, t.len);
}

static void write_enum(struct buffer *out, const struct field_name *name, int value)
{
	const char *text = name->enum_text(value);

	if (text)
		protojson_quote(out, text);
	else
		buffer_i64(out, value);
}

static void write_value(struct buffer *out, const pb_field_iter_t *f,
                        const struct field_name *name, const void *p)
{
	const pb_bytes_array_t *bytes = p;

	switch (PB_LTYPE(f->type)) {
	case PB_LTYPE_BOOL:
		buffer_str(out, *(const bool *)p ? "true" : "false");
		break;
	case PB_LTYPE_VARINT:
	case PB_LTYPE_UVARINT:
		if (name->enum_text)
			write_enum(out, name, (int)unsigned_value(p));
		else
			write_integer(out, f, p);
		break;
	case PB_LTYPE_BYTES:
		write_base64(out, bytes->bytes, bytes->size);
		break;
	case PB_LTYPE_STRING:
		protojson_quote(out, p);
		break;
	case PB_LTYPE_SUBMESSAGE:
		protojson_write(out, f->submsg_desc, p);
		break;
	default:
		core_panic(__FILE__, __LINE__, "a field type that the schema does not use");
	}
}

/* Whether a field without presence holds its zero value, which ProtoJSON leaves out. */
static bool is_zero(const pb_field_iter_t *f)
{
	const uint8_t *p = f->pData;
	size_t n = f->data_size;

	if (PB_LTYPE(f->type) == PB_LTYPE_STRING)
		return p[0] == '\0';
	if (PB_LTYPE(f->type) == PB_LTYPE_BYTES)
		return ((const pb_bytes_array_t *)f->pData)->size == 0;
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

static void write_map(struct buffer *out, const pb_field_iter_t *f, size_t n)
{
	const char *p = f->pData;

	buffer_ch(out, '{');
	for (size_t i = 0; i < n; i++, p += f->data_size) {
		pb_field_iter_t entry;

		INVARIANT(pb_field_iter_begin_const(&entry, f->submsg_desc, p));
		if (i)
			buffer_ch(out, ',');
		protojson_quote(out, entry.pData);
		buffer_ch(out, ':');
		INVARIANT(pb_field_iter_next(&entry));
		protojson_quote(out, entry.pData);
	}
	buffer_ch(out, '}');
}

static void write_list(struct buffer *out, const pb_field_iter_t *f, const struct field_name *name,
                       size_t n)
{
	const char *p = f->pData;

	buffer_ch(out, '[');
	for (size_t i = 0; i < n; i++, p += f->data_size) {
		if (i)
			buffer_ch(out, ',');
		write_value(out, f, name, p);
	}
	buffer_ch(out, ']');
}

static void write_field(struct buffer *out, const pb_field_iter_t *f,
                        const struct field_name *name)
{
	write_name(out, name->name);
	if (PB_HTYPE(f->type) != PB_HTYPE_REPEATED)
		write_value(out, f, name, f->pData);
	else if (PB_LTYPE(f->type) == PB_LTYPE_SUBMESSAGE &&
	         message_names(f->submsg_desc)->kind == MESSAGE_MAP_ENTRY)
		write_map(out, f, *(const pb_size_t *)f->pSize);
	else
		write_list(out, f, name, *(const pb_size_t *)f->pSize);
}

static bool is_present(const pb_field_iter_t *f, const struct field_name *name)
{
	bool present;

	if (PB_HTYPE(f->type) == PB_HTYPE_REPEATED)
		present = *(const pb_size_t *)f->pSize > 0;
	else if (f->pSize)
		return *(const bool *)f->pSize;
	else
		present = !is_zero(f);
	return present || field_always(f->descriptor, name->name);
}

void protojson_write(struct buffer *out, const pb_msgdesc_t *desc, const void *message)
{
	const struct message_names *names = message_names(desc);
	bool first = true;
	pb_field_iter_t f;

	if (names->kind == MESSAGE_TIMESTAMP) {
		write_timestamp(out, message);
		return;
	}
	buffer_ch(out, '{');
	if (pb_field_iter_begin_const(&f, desc, message)) {
		do {
			const struct field_name *name = &names->fields[f.index];

			if (!is_present(&f, name))
				continue;
			if (!first)
				buffer_ch(out, ',');
			first = false;
			write_field(out, &f, name);
		} while (pb_field_iter_next(&f));
	}
	buffer_ch(out, '}');
}

const char *protojson_string_field(const pb_msgdesc_t *desc, const void *message, const char *name)
{
	const struct message_names *names = message_names(desc);
	pb_field_iter_t f;

	if (!pb_field_iter_begin_const(&f, desc, message))
		return "";
	do {
		if (PB_LTYPE(f.type) == PB_LTYPE_STRING &&
		    strcmp(names->fields[f.index].name, name) == 0)
			return f.pData;
	} while (pb_field_iter_next(&f));
	return "";
}
