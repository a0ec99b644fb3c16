#include "rpc/methods.h"

static const struct rpc_method_info methods[RPC_METHOD_COUNT] = {
#define RPC_METHOD_INFO(constant, name, reads) \
	[constant] = { #name, name##Request_fields, name##Response_fields, \
	               sizeof(name##Request), sizeof(name##Response), reads },
	RPC_METHODS(RPC_METHOD_INFO)
#undef RPC_METHOD_INFO
};

const struct rpc_method_info *rpc_method_info(enum rpc_method method)
{
	INVARIANT((unsigned)method < RPC_METHOD_COUNT);
	return &methods[method];
}

bool rpc_method_find(const char *name, size_t n, enum rpc_method *out)
{
	for (unsigned i = 0; i < RPC_METHOD_COUNT; i++) {
		if (strlen(methods[i].name) != n || memcmp(methods[i].name, name, n) != 0)
			continue;
		*out = (enum rpc_method)i;
		return true;
	}
	return false;
}
