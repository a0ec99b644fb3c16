/* What the files of the agent machine share. */
#ifndef MESH_AGENT_INTERNAL_H
#define MESH_AGENT_INTERNAL_H

#include "mesh/agent.h"

enum connect_stage {
	STAGE_OLD_PATH, /* the endpoint we had; the colony may just have restarted */
	STAGE_REBIND,   /* waiting for a fresh port */
	STAGE_PUNCH,    /* InitiatePunch is out, or will be when STUN and lease are there */
	STAGE_KNOCK     /* handshakes go to the candidates of the answer */
};

struct agent {
	struct agent_config cfg;
	struct agent_state state;
	uint8_t colony_psk[WG_KEY_LEN];
	struct ip_addr link_local, colony_link_local;
	struct presence presence;
	struct outbox out;
	struct wg_peer *peer;

	enum agent_phase phase;
	uint64_t phase_ns;           /* when it began */
	char why[MESH_TEXT_MAX];
	bool on_pair_psk;            /* which key the peer has now */
	unsigned bad_responses;      /* in a row, over both keys */

	struct rpc_request lookup_request, punch_request;
	bool looking, punching;
	uint64_t lookup_ns;
	unsigned lookup_failures;

	enum connect_stage stage;
	bool fresh_port;             /* the port has not been used towards the colony yet */
	bool spoiled;                /* the port knocked where nobody had opened the way */
	bool moved;                  /* our own addresses changed: the old path is gone */
	uint64_t stage_ns;           /* when the stage began */
	uint64_t punch_ns;           /* STAGE_PUNCH: not before */
	struct endpoint offered[2];  /* what STUN had told, by family, when the punch was asked for */
	unsigned punch_failures;
	struct candidate direct[MESH_CANDIDATES_MAX]; /* of a colony without NAT, from lookup */
	size_t direct_count;
	struct candidate knock[MESH_CANDIDATES_MAX];
	size_t knock_count;
	unsigned knock_step;
	uint64_t knock_ns;
	uint64_t heard;   /* handshake messages that had come in when we began to knock */
	unsigned crowded; /* rounds of knocking, by now, to which the colony answered too late */
	uint8_t initiation[160];     /* the last one, to be repeated as it is */
	size_t initiation_len;

	uint8_t nonce[32];
	uint32_t exchange;           /* id of the enrolment exchange */
	bool confirming;             /* ENROL_CONFIRM is being sent, else ENROL_REQUEST */
	unsigned enrol_tries;
	uint64_t enrol_ns;

	uint64_t ping_ns, ping_sent_ns; /* next ping; the one that is out, 0: none */
	unsigned pings_lost;
	uint64_t last_pong_ns, active_ns; /* ACTIVE: the last packet seen that was not a pong */
	bool answering;
	uint64_t rtt_ns;
	uint64_t watch_ns;           /* next look for silence */
	uint64_t rekey_ns;           /* after a change of the pre-shared key */
	uint64_t save_ns;            /* when to save a moved endpoint; TIME_NEVER: nothing to save */
};

/* agent.c */
void agent_enter(struct agent *a, enum agent_phase phase, uint64_t now);
void agent_fatal(struct agent *a, const char *text, const char *detail);
void agent_why(struct agent *a, const char *text);
void agent_send_inner(struct agent *a, const struct inner_message *m);
void agent_use_psk(struct agent *a, bool pair);

/* agent_connect.c */
void connect_begin(struct agent *a, uint64_t now);
void connect_tick(struct agent *a, uint64_t now);
uint64_t connect_deadline(const struct agent *a);
void connect_punch_reply(struct agent *a, const struct rpc_reply *r, uint64_t now);
void connect_lookup_reply(struct agent *a, const struct rpc_reply *r, uint64_t now);
void connect_without_server(struct agent *a, uint64_t now);
void connect_stop(struct agent *a);

/* agent_enrol.c */
void enrol_begin(struct agent *a, uint64_t now);
void enrol_tick(struct agent *a, uint64_t now);
void enrol_input(struct agent *a, const struct inner_message *m, uint64_t now);

/* agent_watch.c */
void watch_begin(struct agent *a, uint64_t now);
void watch_tick(struct agent *a, uint64_t now);
uint64_t watch_deadline(const struct agent *a);
void watch_pong(struct agent *a, const struct inner_message *m, uint64_t now);

#endif
