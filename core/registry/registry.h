/* What the server knows of its meshes, and every rule about it. No I/O: calls come in, answers are
 * taken out, time and randomness are handed in, and all that must survive a restart goes through
 * the SQL port. In memory there are only the long polls being held and the punches they are about.
 *
 * After registry_handle, registry_tick, registry_cancel and registry_drain, take every answer with
 * registry_next_answer before the next of these calls. */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H

#include "base/addr.h"
#include "base/host.h"
#include "base/time.h"
#include "registry/sql.h"
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
#define REGISTRY_PUNCHES_MAX        16384
#define REGISTRY_MESH_PUNCHES_MAX   1024
#define REGISTRY_MESH_AWAITS_MAX    64

struct registry_config {
	const struct allocator *alloc;
	const struct rng *rng;
	const struct logger *log;
	struct sql sql;
	const char *version;
	uint32_t ttl_s;
	uint16_t stun_port; /* 0: no STUN server to tell of */
};

/* Who calls. EDGE is the client's address as told by a proxy that the host's configuration trusts,
 * IP_NONE without one; the address of the TCP peer itself is no evidence about UDP and is not
 * used (discovery.md 3.1). HOST is the name or literal (without brackets) by which the client
 * reached the server, already validated, or "". */
struct registry_caller {
	struct ip_addr edge;
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
};

struct registry_stats {
	uint64_t punches_offered;  /* InitiatePunch calls that became offers */
	uint64_t punches_answered; /* by the colony, in time */
	uint64_t punches_timed_out;
	uint64_t punches_canceled; /* the agent went away */
	uint64_t held;             /* long polls right now */
};

struct registry;

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

/* The next answer; false when there is none. Message and response are valid until the next call. */
bool registry_next_answer(struct registry *r, struct registry_answer *out);

void registry_stats(const struct registry *r, struct registry_stats *out);
/* Live leases, counted now. */
enum err registry_count(struct registry *r, struct wall_time wall, uint64_t *colonies,
                        uint64_t *agents) MUST_CHECK;

#endif
