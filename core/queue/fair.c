#include "queue/fair.h"

#include "base/mem.h"

/* Which list a flow is in. */
enum fair_turn { TURN_NONE, TURN_BEGINNER, TURN_OTHER };

#define NO_FLOW UINT16_MAX
/* A flow that was told to slow down this many intervals ago or less goes on where it was: RFC 8289,
 * section 5.4. */
#define REMEMBERED_INTERVALS 16
/* So much may stand behind an item, or one more like it, before it counts as a queue. */
#define MTU 1514U

static const struct fair_list EMPTY = { NO_FLOW, NO_FLOW };

static uint32_t clamp(uint32_t value, uint32_t least, uint32_t most)
{
	if (value < least)
		return least;
	return value > most ? most : value;
}

void fair_init(struct fair_queue *q, const struct fair_config *cfg)
{
	memset(q, 0, sizeof(*q));
	q->cfg = *cfg;
	q->cfg.max_items = clamp(cfg->max_items, 1, UINT32_MAX - 1);
	q->cfg.max_bytes = clamp(cfg->max_bytes, 1, FAIR_MAX_BYTES);
	q->cfg.quantum = clamp(cfg->quantum, FAIR_MIN_QUANTUM, FAIR_MAX_BYTES);
	/* Its square is divided by the count: 64 bits. Zero would be "not late". */
	q->cfg.interval_ns = cfg->interval_ns > UINT32_MAX ? UINT32_MAX : cfg->interval_ns;
	if (!q->cfg.interval_ns)
		q->cfg.interval_ns = 1;
	q->beginners = EMPTY;
	q->others = EMPTY;
}

/* --- Flows and their lists. --- */

static void list_append(struct fair_queue *q, struct fair_list *list, uint16_t id)
{
	q->flows[id].next = NO_FLOW;
	if (list->head == NO_FLOW)
		list->head = id;
	else
		q->flows[list->tail].next = id;
	list->tail = id;
}

static void list_take_head(struct fair_queue *q, struct fair_list *list)
{
	list->head = q->flows[list->head].next;
}

static void begin(struct fair_queue *q, uint16_t id)
{
	struct fair_flow *f = &q->flows[id];

	q->busy[id / FAIR_WAYS] |= (uint8_t)(1U << id % FAIR_WAYS);
	f->turn = TURN_BEGINNER;
	f->deficit = (int32_t)q->cfg.quantum;
	list_append(q, &q->beginners, id);
	q->stats.flows_new++;
}

static void pass_to_others(struct fair_queue *q, struct fair_list *list, uint16_t id)
{
	list_take_head(q, list);
	q->flows[id].turn = TURN_OTHER;
	list_append(q, &q->others, id);
}

/* The tag stays, and with it what CoDel knows of the flow, until another needs the bucket. */
static void retire(struct fair_queue *q, struct fair_list *list, uint16_t id)
{
	list_take_head(q, list);
	q->flows[id].turn = TURN_NONE;
	q->busy[id / FAIR_WAYS] &= (uint8_t)~(1U << id % FAIR_WAYS);
}

/* Nobody waits: all begin anew, without debts. Who has the queue for himself owes nobody. */
static void retire_all(struct fair_queue *q)
{
	while (q->beginners.head != NO_FLOW)
		retire(q, &q->beginners, q->beginners.head);
	while (q->others.head != NO_FLOW)
		retire(q, &q->others, q->others.head);
}

/* The bucket of a flow that none is known of. */
static uint16_t find_bucket(struct fair_queue *q, uint32_t hash, uint32_t set)
{
	const uint32_t vacant = ~(uint32_t)q->busy[set] & ((1U << FAIR_WAYS) - 1);
	uint16_t id;

	if (!vacant) {
		q->stats.flows_shared++;
		return (uint16_t)(set * FAIR_WAYS + hash / FAIR_SETS % FAIR_WAYS);
	}
	id = (uint16_t)(set * FAIR_WAYS + (uint32_t)__builtin_ctz(vacant));
	q->tags[id] = hash;
	memset(&q->flows[id], 0, sizeof(q->flows[id]));
	return id;
}

/* A flow that had to share moves into a bucket of its own when one becomes vacant, and may then
 * overtake what it left behind: rare, and better than to share on. */
static uint16_t find_flow(struct fair_queue *q, uint32_t hash)
{
	const uint32_t set = hash % FAIR_SETS;
	const uint32_t *tags = &q->tags[set * FAIR_WAYS];

	for (uint32_t way = 0; way < FAIR_WAYS; way++)
		if (tags[way] == hash)
			return (uint16_t)(set * FAIR_WAYS + way);
	return find_bucket(q, hash, set);
}

/* --- Items. --- */

static void append_item(struct fair_queue *q, uint16_t id, struct fair_item *item)
{
	struct fair_flow *f = &q->flows[id];

	item->next = NULL;
	if (f->head)
		f->tail->next = item;
	else
		f->head = item;
	f->tail = item;
	q->flow_items[id]++;
	q->flow_bytes[id] += item->bytes;
	q->items++;
	q->bytes += item->bytes;
}

/* Of a flow that has one. */
static struct fair_item *take_item(struct fair_queue *q, uint16_t id)
{
	struct fair_flow *f = &q->flows[id];
	struct fair_item *item = f->head;

	f->head = item->next;
	q->flow_items[id]--;
	q->flow_bytes[id] -= item->bytes;
	q->items--;
	q->bytes -= item->bytes;
	item->next = NULL;
	return item;
}

/* The flow with most of what HELD counts; one flow holds some. By sets, without a branch for each
 * flow, and past the sets where nobody waits: a full queue does this for every packet. */
static uint16_t find_most(const struct fair_queue *q, const uint32_t held[static FAIR_FLOWS])
{
	uint32_t most = 0, id = 0;

	for (uint32_t set = 0; set < FAIR_SETS; set++) {
		const uint32_t *ways = &held[set * FAIR_WAYS];
		uint32_t here = 0;

		if (!q->busy[set])
			continue;
		for (uint32_t way = 0; way < FAIR_WAYS; way++)
			here = ways[way] > here ? ways[way] : here;
		id = here > most ? set * FAIR_WAYS : id;
		most = here > most ? here : most;
	}
	while (held[id] != most)
		id++;
	return (uint16_t)id;
}

/* Who is fattest is a matter of bytes when there are too many of them, and else of items: many
 * small packets shall not push out few long ones. */
static struct fair_item *make_room(struct fair_queue *q)
{
	struct fair_item *gone = NULL, **link = &gone;
	uint16_t id;

	while (q->items > q->cfg.max_items || q->bytes > q->cfg.max_bytes) {
		id = find_most(q, q->bytes > q->cfg.max_bytes ? q->flow_bytes : q->flow_items);
		*link = take_item(q, id);
		link = &(*link)->next;
		q->stats.dropped_full++;
	}
	return gone;
}

struct fair_item *fair_push(struct fair_queue *q, struct fair_item *item, uint64_t now)
{
	uint16_t id;

	if (item->bytes > q->cfg.max_bytes) {
		item->next = NULL;
		q->stats.dropped_full++;
		return item;
	}
	item->queued_ns = now;
	id = find_flow(q, item->hash);
	if (!q->flows[id].head) {
		/* However it became empty: RFC 8289, section 5.5, dodequeue of an empty queue. */
		q->flows[id].first_above_ns = 0;
		q->flows[id].is_dropping = false;
	}
	append_item(q, id, item);
	if (q->flows[id].turn == TURN_NONE)
		begin(q, id);
	return make_room(q);
}

struct fair_item *fair_evict(struct fair_queue *q)
{
	struct fair_item *item;

	if (!q->items)
		return NULL;
	q->stats.dropped_full++;
	item = take_item(q, find_most(q, q->bytes ? q->flow_bytes : q->flow_items));
	if (!q->items)
		retire_all(q);
	return item;
}

/* --- CoDel. Names and sections of RFC 8289. --- */

static uint32_t square_root(uint64_t n)
{
	uint64_t root = 0;

	for (uint64_t bit = UINT64_C(1) << 62; bit; bit >>= 2) {
		const bool is_set = n >= root + bit;

		n -= is_set ? root + bit : 0;
		root = (root >> 1) + (is_set ? bit : 0);
	}
	return (uint32_t)root;
}

/* Section 5.3, control_law: interval / sqrt(count) later. */
static uint64_t law(const struct fair_queue *q, uint64_t from, uint32_t count)
{
	return from + square_root(q->cfg.interval_ns * q->cfg.interval_ns / count);
}

/* Section 5.5, dodequeue: whether ITEM, just taken, ends an interval in which all were late. LEFT
 * bytes wait behind it. */
static bool is_ok_to_drop(const struct fair_queue *q, struct fair_flow *f, uint32_t left,
                          const struct fair_item *item, uint64_t now)
{
	const uint64_t sojourn = now > item->queued_ns ? now - item->queued_ns : 0;
	const uint32_t mtu = item->bytes > MTU ? item->bytes : MTU;

	if (sojourn < q->cfg.target_ns || left <= mtu) {
		f->first_above_ns = 0;
		return false;
	}
	if (!f->first_above_ns) {
		f->first_above_ns = now + q->cfg.interval_ns;
		return false;
	}
	return now >= f->first_above_ns;
}

static void start_dropping(const struct fair_queue *q, struct fair_flow *f, uint64_t now)
{
	const uint32_t delta = f->count - f->count_before;

	f->is_dropping = true;
	f->is_law_due = false;
	f->count = 1;
	if (delta > 1 && now < f->drop_next_ns + REMEMBERED_INTERVALS * q->cfg.interval_ns)
		f->count = delta;
	f->count_before = f->count;
	f->drop_next_ns = law(q, now, f->count);
}

/* Section 5.5, dequeue, one item at a time: whether ITEM is to be dropped, or marked. The RFC moves
 * drop_next when it has seen the packet after the one dropped, which here is in the next call. */
static bool is_to_go(struct fair_queue *q, uint16_t id, const struct fair_item *item,
                     uint64_t now)
{
	struct fair_flow *f = &q->flows[id];

	if (!is_ok_to_drop(q, f, q->flow_bytes[id], item, now)) {
		f->is_dropping = false;
		return false;
	}
	if (!f->is_dropping) {
		start_dropping(q, f, now);
		return true;
	}
	if (f->is_law_due)
		f->drop_next_ns = law(q, f->drop_next_ns, f->count);
	f->is_law_due = now >= f->drop_next_ns;
	f->count += f->is_law_due;
	return f->is_law_due;
}

/* --- Turns. RFC 8290, section 4.2. --- */

/* The flow whose turn it is. There is an item. */
static uint16_t next_flow(struct fair_queue *q)
{
	for (;;) {
		const bool is_beginner = q->beginners.head != NO_FLOW;
		struct fair_list *list = is_beginner ? &q->beginners : &q->others;
		const uint16_t id = list->head;
		struct fair_flow *f = &q->flows[id];

		if (f->deficit <= 0) {
			f->deficit += (int32_t)q->cfg.quantum;
			pass_to_others(q, list, id);
		} else if (f->head) {
			return id;
		} else if (is_beginner && q->others.head != NO_FLOW) {
			/* Not to begin again at once, before the others had their turn. */
			pass_to_others(q, list, id);
		} else {
			retire(q, list, id);
		}
	}
}

static enum fair_verdict judge(struct fair_queue *q, uint16_t id, const struct fair_item *item,
                               uint64_t now)
{
	if (!is_to_go(q, id, item, now))
		return FAIR_SEND;
	if (item->ecn) {
		q->stats.marked++;
		return FAIR_MARK;
	}
	q->stats.dropped_codel++;
	return FAIR_DROP;
}

struct fair_item *fair_pop(struct fair_queue *q, uint64_t now, enum fair_verdict *v)
{
	struct fair_item *item;
	uint16_t id;

	if (!q->items)
		return NULL;
	id = next_flow(q);
	item = take_item(q, id);
	*v = judge(q, id, item, now);
	if (*v != FAIR_DROP)
		q->flows[id].deficit -= (int32_t)item->bytes;
	if (!q->items)
		retire_all(q);
	return item;
}

/* --- Taking out. --- */

static bool is_any(const struct fair_item *item, void *arg)
{
	(void)item;
	(void)arg;
	return true;
}

struct fair_item *fair_take_all(struct fair_queue *q)
{
	return fair_take_if(q, is_any, NULL);
}

struct fair_item *fair_take_if(struct fair_queue *q,
                               bool (*match)(const struct fair_item *item, void *arg), void *arg)
{
	struct fair_item *taken = NULL, **link = &taken;

	for (uint16_t id = 0; id < FAIR_FLOWS; id++)
		/* Once around: what stays goes to the end again. */
		for (uint32_t n = q->flow_items[id]; n; n--) {
			struct fair_item *item = take_item(q, id);

			if (match(item, arg)) {
				*link = item;
				link = &item->next;
			} else {
				append_item(q, id, item);
			}
		}
	if (!q->items)
		retire_all(q);
	return taken;
}
