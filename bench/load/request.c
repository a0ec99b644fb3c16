#include "request.h"

#include <stdio.h>
#include <stdlib.h>

#define SERVICE "/coral.discovery.v1.DiscoveryService/"

/* A registration as agents send it: two endpoints, one observed, a little metadata. */
#define REGISTER_BODY \
	"{\"agentId\":\"%s-agent-%06u\",\"meshId\":\"%s-mesh-%u\"," \
	"\"pubkey\":\"%06uyAJ9hSUmDRTvNfKxzNCDlcXb1ZtrR5sQ0Fm4E=\"," \
	"\"endpoints\":[\"192.0.2.1:51820\",\"10.1.2.3:51820\"]," \
	"\"observedEndpoint\":{\"ip\":\"198.51.100.7\",\"port\":51820,\"protocol\":\"udp\"}," \
	"\"metadata\":{\"hostname\":\"host-%06u\",\"seq\":\"%u\"}}"
#define LOOKUP_BODY "{\"agentId\":\"%s-agent-%06u\",\"meshId\":\"%s-mesh-%u\"}"
#define POLL_BODY   "{\"meshId\":\"%s-mesh-%u\",\"waitSeconds\":25}"
/* 96 bytes of ciphertext, as of a sealed address list. */
#define PUBLISH_BODY \
	"{\"meshId\":\"%s-mesh-%u\",\"ciphertext\":" \
	"\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v" \
	"MDEyMzQ1Njc4OTo7PD0+P0BBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWltcXV5f\"," \
	"\"gcmNonce\":\"AAECAwQFBgcICQoL\",\"ttlSeconds\":90," \
	"\"writeToken\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\"}"

/* The ids are ours and short: truncation is a mistake in a call of this program. */
static size_t checked(int n)
{
	if (n <= 0 || n >= REQUEST_MAX)
		abort();
	return (size_t)n;
}

static size_t post(char *out, const char *method, const char *body, size_t body_len)
{
	return checked(snprintf(out, REQUEST_MAX,
	                        "POST " SERVICE "%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
	                        method, body_len, body));
}

static size_t write_register(char *out, const struct request *r)
{
	char body[REQUEST_MAX];
	size_t n = checked(snprintf(body, sizeof(body), REGISTER_BODY, r->prefix, r->n, r->prefix,
	                            r->n % r->meshes, r->n, r->n, r->seq));

	return post(out, "RegisterAgent", body, n);
}

static size_t write_lookup(char *out, const struct request *r)
{
	char body[REQUEST_MAX];
	size_t n = checked(snprintf(body, sizeof(body), LOOKUP_BODY, r->prefix, r->n, r->prefix,
	                            r->n % r->meshes));

	return post(out, "LookupAgent", body, n);
}

size_t request_write(char *out, const struct request *r)
{
	char body[REQUEST_MAX];

	switch (r->kind) {
	case REQUEST_REGISTER:
		return write_register(out, r);
	case REQUEST_LOOKUP:
		return write_lookup(out, r);
	case REQUEST_MIX:
		return r->seq % 2 ? write_lookup(out, r) : write_register(out, r);
	case REQUEST_POLL:
		return post(out, "PollBootstrapRendezvous", body,
		            checked(snprintf(body, sizeof(body), POLL_BODY, r->prefix, r->n)));
	case REQUEST_PUBLISH:
		return post(out, "PublishBootstrapRendezvous", body,
		            checked(snprintf(body, sizeof(body), PUBLISH_BODY, r->prefix, r->n)));
	case REQUEST_GET:
		return checked(snprintf(out, REQUEST_MAX,
		                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", r->path));
	}
	abort();
}
