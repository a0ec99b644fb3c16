/* The member as a plain WireGuard peer, as a stock client with PersistentKeepalive is one. */
#include "swarm.h"

#include <stdio.h>

#define KEEPALIVE_S 25

/* Both ends must know the keys, so they come from a seed that both are told. */
void plain_key(const struct options *o, unsigned number, uint8_t key[static WG_KEY_LEN])
{
	char label[32];

	snprintf(label, sizeof(label), "peer-%u", number);
	blake2s(key, span_of(o->seed, strlen(o->seed)), span_of(label, strlen(label)));
	key[0] &= 248;
	key[31] = (key[31] & 127) | 64;
}

bool plain_begin(struct member *m)
{
	const struct options *o = m->swarm->o;
	const struct ip_prefix all = { { .family = IP_V4 }, 0 };

	if (wg_peer_add(m->device, o->hub, &m->hub, m->swarm->now) ||
	    wg_peer_allow(m->hub, &all))
		return false;
	wg_peer_set_endpoint(m->hub, &o->to);
	wg_peer_set_keepalive(m->hub, KEEPALIVE_S, m->swarm->now);
	wg_peer_initiate(m->hub, false, m->swarm->now);
	return true;
}

int plain_print(const struct options *o)
{
	puts("set=1");
	for (unsigned i = 0; i < o->count; i++) {
		uint8_t key[WG_KEY_LEN], public[WG_KEY_LEN];
		char hex[2 * WG_KEY_LEN + 1];
		struct text t = TEXT_IN(hex);

		plain_key(o, i, key);
		x25519_public(public, key);
		text_hex(&t, public, sizeof(public));
		printf("public_key=%s\nallowed_ip=10.%u.%u.%u/32\n", hex, 128 + (i >> 16),
		       i >> 8 & 255, i & 255);
	}
	puts("");
	return 0;
}
