/* Handshakes as jobs: the key agreements apart from the device, so that any thread may do them.
 *
 * The owner takes jobs, runs each or has it run elsewhere, and hands the batch to wg_jobs_finish,
 * which gives back those that need to be run once more: to answer an initiation one must first read
 * who sent it, and then look that peer up. No job goes round more than three times.
 *
 *     n = wg_jobs_take(d, jobs, WG_JOB_BATCH, now);
 *     while (n) {
 *         for (i = 0; i < n; i++)
 *             wg_job_run(&jobs[i]);
 *         n = wg_jobs_finish(d, jobs, n, now);
 *     }
 *
 * Between the calls anything may happen to the device but its end. A host that ends it wipes the
 * jobs that are still out, and forgets them. */
#ifndef WIREGUARD_HANDSHAKE_JOB_H
#define WIREGUARD_HANDSHAKE_JOB_H

#include "wireguard/device.h"
#include "wireguard/noise.h"

/* An initiation that has been read and is proved to come from the owner of its static key. */
struct read_initiation {
	struct noise noise;
	uint8_t their_public[KEY_LEN];
	uint8_t their_ephemeral[KEY_LEN];
	uint8_t timestamp[TIMESTAMP_LEN];
	uint32_t their_index;
};

/* What is to be computed, and from what kind of message. */
enum wg_job_step {
	WG_JOB_READ,    /* who sent an initiation (es, s) */
	WG_JOB_PROVE,   /* that it was the owner of a key that we do not know (ss, payload) */
	WG_JOB_ANSWER,  /* the same for a peer, and our response (ss, payload; e, ee, se, psk) */
	WG_JOB_COMPLETE, /* our own handshake, by its response (e, ee, se, psk) */
	WG_JOB_SHARE     /* what a peer's static key and ours have in common, before anyone asks */
};

/* The caller's storage; its contents are the engine's. All that the computation reads and writes
 * is inside. */
struct wg_job {
	enum wg_job_step step;
	enum err result;     /* of the step that was run last */
	bool proved;         /* the sender owns its address, as far as cookies tell */
	bool opened;         /* the payload of the initiation has been read */
	bool has_shared;     /* STATIC_STATIC is there; otherwise the step computes it */
	struct wg_path path; /* where the message came from */
	uint8_t msg[INITIATION_LEN];
	uint8_t our_secret[KEY_LEN], our_public[KEY_LEN];
	uint8_t static_static[KEY_LEN];
	uint8_t psk[KEY_LEN];
	uint8_t ephemeral[KEY_LEN];    /* ours */
	uint8_t newest[TIMESTAMP_LEN]; /* of the peer's, when we looked: older ones need no answer */
	struct read_initiation init;   /* WG_JOB_COMPLETE has only its transcript here */
	uint8_t response[RESPONSE_LEN];
	uint8_t initiator_key[KEY_LEN], responder_key[KEY_LEN]; /* of the new session */
};

/* Takes up to N messages off the queue: responses first, then initiations from those who proved
 * their address. Fewer come while strangers wait to be announced (wg_next_event). Owner; lanes may
 * go on meanwhile. */
size_t wg_jobs_take(struct wg_device *d, struct wg_job *jobs, size_t n, uint64_t now);
/* Takes up to N pieces of work that handshakes of peers that were added lately would need, for when
 * nothing else is to be done. As above. */
size_t wg_jobs_take_ahead(struct wg_device *d, struct wg_job *jobs, size_t n);
/* The computation, up to 200 us. Any thread: it touches nothing but the job. */
void wg_job_run(struct wg_job *job);
/* Messages that wait to be taken. */
size_t wg_jobs_waiting(const struct wg_device *d);
/* Whether wg_jobs_finish may change what the packet path reads. If not, lanes may go on meanwhile
 * (lane.h). */
bool wg_jobs_need_exclusion(const struct wg_job *jobs, size_t n);
/* Puts results into effect. Owner, exclusive unless the above says otherwise. Returns how many jobs,
 * now the first of the array, have to be run and handed in again; the others are wiped. What has
 * changed since a job was taken - our key, the peer, its pre-shared key, a later handshake - makes
 * the job a counted drop (wg_stats.handshakes_stale). */
size_t wg_jobs_finish(struct wg_device *d, struct wg_job *jobs, size_t n, uint64_t now);

#endif
