/* What passes between this module and the JavaScript around it (src/machine.js has the same offsets).
 *
 * There is one module per isolate, and in it one registry per Durable Object: a mesh. Everything is
 * synchronous and on one thread. The JavaScript side fills the frame, calls an export, and reads the
 * frame again. Pointers in it are into this module's memory; those that the module fills in are valid
 * until the next call.
 *
 * Imports (module "host"): sql, log, panic, random, and the primitives of crypto.c. */
#ifndef WORKER_ABI_H
#define WORKER_ABI_H

#include "registry/probe.h"
#include "registry/registry.h"

struct text_ref {
	const char *p;
	uint32_t len;
};

struct frame {
	/* To the module. */
	uint64_t now_ns;      /* monotonic; for every call about a mesh or the quota */
	uint64_t wall_ms;     /* Unix time; the same */
	uint64_t ticket;      /* mesh_handle, mesh_cancel, mesh_probe_done */
	uint64_t deadline_ns; /* mesh_handle */
	uint32_t method;      /* enum rpc_method */
	struct text_ref request; /* protobuf */
	struct text_ref source;  /* the client's address as text, or empty */
	struct text_ref host;    /* how the client reached the service; NUL behind it */
	/* From the module: an answer, or a probe to make. */
	uint64_t out_ticket;
	uint32_t code;          /* enum status */
	uint32_t retry_after_s;
	struct text_ref message;
	struct text_ref response; /* protobuf of an answer; a probe's target; a text that was asked for */
	struct text_ref out_source; /* whom a probe is counted for */
	uint32_t port;          /* of a probe's target */
};

/* The JavaScript side counts on these. */
_Static_assert(offsetof(struct frame, method) == 32, "frame");
_Static_assert(offsetof(struct frame, host) == 52, "frame");
_Static_assert(offsetof(struct frame, out_ticket) == 64, "frame");
_Static_assert(offsetof(struct frame, message) == 80, "frame");
_Static_assert(offsetof(struct frame, port) == 104, "frame");

#define EXPORT(name) __attribute__((export_name(#name)))
#define IMPORT(name) __attribute__((import_module("host"), import_name(#name)))

/* --- the module ----------------------------------------------------------------------------- */

/* Once, before anything else. The log level is an enum log_level. */
EXPORT(start) void host_start(uint32_t log_level);
EXPORT(frame) struct frame *host_frame(void);
/* Memory for what JavaScript passes in; zeroed, NULL when there is none. Given back wiped. */
EXPORT(allocate) void *host_allocate(size_t n);
EXPORT(release) void host_release(void *p, size_t n);
/* Bytes handed out of the arena, for tests of leaks. */
EXPORT(used) size_t host_used(void);
/* What every mesh opened from here on is configured with. ERR_INVALID for a version that is too
 * long. */
EXPORT(configure) enum err host_configure(const char *version, uint32_t ttl_s,
                                          uint32_t limit_factor, uint32_t limit_buckets,
                                          uint32_t strict_keys);
/* The private key that proofs of possession are made against: 32 bytes, copied. */
EXPORT(set_server_secret) void host_set_server_secret(const uint8_t *secret);
/* Adds a key of bootstrap tokens, the signing one first: the private key, or, with LISTED, the
 * public one. KID ends in a NUL. */
EXPORT(add_key) enum err host_add_key(const char *kid, const uint8_t *p, size_t n,
                                      uint32_t listed);
/* The JSON Web Key Set, in the frame's response. */
EXPORT(jwks) void host_jwks(void);

/* --- meshes --------------------------------------------------------------------------------- */

struct mesh;

/* Opens the registry over the database of the object ID, whose schema is brought up to date. NULL
 * with the error's text in the frame's message. */
EXPORT(mesh_open) struct mesh *mesh_open(uint32_t id);
EXPORT(mesh_close) void mesh_close(struct mesh *m);
/* The call in the frame. False: the request is not one, and the frame has the answer; otherwise take
 * answers and probes. The upper half of a ticket is the method of its call. */
EXPORT(mesh_handle) bool mesh_handle(struct mesh *m);
/* The next answer, in the frame; false when there is none. */
EXPORT(mesh_next_answer) bool mesh_next_answer(struct mesh *m);
/* The client of the frame's ticket went away. */
EXPORT(mesh_cancel) void mesh_cancel(struct mesh *m);
EXPORT(mesh_tick) void mesh_tick(struct mesh *m);
EXPORT(mesh_deadline) uint64_t mesh_deadline(const struct mesh *m);
EXPORT(mesh_sweep_deadline) uint64_t mesh_sweep_deadline(const struct mesh *m);
/* Hands the columns of a row to a statement's caller. */
EXPORT(row) void host_row(sql_row_fn *fn, void *ctx, const struct sql_value *columns, size_t n);

/* --- probes --------------------------------------------------------------------------------- */

/* The next probe to make: ticket, target (response) and source, in the frame. */
EXPORT(mesh_next_probe) bool mesh_next_probe(struct mesh *m);
/* The probe of the frame's ticket ended; RESULT is an enum probe_result, REASON ends in a NUL. */
EXPORT(mesh_probe_done) void mesh_probe_done(struct mesh *m, uint32_t result, const char *reason);
EXPORT(quota_new) struct probe_quota *host_quota_new(void);
/* Takes a slot for the frame's source. NULL, or why not. */
EXPORT(quota_acquire) const char *host_quota_acquire(struct probe_quota *q, const char *target);
EXPORT(quota_release) void host_quota_release(struct probe_quota *q);
/* Where TARGET may be dialled: address and port, in the frame. False when it may not. */
EXPORT(probe_address) bool host_probe_address(const char *target);

#endif
