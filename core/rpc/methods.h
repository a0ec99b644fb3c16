/* The methods of coral.discovery.v1.DiscoveryService that are built. A name that is not here is
 * answered `unimplemented`, whether the schema declares it or not. */
#ifndef RPC_METHODS_H
#define RPC_METHODS_H

#include "rpc/messages.h"

#define RPC_SERVICE "coral.discovery.v1.DiscoveryService"

/* X(constant, Name): the request is NameRequest, the response NameResponse. */
#define RPC_METHODS(X) \
	X(RPC_REGISTER_COLONY, RegisterColony) \
	X(RPC_LOOKUP_COLONY, LookupColony) \
	X(RPC_REGISTER_AGENT, RegisterAgent) \
	X(RPC_LOOKUP_AGENT, LookupAgent) \
	X(RPC_HEALTH, Health) \
	X(RPC_INITIATE_PUNCH, InitiatePunch) \
	X(RPC_AWAIT_PUNCH, AwaitPunch) \
	X(RPC_ANSWER_PUNCH, AnswerPunch)

enum rpc_method {
#define RPC_METHOD_ENUM(constant, name) constant,
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
};

/* METHOD < RPC_METHOD_COUNT. Static storage. */
const struct rpc_method_info *rpc_method_info(enum rpc_method method);

/* Finds a method by its name of N bytes (case matters). False when it is not built. */
bool rpc_method_find(const char *name, size_t n, enum rpc_method *out);

/* Room for any request or response, aligned for all. */
union rpc_request {
#define RPC_REQUEST_MEMBER(constant, name) name##Request constant##_request;
	RPC_METHODS(RPC_REQUEST_MEMBER)
#undef RPC_REQUEST_MEMBER
};

union rpc_response {
#define RPC_RESPONSE_MEMBER(constant, name) name##Response constant##_response;
	RPC_METHODS(RPC_RESPONSE_MEMBER)
#undef RPC_RESPONSE_MEMBER
};

#endif
