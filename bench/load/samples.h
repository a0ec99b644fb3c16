/* Durations, all of them kept: percentiles are exact. */
#ifndef LOAD_SAMPLES_H
#define LOAD_SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed storage is an empty one. Samples past CAP's bound are counted, not kept. */
struct samples {
	uint32_t *us;
	size_t n, cap, dropped;
	bool sorted;
};

void samples_add(struct samples *s, uint64_t ns);
/* Milliseconds below which SHARE (0..1) of the samples lie; 0 when there are none. */
double samples_ms(struct samples *s, double share);
/* Writes "NAMEp50_ms":..., p99 and max, as members of a JSON object, with a comma in front. */
void samples_print(struct samples *s, const char *name);
void samples_free(struct samples *s);

#endif
