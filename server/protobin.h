/* Protobuf's binary encoding for the messages of core/rpc, both ways. nanopb does the work; what it
 * does not look at is looked at here: that strings are UTF-8 without zero bytes, that times are in
 * range, that a map has each key once. So a message that came in this way can leave as JSON. */
#ifndef SERVER_PROTOBIN_H
#define SERVER_PROTOBIN_H

#include "base/bytes.h"
#include "rpc/messages.h"
#include "server/buffer.h"
#include "server/field_path.h"

/* Reads IN into *MESSAGE, which is zeroed first. Unknown fields are skipped, of a scalar given more
 * than once the last counts. False with *ERROR set when it is not such a message or a field is
 * larger than the schema's options allow. */
bool protobin_read(struct span in, const pb_msgdesc_t *desc, void *message, size_t message_size,
                   struct codec_error *error);

void protobin_write(struct buffer *out, const pb_msgdesc_t *desc, const void *message);

#endif
