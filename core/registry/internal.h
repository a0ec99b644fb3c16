/* What the files of this module share. */
#ifndef REGISTRY_INTERNAL_H
#define REGISTRY_INTERNAL_H

#include "base/heap.h"
#include "registry/lease.h"
#include "registry/limits.h"
#include "registry/registry.h"

#define BUCKETS 4096 /* 2^12 */

struct punch_table;

struct registry {
	struct registry_config cfg;
	uint64_t started_ns;
	uint64_t sweep_at; /* TIME_NEVER: nothing is stored */
	/* Live colonies as counted at COUNTED_MS, and those that came and went since. */
	uint64_t colonies_live;
	uint64_t counted_ms; /* 0: not yet */
	/* The time of the call being served. */
	uint64_t now;
	uint64_t wall_ms;
	/* The call being served, NULL outside of registry_handle. */
	const struct registry_call *call;
	/* Its answer, once there is one. */
	struct registry_answer answer;
	bool answered;
	struct text message;
	char message_buf[320];
	struct punch_table *punches;
	struct limits *limits;
	struct registry_stats stats;
	char server_key[BASE64_LEN(X25519_LEN) + 1]; /* "" until somebody asks for it */
	/* Scratch, so that nothing large is ever on the stack. */
	union rpc_response response;
	union {
		RegisterColonyRequest colony;
		RegisterAgentRequest agent;
	} stored;
	uint8_t record[RegisterColonyRequest_size];
};

/* --- answers -------------------------------------------------------------------------------- */

/* The zeroed response of the method being served. */
void *response_begin(struct registry *r, enum rpc_method method);
/* Answers the call being served with the response. */
void answer_ok(struct registry *r);
/* Answers it with CODE; the message is DETAIL with one %-free insertion: BEFORE, NAME, AFTER. */
void answer_error(struct registry *r, enum status code, const char *before, const char *name,
                  const char *after);
/* invalid_argument "FIELD is required" if VALUE is empty. True when it is there. */
bool require(struct registry *r, const char *value, const char *field);
/* For a statement that could not run. */
void answer_storage(struct registry *r);
/* resource_exhausted, with the time after which it is worth to try again; 0: not known. */
void answer_limited(struct registry *r, const char *message, uint32_t retry_after_s);
/* What a client said of how long it would wait, within 0 and REGISTRY_WAIT_MAX_S. */
uint64_t wait_of(bool present, int32_t seconds, uint64_t absent);
void timestamp_from_ms(google_protobuf_Timestamp *t, uint64_t ms);

/* --- store ---------------------------------------------------------------------------------- */

/* A colony (AGENT is NULL) or an agent. */
struct party {
	const char *mesh;
	const char *agent;
};

struct party_row {
	bool found;
	bool renewed; /* for store_put: the same key holds it on, so created_ms is as stored */
	char mesh[129]; /* filled by store_find_agent only */
	char pubkey[129];
	struct leases leases;
	uint64_t created_ms;
	uint64_t updated_ms;
	uint64_t expires_ms;
	uint64_t owned_until_ms; /* of a colony; 0: nobody has proven its key */
	bool proven;             /* of an agent: the lease was made with a proof */
	size_t record_len;       /* of registry.record, when it was asked for */
};

enum err store_migrate(const struct sql *sql) MUST_CHECK;
/* The stored row, live or not; with WITH_RECORD its message is copied to r->record. */
enum err store_get(struct registry *r, const struct party *p, bool with_record,
                   struct party_row *out) MUST_CHECK;
/* Of the live agents of that name, in whatever mesh, the one that registered first; its record. */
enum err store_find_agent(struct registry *r, const char *agent, struct party_row *out) MUST_CHECK;
/* Inserts or replaces; the message is RECORD_LEN bytes of r->record. A new row must have been
 * counted with store_reserve before. */
enum err store_put(struct registry *r, const struct party *p,
                   const struct party_row *row) MUST_CHECK;
/* Ends the lease of a row that is there: an owned colony stays, as its key's; others go. */
enum err store_end(struct registry *r, const struct party *p,
                   const struct party_row *row) MUST_CHECK;

/* What is counted as it is stored, so that bounds cost no count(*). */
enum counted { COUNTED_COLONIES, COUNTED_AGENTS, COUNTED_TOKENS };
/* Counts one more of KIND in MESH (colonies: on the server). ERR_FULL when there are MAX. */
enum err store_reserve(struct registry *r, enum counted kind, const char *mesh,
                       uint64_t max) MUST_CHECK;
/* Counts one less. */
enum err store_release(struct registry *r, enum counted kind, const char *mesh) MUST_CHECK;

/* A bootstrap token not yet redeemed. */
struct token_row {
	uint8_t hash[SHA256_LEN]; /* of the whole token */
	const char *mesh;
	const char *reef, *agent, *intent;
	uint64_t expires_ms;
};
enum err store_put_token(struct registry *r, const struct token_row *t) MUST_CHECK;
/* Removes the token HASH of MESH and hands out what it says. ERR_NOT_FOUND when there is none that
 * is still good. */
enum err store_take_token(struct registry *r, const uint8_t hash[static SHA256_LEN],
                          const char *mesh, RedeemBootstrapTokenResponse *out) MUST_CHECK;

/* So many rows of each table go at once: the loop must not stand still for a mass extinction. */
#define SWEEP_BATCH 1000
struct swept {
	uint64_t deleted;
	bool more;       /* a batch was full: there may be others */
	uint64_t due_ms; /* when the next row may go; TIME_NEVER when none is left */
};
/* Deletes what is over. */
enum err store_sweep(struct registry *r, struct swept *out) MUST_CHECK;
enum err store_count(const struct sql *sql, uint64_t wall_ms_now, uint64_t *colonies,
                     uint64_t *agents) MUST_CHECK;

static inline bool row_is_live(const struct registry *r, const struct party_row *row)
{
	return row->found && row->expires_ms >= r->wall_ms;
}

/* Whether it is kept for its key, its lease over or not. */
static inline bool row_is_owned(const struct registry *r, const struct party_row *row)
{
	return row->found && row->owned_until_ms >= r->wall_ms;
}

/* --- sweeps --------------------------------------------------------------------------------- */

/* Something was stored that may go at DUE_MS, wall time: a sweep will come. */
void sweep_want(struct registry *r, uint64_t due_ms);
void sweep_tick(struct registry *r);

/* --- proofs --------------------------------------------------------------------------------- */

struct proof {
	const struct party *party;
	const char *pubkey;
	struct span bytes; /* empty: none was given */
	int64_t time_s;
};

/* Whether P shows that its maker holds the private half of the key. False, with the answer given,
 * when it does not. */
bool proof_check(struct registry *r, const struct proof *p);

/* --- rates ---------------------------------------------------------------------------------- */

/* Whether the call being served is within its limits. False, with the answer given, if not. */
bool admit(struct registry *r);
/* The same for a limit of the method's own per mesh, which limit_factor does not scale. */
bool admit_mesh(struct registry *r, const char *mesh, struct rate rate);
/* Whom limits and quotas count. */
static inline struct ip_addr caller_address(const struct registry_caller *c)
{
	return ip_unmap(c->edge.family == IP_NONE ? &c->peer : &c->edge);
}

/* --- leases --------------------------------------------------------------------------------- */

/* The row of PARTY, if TOKEN shows that the caller holds its lease; LEASE is then the token's hash.
 * False, with the answer given, otherwise: it does not tell whether there is such a party. */
bool authorize(struct registry *r, const struct party *party, struct span token,
               struct party_row *row, uint8_t lease[static SHA256_LEN]);

/* --- calls ---------------------------------------------------------------------------------- */

void call_register_colony(struct registry *r, const RegisterColonyRequest *q);
void call_register_agent(struct registry *r, const RegisterAgentRequest *q);
void call_lookup_colony(struct registry *r, const LookupColonyRequest *q);
void call_lookup_agent(struct registry *r, const LookupAgentRequest *q);
void call_health(struct registry *r);
void call_deregister_colony(struct registry *r, const DeregisterColonyRequest *q);
void call_deregister_agent(struct registry *r, const DeregisterAgentRequest *q);
void call_create_bootstrap_token(struct registry *r, const CreateBootstrapTokenRequest *q);
void call_redeem_bootstrap_token(struct registry *r, const RedeemBootstrapTokenRequest *q);

void call_publish_rendezvous(struct registry *r, const PublishBootstrapRendezvousRequest *q);
void call_poll_rendezvous(struct registry *r, const PollBootstrapRendezvousRequest *q);
void call_ack_rendezvous(struct registry *r, const AckBootstrapRendezvousRequest *q);
void call_get_observed_address(struct registry *r);

/* --- observed address ----------------------------------------------------------------------- */

/* Whether TEXT is an address that the Internet can reach (discovery.md 3.1, [REC]). */
bool address_is_public(const char *text);
/* Turns what the client says of itself (NULL: nothing) and what the edge saw into what is stored.
 * False when nothing is. */
bool observed_endpoint(const struct ip_addr *edge, const Endpoint *self, Endpoint *out);
/* The STUN servers to tell a caller of. */
pb_size_t stun_servers(const struct registry *r, char (*out)[265]);

/* --- punches -------------------------------------------------------------------------------- */

enum err punches_new(struct registry *r) MUST_CHECK;
void punches_free(struct registry *r);
void call_initiate_punch(struct registry *r, const InitiatePunchRequest *q);
void call_await_punch(struct registry *r, const AwaitPunchRequest *q);
void call_answer_punch(struct registry *r, const AnswerPunchRequest *q);
void call_report_punch(struct registry *r, const ReportPunchRequest *q);
void punches_cancel(struct registry *r, uint64_t ticket);
void punches_drain(struct registry *r);
void punches_tick(struct registry *r);
uint64_t punches_deadline(const struct registry *r);
uint64_t punches_held(const struct registry *r);
bool punches_next_answer(struct registry *r, struct registry_answer *out);

#endif
