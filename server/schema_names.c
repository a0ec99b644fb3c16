/* Tables from the X-macros that nanopb's generator writes beside every message. */
#include "server/schema_names.h"

#include <string.h>

#define MESSAGES(X) \
	X(Endpoint) X(RelayOption) X(CertificateFingerprint) X(PublicEndpointInfo) \
	X(RegisterColonyRequest) X(RegisterColonyResponse) \
	X(LookupColonyRequest) X(LookupColonyResponse) \
	X(RegisterAgentRequest) X(RegisterAgentResponse) \
	X(LookupAgentRequest) X(LookupAgentResponse) \
	X(DeregisterColonyRequest) X(DeregisterColonyResponse) \
	X(DeregisterAgentRequest) X(DeregisterAgentResponse) \
	X(RequestRelayRequest) X(RequestRelayResponse) \
	X(ReleaseRelayRequest) X(ReleaseRelayResponse) \
	X(HealthResponse) \
	X(CreateBootstrapTokenRequest) X(CreateBootstrapTokenResponse) \
	X(RedeemBootstrapTokenRequest) X(RedeemBootstrapTokenResponse) \
	X(PublishBootstrapRendezvousRequest) X(PublishBootstrapRendezvousResponse) \
	X(PollBootstrapRendezvousRequest) X(PollBootstrapRendezvousResponse) \
	X(BootstrapRendezvousRecord) \
	X(AckBootstrapRendezvousRequest) X(AckBootstrapRendezvousResponse) \
	X(InitiatePunchRequest) X(InitiatePunchResponse) \
	X(AwaitPunchRequest) X(PunchOffer) X(AwaitPunchResponse) \
	X(AnswerPunchRequest) X(AnswerPunchResponse) \
	X(ReportPunchRequest) X(GetObservedAddressResponse)

#define MAP_ENTRIES(X) \
	X(RegisterColonyRequest_MetadataEntry) X(LookupColonyResponse_MetadataEntry) \
	X(RegisterAgentRequest_MetadataEntry) X(LookupAgentResponse_MetadataEntry)

#define ENUMS(X) X(NatHint) X(FingerprintAlgorithm) X(PunchOutcome)

/* Fields that clients may count on even when they are zero or empty (discovery.md 3.2, 3.5 and
 * the outcome flags of warren-api.md). */
static const struct {
	const pb_msgdesc_t *desc;
	const char *name;
} always[] = {
	{ LookupColonyResponse_fields, "endpoints" },
	{ LookupColonyResponse_fields, "observed_endpoints" },
	{ LookupAgentResponse_fields, "endpoints" },
	{ LookupAgentResponse_fields, "observed_endpoints" },
	{ DeregisterColonyResponse_fields, "success" },
	{ DeregisterAgentResponse_fields, "success" },
	{ HealthResponse_fields, "uptime_seconds" },
	{ HealthResponse_fields, "registered_colonies" },
	{ PublishBootstrapRendezvousResponse_fields, "success" },
	{ PublishBootstrapRendezvousResponse_fields, "probe_failed" },
	{ PublishBootstrapRendezvousResponse_fields, "record_id" },
	{ PollBootstrapRendezvousResponse_fields, "records" },
	{ PollBootstrapRendezvousResponse_fields, "timed_out" },
	{ AckBootstrapRendezvousResponse_fields, "success" },
	{ InitiatePunchResponse_fields, "accepted" },
	{ AwaitPunchResponse_fields, "offers" },
	{ AwaitPunchResponse_fields, "timed_out" },
	{ AnswerPunchResponse_fields, "success" },
	{ GetObservedAddressResponse_fields, "public_ip" },
};

#define ENUM_TEXT(E) \
	static const char *E##_text(int value) \
	{ \
		const char *name = E##_name((E)value); \
		return strcmp(name, "unknown") == 0 ? NULL : name; \
	}
ENUMS(ENUM_TEXT)

#define PASTE(a, b)  a##b
#define EXPAND(a, b) PASTE(a, b)

/* The generator names the type of enum fields in MESSAGE_field_ENUMTYPE. */
#define ENUM_OF_ENUM(message, field)    EXPAND(message##_##field##_ENUMTYPE, _text)
#define ENUM_OF_UENUM(message, field)   EXPAND(message##_##field##_ENUMTYPE, _text)
#define ENUM_OF_BOOL(message, field)    NULL
#define ENUM_OF_BYTES(message, field)   NULL
#define ENUM_OF_INT32(message, field)   NULL
#define ENUM_OF_INT64(message, field)   NULL
#define ENUM_OF_UINT32(message, field)  NULL
#define ENUM_OF_STRING(message, field)  NULL
#define ENUM_OF_MESSAGE(message, field) NULL

#define FIELD_NAME(message, atype, htype, ltype, field, tag) \
	{ #field, ENUM_OF_##ltype(message, field) },
#define FIELD_TABLE(M) \
	static const struct field_name M##_names[] = { M##_FIELDLIST(FIELD_NAME, M) };
MESSAGES(FIELD_TABLE)
MAP_ENTRIES(FIELD_TABLE)
FIELD_TABLE(google_protobuf_Timestamp)

#define PLAIN_ENTRY(M) { M##_fields, M##_names, MESSAGE_PLAIN },
#define MAP_ENTRY(M)   { M##_fields, M##_names, MESSAGE_MAP_ENTRY },
static const struct message_names messages[] = {
	MESSAGES(PLAIN_ENTRY)
	MAP_ENTRIES(MAP_ENTRY)
	{ google_protobuf_Timestamp_fields, google_protobuf_Timestamp_names, MESSAGE_TIMESTAMP },
	{ HealthRequest_fields, NULL, MESSAGE_PLAIN },
	{ ReportPunchResponse_fields, NULL, MESSAGE_PLAIN },
	{ GetObservedAddressRequest_fields, NULL, MESSAGE_PLAIN },
};

const struct message_names *message_names(const pb_msgdesc_t *desc)
{
	for (size_t i = 0; i < ARRAY_LEN(messages); i++)
		if (messages[i].desc == desc)
			return &messages[i];
	core_panic(__FILE__, __LINE__, "a message without names");
}

bool field_always(const pb_msgdesc_t *desc, const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(always); i++)
		if (always[i].desc == desc && strcmp(always[i].name, name) == 0)
			return true;
	return false;
}
