/* A node in the simulator: engine and machine of a colony or an agent, wired as node/node.c wires
 * them over real sockets. What happens is queued and handed to the machine once per turn, and its
 * actions are carried out after what it saved is on disk. The disk survives node_kill.
 *
 * Checked at every step: a tick at the deadline moves it or produces an action; no action is lost;
 * only packets of enrolled peers, with their own source address, reach the TUN device. */
#ifndef SIM_NODE_H
#define SIM_NODE_H

#include "mesh/agent_internal.h"
#include "mesh/colony_internal.h"
#include "sim/service.h"

#define NODE_QUEUE_MAX   256
#define NODE_ROWS_MAX    256
#define NODE_REVOKED_MAX 16
#define COLONY_PORT      41580

/* What survives a crash. */
struct disk {
	uint8_t private_key[WG_KEY_LEN];
	struct agent_state state;                       /* of an agent */
	struct allocation rows[NODE_ROWS_MAX];          /* of a colony, committed */
	size_t row_count;
	uint8_t revoked[NODE_REVOKED_MAX][WG_KEY_LEN];
	size_t revoked_count;
};

enum happened { HAPPENED_EVENT, HAPPENED_INNER, HAPPENED_HOMELESS };

struct happening {
	enum happened type;
	struct wg_event event;
	uint8_t key[WG_KEY_LEN];
	bool has_peer;
	uint8_t bytes[MESH_BYTES_MAX];
	size_t len;
};

struct sim_node {
	struct sim *sim;
	struct service *service;
	struct box *host;
	const char *name;
	bool is_colony;
	char mesh[MESH_ID_MAX];
	struct secret secret;      /* a colony's own; what an agent was given */
	bool has_secret;
	struct ip_prefix subnet4;  /* of a colony */
	bool port_is_fixed, echo;  /* echo: IP packets are sent back, as pings are */
	bool may_lose;             /* the test starves the node on purpose */
	struct disk disk, unsaved; /* UNSAVED: the transaction that is open */
	bool is_dirty_disk, fail_save, fail_commit;
	uint64_t saves;

	bool alive, asleep, exited;
	int exit_code;
	char said[MESH_TEXT_MAX];  /* with what it exited */
	uint64_t slept_ns, armed_ns, generation, started_ns;
	uint16_t port;
	struct wg_device *device;
	struct colony *colony;
	struct agent *agent;
	struct rpc_client client;
	struct happening queue[NODE_QUEUE_MAX];
	size_t head, count;
	bool dirty, in_turn, network_changed, woke;
	struct ip_prefix address4, address6;

	uint64_t tun_rx, last_tun_rx_ns, tun_tx, rebinds, turns, spins;
	unsigned barren; /* rounds in a row that did nothing and want another one */
	uint64_t refused[WG_VERDICTS];
};

/* A node on HOST: an agent, or a colony where AGENT_ID is "". It has a key and, if a colony, a secret.
 * Not started. */
void node_init(struct sim_node *n, struct net *net, struct service *v, struct box *host,
               const char *mesh, const char *agent_id);
void node_fini(struct sim_node *n);
enum err node_start(struct sim_node *n);
/* kill -9: nothing is said or saved any more. */
void node_kill(struct sim_node *n);
/* The host's addresses were changed (before the call). */
void node_moved(struct sim_node *n);
void node_sleep(struct sim_node *n, uint64_t ns);
enum err node_remove_agent(struct sim_node *colony, const char *agent_id);

/* An IP packet of LEN bytes (at least 28) into the TUN device, to mesh address TO. */
void node_tun_send(struct sim_node *n, const struct ip_addr *to, size_t len);
/* A datagram to the node, as the network delivers it; for floods. */
void node_receive(struct sim_node *n, const struct datagram *d);

/* An agent whose tunnel carries traffic. */
bool node_is_up(const struct sim_node *n);
const char *node_why(const struct sim_node *n);
struct allocation *node_row(struct sim_node *colony, const char *agent_id);
/* Whether agent A and colony C hold the same pre-shared key for each other now. */
bool node_agree(struct sim_node *a, struct sim_node *c);

/* The machine, whichever it is. */
struct machine_ops {
	struct presence *(*presence)(struct sim_node *n);
	void (*tick)(struct sim_node *n, uint64_t now);
	uint64_t (*deadline)(struct sim_node *n);
	bool (*next_action)(struct sim_node *n, struct mesh_action *out);
	void (*event)(struct sim_node *n, const struct wg_event *e, uint64_t now);
	void (*inner)(struct sim_node *n, struct wg_peer *from, const uint8_t *p, size_t len,
	              uint64_t now);
	void (*homeless)(struct sim_node *n, const uint8_t *p, size_t len, uint64_t now);
	void (*reply)(struct sim_node *n, const struct rpc_reply *r, uint64_t now);
	void (*network_changed)(struct sim_node *n, uint64_t now);
	void (*rebound)(struct sim_node *n, uint64_t now);
	enum err (*commit)(struct sim_node *n);
	uint64_t (*lost)(struct sim_node *n);
	/* Whether an IP packet from PEER with source SOURCE may come out. */
	bool (*may_come_out)(struct sim_node *n, struct wg_peer *peer, const struct ip_addr *source);
	enum err (*make)(struct sim_node *n, uint64_t now);
	void (*free)(struct sim_node *n);
};
extern const struct machine_ops colony_ops, agent_ops;
static inline const struct machine_ops *ops_of(const struct sim_node *n)
{
	return n->is_colony ? &colony_ops : &agent_ops;
}

uint64_t node_now(const struct sim_node *n);

#endif
