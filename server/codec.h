/* The two codecs of the service. */
#ifndef SERVER_CODEC_H
#define SERVER_CODEC_H

#include "base/bytes.h"
#include "rpc/messages.h"
#include "server/buffer.h"
#include "server/field_path.h"

enum codec { CODEC_JSON, CODEC_PROTO };

/* A message of type DESC, whose struct has SIZE bytes at P. */
struct codec_message {
	const pb_msgdesc_t *desc;
	void *p;
	size_t size;
};

/* Reads IN into *M, which is zeroed first. False with *ERROR set: see protojson.h, protobin.h. */
bool codec_read(enum codec codec, struct span in, const struct codec_message *m,
                struct codec_error *error);
/* Appends MESSAGE to OUT. */
void codec_write(enum codec codec, struct buffer *out, const pb_msgdesc_t *desc,
                 const void *message);

#endif
