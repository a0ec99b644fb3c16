/* What a provider has to answer before it is trusted with a packet. The answers were computed by an
 * implementation of RFC 8439 that shares nothing with the providers. */
#include "crypto/aead_provider.h"

#define CASES    ARRAY_LEN(answers)
#define TEXT_SUM 6009 /* bytes of all the plain texts */

/* Key byte j of case i is 16 i + 5 j, plain byte j is LEN + 7 j, both modulo 256. */
static const struct {
	uint32_t len;
	uint64_t counter;
	uint32_t sum; /* of the sealed bytes: sum = 31 sum + byte */
	const char *tag;
} answers[] = {
	{ 0, 0, 0x00000000, "c10064d641f82a311bf1cb5001c5ade9" },
	{ 1, 1, 0x000000b4, "9e682cf2abbb20f832854cdc4dbea3f1" },
	{ 15, 2, 0x3cdf7fce, "aa59c112ea45fba81692e249ef96bb61" },
	{ 16, 0xff, 0x5f336937, "a994aa29059d0a6828d0004faa14da32" },
	{ 17, 0x100, 0x98fdd0a1, "5dd692549a2847b08a69ea18ca443af4" },
	{ 63, 0xffffffff, 0x4a53ba71, "42cd4101d3b540381428f856704c5926" },
	{ 64, 0x100000000, 0xa0662831, "757d1f39d8019245b811a6d8596526a6" },
	{ 65, 0x123456789abcdef, 0x2dc54f9c, "532a871de34b32a6ef9639f2b8460913" },
	{ 127, 3, 0xa495f265, "cf34cfce701025348a9ba14bbeb9e501" },
	{ 128, 0x100000, 0x97371729, "c10c56432c73dddd130bbbf4d897e841" },
	{ 191, 7, 0x51be0240, "d3e90726d1a72940c90ee52cf9645992" },
	{ 255, 8, 0xad01c397, "90aeaeb94a65e339610bba5f0dc491c0" },
	{ 256, 9, 0x29e0ac6f, "05e72edcb8e7aeae9a7b65e985035283" },
	{ 257, 0xfffffffffffffff, 0x7740a344, "ef128816c8e0bc8386e3ad2234e5b7bd" },
	{ 511, 0x8000000000000000, 0x1f18af16, "aa29c429116643442067f1579d62e9cf" },
	{ 576, 0xfffffffffffffffe, 0xd5f5919a, "6252ce5faf987556efd947fbef67d13f" },
	{ 1023, 11, 0xc6404f25, "02d7f5c89c0c65efd996226a53e78e92" },
	{ 1024, 12, 0xd0609c18, "e209558be58b243e3cab2370d19f7335" },
	{ 1420, 13, 0x8e3d9e47, "fd98c95cbd444979f8ca11350078326a" },
};

/* All cases in one batch, so that keys and lengths change within it. */
struct bench {
	uint8_t keys[ARRAY_LEN(answers)][AEAD_KEY_LEN];
	uint8_t plain[TEXT_SUM];
	uint8_t sealed[TEXT_SUM + ARRAY_LEN(answers) * AEAD_TAG_LEN];
	struct aead_op ops[ARRAY_LEN(answers)];
};

static void lay_out(struct bench *b)
{
	size_t plain = 0, sealed = 0;

	for (size_t i = 0; i < CASES; i++) {
		struct aead_op *op = &b->ops[i];

		for (size_t j = 0; j < AEAD_KEY_LEN; j++)
			b->keys[i][j] = (uint8_t)(16 * i + 5 * j);
		for (size_t j = 0; j < answers[i].len; j++)
			b->plain[plain + j] = (uint8_t)(answers[i].len + 7 * j);
		*op = (struct aead_op){ .key = b->keys[i], .counter = answers[i].counter,
			                .in = b->plain + plain, .out = b->sealed + sealed,
			                .len = answers[i].len };
		plain += answers[i].len;
		sealed += answers[i].len + AEAD_TAG_LEN;
	}
	INVARIANT(plain == sizeof(b->plain) && sealed == sizeof(b->sealed));
}

/* The operations again, on the sealed side alone. */
static void in_place(struct bench *b)
{
	uint8_t *at = b->sealed;

	for (size_t i = 0; i < CASES; i++) {
		b->ops[i].in = b->ops[i].out = at;
		b->ops[i].ok = false;
		at += answers[i].len + AEAD_TAG_LEN;
	}
}

static bool is_sealed(const struct bench *b)
{
	for (size_t i = 0; i < CASES; i++) {
		const struct aead_op *op = &b->ops[i];
		uint8_t tag[AEAD_TAG_LEN];
		uint32_t sum = 0;

		for (size_t j = 0; j < op->len; j++)
			sum = 31 * sum + op->out[j];
		if (hex_decode_exact(answers[i].tag, 2 * AEAD_TAG_LEN, tag, AEAD_TAG_LEN) ||
		    sum != answers[i].sum || memcmp(op->out + op->len, tag, AEAD_TAG_LEN) != 0)
			return false;
	}
	return true;
}

static bool is_plain(const struct aead_op *op)
{
	for (size_t j = 0; j < op->len; j++)
		if (op->out[j] != (uint8_t)(op->len + 7 * j))
			return false;
	return op->ok;
}

static bool all_plain(const struct bench *b)
{
	bool ok = true;

	for (size_t i = 0; i < CASES; i++)
		ok = ok && is_plain(&b->ops[i]);
	return ok;
}

/* Seals out of place, then opens out of place; then in place, both. */
static bool answers_right(const struct aead_provider *p, void *machine, struct bench *b)
{
	lay_out(b);
	p->seal(machine, b->ops, CASES);
	if (!is_sealed(b))
		return false;
	memset(b->plain, 0, sizeof(b->plain));
	for (size_t i = 0; i < CASES; i++) {
		uint8_t *plain = b->plain + (b->ops[i].in - b->plain);

		b->ops[i].in = b->ops[i].out;
		b->ops[i].out = plain;
		b->ops[i].ok = false;
	}
	p->open(machine, b->ops, CASES);
	if (!all_plain(b))
		return false;
	in_place(b);
	p->open(machine, b->ops, CASES);
	if (!all_plain(b))
		return false;
	p->seal(machine, b->ops, CASES);
	return is_sealed(b);
}

/* One bit of every message is wrong: of the tag, or of the text where there is one and I is odd. No
 * message may pass, and nothing of what it said may be left. */
static bool refuses_forgeries(const struct aead_provider *p, void *machine, struct bench *b)
{
	in_place(b);
	for (size_t i = 0; i < CASES; i++) {
		struct aead_op *op = &b->ops[i];
		size_t at = i % 2 ? op->len - 1 : op->len + i % AEAD_TAG_LEN;

		op->out[at] ^= (uint8_t)(1U << i % 8);
		op->ok = true;
	}
	p->open(machine, b->ops, CASES);
	for (size_t i = 0; i < CASES; i++)
		if (b->ops[i].ok || !ct_is_zero(b->ops[i].out, b->ops[i].len))
			return false;
	return true;
}

bool aead_self_test(const struct aead_provider *p)
{
	struct bench b;
	void *machine = p->thread_new();
	bool ok;

	if (!machine)
		return false;
	ok = answers_right(p, machine, &b) && refuses_forgeries(p, machine, &b);
	p->thread_free(machine);
	return ok;
}
