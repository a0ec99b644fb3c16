/* ChaCha20-Poly1305 by the batch over OpenSSL: one context per thread. */
#include "crypto/aead_provider.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct machine {
	EVP_CIPHER_CTX *ctx;
	bool has_key;
	uint8_t copy[AEAD_KEY_LEN];
};

static void machine_free(void *machine)
{
	struct machine *m = machine;

	EVP_CIPHER_CTX_free(m->ctx); /* cleanses the key schedule */
	wipe(m, sizeof(*m));
	free(m);
}

static void *machine_new(void)
{
	struct machine *m = calloc(1, sizeof(*m));
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
	bool ok;

	if (!m)
		goto out;
	m->ctx = EVP_CIPHER_CTX_new();
	ok = cipher && m->ctx &&
	     EVP_CipherInit_ex2(m->ctx, cipher, NULL, NULL, 1, NULL) == 1;
	if (!ok) {
		machine_free(m);
		m = NULL;
	}
out:
	EVP_CIPHER_free(cipher); /* the context has its own reference */
	return m;
}

/* A key costs 100 ns to set, and is mostly that of the message before. */
static void begin(struct machine *m, const struct aead_op *op, int seal)
{
	uint8_t nonce[12] = { 0 };
	bool same = m->has_key && aead_same_32(op->key, m->copy);

	store_le64(nonce + 4, op->counter);
	INVARIANT(op->len <= INT32_MAX);
	INVARIANT(EVP_CipherInit_ex2(m->ctx, NULL, same ? NULL : op->key, nonce, seal, NULL) == 1);
	if (!same)
		memcpy(m->copy, op->key, sizeof(m->copy));
	m->has_key = true;
}

/* The key in the context is written over. */
static void forget(void *machine)
{
	static const uint8_t none[AEAD_KEY_LEN];
	struct machine *m = machine;

	if (!m->has_key)
		return;
	INVARIANT(EVP_CipherInit_ex2(m->ctx, NULL, none, NULL, 1, NULL) == 1);
	wipe(m->copy, sizeof(m->copy));
	m->has_key = false;
}

static void seal(void *machine, struct aead_op *ops, size_t n)
{
	struct machine *m = machine;
	int len;

	for (size_t i = 0; i < n; i++) {
		struct aead_op *op = &ops[i];
		uint8_t *tag = op->out + op->len;

		begin(m, op, 1);
		if (op->len)
			INVARIANT(EVP_CipherUpdate(m->ctx, op->out, &len, op->in,
			                           (int)op->len) == 1);
		INVARIANT(EVP_CipherFinal_ex(m->ctx, tag, &len) == 1 &&
		          EVP_CIPHER_CTX_ctrl(m->ctx, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_LEN,
		                              tag) == 1);
	}
}

static void open_one(struct machine *m, struct aead_op *op)
{
	uint8_t tag[AEAD_TAG_LEN], empty[1];
	int len;

	begin(m, op, 0);
	memcpy(tag, op->in + op->len, sizeof(tag));
	INVARIANT(EVP_CIPHER_CTX_ctrl(m->ctx, EVP_CTRL_AEAD_SET_TAG, sizeof(tag), tag) == 1);
	/* Without any update OpenSSL would not compute the tag of an empty message. */
	op->ok = EVP_CipherUpdate(m->ctx, op->len ? op->out : empty, &len,
	                          op->len ? op->in : empty, (int)op->len) == 1 &&
	         EVP_CipherFinal_ex(m->ctx, tag, &len) == 1;
	if (!op->ok && op->len)
		memset(op->out, 0, op->len);
}

static void open_all(void *machine, struct aead_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		open_one(machine, &ops[i]);
}

const struct aead_provider *aead_openssl(const char **why)
{
	static const struct aead_provider provider = {
		.name = "openssl",
		.thread_new = machine_new,
		.thread_free = machine_free,
		.seal = seal,
		.open = open_all,
		.forget = forget,
	};

	(void)why;
	return &provider;
}
