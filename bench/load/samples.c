#include "samples.h"

#include <stdio.h>
#include <stdlib.h>

/* Ten minutes at 60,000 a second, and 144 MB. */
#define SAMPLES_MAX (36U << 20)

void samples_add(struct samples *s, uint64_t ns)
{
	uint64_t us = ns / 1000;

	if (s->n == s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 1U << 16;
		uint32_t *grown = cap > SAMPLES_MAX ? NULL : realloc(s->us, cap * sizeof(*grown));

		if (!grown) {
			s->dropped++;
			return;
		}
		s->us = grown;
		s->cap = cap;
	}
	s->us[s->n++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
	s->sorted = false;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

double samples_ms(struct samples *s, double share)
{
	size_t at;

	if (!s->n)
		return 0;
	if (!s->sorted)
		qsort(s->us, s->n, sizeof(*s->us), compare);
	s->sorted = true;
	at = (size_t)(share * (double)s->n);
	return s->us[at < s->n ? at : s->n - 1] / 1e3;
}

void samples_print(struct samples *s, const char *name)
{
	printf(",\"%sp50_ms\":%.3f,\"%sp99_ms\":%.3f,\"%smax_ms\":%.3f", name, samples_ms(s, 0.5),
	       name, samples_ms(s, 0.99), name, samples_ms(s, 1));
	if (s->dropped)
		printf(",\"%sunsampled\":%zu", name, s->dropped);
}

void samples_free(struct samples *s)
{
	free(s->us);
	*s = (struct samples){ 0 };
}
