/* ChaCha20-Poly1305 by the batch over Intel's multi-buffer library (libipsec-mb, BSD licence).
 *
 * It takes about half of OpenSSL's time: 184 ns against 470 for 64 bytes and 757 against 1357 for
 * 1420 with AVX-512, 256 and 1277 with AVX2. It computes this cipher at once, so its queue of jobs
 * is not needed: one job is filled once and used again for every message, which also spares the
 * cache the other 255. Its calls by the burst are not faster.
 *
 * Memory is why the rest is as it is. Initialisation runs every algorithm of the library through a
 * test and so reads in 1.6 MB of code and tables, of which this cipher needs a tenth: they are
 * given back. And a manager has 200 kB, nearly all of it queues of other ciphers: a thread has a
 * copy of its head and of the one job. */
#include "crypto/aead_provider.h"

#include <dlfcn.h>
#include <intel-ipsec-mb.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#define LIBRARY   "libIPSec_MB.so.1"
#define HEAD_LEN  offsetof(IMB_MGR, jobs)
#define NONCE_LEN 12

/* One of the library's instruction sets, made ready once: the head of a manager. */
struct level {
	const char *init_name;
	uint64_t features;
	bool ready;
	uint8_t head[HEAD_LEN];
};

static struct level avx512 = {
	.init_name = "init_mb_mgr_avx512",
	.features = IMB_CPUFLAGS_AVX512,
};
static struct level avx2 = {
	.init_name = "init_mb_mgr_avx2",
	.features = IMB_CPUFLAGS_AVX2,
};

/* The entry points that are used. */
struct library {
	unsigned (*version)(void);
	size_t (*size)(void);
	IMB_MGR *(*set_pointers)(void *p, uint64_t flags, unsigned reset);
	void (*init)(IMB_MGR *m);
};

/* ISO C has no conversion from what dlsym returns to a function; POSIX promises that the
 * representations are the same. */
static bool find_function(void *lib, const char *name, void *fn, size_t size)
{
	void *p = dlsym(lib, name);

	memcpy(fn, &p, size);
	return p != NULL;
}

#define FIND(lib, name, fn) find_function((lib), (name), &(fn), sizeof(fn))

/* Zeroed, and only what is touched takes memory. */
static void *map_new(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Gives back the pages of the object at BASE that are as they are in its file: what is needed of
 * them is read again. */
static int give_back(struct dl_phdr_info *info, size_t size, void *base)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	if (info->dlpi_addr != (uintptr_t)base)
		return 0;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t from = (info->dlpi_addr + ph->p_vaddr + page - 1) / page * page;
		uintptr_t to = (info->dlpi_addr + ph->p_vaddr + ph->p_filesz) / page * page;

		if (ph->p_type == PT_LOAD && !(ph->p_flags & PF_W) && from < to)
			madvise((void *)from, to - from, MADV_DONTNEED);
	}
	return 1;
}

static void library_trim(const struct library *lib)
{
	Dl_info info;
	void *init;

	memcpy(&init, &lib->init, sizeof(init));
	if (dladdr(init, &info))
		dl_iterate_phdr(give_back, info.dli_fbase);
}

/* NULL, or why the level cannot be had. */
static const char *level_init(struct level *l, const struct library *lib)
{
	const char *why = NULL;
	size_t size = lib->size();
	IMB_MGR *m = map_new(size);

	if (!m)
		return "out of memory";
	if (!lib->set_pointers(m, 0, 0) || (m->features & l->features) != l->features) {
		why = "the processor lacks what it needs";
		goto out;
	}
	lib->init(m);
	library_trim(lib);
	if (m->imb_errno || !(m->features & IMB_FEATURE_SELF_TEST_PASS)) {
		why = "the library's own test failed";
		goto out;
	}
	memcpy(l->head, m, HEAD_LEN);
	l->ready = true;
out:
	munmap(m, size);
	return why;
}

/* What is built here relies on where the fields of a manager are, which changes between versions,
 * so it must be the one whose header this was built with. */
static const char *level_load(struct level *l)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	struct library lib;
	const char *why;

	if (!handle)
		return LIBRARY " is not installed";
	if (!FIND(handle, "imb_get_version", lib.version) ||
	    !FIND(handle, "imb_get_mb_mgr_size", lib.size) ||
	    !FIND(handle, "imb_set_pointers_mb_mgr", lib.set_pointers) ||
	    !FIND(handle, l->init_name, lib.init) || lib.version() != IMB_VERSION_NUM)
		why = LIBRARY " is not version " IMB_VERSION_STR;
	else
		why = level_init(l, &lib);
	if (why)
		dlclose(handle);
	return why;
}

/* A manager whose one job is filled but for what differs among messages. The queues of other
 * ciphers, behind the jobs, are not there. */
static void *machine_new(const struct level *l)
{
	static const uint8_t no_data[1];
	IMB_MGR *m = map_new(sizeof(*m));
	IMB_JOB *job;

	if (!m)
		return NULL;
	memcpy(m, l->head, HEAD_LEN);
	job = m->jobs;
	job->key_len_in_bytes = AEAD_KEY_LEN;
	job->iv_len_in_bytes = NONCE_LEN;
	job->auth_tag_output_len_in_bytes = AEAD_TAG_LEN;
	job->u.CHACHA20_POLY1305.aad = no_data;
	job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	return m;
}

static void *avx512_new(void)
{
	return machine_new(&avx512);
}

static void *avx2_new(void)
{
	return machine_new(&avx2);
}

static void machine_free(void *machine)
{
	IMB_MGR *m = machine;

	wipe(m, HEAD_LEN + sizeof(m->jobs[0]));
	munmap(m, sizeof(*m));
}

/* The first job is always the next one: every job is done when it returns. */
static inline void run(IMB_MGR *m, uint8_t nonce[static NONCE_LEN], const struct aead_op *op,
                       uint8_t *tag)
{
	IMB_JOB *job = m->jobs;

	INVARIANT(op->len <= INT32_MAX);
	store_le64(nonce + 4, op->counter);
	job->enc_keys = job->dec_keys = op->key;
	job->iv = nonce;
	job->src = op->in;
	job->dst = op->out;
	job->msg_len_to_cipher_in_bytes = op->len;
	job->msg_len_to_hash_in_bytes = op->len;
	job->auth_tag_output = tag;
	m->next_job = 0;
	INVARIANT(m->submit_job_nocheck(m) == job && job->status == IMB_STATUS_COMPLETED);
}

static void seal(void *machine, struct aead_op *ops, size_t n)
{
	IMB_MGR *m = machine;
	uint8_t nonce[NONCE_LEN] = { 0 };

	m->jobs[0].cipher_direction = IMB_DIR_ENCRYPT;
	m->jobs[0].chain_order = IMB_ORDER_CIPHER_HASH;
	for (size_t i = 0; i < n; i++)
		run(m, nonce, &ops[i], ops[i].out + ops[i].len);
}

/* The library computes the tag that belongs there; whether it is the one that came is for us to
 * see. */
static void open_all(void *machine, struct aead_op *ops, size_t n)
{
	IMB_MGR *m = machine;
	uint8_t nonce[NONCE_LEN] = { 0 }, tag[AEAD_TAG_LEN];

	m->jobs[0].cipher_direction = IMB_DIR_DECRYPT;
	m->jobs[0].chain_order = IMB_ORDER_HASH_CIPHER;
	for (size_t i = 0; i < n; i++) {
		struct aead_op *op = &ops[i];

		run(m, nonce, op, tag);
		op->ok = aead_same_16(tag, op->in + op->len);
		if (!op->ok && op->len)
			memset(op->out, 0, op->len);
	}
	wipe(tag, sizeof(tag));
}

static const struct aead_provider *provide(struct level *l, const struct aead_provider *p,
                                           const char **why)
{
	if (!l->ready) {
		const char *failed = level_load(l);

		if (failed) {
			*why = failed;
			return NULL;
		}
	}
	return p;
}

/* The processor is asked before the library is loaded, which takes memory. */
const struct aead_provider *aead_ipsec_mb_avx512(const char **why)
{
	static const struct aead_provider provider = {
		.name = "ipsec-mb/avx512",
		.thread_new = avx512_new,
		.thread_free = machine_free,
		.seal = seal,
		.open = open_all,
	};

	*why = "the processor has no AVX-512";
	return __builtin_cpu_supports("avx512f") ? provide(&avx512, &provider, why) : NULL;
}

const struct aead_provider *aead_ipsec_mb_avx2(const char **why)
{
	static const struct aead_provider provider = {
		.name = "ipsec-mb/avx2",
		.thread_new = avx2_new,
		.thread_free = machine_free,
		.seal = seal,
		.open = open_all,
	};

	*why = "the processor has no AVX2";
	return __builtin_cpu_supports("avx2") ? provide(&avx2, &provider, why) : NULL;
}
