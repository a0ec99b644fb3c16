/* What stands behind aead_seal_many: the providers, how one is chosen, and the test that each has
 * to pass first. Native only, and for this folder and its tests. */
#ifndef CRYPTO_AEAD_PROVIDER_H
#define CRYPTO_AEAD_PROVIDER_H

#include "base/text.h"
#include "crypto/crypto.h"

struct aead_provider {
	const char *name;
	/* The machinery of one thread; NULL when there is no memory for it. */
	void *(*thread_new)(void);
	/* Wipes. MACHINE is not NULL. */
	void (*thread_free)(void *machine);
	void (*seal)(void *machine, struct aead_op *ops, size_t n);
	void (*open)(void *machine, struct aead_op *ops, size_t n);
	/* Wipes the key that was used last; NULL for who keeps none. */
	void (*forget)(void *machine);
};

/* A provider that may be here or not. */
struct aead_candidate {
	const char *name;
	/* The provider, which lives as long as the process; or NULL, and in WHY the reason, a static
	 * text. Not for two threads at once. */
	const struct aead_provider *(*load)(const char **why);
};

const struct aead_provider *aead_openssl(const char **why);
/* Intel's multi-buffer library, loaded when it is asked for the first time; only what is built
 * with its header has these. */
const struct aead_provider *aead_ipsec_mb_avx512(const char **why);
const struct aead_provider *aead_ipsec_mb_avx2(const char **why);

/* All that this build has, the fastest first. */
extern const struct aead_candidate aead_candidates[];
extern const size_t aead_candidates_n;

/* The first of the N candidates of LIST that is here and passes its test; if ASKED is not NULL, and
 * one of that name is, then that one. NULL when there is none at all. NOTE gets what is worth
 * logging. */
const struct aead_provider *aead_choose(const struct aead_candidate *list, size_t n,
                                        const char *asked, struct text *note);

/* Whether P answers as it must: known answers, in place and not, and forgeries. */
bool aead_self_test(const struct aead_provider *p);

/* Compare in time that does not depend on the bytes; inlined, because the calls around them are
 * counted in nanoseconds. */
static inline uint64_t aead_difference_16(const uint8_t *a, const uint8_t *b)
{
	return (load_le64(a) ^ load_le64(b)) | (load_le64(a + 8) ^ load_le64(b + 8));
}

static inline bool aead_same_16(const uint8_t *a, const uint8_t *b)
{
	return aead_difference_16(a, b) == 0;
}

static inline bool aead_same_32(const uint8_t *a, const uint8_t *b)
{
	return (aead_difference_16(a, b) | aead_difference_16(a + 16, b + 16)) == 0;
}

#endif
