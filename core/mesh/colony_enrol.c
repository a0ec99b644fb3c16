/* Enrolment, the colony's side: from an unknown key to a peer with an address. */
#include "mesh/colony_internal.h"

/* ---- strangers ---- */

static bool room_for_stranger(struct colony *c)
{
	struct colony_peer *p = c->lines[LINE_STRANGERS].first;

	if (c->lines[LINE_STRANGERS].count < COLONY_PROVISIONAL_MAX)
		return true;
	/* Those who know the secret prove it within a round trip. Someone who floods us with keys
	 * but not the secret only pushes out keys like his own. */
	while (p && p->proven)
		p = p->next;
	if (!p)
		return false;
	c->stats.provisional_dropped++;
	colony_peer_drop(c, p);
	return true;
}

void colony_unknown_key(struct colony *c, const struct wg_event *e, uint64_t now)
{
	struct colony_peer *p = NULL;
	struct allocation *row;

	if (c->cfg.store.is_revoked(c->cfg.store.ctx, e->public_key)) {
		c->stats.revoked_dropped++;
		colony_log(c, LOG_DEBUG, "a removed agent's key knocks; refused", "");
	} else if (!wg_peer_find(c->cfg.device, e->public_key) && room_for_stranger(c)) {
		p = colony_peer_add(c, e->public_key, now);
	}
	if (!p) {
		wg_hold_drop(c->cfg.device, e->hold);
		return;
	}
	row = pool_find_key(&c->pool, e->public_key);
	if (row)
		p->row = row; /* began to enrol before, and did not finish */
	if (wg_hold_accept(c->cfg.device, e->hold, p->wg, now))
		colony_peer_drop(c, p);
}

/* ---- enrolment ---- */

static void send_inner(struct colony *c, struct colony_peer *p, const struct inner_message *m)
{
	struct mesh_action *a = outbox_add(&c->out, MESH_SEND_INNER);

	if (!a)
		return;
	a->peer = p->wg;
	a->len = inner_build(a->bytes, sizeof(a->bytes), &c->link_local, &p->link_local, m);
	INVARIANT(a->len);
}

/* Whether AGENT_ID may be taken over from the key that holds ROW. */
static bool may_take_over(struct colony *c, const struct allocation *row, uint64_t now,
                          struct wall_time wall, uint32_t *retry_after_s)
{
	struct colony_peer *holder = colony_peer_of_row(c, row);
	uint64_t silent_s = wall.s > row->last_seen_s ? wall.s - row->last_seen_s : 0;
	struct wg_peer_info info;

	if (holder) {
		wg_peer_info(holder->wg, &info);
		if (info.last_rx_ns)
			silent_s = (now - info.last_rx_ns) / NS_PER_S;
	}
	if (silent_s >= ID_GUARD_S)
		return true;
	*retry_after_s = (uint32_t)(ID_GUARD_S - silent_s);
	return false;
}

static enum enrol_status take_over(struct colony *c, struct allocation *row,
                                   const struct colony_peer *p)
{
	struct colony_peer *holder = colony_peer_of_row(c, row);

	if (holder && holder != p)
		colony_peer_drop(c, holder);
	pool_set_key(&c->pool, row, p->public_key);
	wipe(row->psk, sizeof(row->psk));
	colony_log(c, LOG_WARN, "an agent id came back with a new key; the old key was silent for "
	                        "3 minutes", row->agent_id);
	return ENROL_OK;
}

/* A row for this id and key, in memory; not saved yet. */
static enum enrol_status find_row(struct colony *c, struct colony_peer *p, const char *id,
                                  uint64_t now, struct wall_time wall,
                                  struct inner_message *answer)
{
	struct allocation *row = pool_find(&c->pool, id);
	enum err e;

	if (p->row)
		return str_eq(p->row->agent_id, id) ? ENROL_OK : ENROL_KEY_IN_USE;
	if (row && memcmp(row->public_key, p->public_key, WG_KEY_LEN) != 0) {
		if (!may_take_over(c, row, now, wall, &answer->retry_after_s))
			return ENROL_ID_IN_USE;
		take_over(c, row, p);
	}
	if (!row) {
		e = pool_take(&c->pool, id, &row);
		if (e)
			return e == ERR_FULL ? ENROL_EXHAUSTED : ENROL_UNAVAILABLE;
		row->status = ALLOCATION_ACTIVE;
		row->allocated_at_s = wall.s;
		pool_set_key(&c->pool, row, p->public_key);
	}
	p->row = row;
	return ENROL_OK;
}

static void fill_addresses(struct colony *c, struct colony_peer *p, struct inner_message *m)
{
	struct wg_peer_info info;

	wg_peer_info(p->wg, &info);
	m->observed = info.path.remote;
	m->address4 = pool_address4(&c->pool, p->row->host);
	m->address6 = pool_address6(&c->pool, p->row->host);
	m->colony4 = colony_address4(c).ip;
	m->colony6 = colony_address6(c).ip;
}

static enum enrol_status enrol(struct colony *c, struct colony_peer *p,
                               const struct inner_message *m, struct inner_message *answer,
                               uint64_t now, struct wall_time wall)
{
	struct wg_peer_info info;
	enum enrol_status s;

	if (!mesh_id_is_valid(m->agent_id))
		return ENROL_BAD_ID;
	s = find_row(c, p, m->agent_id, now, wall, answer);
	if (s != ENROL_OK)
		return s;
	wg_peer_info(p->wg, &info);
	p->row->last_seen_s = wall.s;
	p->row->status = ALLOCATION_ACTIVE;
	p->row->endpoint = info.path.remote;
	if (colony_save(c, p->row))
		return ENROL_UNAVAILABLE;
	return colony_allow(c, p) ? ENROL_UNAVAILABLE : ENROL_OK;
}

static void on_request(struct colony *c, struct colony_peer *p, const struct inner_message *m,
                       uint64_t now, struct wall_time wall)
{
	struct inner_message answer = { .type = INNER_ENROL_RESPONSE, .id = m->id };

	colony_punch_worked(c, m->agent_id);
	answer.status = enrol(c, p, m, &answer, now, wall);
	if (answer.status == ENROL_OK) {
		fill_addresses(c, p, &answer);
		answer.pair_key = p->provisional;
	} else {
		c->stats.refused++;
		colony_log(c, LOG_WARN, "enrolment refused", m->agent_id);
	}
	if (answer.pair_key) {
		/* A repeated request gets the same nonce, or the two ends would disagree. */
		if (!p->has_nonces || memcmp(p->agent_nonce, m->nonce, sizeof(m->nonce)) != 0) {
			memcpy(p->agent_nonce, m->nonce, sizeof(p->agent_nonce));
			rng_fill(&c->cfg.rng, p->colony_nonce, sizeof(p->colony_nonce));
			p->has_nonces = true;
			p->exchange = m->id;
		}
		memcpy(answer.nonce, p->colony_nonce, sizeof(answer.nonce));
	}
	send_inner(c, p, &answer);
	wipe(&answer, sizeof(answer));
}

static void log_enrolled(struct colony *c, const struct colony_peer *p)
{
	char fields[128];
	struct text t = TEXT_IN(fields);
	struct ip_prefix a4 = pool_address4(&c->pool, p->row->host);

	text_kv(&t, "agent", p->row->agent_id);
	text_kv(&t, "address", "");
	text_prefix(&t, &a4);
	log_emit(&c->cfg.log, LOG_INFO, "colony", "agent enrolled", fields);
}

static void finish(struct colony *c, struct colony_peer *p)
{
	wg_peer_set_psk(p->wg, p->row->psk);
	p->provisional = false;
	p->online = true;
	colony_peer_queue(c, p, LINE_NONE);
	c->stats.enrolled++;
	wipe(p->agent_nonce, sizeof(p->agent_nonce));
	wipe(p->colony_nonce, sizeof(p->colony_nonce));
	p->has_nonces = false;
	log_enrolled(c, p);
}

static void on_confirm(struct colony *c, struct colony_peer *p, const struct inner_message *m)
{
	struct inner_message done = { .type = INNER_ENROL_DONE, .id = m->id };

	if (p->provisional) {
		/* A request of before that came late has changed the nonces: not this key. */
		if (!p->row || !p->has_nonces || p->exchange != m->id)
			return;
		secret_pair_psk(p->row->psk, c->psk, p->public_key, c->cfg.public_key,
		                p->agent_nonce, p->colony_nonce);
	}
	/* Repeated confirmations are saved too: the commit behind the first one may have failed,
	 * and then this one's answer must wait for the next. */
	if (!p->row || colony_save(c, p->row)) {
		if (p->provisional)
			wipe(p->row->psk, sizeof(p->row->psk));
		return; /* it confirms again */
	}
	if (p->provisional)
		finish(c, p);
	send_inner(c, p, &done);
}

void colony_inner(struct colony *c, struct wg_peer *from, const uint8_t *bytes, size_t len,
                  uint64_t now, struct wall_time wall)
{
	struct colony_peer *p = colony_peer_of(from);
	struct inner_message m;

	if (!p || inner_parse(bytes, len, &p->link_local, &c->link_local, &m))
		return;
	switch (m.type) {
	case INNER_ENROL_REQUEST:
		on_request(c, p, &m, now, wall);
		break;
	case INNER_ENROL_CONFIRM:
		on_confirm(c, p, &m);
		break;
	case INNER_PING:
		m.type = INNER_PONG;
		m.enrolled = !p->provisional;
		send_inner(c, p, &m);
		break;
	case INNER_ENROL_RESPONSE:
	case INNER_ENROL_DONE:
	case INNER_PONG:
		break; /* an agent's to receive */
	}
	wipe(&m, sizeof(m));
}
