#include "server/codec.h"

#include "server/protobin.h"
#include "server/protojson.h"

bool codec_read(enum codec codec, struct span in, const struct codec_message *m,
                struct codec_error *error)
{
	if (codec == CODEC_PROTO)
		return protobin_read(in, m->desc, m->p, m->size, error);
	return protojson_read((const char *)in.p, in.len, m->desc, m->p, m->size, error);
}

void codec_write(enum codec codec, struct buffer *out, const pb_msgdesc_t *desc,
                 const void *message)
{
	if (codec == CODEC_PROTO)
		protobin_write(out, desc, message);
	else
		protojson_write(out, desc, message);
}
