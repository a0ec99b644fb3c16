#include "server/protobin.h"

#include <limits.h>
#include <string.h>

#include "pb_common.h"
#include "pb_decode.h"
#include "pb_encode.h"
#include "base/utf8.h"
#include "server/rfc3339.h"
#include "server/schema_names.h"

/* No message of this schema has more fields. */
#define FIELDS_MAX 64

/* Wire types (protobuf encoding, "Message Structure"); groups are of proto2. */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_LENGTH = 2, WIRE_FIXED32 = 5 };

/* --- looking before decoding ---------------------------------------------------------------- */

/* nanopb says that a field is too long, but not which: so sizes are compared here first. */

static bool read_varint(struct reader *r, uint64_t *out)
{
	uint8_t byte;

	*out = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		byte = read_u8(r);
		*out |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
		if (!(byte & 0x80))
			return !r->failed;
	}
	return false;
}

/* One field's key and contents. VALUE is what a length-delimited one holds. */
static bool read_record(struct reader *r, uint32_t *tag, unsigned *wire, struct span *value)
{
	uint64_t key, n;

	*value = (struct span){ NULL, 0 };
	if (!read_varint(r, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX >> 3)
		return false;
	*tag = (uint32_t)(key >> 3);
	*wire = key & 7;
	switch (*wire) {
	case WIRE_VARINT:
		return read_varint(r, &n);
	case WIRE_FIXED64:
		return read_bytes(r, 8) != NULL;
	case WIRE_FIXED32:
		return read_bytes(r, 4) != NULL;
	case WIRE_LENGTH:
		if (!read_varint(r, &n) || n > r->left)
			return false;
		*value = span_of(read_bytes(r, n), n);
		return !r->failed;
	default:
		return false;
	}
}

static bool string_holds(struct field_path *p, struct span s, size_t cap)
{
	const char *text = (const char *)s.p;

	if (s.len >= cap)
		return path_wrong(p, "longer than %zu bytes", cap - 1);
	if (s.len && memchr(text, '\0', s.len))
		return path_wrong(p, "holds a zero byte");
	return utf8_valid(text, s.len) || path_wrong(p, "is not UTF-8");
}

static bool message_holds(struct field_path *p, struct span in, const pb_msgdesc_t *desc,
                          void *message);

static bool value_holds(struct field_path *p, const pb_field_iter_t *f, unsigned wire,
                        struct span value)
{
	size_t cap = f->data_size - offsetof(pb_bytes_array_t, bytes);
	bool delimited = PB_LTYPE(f->type) == PB_LTYPE_STRING || PB_LTYPE(f->type) == PB_LTYPE_BYTES ||
	                 PB_LTYPE(f->type) == PB_LTYPE_SUBMESSAGE;

	if (wire != (delimited ? WIRE_LENGTH : WIRE_VARINT))
		return path_wrong(p, "is of another type");
	if (PB_LTYPE(f->type) == PB_LTYPE_STRING)
		return string_holds(p, value, f->data_size);
	if (PB_LTYPE(f->type) == PB_LTYPE_BYTES)
		return value.len <= cap || path_wrong(p, "longer than %zu bytes", cap);
	if (PB_LTYPE(f->type) == PB_LTYPE_SUBMESSAGE)
		return message_holds(p, value, f->submsg_desc, f->pData);
	return true;
}

static size_t enter_field(struct field_path *p, const pb_field_iter_t *f, unsigned nth)
{
	size_t before = path_enter(p, message_names(f->descriptor)->fields[f->index].name);

	if (PB_HTYPE(f->type) == PB_HTYPE_REPEATED)
		(void)path_enter_item(p, nth);
	return before;
}

static bool message_holds(struct field_path *p, struct span in, const pb_msgdesc_t *desc,
                          void *message)
{
	struct reader r = reader_of(in);
	uint16_t count[FIELDS_MAX] = { 0 };
	bool any_field;
	pb_field_iter_t f;

	any_field = pb_field_iter_begin(&f, desc, message);
	while (r.left) {
		struct span value;
		unsigned wire;
		uint32_t tag;
		size_t before;

		if (!read_record(&r, &tag, &wire, &value))
			return path_wrong(p, "the body is not a protobuf message");
		if (!any_field || tag > UINT16_MAX || !pb_field_iter_find(&f, tag))
			continue;
		INVARIANT(f.index < FIELDS_MAX);
		before = enter_field(p, &f, count[f.index]);
		if (!value_holds(p, &f, wire, value))
			return false;
		path_leave(p, before);
		if (PB_HTYPE(f.type) == PB_HTYPE_REPEATED && ++count[f.index] > f.array_size)
			return path_wrong(p, "%s: more than %u entries",
			                  message_names(desc)->fields[f.index].name,
			                  (unsigned)f.array_size);
	}
	return true;
}

/* --- after decoding ------------------------------------------------------------------------- */

/* Gives the map entry at TO the value of the one at FROM. */
static void take_value(const pb_field_iter_t *f, char *to, char *from)
{
	pb_field_iter_t dst, src;

	INVARIANT(pb_field_iter_begin(&dst, f->submsg_desc, to) && pb_field_iter_next(&dst));
	INVARIANT(pb_field_iter_begin(&src, f->submsg_desc, from) && pb_field_iter_next(&src));
	memcpy(dst.pData, src.pData, dst.data_size);
}

/* A map's entries may be given more than once; the last counts. Keys begin their entries. */
static void settle_map(const pb_field_iter_t *f)
{
	pb_size_t *n = f->pSize, kept = 0;
	char *base = f->pData;

	for (pb_size_t i = 0; i < *n; i++) {
		char *entry = base + (size_t)i * f->data_size;
		pb_size_t at = 0;

		while (at < kept && strcmp(base + (size_t)at * f->data_size, entry) != 0)
			at++;
		if (at < kept)
			take_value(f, base + (size_t)at * f->data_size, entry);
		else if (kept++ < i)
			memcpy(base + (size_t)at * f->data_size, entry, f->data_size);
	}
	*n = kept;
}

static bool settle(struct field_path *p, const pb_msgdesc_t *desc, void *message);

static bool settle_field(struct field_path *p, const pb_field_iter_t *f)
{
	bool repeated = PB_HTYPE(f->type) == PB_HTYPE_REPEATED;
	size_t n = repeated ? *(const pb_size_t *)f->pSize : *(const bool *)f->pSize;
	char *item = f->pData;

	if (repeated && message_names(f->submsg_desc)->kind == MESSAGE_MAP_ENTRY) {
		settle_map(f);
		return true;
	}
	for (size_t i = 0; i < n; i++, item += f->data_size) {
		size_t before = enter_field(p, f, (unsigned)i);

		if (!settle(p, f->submsg_desc, item))
			return false;
		path_leave(p, before);
	}
	return true;
}

static bool settle(struct field_path *p, const pb_msgdesc_t *desc, void *message)
{
	const google_protobuf_Timestamp *t = message;
	char text[RFC3339_MAX];
	pb_field_iter_t f;

	if (message_names(desc)->kind == MESSAGE_TIMESTAMP)
		return rfc3339_format(text, t->seconds, t->nanos) ||
		       path_wrong(p, "is not a time of the years 1 to 9999");
	if (!pb_field_iter_begin(&f, desc, message))
		return true;
	do {
		if (PB_LTYPE(f.type) == PB_LTYPE_SUBMESSAGE && !settle_field(p, &f))
			return false;
	} while (pb_field_iter_next(&f));
	return true;
}

bool protobin_read(struct span in, const pb_msgdesc_t *desc, void *message, size_t message_size,
                   struct codec_error *error)
{
	struct field_path path = { .error = error };
	pb_istream_t stream = pb_istream_from_buffer(in.p, in.len);

	memset(message, 0, message_size);
	error->text[0] = '\0';
	if (!message_holds(&path, in, desc, message))
		return false;
	if (!pb_decode_noinit(&stream, desc, message))
		return path_wrong(&path, "the body is not such a message: %s", PB_GET_ERROR(&stream));
	return settle(&path, desc, message);
}

void protobin_write(struct buffer *out, const pb_msgdesc_t *desc, const void *message)
{
	pb_ostream_t stream;
	size_t n;

	/* Our messages have no callbacks and no required fields: encoding fails for want of room only. */
	INVARIANT(pb_get_encoded_size(&n, desc, message));
	if (n == 0 || !buffer_reserve(out, n))
		return;
	stream = pb_ostream_from_buffer((pb_byte_t *)out->p + out->len, n);
	INVARIANT(pb_encode(&stream, desc, message) && stream.bytes_written == n);
	out->len += n;
}
