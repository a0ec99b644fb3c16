/* Values as `--json` output writes them: keys in base64, times in RFC 3339. New references. */
#ifndef NODE_JSON_H
#define NODE_JSON_H

#include <jansson.h>

#include "base/addr.h"
#include "crypto/crypto.h"
#include "node/interface.h"

json_t *json_key(const uint8_t key[static X25519_LEN]);
json_t *json_ip(const struct ip_addr *ip);
json_t *json_prefix(const struct ip_prefix *p);
json_t *json_endpoint(const struct endpoint *e); /* null when there is none */
json_t *json_time(uint64_t unix_s);              /* RFC 3339, null for 0 */
json_t *json_path(const struct interface_path *p);

#endif
