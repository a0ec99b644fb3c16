/* What the server knows of its meshes, and every rule about it. No I/O: calls come in, answers are
 * taken out, time and randomness are handed in, and all that must survive a restart goes through
 * the SQL port. In memory there are only the long polls being held and the punches they are about.
 *
 * After registry_handle, registry_tick, registry_cancel, registry_drain and registry_probe_done,
 * take every answer with registry_next_answer before the next of these calls. */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"
#include "registry/sql.h"
#include "registry/token.h"
#include "rpc/methods.h"
#include "rpc/status.h"

#define REGISTRY_TTL_DEFAULT_S      300
#define REGISTRY_SWEEP_MS           60000
#define REGISTRY_WAIT_MAX_S         25
#define REGISTRY_AWAIT_DEFAULT_S    25
#define REGISTRY_INITIATE_DEFAULT_S 10
#define REGISTRY_PUNCH_KEPT_MS      30000
/* How far ahead both sides of a punch are told to begin: enough for both answers to arrive. */
#define REGISTRY_PUNCH_LEAD_MS      100
/* Bounds of what is held in memory. */
#define REGISTRY_HELD_MAX           16384 /* long polls */
#define REGISTRY_PUNCHES_MAX        32768
#define REGISTRY_MESH_PUNCHES_MAX   12288
#define REGISTRY_PUNCH_BYTES_MAX    (32UL << 20) /* of candidates that somebody waits for */
#define REGISTRY_MESH_AWAITS_MAX    64
#define REGISTRY_MESH_POLLS_MAX     64
#define REGISTRY_PROBES_MAX         256 /* publications that wait for their probe */
#define REGISTRY_LIMIT_BUCKETS      4096
/* Bounds of what is stored. */
#define REGISTRY_COLONIES_MAX       1000000
#define REGISTRY_MESH_AGENTS_MAX    65536
#define REGISTRY_MESH_TOKENS_MAX    65536
#define REGISTRY_MESH_RECORDS_MAX   32 /* rendezvous records */
/* For so long after its last lease an owned mesh is kept for its key (warren-api.md). */
#define REGISTRY_OWNED_MS           (30ULL * 24 * 3600 * 1000)

struct registry_config {
	const struct allocator *alloc;
	const struct rng *rng;
	const struct logger *log;
	struct sql sql;
	const char *version;
	uint32_t ttl_s;
	uint16_t stun_port; /* 0: no STUN server to tell of */
	/* The X25519 private key that proofs of possession are made against: 32 bytes, borrowed as long
	 * as the registry lives. NULL: this server has none, and refuses proofs. */
	const uint8_t *server_secret;
	/* Keys of bootstrap tokens, the first signs. Borrowed; the host may change what is behind the
	 * pointer between calls. NULL or none: no tokens. */
	const struct token_keys *tokens;
	/* Multiplies every limit on calls per time but those of the rendezvous, whose numbers
	 * discovery.md fixes. 0: none but those. */
	uint32_t limit_factor;
	/* How many meshes, sources and leases the limits tell apart, 16 bytes each: a power of 2, or 0
	 * for REGISTRY_LIMIT_BUCKETS. */
	size_t limit_buckets;
	bool strict_keys;     /* refuse public keys that are not base64 of 32 bytes */
};

/* Who calls. PEER is the other end of the connection: rate limits count it when EDGE is not known,
 * and GetObservedAddress may tell it. EDGE is the client's address as told by a proxy that the
 * host's configuration trusts, IP_NONE without one; the address of the TCP peer itself is no
 * evidence about UDP and is not used (discovery.md 3.1). HOST is the name or literal (without
 * brackets) by which the client reached the server, already validated, or "". */
struct registry_caller {
	struct ip_addr edge;
	struct ip_addr peer;
	const char *host;
};

struct registry_call {
	uint64_t ticket; /* the host's name for this call, unique among those not yet answered */
	enum rpc_method method;
	const void *request;  /* the method's request struct, borrowed during the call */
	struct registry_caller caller;
	uint64_t deadline_ns; /* when the client gives up, TIME_NEVER if it did not say */
};

struct registry_answer {
	uint64_t ticket;
	enum status code;
	const char *message;  /* "" when OK */
	const void *response; /* the method's response struct; NULL unless OK */
	uint32_t retry_after_s; /* with RESOURCE_EXHAUSTED: when to try again; 0: not known */
};

/* A reachability probe that a held PublishBootstrapRendezvous waits for: the host connects to
 * TARGET over TCP, says nothing, closes, and reports with registry_probe_done. Quota and deny list
 * are the host's to ask: see probe.h. */
struct registry_probe {
	uint64_t ticket;
	const char *target;    /* as the client wrote it; valid until the next call */
	struct ip_addr source; /* whom the quota counts */
};

enum probe_result {
	PROBE_REACHED,
	PROBE_FAILED,  /* refused, timed out, denied, not an address */
	PROBE_REFUSED  /* the quota has no room */
};

/* What InitiatePunch led to, as ReportPunch tells it. */
enum punch_report { REPORT_DIRECT, REPORT_RELAYED, REPORT_FAILED, PUNCH_REPORTS };

/* Whose limit refused a call. */
enum limit_scope { LIMIT_MESH, LIMIT_SOURCE, LIMIT_LEASE, LIMIT_SCOPES };

struct registry_stats {
	uint64_t punches_offered;  /* InitiatePunch calls that became offers */
	uint64_t punches_answered; /* by the colony, in time */
	uint64_t punches_timed_out;
	uint64_t punches_canceled; /* the agent went away */
	uint64_t punches_reported[PUNCH_REPORTS];
	uint64_t punch_ms_sum; /* of the successful ones' durations */
	uint64_t limited[LIMIT_SCOPES]; /* calls refused by a rate limit */
	uint64_t proofs_refused;
	uint64_t tokens_issued, tokens_redeemed;
	uint64_t rendezvous_published, rendezvous_acked;
	uint64_t probes[PROBE_REFUSED + 1];
	uint64_t held;             /* long polls right now */
};

struct registry;

/* Brings the schema up to date, for a host that needs its own tables in it (settings, signing_keys)
 * before it opens the registry. ERR_IO, or ERR_UNSUPPORTED as registry_new. */
enum err registry_migrate(const struct sql *sql) MUST_CHECK;

/* Brings the schema up to date and opens. *OUT is owned by the caller. ERR_IO, ERR_NOMEM, or
 * ERR_UNSUPPORTED when the database was written by a newer version. */
enum err registry_new(const struct registry_config *cfg, uint64_t now, struct wall_time wall,
                      struct registry **out) MUST_CHECK;
void registry_free(struct registry *r);

/* Answers now, or holds the call until something happens or its time is over. */
void registry_handle(struct registry *r, const struct registry_call *call, uint64_t now,
                     struct wall_time wall);
/* The client of TICKET went away: no answer will come. Unknown tickets are fine. */
void registry_cancel(struct registry *r, uint64_t ticket);
/* Answers every held call as if its time were over. For an orderly stop. */
void registry_drain(struct registry *r);

void registry_tick(struct registry *r, uint64_t now, struct wall_time wall);
/* When registry_tick wants to be called, TIME_NEVER when nothing is left to do. */
uint64_t registry_deadline(const struct registry *r);

/* The part of registry_deadline that is about stored things only: a host without a clock of its own
 * running (a Durable Object) wakes for this one, and for the rest only while calls are held. */
uint64_t registry_sweep_deadline(const struct registry *r);

/* The next probe to make; false when there is none. Take them after registry_handle. */
bool registry_next_probe(struct registry *r, struct registry_probe *out);
/* How a probe went; REASON names what the quota refused ("per_ip_rate"), "" otherwise. One whose
 * call was answered or canceled meanwhile is fine, as long as no other call has its ticket. It may
 * write to the database. */
void registry_probe_done(struct registry *r, uint64_t ticket, enum probe_result result,
                         const char *reason, uint64_t now, struct wall_time wall);

/* The next answer; false when there is none. It may read the database: a poll that was woken looks
 * again. Message and response are valid until the next call. */
bool registry_next_answer(struct registry *r, struct registry_answer *out);

void registry_stats(const struct registry *r, struct registry_stats *out);
/* Live leases, counted now. */
enum err registry_count(struct registry *r, struct wall_time wall, uint64_t *colonies,
                        uint64_t *agents) MUST_CHECK;

#endif
