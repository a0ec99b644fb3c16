/* One registry per Durable Object: calls in, answers and probes out. */
#include "host.h"

#include "pb_decode.h"
#include "pb_encode.h"

static struct wall_time wall(void)
{
	return (struct wall_time){ host.frame.wall_ms / 1000,
	                           (uint32_t)(host.frame.wall_ms % 1000 * NS_PER_MS) };
}

struct mesh *mesh_open(uint32_t id)
{
	struct mesh *m = mem_alloc(&host.alloc, sizeof(*m));
	enum err e = ERR_NOMEM;

	if (m) {
		struct registry_config cfg = host.config;

		m->id = id;
		cfg.sql = (struct sql){ host_sql, m };
		e = registry_new(&cfg, host.frame.now_ns, wall(), &m->registry);
	}
	if (!e)
		return m;
	mem_free(&host.alloc, m, sizeof(*m));
	host.frame.message = text_ref_of(err_text(e));
	return NULL;
}

void mesh_close(struct mesh *m)
{
	registry_free(m->registry);
	mem_free(&host.alloc, m, sizeof(*m));
}

static struct ip_addr address_of(struct text_ref text)
{
	struct ip_addr none = { IP_NONE, { 0 } }, ip;

	return ip_parse(text.p, text.len, &ip) ? none : ip_unmap(&ip);
}

/* Puts an error into the frame as if the registry had answered it. */
static void refuse(enum status code, const char *before, const char *what)
{
	struct text t = TEXT_IN(host.message);

	text_str(&t, before);
	text_str(&t, what);
	host.frame.out_ticket = host.frame.ticket;
	host.frame.code = code;
	host.frame.retry_after_s = 0;
	host.frame.message = (struct text_ref){ t.p, (uint32_t)t.len };
	host.frame.response = (struct text_ref){ NULL, 0 };
}

bool mesh_handle(struct mesh *m)
{
	const struct frame *f = &host.frame;
	const struct rpc_method_info *info = rpc_method_info((enum rpc_method)f->method);
	pb_istream_t in = pb_istream_from_buffer((const pb_byte_t *)f->request.p, f->request.len);
	struct ip_addr source = address_of(f->source);

	if (!pb_decode(&in, info->request, &host.request)) {
		refuse(STATUS_INVALID_ARGUMENT, "the request is malformed or too large: ",
		       PB_GET_ERROR(&in));
		return false;
	}
	registry_handle(m->registry, &(struct registry_call){
		.ticket = f->ticket, .method = (enum rpc_method)f->method,
		.request = &host.request, .caller = { source, source, f->host.p },
		.deadline_ns = f->deadline_ns }, f->now_ns, wall());
	/* It may have held a token. */
	wipe(&host.request, info->request_size);
	return true;
}

/* Encodes the response of METHOD into the frame. */
static void put_response(enum rpc_method method, const void *response)
{
	pb_ostream_t out = pb_ostream_from_buffer((pb_byte_t *)&host.response,
	                                          sizeof(host.response));

	/* The limits of the fields are the buffer's: it cannot fail but by a broken schema. */
	INVARIANT(pb_encode(&out, rpc_method_info(method)->response, response));
	host.frame.response = (struct text_ref){ (const char *)&host.response,
	                                         (uint32_t)out.bytes_written };
}

bool mesh_next_answer(struct mesh *m)
{
	struct registry_answer a;

	if (!registry_next_answer(m->registry, &a))
		return false;
	host.frame.out_ticket = a.ticket;
	host.frame.code = a.code;
	host.frame.retry_after_s = a.retry_after_s;
	host.frame.message = text_ref_of(a.message);
	host.frame.response = (struct text_ref){ NULL, 0 };
	if (a.response)
		put_response((enum rpc_method)(a.ticket >> 32), a.response);
	return true;
}

void mesh_cancel(struct mesh *m)
{
	registry_cancel(m->registry, host.frame.ticket);
}

void mesh_tick(struct mesh *m)
{
	registry_tick(m->registry, host.frame.now_ns, wall());
}

uint64_t mesh_deadline(const struct mesh *m)
{
	return registry_deadline(m->registry);
}

uint64_t mesh_sweep_deadline(const struct mesh *m)
{
	return registry_sweep_deadline(m->registry);
}

/* --- probes --------------------------------------------------------------------------------- */

bool mesh_next_probe(struct mesh *m)
{
	struct registry_probe p;
	struct text t = TEXT_IN(host.message);

	if (!registry_next_probe(m->registry, &p))
		return false;
	if (p.source.family != IP_NONE)
		text_ip(&t, &p.source);
	host.frame.out_ticket = p.ticket;
	host.frame.response = text_ref_of(p.target);
	host.frame.out_source = (struct text_ref){ t.p, (uint32_t)t.len };
	return true;
}

void mesh_probe_done(struct mesh *m, uint32_t result, const char *reason)
{
	registry_probe_done(m->registry, host.frame.ticket, (enum probe_result)result, reason,
	                    host.frame.now_ns, wall());
}

struct probe_quota *host_quota_new(void)
{
	return probe_quota_new(&host.alloc);
}

const char *host_quota_acquire(struct probe_quota *q, const char *target)
{
	struct ip_addr source = address_of(host.frame.source);

	return probe_acquire(q, &source, target, host.frame.now_ns);
}

void host_quota_release(struct probe_quota *q)
{
	probe_release(q);
}

bool host_probe_address(const char *target)
{
	struct text t = TEXT_IN(host.message);
	struct endpoint e;

	if (probe_target(target, &e))
		return false;
	text_ip(&t, &e.ip);
	host.frame.response = (struct text_ref){ t.p, (uint32_t)t.len };
	host.frame.port = e.port;
	return true;
}
