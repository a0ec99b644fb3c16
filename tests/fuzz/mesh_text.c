/* What people and the discovery server hand us as text: candidates, colony secrets, ids. */
#include "fuzz.h"

#include "mesh/candidate.h"
#include "mesh/inner.h"
#include "mesh/secret.h"

static void candidate(const char *s, size_t n)
{
	struct candidate c, again;
	char buf[CANDIDATE_TEXT_MAX];
	struct text t = TEXT_IN(buf);

	if (candidate_parse(s, n, &c))
		return;
	FUZZ_CHECK(candidate_is_usable(&c.endpoint));
	text_candidate(&t, &c, 0);
	FUZZ_CHECK(!t.truncated);
	FUZZ_CHECK(candidate_parse(buf, t.len, &again) == ERR_OK);
	FUZZ_CHECK(again.type == c.type && endpoint_eq(&again.endpoint, &c.endpoint));
}

static void secret(const char *s, size_t n)
{
	struct secret a, b;
	char buf[SECRET_TEXT_MAX];
	struct text t = TEXT_IN(buf);

	if (secret_parse(s, n, &a))
		return;
	text_secret(&t, &a);
	FUZZ_CHECK(!t.truncated);
	FUZZ_CHECK(secret_parse(buf, t.len, &b) == ERR_OK);
	FUZZ_CHECK(memcmp(&a, &b, sizeof(a)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char id[MESH_ID_MAX + 8];
	size_t n = size < sizeof(id) - 1 ? size : sizeof(id) - 1;

	candidate((const char *)data, size);
	secret((const char *)data, size);
	memcpy(id, data, n);
	id[n] = '\0';
	FUZZ_CHECK(!mesh_id_is_valid(id) || strlen(id) < MESH_ID_MAX);
	return 0;
}
