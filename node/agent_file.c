#include "node/agent_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "linux/files.h"
#include "node/json.h"

#define FILE_MAX 8192

static const char *string_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static enum err key_at(const json_t *o, const char *name, uint8_t key[static WG_KEY_LEN])
{
	const char *s = string_at(o, name);

	return base64_decode_exact(s, strlen(s), key, WG_KEY_LEN);
}

static enum err prefix_at(const json_t *o, const char *name, struct ip_prefix *p)
{
	const char *s = string_at(o, name);

	return prefix_parse(s, strlen(s), p);
}

static enum err ip_at(const json_t *o, const char *name, struct ip_addr *ip)
{
	const char *s = string_at(o, name);

	return ip_parse(s, strlen(s), ip);
}

static enum err parse(const json_t *o, struct agent_file *f)
{
	struct agent_state *s = &f->state;
	const char *endpoint = string_at(o, "colony_endpoint");
	enum err e = key_at(o, "private_key", f->private_key);

	if (!e)
		e = str_copy(s->mesh_id, sizeof(s->mesh_id), string_at(o, "mesh"));
	if (!e)
		e = str_copy(s->agent_id, sizeof(s->agent_id), string_at(o, "id"));
	if (e || !json_is_true(json_object_get(o, "enrolled")))
		return e;
	s->enrolled = true;
	if (key_at(o, "colony_key", s->colony_key) || key_at(o, "pair_key", s->pair_psk) ||
	    prefix_at(o, "address4", &s->address4) || prefix_at(o, "address6", &s->address6) ||
	    ip_at(o, "colony_address4", &s->colony4) || ip_at(o, "colony_address6", &s->colony6))
		return ERR_INVALID;
	if (endpoint_parse(endpoint, strlen(endpoint), &s->colony_endpoint))
		memset(&s->colony_endpoint, 0, sizeof(s->colony_endpoint)); /* only a hint */
	return ERR_OK;
}

enum err agent_file_read(const char *path, struct agent_file *out)
{
	char buf[FILE_MAX];
	size_t len = 0;
	json_t *o;
	enum err e = files_read(path, buf, sizeof(buf), &len);

	memset(out, 0, sizeof(*out));
	if (e)
		return e == ERR_TRUNCATED ? ERR_INVALID : e;
	o = json_loadb(buf, len, JSON_REJECT_DUPLICATES, NULL);
	e = json_is_object(o) && parse(o, out) == ERR_OK ? ERR_OK : ERR_INVALID;
	json_decref(o);
	wipe(buf, sizeof(buf));
	if (e)
		wipe(out, sizeof(*out));
	return e;
}

enum err agent_file_write(const char *path, const struct agent_file *f)
{
	const struct agent_state *s = &f->state;
	json_t *o = json_pack("{s:o, s:s, s:s, s:b}", "private_key", json_key(f->private_key),
	                      "mesh", s->mesh_id, "id", s->agent_id, "enrolled", s->enrolled);
	char *text;
	enum err e;

	if (o && s->enrolled) {
		json_object_set_new(o, "colony_key", json_key(s->colony_key));
		json_object_set_new(o, "pair_key", json_key(s->pair_psk));
		json_object_set_new(o, "address4", json_prefix(&s->address4));
		json_object_set_new(o, "address6", json_prefix(&s->address6));
		json_object_set_new(o, "colony_address4", json_ip(&s->colony4));
		json_object_set_new(o, "colony_address6", json_ip(&s->colony6));
		json_object_set_new(o, "colony_endpoint", json_endpoint(&s->colony_endpoint));
	}
	text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	json_decref(o);
	if (!text)
		return ERR_NOMEM;
	e = files_write_secret(path, text, strlen(text));
	wipe(text, strlen(text));
	free(text);
	return e;
}
