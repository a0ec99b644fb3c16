/* ChaCha20-Poly1305 by the batch: which provider, and its machinery for each thread. */
#include "crypto/aead_provider.h"

#include <pthread.h>
#include <stdlib.h>

#define NOTE_CAP 256

static struct {
	const struct aead_provider *provider;
	pthread_key_t key; /* frees a thread's machinery with the thread */
	char note[NOTE_CAP];
} chosen;

static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;
static _Thread_local void *thread_machine;
static _Thread_local bool thread_keeps;

const struct aead_candidate aead_candidates[] = {
#ifdef WARREN_IPSEC_MB
	{ "ipsec-mb/avx512", aead_ipsec_mb_avx512 },
	{ "ipsec-mb/avx2", aead_ipsec_mb_avx2 },
#endif
	{ "openssl", aead_openssl },
};
const size_t aead_candidates_n = ARRAY_LEN(aead_candidates);

/* "ipsec-mb" asks for all of its kinds. */
static bool is_asked(const char *name, const char *asked)
{
	size_t n = strlen(asked);

	return strlen(name) >= n && memcmp(name, asked, n) == 0 && (!name[n] || name[n] == '/');
}

static void note_add(struct text *note, const char *name, const char *what)
{
	if (note->len)
		text_str(note, "; ");
	text_str(note, name);
	text_str(note, ": ");
	text_str(note, what);
}

static const struct aead_provider *candidate_load(const struct aead_candidate *c, bool tell,
                                                  struct text *note)
{
	const char *why = "not here";
	const struct aead_provider *p = c->load(&why);

	if (!p) {
		if (tell)
			note_add(note, c->name, why);
		return NULL;
	}
	if (!aead_self_test(p)) {
		note_add(note, c->name, "failed its self-test and is not used");
		return NULL;
	}
	return p;
}

static const struct aead_provider *choose_asked(const struct aead_candidate *list, size_t n,
                                                const char *asked, struct text *note)
{
	bool known = false;

	for (size_t i = 0; i < n; i++) {
		const struct aead_provider *p;

		if (!is_asked(list[i].name, asked))
			continue;
		known = true;
		p = candidate_load(&list[i], true, note);
		if (p)
			return p;
	}
	if (!known) {
		text_str(note, "\"");
		text_str(note, asked);
		text_str(note, "\": no such provider is in this build");
	}
	return NULL;
}

const struct aead_provider *aead_choose(const struct aead_candidate *list, size_t n,
                                        const char *asked, struct text *note)
{
	const struct aead_provider *p = NULL;
	bool asks = asked && *asked;

	if (asks)
		p = choose_asked(list, n, asked, note);
	for (size_t i = 0; i < n && !p; i++)
		if (!asks || !is_asked(list[i].name, asked))
			p = candidate_load(&list[i], false, note);
	return p;
}

static void thread_end(void *machine)
{
	thread_machine = NULL;
	chosen.provider->thread_free(machine);
}

static void choose(void)
{
	struct text note = TEXT_IN(chosen.note);

	chosen.provider = aead_choose(aead_candidates, aead_candidates_n, getenv("WARREN_AEAD"),
	                              &note);
	INVARIANT(chosen.provider && pthread_key_create(&chosen.key, thread_end) == 0);
}

static void *thread_begin(void)
{
	pthread_once(&chosen_once, choose);
	thread_machine = chosen.provider->thread_new();
	INVARIANT(thread_machine && pthread_setspecific(chosen.key, thread_machine) == 0);
	return thread_machine;
}

static void forget(void *machine)
{
	if (chosen.provider->forget)
		chosen.provider->forget(machine);
}

void aead_seal_many(struct aead_op *ops, size_t n)
{
	void *machine = thread_machine ? thread_machine : thread_begin();

	chosen.provider->seal(machine, ops, n);
	if (!thread_keeps)
		forget(machine);
}

void aead_open_many(struct aead_op *ops, size_t n)
{
	void *machine = thread_machine ? thread_machine : thread_begin();

	chosen.provider->open(machine, ops, n);
	if (!thread_keeps)
		forget(machine);
}

void aead_keep_key(bool keep)
{
	thread_keeps = keep;
	if (!keep && thread_machine)
		forget(thread_machine);
}

const char *aead_provider(void)
{
	pthread_once(&chosen_once, choose);
	return chosen.provider->name;
}

const char *aead_provider_note(void)
{
	pthread_once(&chosen_once, choose);
	return chosen.note;
}
