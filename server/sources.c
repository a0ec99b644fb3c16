#include "server/sources.h"

#include <stdlib.h>
#include <string.h>

#define IPV6_SOURCE_BYTES 8

static struct ip_addr key_of(const struct ip_addr *ip)
{
	struct ip_addr key = ip_unmap(ip);

	if (key.family == IP_V6)
		memset(key.bytes + IPV6_SOURCE_BYTES, 0, sizeof(key.bytes) - IPV6_SOURCE_BYTES);
	return key;
}

static struct source **bucket_of(const struct sources *s, const struct ip_addr *key)
{
	uint64_t h = s->seed, word;

	/* Multiply and fold (murmur's finalizer) per word. */
	for (size_t i = 0; i < sizeof(key->bytes); i += sizeof(word)) {
		memcpy(&word, key->bytes + i, sizeof(word));
		h = (h ^ word) * 0xff51afd7ed558ccdULL;
		h ^= h >> 33;
	}
	return &s->buckets[h & s->mask];
}

enum err sources_init(struct sources *s, size_t max, uint64_t seed)
{
	size_t n = 16;

	while (n < max)
		n *= 2;
	s->buckets = calloc(n, sizeof(struct source *));
	s->mask = n - 1;
	s->seed = seed;
	return s->buckets ? ERR_OK : ERR_NOMEM;
}

void sources_fini(struct sources *s)
{
	free(s->buckets);
	s->buckets = NULL;
}

static struct source *find(const struct sources *s, const struct ip_addr *key)
{
	struct source *at = *bucket_of(s, key);

	while (at && !ip_eq(&at->key, key))
		at = at->next;
	return at;
}

struct source *source_take(struct sources *s, const struct ip_addr *ip)
{
	struct ip_addr key = key_of(ip);
	struct source *source = find(s, &key), **bucket;

	if (!source) {
		source = calloc(1, sizeof(*source));
		if (!source)
			return NULL;
		bucket = bucket_of(s, &key);
		source->key = key;
		source->next = *bucket;
		*bucket = source;
	}
	source->n++;
	return source;
}

void source_drop(struct sources *s, struct source *source)
{
	struct source **at;

	if (!source || --source->n)
		return;
	at = bucket_of(s, &source->key);
	while (*at != source)
		at = &(*at)->next;
	*at = source->next;
	free(source);
}

size_t source_count(const struct sources *s, const struct ip_addr *ip)
{
	struct ip_addr key = key_of(ip);
	const struct source *source = find(s, &key);

	return source ? source->n : 0;
}
