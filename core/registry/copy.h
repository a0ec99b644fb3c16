/* Copies between messages that have fields of the same name, or of the same message. Only what is used
 * is copied: a registration may be 40 KB large and is mostly a few hundred bytes. */
#ifndef REGISTRY_COPY_H
#define REGISTRY_COPY_H

#include "rpc/messages.h"

#define COPY_TEXT(dst, src) \
	do { \
		_Static_assert(sizeof(dst) == sizeof(src), "the same field"); \
		memcpy((dst), (src), strlen(src) + 1); \
	} while (0)

/* Of the messages A and S: a list of texts. */
#define COPY_TEXTS(a, s, list) \
	do { \
		(a)->list##_count = (s)->list##_count; \
		for (pb_size_t i_ = 0; i_ < (s)->list##_count; i_++) \
			COPY_TEXT((a)->list[i_], (s)->list[i_]); \
	} while (0)

#define COPY_METADATA(a, s) \
	do { \
		(a)->metadata_count = (s)->metadata_count; \
		for (pb_size_t i_ = 0; i_ < (s)->metadata_count; i_++) { \
			COPY_TEXT((a)->metadata[i_].key, (s)->metadata[i_].key); \
			COPY_TEXT((a)->metadata[i_].value, (s)->metadata[i_].value); \
		} \
	} while (0)

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
		COPY_TEXTS(a, s, endpoints); \
		COPY_TEXT((a)->mesh_ipv4, (s)->mesh_ipv4); \
		COPY_TEXT((a)->mesh_ipv6, (s)->mesh_ipv6); \
		(a)->connect_port = (s)->connect_port; \
		(a)->public_port = (s)->public_port; \
		COPY_METADATA(a, s); \
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
		COPY_TEXTS(a, s, endpoints); \
		COPY_METADATA(a, s); \
	} while (0)

#endif
