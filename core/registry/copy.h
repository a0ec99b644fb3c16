/* Copies between messages that have fields of the same name. Only what is used is copied: a
 * registration may be 40 KB large and is mostly a few hundred bytes. */
#ifndef REGISTRY_COPY_H
#define REGISTRY_COPY_H

#include "base/text.h"
#include "rpc/messages.h"

/* A text field to another of at least its size. */
#define COPY_TEXT(dst, src) INVARIANT(!str_copy((dst), sizeof(dst), (src)))

/* Statements for a block, not for a branch: the lists of the messages A and S. */
#define COPY_ENDPOINTS(a, s) \
	(a)->endpoints_count = (s)->endpoints_count; \
	for (pb_size_t i_ = 0; i_ < (s)->endpoints_count; i_++) \
		COPY_TEXT((a)->endpoints[i_], (s)->endpoints[i_])

#define COPY_METADATA(a, s) \
	(a)->metadata_count = (s)->metadata_count; \
	for (pb_size_t i_ = 0; i_ < (s)->metadata_count; i_++) { \
		COPY_TEXT((a)->metadata[i_].key, (s)->metadata[i_].key); \
		COPY_TEXT((a)->metadata[i_].value, (s)->metadata[i_].value); \
	}

static inline void copy_public_endpoint(PublicEndpointInfo *a, const PublicEndpointInfo *s)
{
	a->enabled = s->enabled;
	COPY_TEXT(a->url, s->url);
	COPY_TEXT(a->ca_cert, s->ca_cert);
	a->has_ca_fingerprint = s->has_ca_fingerprint;
	a->ca_fingerprint = s->ca_fingerprint;
	a->has_updated_at = s->has_updated_at;
	a->updated_at = s->updated_at;
}

/* What a colony's registration and its lookup have in common. */
#define COPY_COLONY(a, s) \
	do { \
		COPY_TEXT((a)->mesh_id, (s)->mesh_id); \
		COPY_TEXT((a)->pubkey, (s)->pubkey); \
		COPY_ENDPOINTS(a, s); \
		COPY_TEXT((a)->mesh_ipv4, (s)->mesh_ipv4); \
		COPY_TEXT((a)->mesh_ipv6, (s)->mesh_ipv6); \
		(a)->connect_port = (s)->connect_port; \
		(a)->public_port = (s)->public_port; \
		COPY_METADATA(a, s) \
		(a)->has_public_endpoint = (s)->has_public_endpoint; \
		if ((s)->has_public_endpoint) \
			copy_public_endpoint(&(a)->public_endpoint, &(s)->public_endpoint); \
	} while (0)

/* The same of an agent's. */
#define COPY_AGENT(a, s) \
	do { \
		COPY_TEXT((a)->agent_id, (s)->agent_id); \
		COPY_TEXT((a)->mesh_id, (s)->mesh_id); \
		COPY_TEXT((a)->pubkey, (s)->pubkey); \
		COPY_ENDPOINTS(a, s); \
		COPY_METADATA(a, s) \
	} while (0)

#endif
