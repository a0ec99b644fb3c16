/* ProtoJSON for the messages of core/rpc, both ways, driven by nanopb's descriptors and by the
 * field names of the schema: no code per message.
 *
 * In: lowerCamelCase or the schema's names; enums by name or number; integers as numbers or
 * strings; bytes in either base64 alphabet, padded or not; RFC 3339 times; null for "not set";
 * unknown fields are ignored; a field given twice, in whichever spelling, is refused. Out:
 * canonical ProtoJSON, zero values left out but for the few fields that discovery.md promises
 * always. */
#ifndef SERVER_PROTOJSON_H
#define SERVER_PROTOJSON_H

#include "rpc/messages.h"
#include "server/buffer.h"
#include "server/field_path.h"

#define PROTOJSON_DEPTH_MAX 64

/* Reads TEXT into *MESSAGE, which is zeroed first. False with *ERROR set when it is not such a
 * message or a field is larger than the schema's options allow. */
bool protojson_read(const char *text, size_t n, const pb_msgdesc_t *desc, void *message,
                    size_t message_size, struct codec_error *error);

void protojson_write(struct buffer *out, const pb_msgdesc_t *desc, const void *message);

/* Appends S as a JSON string, quotes included. */
void protojson_quote(struct buffer *out, const char *s);

/* The string field NAME of MESSAGE, "" when it has none. For logs. */
const char *protojson_string_field(const pb_msgdesc_t *desc, const void *message,
                                   const char *name);

#endif
