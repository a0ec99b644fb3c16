/* The methods of coral.discovery.v1.DiscoveryService. */
#ifndef RPC_METHODS_H
#define RPC_METHODS_H

#include "rpc/messages.h"

#define RPC_SERVICE "coral.discovery.v1.DiscoveryService"

/* X(constant, Name, READS): the request is NameRequest, the response NameResponse. READS is true for
 * methods without side effects: Connect offers those over GET as well. */
#define RPC_METHODS(X) \
	X(RPC_REGISTER_COLONY, RegisterColony, false) \
	X(RPC_LOOKUP_COLONY, LookupColony, true) \
	X(RPC_REGISTER_AGENT, RegisterAgent, false) \
	X(RPC_LOOKUP_AGENT, LookupAgent, true) \
	X(RPC_DEREGISTER_COLONY, DeregisterColony, false) \
	X(RPC_DEREGISTER_AGENT, DeregisterAgent, false) \
	X(RPC_REQUEST_RELAY, RequestRelay, false) \
	X(RPC_RELEASE_RELAY, ReleaseRelay, false) \
	X(RPC_HEALTH, Health, true) \
	X(RPC_CREATE_BOOTSTRAP_TOKEN, CreateBootstrapToken, false) \
	X(RPC_REDEEM_BOOTSTRAP_TOKEN, RedeemBootstrapToken, false) \
	X(RPC_PUBLISH_RENDEZVOUS, PublishBootstrapRendezvous, false) \
	X(RPC_POLL_RENDEZVOUS, PollBootstrapRendezvous, false) \
	X(RPC_ACK_RENDEZVOUS, AckBootstrapRendezvous, false) \
	X(RPC_INITIATE_PUNCH, InitiatePunch, false) \
	X(RPC_AWAIT_PUNCH, AwaitPunch, false) \
	X(RPC_ANSWER_PUNCH, AnswerPunch, false) \
	X(RPC_REPORT_PUNCH, ReportPunch, false) \
	X(RPC_GET_OBSERVED_ADDRESS, GetObservedAddress, true)

enum rpc_method {
#define RPC_METHOD_ENUM(constant, name, reads) constant,
	RPC_METHODS(RPC_METHOD_ENUM)
#undef RPC_METHOD_ENUM
	RPC_METHOD_COUNT
};

struct rpc_method_info {
	const char *name;
	const pb_msgdesc_t *request;
	const pb_msgdesc_t *response;
	size_t request_size; /* of the struct */
	size_t response_size;
	bool reads; /* no side effects */
};

/* METHOD < RPC_METHOD_COUNT. Static storage. */
const struct rpc_method_info *rpc_method_info(enum rpc_method method);

/* Finds a method by its name of N bytes (case matters). False when there is none. */
bool rpc_method_find(const char *name, size_t n, enum rpc_method *out);

/* Room for any request or response, aligned for all. */
union rpc_request {
#define RPC_REQUEST_MEMBER(constant, name, reads) name##Request constant##_request;
	RPC_METHODS(RPC_REQUEST_MEMBER)
#undef RPC_REQUEST_MEMBER
};

union rpc_response {
#define RPC_RESPONSE_MEMBER(constant, name, reads) name##Response constant##_response;
	RPC_METHODS(RPC_RESPONSE_MEMBER)
#undef RPC_RESPONSE_MEMBER
};

#endif
