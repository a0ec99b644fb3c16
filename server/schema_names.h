/* What nanopb's descriptors leave out: the names of fields and enum values. */
#ifndef SERVER_SCHEMA_NAMES_H
#define SERVER_SCHEMA_NAMES_H

#include "rpc/messages.h"

enum message_kind { MESSAGE_PLAIN, MESSAGE_MAP_ENTRY, MESSAGE_TIMESTAMP };

struct field_name {
	const char *name;
	/* For enums: the name of a value, NULL for numbers that have none. */
	const char *(*enum_text)(int value);
};

struct message_names {
	const pb_msgdesc_t *desc;
	const struct field_name *fields; /* in the descriptor's order */
	enum message_kind kind;
};

/* DESC is one of this schema's messages. */
const struct message_names *message_names(const pb_msgdesc_t *desc);

/* Whether field NAME of DESC is written even when it is zero or empty. */
bool field_always(const pb_msgdesc_t *desc, const char *name);

#define ENUM_VALUE_MAX 64 /* no enum of this schema has a larger value */

#endif
