#include "mesh/action.h"

struct mesh_action *outbox_add(struct outbox *o, enum mesh_action_type type)
{
	struct mesh_action *a;

	if (o->count == MESH_ACTIONS_MAX) {
		o->lost++;
		return NULL;
	}
	a = &o->ring[(o->head + o->count++) % MESH_ACTIONS_MAX];
	memset(a, 0, sizeof(*a));
	a->type = type;
	return a;
}

bool outbox_take(struct outbox *o, struct mesh_action *out)
{
	if (!o->count)
		return false;
	*out = o->ring[o->head];
	wipe(&o->ring[o->head], sizeof(*o->ring)); /* inner messages hold nonces */
	o->head = (o->head + 1) % MESH_ACTIONS_MAX;
	o->count--;
	return true;
}

void outbox_drop(struct outbox *o, enum mesh_action_type type, const struct wg_peer *peer)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->count; i++) {
		struct mesh_action *a = &o->ring[(o->head + i) % MESH_ACTIONS_MAX];

		if (a->type == type && (!peer || a->peer == peer))
			continue;
		if (kept != i)
			o->ring[(o->head + kept) % MESH_ACTIONS_MAX] = *a;
		kept++;
	}
	o->count = kept;
}

void outbox_send(struct outbox *o, const struct endpoint *to, const void *p, size_t len,
                 uint8_t ttl)
{
	struct mesh_action *a;

	INVARIANT(len <= MESH_BYTES_MAX);
	a = outbox_add(o, MESH_SEND);
	if (!a)
		return;
	a->remote = *to;
	a->ttl = ttl;
	a->len = len;
	memcpy(a->bytes, p, len);
}
