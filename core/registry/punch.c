/* InitiatePunch, AwaitPunch, AnswerPunch (warren-api.md, "Punching").
 *
 *   agent   InitiatePunch ──> OPEN ── AnswerPunch ──> ANSWERED ──┐
 *                              │                                 ├─ 30 s ──> forgotten
 *                              └─ wait over, agent gone ─> OVER ─┘
 *
 * Nothing here survives a restart, and need not: clients ask again. */
#include "registry/punch.h"

enum err punches_new(struct registry *r)
{
	struct punch_table *t = mem_alloc(r->cfg.alloc, sizeof(*t));

	if (!t)
		return ERR_NOMEM;
	if (heap_reserve(&t->heap, 1, r->cfg.alloc)) {
		mem_free(r->cfg.alloc, t, sizeof(*t));
		return ERR_NOMEM;
	}
	rng_fill(r->cfg.rng, &t->bucket_seed, sizeof(t->bucket_seed));
	r->punches = t;
	return ERR_OK;
}

void punches_free(struct registry *r)
{
	struct punch_table *t = r->punches;

	for (unsigned i = 0; i < BUCKETS; i++)
		while (t->held[i])
			held_free(r, t->held[i]);
	for (unsigned i = 0; i < BUCKETS; i++)
		while (t->punches[i])
			punch_free(r, t->punches[i]);
	heap_fini(&t->heap, r->cfg.alloc);
	mem_free(r->cfg.alloc, t, sizeof(*t));
}

bool authorize(struct registry *r, const struct party *party, struct span token,
               struct party_row *row, uint8_t lease[static SHA256_LEN])
{
	if (store_get(r, party, false, row)) {
		answer_storage(r);
		return false;
	}
	if (row_is_live(r, row) && lease_valid(&row->leases, token, r->wall_ms, lease))
		return true;
	answer_error(r, STATUS_PERMISSION_DENIED, "lease_token is not valid for ",
	             party->agent ? "agent " : "mesh ", party->agent ? party->agent : party->mesh);
	return false;
}

/* --- packed strings ------------------------------------------------------------------------- */

static bool side_pack(struct registry *r, struct side *s, const char *const *head, size_t n_head,
                      const char (*candidates)[257], pb_size_t n)
{
	struct writer w;

	s->size = 0;
	for (size_t i = 0; i < n_head; i++)
		s->size += strlen(head[i]) + 1;
	for (pb_size_t i = 0; i < n; i++)
		s->size += strlen(candidates[i]) + 1;
	if (s->size <= REGISTRY_PUNCH_BYTES_MAX - r->punches->side_bytes)
		s->data = mem_alloc(r->cfg.alloc, s->size);
	if (!s->data) {
		s->size = 0;
		return false;
	}
	r->punches->side_bytes += s->size;
	w = writer_of(s->data, s->size);
	for (size_t i = 0; i < n_head; i++)
		write_bytes(&w, head[i], strlen(head[i]) + 1);
	for (pb_size_t i = 0; i < n; i++)
		write_bytes(&w, candidates[i], strlen(candidates[i]) + 1);
	s->n_candidates = n;
	return true;
}

/* The next string at *AT to DST, whose size bounded it when it came in. */
static void side_take(const char **at, char *dst, size_t cap)
{
	INVARIANT(!str_copy(dst, cap, *at));
	*at += strlen(*at) + 1;
}

static pb_size_t side_candidates(const struct side *s, const char *at, char (*out)[257])
{
	for (pb_size_t i = 0; i < s->n_candidates; i++)
		side_take(&at, out[i], sizeof(out[i]));
	return s->n_candidates;
}

/* --- offers --------------------------------------------------------------------------------- */

static bool was_handed(const struct punch *p, const uint8_t lease[static LEASE_TAG_LEN])
{
	for (unsigned i = 0; i < p->n_handed && i < HANDED_MAX; i++)
		if (memcmp(p->handed[i], lease, LEASE_TAG_LEN) == 0)
			return true;
	return false;
}

static bool has_offer(const struct room *room, const uint8_t lease[static LEASE_TAG_LEN])
{
	if (room->fresh.first)
		return true;
	for (const struct punch *p = room->handed.first; p; p = p->next)
		if (!was_handed(p, lease))
			return true;
	return false;
}

static void write_offer(struct punch *p, const uint8_t lease[static LEASE_TAG_LEN], PunchOffer *o)
{
	const char *at = p->offer.data;

	memcpy(p->handed[p->n_handed++ % HANDED_MAX], lease, LEASE_TAG_LEN);
	INVARIANT(!str_copy(o->punch_id, sizeof(o->punch_id), p->id));
	INVARIANT(!str_copy(o->agent_id, sizeof(o->agent_id), p->agent));
	side_take(&at, o->agent_pubkey, sizeof(o->agent_pubkey));
	side_take(&at, o->ice_ufrag, sizeof(o->ice_ufrag));
	side_take(&at, o->ice_pwd, sizeof(o->ice_pwd));
	o->candidates_count = side_candidates(&p->offer, at, o->candidates);
	o->has_offered_at = true;
	timestamp_from_ms(&o->offered_at, p->offered_ms);
}

/* Hands out of the list that begins at P what LEASE was not told of, as far as there is room. */
static void write_list(AwaitPunchResponse *a, struct punch *p,
                       const uint8_t lease[static LEASE_TAG_LEN])
{
	const pb_size_t max = ARRAY_LEN(a->offers);

	for (struct punch *next; p && a->offers_count < max; p = next) {
		next = p->next;
		if (was_handed(p, lease))
			continue;
		write_offer(p, lease, &a->offers[a->offers_count++]);
		if (p->list == &p->room->fresh) {
			punch_unlink(p);
			punch_append(&p->room->handed, p);
		}
	}
}

/* Fills the response with what ROOM (NULL: nothing) has for LEASE. */
static void write_offers(struct registry *r, const struct room *room,
                         const uint8_t lease[static LEASE_TAG_LEN], bool timed_out)
{
	AwaitPunchResponse *a = response_begin(r, RPC_AWAIT_PUNCH);

	a->timed_out = timed_out;
	if (!room)
		return;
	write_list(a, room->fresh.first, lease);
	write_list(a, room->handed.first, lease);
}

void call_await_punch(struct registry *r, const AwaitPunchRequest *q)
{
	struct party party = { q->mesh_id, NULL };
	uint64_t wait = wait_of(q->has_wait_seconds, q->wait_seconds, REGISTRY_AWAIT_DEFAULT_S);
	uint8_t lease[SHA256_LEN];
	struct party_row row;
	struct room *room;
	struct held *h;

	if (!require(r, q->mesh_id, "mesh_id") ||
	    !authorize(r, &party, span_of(q->lease_token.bytes, q->lease_token.size), &row, lease))
		return;
	room = room_find(r, q->mesh_id);
	if (wait == 0 || (room && has_offer(room, lease))) {
		write_offers(r, room, lease, false);
		r->response.RPC_AWAIT_PUNCH_response.timed_out =
			r->response.RPC_AWAIT_PUNCH_response.offers_count == 0;
		answer_ok(r);
		return;
	}
	h = held_in_room(r, HELD_AWAIT, q->mesh_id, wait, REGISTRY_MESH_AWAITS_MAX);
	if (!h) {
		answer_limited(r, "too many calls are waiting", 1);
		return;
	}
	memcpy(h->lease, lease, sizeof(h->lease));
}

/* --- initiate ------------------------------------------------------------------------------- */

static void set_state(struct registry *r, struct punch *p, enum punch_state to, const char *why)
{
	static const char *const names[] = { "open", "answered", "over" };
	char fields[192];
	struct text t = TEXT_IN(fields);

	INVARIANT(p->state == PUNCH_OPEN && to != PUNCH_OPEN);
	p->state = to;
	punch_unlink(p);
	side_free(r, &p->offer);
	text_kv(&t, "mesh", p->room->mesh);
	text_kv(&t, "state", names[to]);
	text_kv(&t, "why", why);
	log_emit(r->cfg.log, LOG_DEBUG, "registry", "punch ended", fields);
}

static struct punch *punch_new(struct registry *r, struct room *room, const InitiatePunchRequest *q,
                               const char *pubkey)
{
	const char *head[] = { pubkey, q->ice_ufrag, q->ice_pwd };
	size_t size = sizeof(struct punch) + strlen(q->agent_id) + 1;
	struct punch_table *t = r->punches;
	struct punch *p = mem_alloc(r->cfg.alloc, size), **bucket;
	uint8_t id[PUNCH_ID_LEN / 2];
	struct text text;

	if (!p)
		return NULL;
	if (heap_reserve(&t->heap, t->heap.n + 1, r->cfg.alloc) ||
	    !side_pack(r, &p->offer, head, ARRAY_LEN(head), q->candidates, q->candidates_count)) {
		mem_free(r->cfg.alloc, p, size);
		return NULL;
	}
	memcpy(p->agent, q->agent_id, strlen(q->agent_id) + 1);
	rng_fill(r->cfg.rng, id, sizeof(id));
	text = TEXT_IN(p->id);
	text_hex(&text, id, sizeof(id));
	timer_init(&p->timer, TIMER_PUNCH);
	p->room = room;
	p->offered_ms = r->wall_ms;
	bucket = &t->punches[text_bucket(t, p->id)];
	p->bucket_next = *bucket;
	*bucket = p;
	punch_append(&room->fresh, p);
	room->n_punches++;
	t->n_punches++;
	heap_set(&t->heap, &p->timer, time_add(r->now, REGISTRY_PUNCH_KEPT_MS * NS_PER_MS));
	return p;
}

/* Whether the mesh has a live colony that the caller's offer could reach. */
static bool colony_is_there(struct registry *r, const InitiatePunchRequest *q)
{
	struct party colony = { q->mesh_id, NULL };
	struct party_row row;

	if (store_get(r, &colony, false, &row)) {
		answer_storage(r);
		return false;
	}
	if (row_is_live(r, &row))
		return true;
	answer_error(r, STATUS_NOT_FOUND, "colony ", q->mesh_id, " not found");
	return false;
}

/* Makes the punch and holds the call. False when there is no room. */
static bool offer(struct registry *r, const InitiatePunchRequest *q, const char *pubkey)
{
	struct room *room = room_get(r, q->mesh_id);
	struct punch *p;

	if (!room)
		return false;
	if (room->n_punches == REGISTRY_MESH_PUNCHES_MAX ||
	    r->punches->n_punches == REGISTRY_PUNCHES_MAX) {
		room_release(r, room);
		return false;
	}
	p = punch_new(r, room, q, pubkey);
	if (!p) {
		room_release(r, room);
		return false;
	}
	p->initiator = held_new(r, HELD_INITIATE, wait_of(q->has_wait_seconds, q->wait_seconds,
	                                                  REGISTRY_INITIATE_DEFAULT_S));
	if (!p->initiator) {
		punch_free(r, p);
		return false;
	}
	p->initiator->punch = p;
	r->stats.punches_offered++;
	/* The newest poll is the one whose connection most likely still lives. */
	if (room->waiting[HELD_AWAIT])
		held_finish(r, room->waiting[HELD_AWAIT], OUTCOME_HAPPENED);
	return true;
}

void call_initiate_punch(struct registry *r, const InitiatePunchRequest *q)
{
	struct party agent = { q->mesh_id, q->agent_id };
	uint8_t lease[SHA256_LEN];
	struct party_row row;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->agent_id, "agent_id") ||
	    !authorize(r, &agent, span_of(q->lease_token.bytes, q->lease_token.size), &row,
	               lease) ||
	    !colony_is_there(r, q))
		return;
	if (!offer(r, q, *q->agent_pubkey ? q->agent_pubkey : row.pubkey))
		answer_error(r, STATUS_RESOURCE_EXHAUSTED, "too many punches under way for mesh ",
		             q->mesh_id, "");
}

/* --- answer --------------------------------------------------------------------------------- */

/* The punch of that id, if it is one of MESH. */
static struct punch *punch_find(struct registry *r, const char *mesh, const char *id)
{
	struct punch *p = r->punches->punches[text_bucket(r->punches, id)];

	while (p && !str_eq(p->id, id))
		p = p->bucket_next;
	return p && str_eq(p->room->mesh, mesh) ? p : NULL;
}

/* Takes the colony's answer to P and lets the agent have it. False without memory. */
static bool accept_answer(struct registry *r, struct punch *p, const AnswerPunchRequest *q,
                          const char *pubkey)
{
	const char *head[] = { pubkey, q->ice_ufrag, q->ice_pwd };

	if (!side_pack(r, &p->answer, head, ARRAY_LEN(head), q->candidates, q->candidates_count))
		return false;
	p->start_ms = r->wall_ms + REGISTRY_PUNCH_LEAD_MS;
	set_state(r, p, PUNCH_ANSWERED, "colony answered");
	r->stats.punches_answered++;
	held_finish(r, p->initiator, OUTCOME_HAPPENED);
	/* Both sides are to have the time to report what came of it. */
	heap_set(&r->punches->heap, &p->timer,
	         time_add(r->now, REGISTRY_PUNCH_KEPT_MS * NS_PER_MS));
	return true;
}

void call_answer_punch(struct registry *r, const AnswerPunchRequest *q)
{
	struct party party = { q->mesh_id, NULL };
	uint8_t lease[SHA256_LEN];
	struct party_row row;
	AnswerPunchResponse *a;
	struct punch *p;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->punch_id, "punch_id") ||
	    !authorize(r, &party, span_of(q->lease_token.bytes, q->lease_token.size), &row, lease))
		return;
	p = punch_find(r, q->mesh_id, q->punch_id);
	if (!p) {
		answer_error(r, STATUS_NOT_FOUND, "punch ", q->punch_id, " not found");
		return;
	}
	if (p->state == PUNCH_OPEN && !accept_answer(r, p, q, row.pubkey)) {
		answer_error(r, STATUS_RESOURCE_EXHAUSTED, "out of memory", "", "");
		return;
	}
	/* An answer sent twice, because the first one's reply got lost, hears the same again. */
	a = response_begin(r, RPC_ANSWER_PUNCH);
	a->success = p->state == PUNCH_ANSWERED;
	a->has_start_at = a->success;
	if (a->success)
		timestamp_from_ms(&a->start_at, p->start_ms);
	answer_ok(r);
}

/* --- report --------------------------------------------------------------------------------- */

/* Whether the caller is the agent or the colony of P. */
static bool takes_part(struct registry *r, const struct punch *p, const ReportPunchRequest *q)
{
	struct span token = span_of(q->lease_token.bytes, q->lease_token.size);
	struct party agent = { q->mesh_id, p->agent };
	struct party colony = { q->mesh_id, NULL };
	uint8_t lease[SHA256_LEN];
	struct party_row row;

	if (authorize(r, &agent, token, &row, lease))
		return true;
	return r->answer.code == STATUS_PERMISSION_DENIED &&
	       authorize(r, &colony, token, &row, lease);
}

void call_report_punch(struct registry *r, const ReportPunchRequest *q)
{
	struct punch *p;

	if (!require(r, q->mesh_id, "mesh_id") || !require(r, q->punch_id, "punch_id"))
		return;
	if (q->outcome < PunchOutcome_PUNCH_OUTCOME_DIRECT ||
	    q->outcome > PunchOutcome_PUNCH_OUTCOME_FAILED) {
		answer_error(r, STATUS_INVALID_ARGUMENT, "outcome is required", "", "");
		return;
	}
	p = punch_find(r, q->mesh_id, q->punch_id);
	if (!p) {
		answer_error(r, STATUS_NOT_FOUND, "punch ", q->punch_id, " not found");
		return;
	}
	if (!takes_part(r, p, q))
		return;
	/* Both sides may tell, and tell again: a punch counts once. */
	if (!p->reported) {
		r->stats.punches_reported[q->outcome - PunchOutcome_PUNCH_OUTCOME_DIRECT]++;
		if (q->outcome != PunchOutcome_PUNCH_OUTCOME_FAILED)
			r->stats.punch_ms_sum += q->duration_ms;
	}
	p->reported = true;
	response_begin(r, RPC_REPORT_PUNCH);
	answer_ok(r);
}

static void write_initiated(struct registry *r, const struct held *h)
{
	InitiatePunchResponse *a = response_begin(r, RPC_INITIATE_PUNCH);
	const struct punch *p = h->punch;
	const char *at = p->answer.data;

	INVARIANT(!str_copy(a->punch_id, sizeof(a->punch_id), p->id));
	a->accepted = h->outcome == OUTCOME_HAPPENED;
	if (!a->accepted)
		return;
	side_take(&at, a->colony_pubkey, sizeof(a->colony_pubkey));
	side_take(&at, a->ice_ufrag, sizeof(a->ice_ufrag));
	side_take(&at, a->ice_pwd, sizeof(a->ice_pwd));
	a->candidates_count = side_candidates(&p->answer, at, a->candidates);
	a->has_start_at = true;
	timestamp_from_ms(&a->start_at, p->start_ms);
}

/* --- time, and the ends of held calls ------------------------------------------------------- */

/* The wait of H is over, one way or another: its punch is nobody's any more. */
static void expire_held(struct registry *r, struct held *h, enum outcome outcome)
{
	if (h->kind == HELD_INITIATE && h->punch->state == PUNCH_OPEN) {
		set_state(r, h->punch, PUNCH_OVER, "wait over");
		r->stats.punches_timed_out++;
	}
	held_finish(r, h, outcome);
}

void punches_tick(struct registry *r)
{
	struct timer *t;

	while ((t = heap_first(&r->punches->heap)) != NULL && t->at <= r->now) {
		struct held *h = (struct held *)(void *)t;
		struct punch *p = (struct punch *)(void *)t;

		if (t->kind == TIMER_HELD)
			expire_held(r, h, h->by_client ? OUTCOME_DEADLINE : OUTCOME_TIMED_OUT);
		else if (p->initiator) /* its answer is still to be taken */
			heap_set(&r->punches->heap, t, time_add(r->now, NS_PER_S));
		else
			punch_free(r, p);
	}
}

uint64_t punches_deadline(const struct registry *r)
{
	const struct timer *t = heap_first(&r->punches->heap);

	return t ? t->at : TIME_NEVER;
}

void punches_cancel(struct registry *r, uint64_t ticket)
{
	struct held *h = held_find(r, ticket);

	if (!h)
		return;
	if (h->kind == HELD_INITIATE && h->punch->state == PUNCH_OPEN) {
		set_state(r, h->punch, PUNCH_OVER, "agent gone");
		r->stats.punches_canceled++;
	}
	held_free(r, h);
}

void punches_drain(struct registry *r)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct held *h = r->punches->held[i]; h; h = h->bucket_next)
			if (!h->ready)
				expire_held(r, h, OUTCOME_TIMED_OUT);
}

uint64_t punches_held(const struct registry *r)
{
	return r->punches->n_held;
}

/* How H ends, unless by its client's deadline. */
static void end_held(struct registry *r, struct held *h, struct registry_answer *out)
{
	switch (h->kind) {
	case HELD_AWAIT:
		write_offers(r, h->room, h->lease, h->outcome == OUTCOME_TIMED_OUT);
		break;
	case HELD_INITIATE:
		write_initiated(r, h);
		break;
	case HELD_POLL:
		rendezvous_end_poll(r, h->room->mesh, out);
		break;
	case HELD_PROBE: {
		/* Its probe took longer than any may: as good as failed. */
		PublishBootstrapRendezvousResponse *a = response_begin(r, RPC_PUBLISH_RENDEZVOUS);

		a->probe_failed = true;
		break;
	}
	}
}

bool punches_next_answer(struct registry *r, struct registry_answer *out)
{
	struct held *h = r->punches->ready;

	if (!h)
		return false;
	r->message = TEXT_IN(r->message_buf);
	*out = (struct registry_answer){ .ticket = h->ticket, .code = STATUS_OK,
	                                 .message = r->message.p, .response = &r->response };
	if (h->outcome == OUTCOME_DEADLINE) {
		text_str(&r->message, "the deadline of the call is over");
		out->code = STATUS_DEADLINE_EXCEEDED;
		out->response = NULL;
	} else {
		end_held(r, h, out);
	}
	held_free(r, h);
	return true;
}
