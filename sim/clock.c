#include "sim/clock.h"

#define TAIL_LINES 300
#define LINE_MAX   240

/* The run that is under way, for core_panic's report. Tests have one at a time. */
static const struct sim *running;

_Noreturn void core_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: invariant: %s\n", file, line, what);
	if (running)
		sim_report(running);
	abort();
}

/* ---- memory ---- */

static void *meter_alloc(void *ctx, size_t size)
{
	struct sim_meter *m = ctx;
	void *p;

	m->calls++;
	if (m->calls == m->fail_at) {
		m->failed++;
		return NULL;
	}
	p = calloc(1, size);
	if (!p)
		return NULL;
	m->outstanding++;
	m->bytes += size;
	return p;
}

static void meter_free(void *ctx, void *p, size_t size)
{
	struct sim_meter *m = ctx;

	m->outstanding--;
	m->bytes -= size;
	free(p);
}

/* ---- chance ---- */

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static void fill(void *ctx, void *dst, size_t n)
{
	uint8_t *p = dst;

	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)next_random(ctx);
}

uint32_t sim_below(struct sim *s, uint32_t bound)
{
	return rng_below(&s->rng, bound);
}

bool sim_chance(struct sim *s, uint32_t ppm)
{
	return ppm && sim_below(s, 1000000) < ppm;
}

/* ---- life ---- */

void sim_init(struct sim *s, uint64_t seed)
{
	const char *trace = getenv("SIM_TRACE");

	memset(s, 0, sizeof(*s));
	s->now = SIM_BEGIN;
	s->seed = s->random = seed;
	s->alloc = (struct allocator){ meter_alloc, meter_free, &s->meter };
	s->rng = (struct rng){ fill, &s->random };
	s->hash = 0xcbf29ce484222325ULL;
	s->printing = trace && *trace == '1';
	s->tail = calloc(TAIL_LINES, LINE_MAX);
	running = s;
}

void sim_fini(struct sim *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->heap[i].payload);
	free(s->heap);
	free(s->tail);
	s->heap = NULL;
	s->tail = NULL;
	s->count = s->cap = 0;
	running = NULL;
}

struct wall_time sim_wall(const struct sim *s)
{
	uint64_t since = s->now - SIM_BEGIN;

	return (struct wall_time){ SIM_WALL_S + s->wall_skew_s + since / NS_PER_S,
		                   (uint32_t)(since % NS_PER_S) };
}

/* ---- events ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->sequence < b->sequence;
}

static void swap(struct sim *s, size_t a, size_t b)
{
	struct sim_event e = s->heap[a];

	s->heap[a] = s->heap[b];
	s->heap[b] = e;
}

void sim_at(struct sim *s, uint64_t at, void (*happen)(struct sim *s, void *ctx, void *payload),
            void *ctx, void *payload)
{
	size_t i = s->count;

	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 256;
		s->heap = realloc(s->heap, s->cap * sizeof(*s->heap));
		INVARIANT(s->heap);
	}
	s->heap[s->count++] = (struct sim_event){ at < s->now ? s->now : at, s->sequence++,
		                                  happen, ctx, payload };
	for (; i && before(&s->heap[i], &s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(s, i, (i - 1) / 2);
}

static struct sim_event take(struct sim *s)
{
	struct sim_event first = s->heap[0];
	size_t i = 0, child;

	s->heap[0] = s->heap[--s->count];
	while ((child = 2 * i + 1) < s->count) {
		if (child + 1 < s->count && before(&s->heap[child + 1], &s->heap[child]))
			child++;
		if (!before(&s->heap[child], &s->heap[i]))
			break;
		swap(s, i, child);
		i = child;
	}
	return first;
}

static void step(struct sim *s)
{
	struct sim_event e = take(s);

	s->now = e.at;
	s->events++;
	e.happen(s, e.ctx, e.payload);
	free(e.payload);
}

void sim_run_until(struct sim *s, uint64_t until)
{
	while (s->count && s->heap[0].at <= until)
		step(s);
	s->now = until;
}

void sim_run(struct sim *s, uint64_t ns)
{
	sim_run_until(s, s->now + ns);
}

bool sim_run_while(struct sim *s, bool (*busy)(void *ctx), void *ctx, uint64_t limit)
{
	uint64_t until = s->now + limit;

	while (busy(ctx)) {
		if (!s->count || s->heap[0].at > until) {
			s->now = until;
			return !busy(ctx);
		}
		step(s);
	}
	return true;
}

/* ---- trace ---- */

static void mix(struct sim *s, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		s->hash = (s->hash ^ b[i]) * 0x100000001b3ULL; /* FNV-1a */
}

static void mix_endpoint(struct sim *s, const struct endpoint *e)
{
	mix(s, e->ip.bytes, sizeof(e->ip.bytes));
	mix(s, &e->port, sizeof(e->port));
}

static void keep(struct sim *s, const char *line)
{
	snprintf(s->tail + s->tail_at * LINE_MAX, LINE_MAX, "%s", line);
	s->tail_at = (s->tail_at + 1) % TAIL_LINES;
	if (s->printing)
		fprintf(stderr, "%s\n", line);
}

void sim_note(struct sim *s, const char *who, const char *what, const struct endpoint *from,
              const struct endpoint *to, size_t len)
{
	char line[LINE_MAX], a[ENDPOINT_TEXT_MAX], b[ENDPOINT_TEXT_MAX];
	struct text ta = TEXT_IN(a), tb = TEXT_IN(b);

	mix(s, &s->now, sizeof(s->now));
	mix(s, what, strlen(what));
	mix_endpoint(s, from);
	mix_endpoint(s, to);
	mix(s, &len, sizeof(len));
	text_endpoint(&ta, from);
	text_endpoint(&tb, to);
	snprintf(line, sizeof(line), "%11.3f ms %-9s %s %s > %s %zu",
	         (double)(s->now - SIM_BEGIN) / 1e6, who, what, a, b, len);
	keep(s, line);
}

void sim_say(struct sim *s, const char *who, const char *text, const char *fields)
{
	char line[LINE_MAX];

	mix(s, &s->now, sizeof(s->now));
	mix(s, text, strlen(text));
	snprintf(line, sizeof(line), "%11.3f ms %-9s %s %s", (double)(s->now - SIM_BEGIN) / 1e6,
	         who, text, fields);
	keep(s, line);
}

uint64_t sim_hash(const struct sim *s)
{
	return s->hash;
}

void sim_report(const struct sim *s)
{
	for (size_t i = 0; i < TAIL_LINES; i++) {
		const char *line = s->tail + (s->tail_at + i) % TAIL_LINES * LINE_MAX;

		if (*line)
			fprintf(stderr, "%s\n", line);
	}
	fprintf(stderr, "seed %llu, trace hash %016llx; replay with SIM_SEED=%llu SIM_TRACE=1\n",
	        (unsigned long long)s->seed, (unsigned long long)s->hash,
	        (unsigned long long)s->seed);
}
