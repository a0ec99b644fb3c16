#include "server/keys_config.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "server/keys.h"

void base64_to_url(char *s)
{
	for (; *s && *s != '='; s++) {
		if (*s == '+')
			*s = '-';
		else if (*s == '/')
			*s = '_';
	}
	*s = '\0';
}

/* jansson frees its strings as they are; what they held must not stay in memory. */
static void wipe_strings(json_t *value)
{
	const char *key;
	json_t *v;
	size_t i;

	if (json_is_string(value)) {
		union {
			const char *in;
			char *out;
		} p = { json_string_value(value) };

		wipe(p.out, json_string_length(value));
	}
	json_object_foreach(value, key, v)
		wipe_strings(v);
	json_array_foreach(value, i, v)
		wipe_strings(v);
}

static void drop(json_t *value)
{
	wipe_strings(value);
	json_decref(value);
}

/* The bytes of the string NAME. ERR_NOT_FOUND when there is no such string. */
static enum err bytes_of(const json_t *object, const char *name, uint8_t *out, size_t cap,
                         size_t *n)
{
	const json_t *v = json_object_get(object, name);

	if (!json_is_string(v))
		return ERR_NOT_FOUND;
	if (base64_decode_any(json_string_value(v), json_string_length(v), out, cap, n))
		return ERR_INVALID;
	return ERR_OK;
}

static bool has_id(const json_t *object)
{
	const json_t *id = json_object_get(object, "id");

	/* jansson refuses \u0000 in strings, so that C may read them. */
	return json_is_string(id) && json_string_length(id) > 0;
}

/* NULL, or what is wrong with OBJECT. */
static const char *read_private(const json_t *object, struct token_key *out)
{
	uint8_t private[TOKEN_SEED_LEN + TOKEN_PUBLIC_LEN];
	const char *problem = NULL;
	size_t n;
	enum err e;

	if (!has_id(object))
		return "there is no \"id\"";
	e = bytes_of(object, "privateKey", private, sizeof(private), &n);
	if (e == ERR_NOT_FOUND)
		problem = "there is no \"privateKey\"";
	else if (e || (n != TOKEN_SEED_LEN && n != sizeof(private)))
		problem = "\"privateKey\" is not base64 of 32 or 64 bytes";
	else if (token_key_load(out, json_string_value(json_object_get(object, "id")),
	                        span_of(private, n)))
		problem = "\"id\" is not 1 to 64 characters of A-Z a-z 0-9 - _ . or the halves of "
		          "\"privateKey\" do not belong together";
	wipe(private, sizeof(private));
	return problem;
}

static const char *read_public(const json_t *object, struct token_key *out)
{
	uint8_t public[TOKEN_PUBLIC_LEN];
	const char *problem;
	size_t n;
	enum err e;

	e = bytes_of(object, "publicKey", public, sizeof(public), &n);
	if (e == ERR_NOT_FOUND) {
		problem = read_private(object, out);
		if (!problem) {
			wipe(out->seed, sizeof(out->seed));
			out->signs = false;
		}
		return problem;
	}
	if (!has_id(object))
		return "there is no \"id\"";
	if (e || n != sizeof(public))
		return "\"publicKey\" is not base64 of 32 bytes";
	if (token_key_load_public(out, json_string_value(json_object_get(object, "id")),
	                          span_of(public, n)))
		return "\"id\" is not 1 to 64 characters of A-Z a-z 0-9 - _ .";
	return NULL;
}

enum err keys_given_current(struct keys_given *g, const char *text, const char *where, char *why,
                            size_t why_cap)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *problem = "it is not a JSON object";

	if (json_is_object(root))
		problem = read_private(root, &g->current);
	drop(root);
	if (!problem)
		return ERR_OK;
	snprintf(why, why_cap, "the signing key in %s is not usable: %s", where, problem);
	return ERR_INVALID;
}

enum err keys_given_previous(struct keys_given *g, const char *text, char *why, size_t why_cap)
{
	json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	const char *problem = json_is_array(root) ? NULL : "it is not a JSON list";
	size_t n = json_array_size(root);

	if (n > ARRAY_LEN(g->previous))
		problem = "there are more than 7";
	for (size_t i = 0; !problem && i < n; i++) {
		const json_t *entry = json_array_get(root, i);

		problem = "an entry is not an object";
		if (json_is_object(entry))
			problem = read_public(entry, &g->previous[i]);
	}
	drop(root);
	if (problem) {
		snprintf(why, why_cap, "the keys in DISCOVERY_PREVIOUS_KEYS are not usable: %s",
		         problem);
		return ERR_INVALID;
	}
	g->n_previous = n;
	return ERR_OK;
}
