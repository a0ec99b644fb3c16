/* Published vectors, through the crypto port and the Noise layer that the engine uses. */
#include "wire.h"
#include "wireguard/noise.h"

#define MAX_BYTES 512

struct bytes {
	uint8_t p[MAX_BYTES];
	size_t len;
};

static struct bytes hex(const char *s)
{
	struct bytes b = { .len = strlen(s) / 2 };

	assert_true(b.len <= MAX_BYTES);
	assert_int_equal(hex_decode_exact(s, strlen(s), b.p, b.len), ERR_OK);
	return b;
}

static void assert_hex(const uint8_t *p, size_t len, const char *want)
{
	struct bytes b = hex(want);

	assert_int_equal(len, b.len);
	assert_memory_equal(p, b.p, len);
}

/* RFC 7748, sections 5.2 and 6.1. */
static void rfc7748_x25519(void **state)
{
	static const struct {
		const char *secret, *pub, *shared;
	} v[] = {
		{ "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
		  "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
		  "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
		{ "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
		  "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
		  "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
		{ "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
		  "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
		  "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742" },
	};
	uint8_t out[32], zero[32] = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		assert_int_equal(x25519(out, hex(v[i].secret).p, hex(v[i].pub).p), ERR_OK);
		assert_hex(out, 32, v[i].shared);
	}
	x25519_public(out, hex(v[1].secret).p);
	assert_hex(out, 32, v[2].pub);
	assert_int_equal(x25519(out, hex(v[1].secret).p, zero), ERR_INVALID);
}

/* RFC 8439, appendix A.5: its nonce begins with four zero bytes, as ours do. */
static void rfc8439_aead(void **state)
{
	struct bytes key = hex("1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0");
	struct bytes ad = hex("f33388860000000000004e91");
	struct bytes sealed = hex(
		"64a0861575861af460f062c79be643bd5e805cfd345cf389f108670ac76c8cb2"
		"4c6cfc18755d43eea09ee94e382d26b0bdb7b73c321b0100d4f03b7f355894cf"
		"332f830e710b97ce98c8a84abd0b948114ad176e008d33bd60f982b1ff37c855"
		"9797a06ef4f0ef61c186324e2b3506383606907b6a7c02b0f9f6157b53c867e4"
		"b9166c767b804d46a59b5216cde7a4e99040c5a40433225ee282a1b0a06c523e"
		"af4534d7f83fa1155b0047718cbc546a0d072b04b3564eea1b422273f548271a"
		"0bb2316053fa76991955ebd63159434ecebb4e466dae5a1073a6727627097a10"
		"49e617d91d361094fa68f0ff77987130305beaba2eda04df997b714d6c6f2c29"
		"a6ad5cb4022b02709beead9d67890cbb22392336fea1851f38");
	struct bytes plain = hex(
		"496e7465726e65742d4472616674732061726520647261667420646f63756d65"
		"6e74732076616c696420666f722061206d6178696d756d206f6620736978206d"
		"6f6e74687320616e64206d617920626520757064617465642c207265706c6163"
		"65642c206f72206f62736f6c65746564206279206f7468657220646f63756d65"
		"6e747320617420616e792074696d652e20497420697320696e617070726f7072"
		"6961746520746f2075736520496e7465726e65742d4472616674732061732072"
		"65666572656e6365206d6174657269616c206f7220746f206369746520746865"
		"6d206f74686572207468616e206173202fe2809c776f726b20696e2070726f67"
		"726573732e2fe2809d");
	struct bytes b = sealed;

	(void)state;
	assert_int_equal(aead_open_once(key.p, 0x0807060504030201, b.p, b.len,
	                                span_of(ad.p, ad.len)),
	                 ERR_OK);
	assert_memory_equal(b.p, plain.p, plain.len);
	aead_seal_once(key.p, 0x0807060504030201, b.p, plain.len, span_of(ad.p, ad.len));
	assert_memory_equal(b.p, sealed.p, sealed.len);
	b.p[3] ^= 1;
	assert_int_equal(aead_open_once(key.p, 0x0807060504030201, b.p, b.len,
	                                span_of(ad.p, ad.len)),
	                 ERR_AUTH);
}

/* RFC 7693, appendix B. */
static void rfc7693_blake2s(void **state)
{
	uint8_t out[32];

	(void)state;
	blake2s(out, span_of("a", 1), span_of("bc", 2));
	assert_hex(out, 32, "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982");
}

/* The vectors that WireGuard's Go implementation is tested with. */
static void kdf(void **state)
{
	static const struct {
		const char *key, *input, *t0, *t1, *t2;
	} v[] = {
		{ "746573742d6b6579", "746573742d696e707574",
		  "6f0e5ad38daba1bea8a0d213688736f19763239305e0f58aba697f9ffc41c633",
		  "df1194df20802a4fe594cde27e92991c8cae66c366e8106aaa937a55fa371e8a",
		  "fac6e2745a325f5dc5d11a5b165aad08b0ada28e7b4e666b7c077934a4d76c24" },
		{ "776972656775617264", "776972656775617264",
		  "491d43bbfdaa8750aaf535e334ecbfe5129967cd64635101c566d4caefda96e8",
		  "1e71a379baefd8a79aa4662212fcafe19a23e2b609a3db7d6bcba8f560e3d25f",
		  "31e1ae48bddfbe5de38f295e5452b1909a1b4e38e183926af3780b0c1e1f0160" },
		{ "", "", "8387b46bf43eccfcf349552a095d8315c4055beb90208fb1be23b894bc2ed5d0",
		  "58a0e5f6faefccf4807bff1f05fa8a9217945762040bcec2f4b4a62bdfe0e86e",
		  "0ce6ea98ec548f8e281e93e32db65621c45eb18dc6f0a7ad94178610a2f7338e" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct bytes key = hex(v[i].key), in = hex(v[i].input);
		uint8_t t[3][32];

		kdf_blake2s(t[0], t[1], t[2], span_of(key.p, key.len), span_of(in.p, in.len));
		assert_hex(t[0], 32, v[i].t0);
		assert_hex(t[1], 32, v[i].t1);
		assert_hex(t[2], 32, v[i].t2);
	}
}

/* draft-irtf-cfrg-xchacha-03, appendix A.3.1. */
static void xchacha20_poly1305(void **state)
{
	static const char text[] =
		"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for "
		"the future, sunscreen would be it.";
	struct bytes key = hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
	struct bytes nonce = hex("404142434445464748494a4b4c4d4e4f5051525354555657");
	struct bytes ad = hex("50515253c0c1c2c3c4c5c6c7");
	struct bytes sealed = hex(
		"bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb"
		"731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452"
		"2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
		"21f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780a"
		"cf49");
	struct bytes b = sealed;

	(void)state;
	assert_int_equal(xaead_open(key.p, nonce.p, b.p, b.len, span_of(ad.p, ad.len)), ERR_OK);
	assert_memory_equal(b.p, text, sizeof(text) - 1);
	xaead_seal(key.p, nonce.p, b.p, sizeof(text) - 1, span_of(ad.p, ad.len));
	assert_memory_equal(b.p, sealed.p, sealed.len);
}

/* ---- Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s, from the vectors of cacophony and snow ----
 *
 * All that goes over the wire is compared. The vectors' field "handshake_hash" is not: for this
 * pattern it does not agree with the specification, while the messages under it do. */

#define NOISE_NAME "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"

static const char *const prologue_hex = "4a6f686e2047616c74";
static const char *const psk_hex =
	"54686973206973206d7920417573747269616e20706572737065637469766521";
static const char *const init_static_hex =
	"e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1";
static const char *const init_ephemeral_hex =
	"893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a";
static const char *const resp_public_hex =
	"31e0303fd6418d2f8c0e78b91f22e8caed0fbe48656dcf4767e4834f701b8f62";
static const char *const resp_static_hex =
	"4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893";
static const char *const resp_ephemeral_hex =
	"bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b";
/* Payload and what goes over the wire; the first two are the handshake. */
static const struct {
	const char *payload, *wire;
} noise_messages[] = {
	{ "4c756477696720766f6e204d69736573",
	  "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
	  "001e21de9f98ddd8e2ad57527207feb56253c9c94a9e496782ecfcb2a75fbcaf"
	  "1b52948cc48daefe660c62119ab5000980c84831215f2441eba616548e832985"
	  "464cf17e51ee93109008399a21f7e13f" },
	{ "4d757272617920526f746862617264",
	  "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
	  "cb765f2caef0751b8f007572dab0322217755c0632f365717edbf34d33e87a" },
	{ "462e20412e20486179656b", "8153ca9833bc3c1b91a7e66e5f4d4f5b59bf9e64c2f20d15f0bba7" },
	{ "4361726c204d656e676572", "07af0c9c86e1b4e80f36b04ff7688d51141af3debd0332f0a705ef" },
	{ "4a65616e2d426170746973746520536179",
	  "6ab1467c0448cc78394494abaaf23afce0e234315d6e2624dcbfa8a21c1c4d073d" },
	{ "457567656e2042f6686d20766f6e2042617765726b",
	  "dfc346c0d2296ae6cf1acf6f12b8456a1dba228cf8d8b774aacf1c47fc53aa80ebc7a4c292" },
};

struct noise_pair {
	struct noise init, resp;
	uint8_t init_public[32], static_static[32];
};

static void start_pair(struct noise_pair *p)
{
	struct bytes prologue = hex(prologue_hex);

	noise_start(&p->init, span_of(NOISE_NAME, sizeof(NOISE_NAME) - 1),
	            span_of(prologue.p, prologue.len), hex(resp_public_hex).p);
	p->resp = p->init;
	x25519_public(p->init_public, hex(init_static_hex).p);
	assert_int_equal(x25519(p->static_static, hex(init_static_hex).p, hex(resp_public_hex).p),
	                 ERR_OK);
}

static void first_message(struct noise_pair *p)
{
	struct bytes wire = hex(noise_messages[0].wire), payload = hex(noise_messages[0].payload);
	struct bytes ephemeral = hex(init_ephemeral_hex), resp_public = hex(resp_public_hex);
	struct noise_first keys = { ephemeral.p, p->init_public, resp_public.p, p->static_static };
	uint8_t msg[MAX_BYTES], who[32];

	memcpy(msg + 80, payload.p, payload.len);
	assert_int_equal(noise_write_first(&p->init, &keys, msg, payload.len), ERR_OK);
	assert_memory_equal(msg, wire.p, wire.len);
	assert_int_equal(noise_read_static(&p->resp, hex(resp_static_hex).p, msg, who), ERR_OK);
	assert_memory_equal(who, p->init_public, 32);
	assert_int_equal(noise_read_payload(&p->resp, p->static_static, msg + 80, payload.len),
	                 ERR_OK);
	assert_memory_equal(msg + 80, payload.p, payload.len);
}

static void second_message(struct noise_pair *p)
{
	struct bytes wire = hex(noise_messages[1].wire), payload = hex(noise_messages[1].payload);
	struct bytes psk = hex(psk_hex), init_static = hex(init_static_hex);
	struct bytes ours = hex(resp_ephemeral_hex), theirs = hex(init_ephemeral_hex);
	uint8_t msg[MAX_BYTES], their_public[32];
	struct noise_second write = { .ephemeral = ours.p,
		                      .their_ephemeral = their_public,
		                      .their_public = p->init_public,
		                      .psk = psk.p };
	struct noise_second read = { .ephemeral = theirs.p,
		                     .our_secret = init_static.p,
		                     .psk = psk.p };

	x25519_public(their_public, theirs.p);
	memcpy(msg + 32, payload.p, payload.len);
	assert_int_equal(noise_write_second(&p->resp, &write, msg, payload.len), ERR_OK);
	assert_memory_equal(msg, wire.p, wire.len);
	assert_int_equal(noise_read_second(&p->init, &read, msg, payload.len), ERR_OK);
	assert_memory_equal(msg + 32, payload.p, payload.len);
}

static void noise_ikpsk2(void **state)
{
	struct noise_pair p;
	uint8_t key[2][32];

	(void)state;
	start_pair(&p);
	first_message(&p);
	second_message(&p);
	assert_memory_equal(&p.init, &p.resp, sizeof(p.init));
	noise_split(&p.init, key[0], key[1]);
	for (size_t i = 2; i < ARRAY_LEN(noise_messages); i++) {
		struct bytes b = hex(noise_messages[i].payload);

		aead_seal_once(key[i % 2], (i - 2) / 2, b.p, b.len, span_of(NULL, 0));
		assert_hex(b.p, b.len + 16, noise_messages[i].wire);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc7748_x25519),     cmocka_unit_test(rfc8439_aead),
		cmocka_unit_test(rfc7693_blake2s),    cmocka_unit_test(kdf),
		cmocka_unit_test(xchacha20_poly1305), cmocka_unit_test(noise_ikpsk2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
