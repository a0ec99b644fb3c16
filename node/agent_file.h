/* An agent's whole state in one file, DATA/agent.json (0600), replaced atomically: private key,
 * colony, pair key and addresses belong together, and a crash must not part them. */
#ifndef NODE_AGENT_FILE_H
#define NODE_AGENT_FILE_H

#include "mesh/agent.h"

struct agent_file {
	uint8_t private_key[WG_KEY_LEN];
	struct agent_state state;
};

/* ERR_NOT_FOUND; ERR_INVALID when it is damaged. */
enum err agent_file_read(const char *path, struct agent_file *out) MUST_CHECK;
enum err agent_file_write(const char *path, const struct agent_file *f) MUST_CHECK;

#endif
