#include "node/discovery_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *discovery_method_name(const struct rpc_request *r)
{
	switch (r->method) {
	case RPC_REGISTER: return r->is_colony ? "RegisterColony" : "RegisterAgent";
	case RPC_LOOKUP_COLONY: return "LookupColony";
	case RPC_INITIATE_PUNCH: return "InitiatePunch";
	case RPC_AWAIT_PUNCH: return "AwaitPunch";
	case RPC_ANSWER_PUNCH: return "AnswerPunch";
	case RPC_METHODS: break;
	}
	return "";
}

/* ---- requests ---- */

static void set_string(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, json_string(value));
}

static void set_base64(json_t *o, const char *key, const uint8_t *p, size_t n)
{
	char buf[BASE64_LEN(MESH_TOKEN_MAX) + 1];
	struct text t = TEXT_IN(buf);

	text_base64(&t, p, n);
	set_string(o, key, buf);
	wipe(buf, sizeof(buf));
}

static void set_ip(json_t *o, const char *key, const struct ip_addr *ip)
{
	char buf[IP_TEXT_MAX];
	struct text t = TEXT_IN(buf);

	if (ip->family == IP_NONE)
		return;
	text_ip(&t, ip);
	set_string(o, key, buf);
}

static json_t *endpoint_object(const struct endpoint *e)
{
	json_t *o = json_object();

	set_ip(o, "ip", &e->ip);
	json_object_set_new(o, "port", json_integer(e->port));
	set_string(o, "protocol", "udp");
	return o;
}

static void set_candidates(json_t *o, const struct rpc_request *r)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->candidate_count; i++) {
		char buf[CANDIDATE_TEXT_MAX];
		struct text t = TEXT_IN(buf);

		text_candidate(&t, &r->candidates[i], i);
		json_array_append_new(list, json_string(buf));
	}
	json_object_set_new(o, "candidates", list);
}

static void encode_register(json_t *o, const struct rpc_request *r)
{
	json_t *list = json_array();

	if (!r->is_colony)
		set_string(o, "agentId", r->agent_id);
	set_base64(o, "pubkey", r->public_key, sizeof(r->public_key));
	for (size_t i = 0; i < r->endpoint_count; i++) {
		char buf[ENDPOINT_TEXT_MAX];
		struct text t = TEXT_IN(buf);

		text_endpoint(&t, &r->endpoints[i]);
		json_array_append_new(list, json_string(buf));
	}
	json_object_set_new(o, "endpoints", list);
	if (r->observed.ip.family != IP_NONE)
		json_object_set_new(o, "observedEndpoint", endpoint_object(&r->observed));
	set_ip(o, "meshIpv4", &r->mesh4);
	set_ip(o, "meshIpv6", &r->mesh6);
}

char *discovery_encode(const struct rpc_request *r, const struct evidence *evidence)
{
	json_t *o = json_object();
	char *body;

	set_string(o, "meshId", r->mesh_id);
	if (r->lease.len)
		set_base64(o, "leaseToken", r->lease.bytes, r->lease.len);
	switch (r->method) {
	case RPC_REGISTER:
		encode_register(o, r);
		if (evidence) {
			set_base64(o, "proof", evidence->proof, sizeof(evidence->proof));
			json_object_set_new(o, "proofTime", json_integer(evidence->time_s));
		}
		break;
	case RPC_INITIATE_PUNCH:
		set_string(o, "agentId", r->agent_id);
		set_base64(o, "agentPubkey", r->public_key, sizeof(r->public_key));
		set_candidates(o, r);
		json_object_set_new(o, "waitSeconds", json_integer(r->wait_s));
		break;
	case RPC_AWAIT_PUNCH:
		json_object_set_new(o, "waitSeconds", json_integer(r->wait_s));
		break;
	case RPC_ANSWER_PUNCH:
		set_string(o, "punchId", r->punch_id);
		set_candidates(o, r);
		break;
	case RPC_LOOKUP_COLONY:
	case RPC_METHODS:
		break;
	}
	body = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return body;
}

/* ---- replies ---- */

static const char *string_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void copy_cut(char *dst, size_t cap, const char *s)
{
	struct text t = text_in(dst, cap);

	text_str(&t, s);
}

static void decode_key(struct rpc_reply *out, const json_t *o, const char *key)
{
	const char *s = string_at(o, key);

	out->has_public_key = *s && base64_decode_exact(s, strlen(s), out->public_key,
	                                                sizeof(out->public_key)) == ERR_OK;
}

bool discovery_decode_server_key(const char *body, size_t len, uint8_t key[static X25519_LEN])
{
	json_t *o = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	const char *s = string_at(o, "serverKey");
	bool told = *s && base64_decode_exact(s, strlen(s), key, X25519_LEN) == ERR_OK;

	json_decref(o);
	return told;
}

static size_t decode_candidates(const json_t *o, struct candidate *out)
{
	const json_t *list = json_object_get(o, "candidates"), *item;
	size_t index, n = 0;
	struct candidate c;

	json_array_foreach(list, index, item) {
		const char *s = json_string_value(item);

		if (s && candidate_parse(s, strlen(s), &c) == ERR_OK)
			candidate_add(out, &n, c.type, &c.endpoint);
	}
	return n;
}

static void add_raw(struct rpc_reply *out, enum candidate_type type, const struct endpoint *e)
{
	/* Not candidate_add: host and reflexive entries that are equal tell that there is no NAT. */
	if (out->candidate_count < MESH_CANDIDATES_MAX && candidate_is_usable(e))
		out->candidates[out->candidate_count++] = (struct candidate){ type, *e };
}

static void decode_lookup(struct rpc_reply *out, const json_t *o)
{
	const json_t *item;
	struct endpoint e;
	size_t index;

	decode_key(out, o, "pubkey");
	json_array_foreach(json_object_get(o, "observedEndpoints"), index, item) {
		const char *ip = string_at(item, "ip");
		json_int_t port = json_integer_value(json_object_get(item, "port"));

		memset(&e, 0, sizeof(e));
		if (port < 1 || port > 65535 || ip_parse(ip, strlen(ip), &e.ip))
			continue;
		e.port = (uint16_t)port;
		add_raw(out, CANDIDATE_SRFLX, &e);
	}
	json_array_foreach(json_object_get(o, "endpoints"), index, item) {
		const char *s = json_string_value(item);

		if (s && endpoint_parse(s, strlen(s), &e) == ERR_OK)
			add_raw(out, CANDIDATE_HOST, &e);
	}
}

static void decode_register(struct rpc_reply *out, struct stun_names *stun, const json_t *o)
{
	const char *token = string_at(o, "leaseToken");
	json_int_t ttl = json_integer_value(json_object_get(o, "ttl"));
	const json_t *item;
	size_t index;

	out->ttl_s = ttl > 0 && ttl < 86400 ? (uint32_t)ttl : 0;
	if (base64_decode_any(token, strlen(token), out->lease.bytes, sizeof(out->lease.bytes),
	                      &out->lease.len))
		out->lease.len = 0;
	json_array_foreach(json_object_get(o, "stunServers"), index, item) {
		const char *s = json_string_value(item);

		if (s && stun->count < MESH_STUN_MAX && strlen(s) < MESH_HOSTNAME_MAX)
			copy_cut(stun->name[stun->count++], MESH_HOSTNAME_MAX, s);
	}
}

static void decode_offers(struct rpc_reply *out, const json_t *o)
{
	/* The list's name in the reply is the proto's; both spellings of it are valid JSON names. */
	const json_t *list = json_object_get(o, "offers"), *item;
	size_t index;

	json_array_foreach(list, index, item) {
		struct punch_offer *offer = &out->offers[out->offer_count];
		const char *id = string_at(item, "punchId");

		if (out->offer_count == MESH_OFFERS_MAX || !*id || strlen(id) >= MESH_PUNCH_ID_MAX)
			continue;
		copy_cut(offer->punch_id, sizeof(offer->punch_id), id);
		copy_cut(offer->agent_id, sizeof(offer->agent_id), string_at(item, "agentId"));
		offer->candidate_count = decode_candidates(item, offer->candidates);
		out->offer_count++;
	}
}

static void decode_ok(struct rpc_reply *out, struct stun_names *stun, const json_t *o)
{
	switch (out->method) {
	case RPC_REGISTER:
		decode_register(out, stun, o);
		break;
	case RPC_LOOKUP_COLONY:
		decode_lookup(out, o);
		break;
	case RPC_INITIATE_PUNCH:
		out->accepted = json_is_true(json_object_get(o, "accepted"));
		decode_key(out, o, "colonyPubkey");
		out->candidate_count = decode_candidates(o, out->candidates);
		break;
	case RPC_AWAIT_PUNCH:
		decode_offers(out, o);
		break;
	case RPC_ANSWER_PUNCH:
	case RPC_METHODS:
		break;
	}
}

static enum rpc_result result_of(const char *code)
{
	static const struct {
		const char *code;
		enum rpc_result result;
	} known[] = { { "not_found", RPC_NOT_FOUND },
		      { "already_exists", RPC_EXISTS },
		      { "permission_denied", RPC_DENIED },
		      { "unavailable", RPC_UNREACHABLE },
		      { "deadline_exceeded", RPC_UNREACHABLE } };

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (strcmp(known[i].code, code) == 0)
			return known[i].result;
	return RPC_REFUSED;
}

void discovery_decode(struct rpc_reply *out, struct stun_names *stun, long http_status,
                      const char *body, size_t len)
{
	json_t *o = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
	const char *code = string_at(o, "code"), *message = string_at(o, "message");

	if (json_is_object(o) && http_status == 200) {
		out->result = RPC_OK;
		decode_ok(out, stun, o);
	} else if (json_is_object(o) && *code) {
		out->result = result_of(code);
		copy_cut(out->message, sizeof(out->message), *message ? message : code);
	} else {
		/* A proxy's error page, a captive portal: somebody, but not a discovery service. */
		out->result = RPC_UNREACHABLE;
		snprintf(out->message, sizeof(out->message),
		         "what answers there (HTTP status %ld) is not a discovery service",
		         http_status);
	}
	json_decref(o);
}
