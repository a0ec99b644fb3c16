/* Candidate addresses of a host, in the text form of RFC 8839 section 5.1 ("candidate:…"). */
#ifndef MESH_CANDIDATE_H
#define MESH_CANDIDATE_H

#include "base/addr.h"

#define MESH_CANDIDATES_MAX 12
#define CANDIDATE_TEXT_MAX  160

enum candidate_type { CANDIDATE_HOST, CANDIDATE_SRFLX, CANDIDATE_PRFLX, CANDIDATE_RELAY };

struct candidate {
	enum candidate_type type;
	struct endpoint endpoint;
};

/* "candidate:FOUNDATION 1 udp PRIORITY ADDRESS PORT typ TYPE", priority by RFC 8445 section 5.1.2;
 * INDEX is the candidate's place in its list, for the local preference and the foundation. */
void text_candidate(struct text *t, const struct candidate *c, size_t index);

/* Understands UDP candidates of component 1 with IP literals and a port; anything else (TCP,
 * mDNS names, link-local or multicast addresses) is ERR_UNSUPPORTED, malformed text ERR_INVALID. */
enum err candidate_parse(const char *s, size_t n, struct candidate *out) MUST_CHECK;

const char *candidate_type_text(enum candidate_type type);

/* Appends unless it is there already or the list is full; true if appended. */
bool candidate_add(struct candidate *list, size_t *count, enum candidate_type type,
                   const struct endpoint *e);

/* Whether a stranger's word is enough to send datagrams there: a unicast address with a port, not
 * loopback, not unspecified, not link-local. */
bool candidate_is_usable(const struct endpoint *e);

#endif
