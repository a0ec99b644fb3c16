/* Records of bytes from one thread to another: a ring with one producer and one consumer, in the
 * caller's storage, without locks. Each side keeps to its own cache lines and looks at the other's
 * only when it finds the ring full or empty.
 *
 * Waking the consumer. With an eventfd, say:
 *
 *     producer: ring_reserve, fill, ...             consumer: for (;;) {
 *               if (ring_publish(r))                        read(event);
 *                       write(event, 1);                    while ((p = ring_peek(r, &len))) {
 *                                                                   ...
 *                                                                   ring_release(r);
 *                                                           }
 *                                                   }
 *
 * A ring_peek that answers NULL announces that the consumer is about to sleep, and the first
 * ring_publish after it answers true. The announcement and the look at the ring, and likewise the
 * publication and the look for an announcement, are sequentially consistent: of two that cross, at
 * least one sees the other. So no wake-up is lost, provided that the consumer sleeps only after a
 * ring_peek that answered NULL (with several rings on one event: after one of each, since it last
 * took the event), and that it takes the event before it peeks and not after. A wake-up that
 * turns out to be for nothing is possible, and harmless. */
#ifndef QUEUE_RING_H
#define QUEUE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RING_ALIGN 8U  /* of records, and so of what ring_reserve and ring_peek answer */
#define RING_HEADER 8U /* in front of each */

/* Processors fetch lines in pairs. */
#define RING_APART 128

/* Positions run on over the ring's end and over 2^32; the ring's size divides both. */
struct ring {
	uint8_t *storage;
	uint32_t size;

	char apart_producer[RING_APART];
	_Atomic uint32_t tail; /* end of what is published */
	uint32_t next;         /* end of what is reserved */
	uint32_t last;         /* where the last reservation began, NEXT when there is none */
	uint32_t record;       /* where its header is, behind the skip if there is one */
	uint32_t head_seen;    /* the consumer's head, when last looked at */

	char apart_consumer[RING_APART];
	_Atomic uint32_t head; /* end of what is released */
	uint32_t looked;       /* end of what was peeked at */
	uint32_t tail_seen;    /* the producer's tail, when last looked at */

	char apart_waits[RING_APART];
	_Atomic uint32_t waits; /* the consumer found nothing; set by it, taken by the producer */
	char apart_end[RING_APART];
};

/* An empty ring over STORAGE, which is RING_ALIGN aligned, stays the caller's and must outlive it.
 * SIZE in bytes: a power of two, at least 32. Before either thread uses it. */
void ring_init(struct ring *r, uint8_t *storage, uint32_t size);

/* The longest record that R takes. It always fits into a ring that is empty, wherever the ring's
 * end happens to be; so it is less than half of the ring. */
static inline uint32_t ring_max_len(const struct ring *r)
{
	return r->size / 2 - RING_HEADER;
}

/* Producer: room for a record of LEN bytes in one piece, RING_ALIGN aligned, behind those that are
 * reserved already. NULL when there is none now, or LEN is more than ring_max_len. */
void *ring_reserve(struct ring *r, uint32_t len);
/* Producer: the last reservation, not published yet, is to be LEN bytes, no more than it was. */
void ring_trim(struct ring *r, uint32_t len);
/* Producer: takes back the last reservation, not published yet. Once. */
void ring_cancel(struct ring *r);
/* Producer: hands over all that is reserved, which may be nothing. Whether the consumer must be
 * woken. */
bool ring_publish(struct ring *r);

/* Consumer: the oldest record that was not released and its length, or NULL: then the next
 * ring_publish tells the producer to wake the consumer. It is the consumer's to read and to write
 * until ring_release. */
void *ring_peek(struct ring *r, uint32_t *len);
/* Consumer: the record behind the one peeked at last, or NULL, which announces nothing. For
 * batches; ring_peek begins again with the oldest. */
void *ring_peek_next(struct ring *r, uint32_t *len);
/* Consumer: gives back the record that ring_peek answered, and those that ring_peek_next answered
 * after it. */
void ring_release(struct ring *r);

#endif
