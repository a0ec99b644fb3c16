/* Histograms over fixed bounds, for metrics. */
#ifndef SERVER_HISTOGRAM_H
#define SERVER_HISTOGRAM_H

#include "server/buffer.h"

#define HISTOGRAM_BOUNDS_MAX 16

/* What is measured is counted in whole steps of 10^-DIGITS of the unit that is shown. */
struct histogram_bounds {
	uint64_t at[HISTOGRAM_BOUNDS_MAX]; /* inclusive, ascending */
	unsigned n;
	unsigned digits;
};

struct histogram {
	uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1]; /* not cumulative; the last is beyond all bounds */
	uint64_t sum;
};

void histogram_add(struct histogram *h, const struct histogram_bounds *b, uint64_t value);
uint64_t histogram_count(const struct histogram *h);
/* Appends the OpenMetrics samples of NAME. LABELS is "" or `name="value"`. */
void histogram_write(struct buffer *out, const struct histogram *h,
                     const struct histogram_bounds *b, const char *name, const char *labels);

/* Appends VALUE * 10^-DIGITS as a decimal with at least one digit behind the point. */
void buffer_decimal(struct buffer *out, uint64_t value, unsigned digits);

#endif
