#include "wireguard/keypair.h"

struct keypair *wg_keypair_new(const struct allocator *alloc, const uint8_t send[static KEY_LEN],
                               const uint8_t receive[static KEY_LEN], bool initiator,
                               uint64_t now)
{
	struct keypair *k = mem_alloc(alloc, sizeof(*k));

	if (!k)
		return NULL;
	memcpy(k->send, send, KEY_LEN);
	memcpy(k->receive, receive, KEY_LEN);
	atomic_flag_clear(&k->replay_busy);
	k->born_ns = now;
	k->initiator = initiator;
	return k;
}

void wg_keypair_free(struct keypair *k, const struct allocator *alloc, struct index_table *index)
{
	if (!k)
		return;
	if (index)
		wg_index_remove(index, &k->entry);
	wipe(k, sizeof(*k));
	mem_free(alloc, k, sizeof(*k));
}
