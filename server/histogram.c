#include "server/histogram.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define DIGITS_MAX 9

void histogram_add(struct histogram *h, const struct histogram_bounds *b, uint64_t value)
{
	unsigned i = 0;

	while (i < b->n && value > b->at[i])
		i++;
	h->counts[i == b->n ? HISTOGRAM_BOUNDS_MAX : i]++;
	h->sum += value;
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t n = 0;

	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
		n += h->counts[i];
	return n;
}

void buffer_decimal(struct buffer *out, uint64_t value, unsigned digits)
{
	char text[32];
	uint64_t unit = 1;
	int n;

	INVARIANT(digits <= DIGITS_MAX);
	for (unsigned i = 0; i < digits; i++)
		unit *= 10;
	n = digits ? snprintf(text, sizeof(text), "%" PRIu64 ".%0*" PRIu64, value / unit,
	                      (int)digits, value % unit)
	           : snprintf(text, sizeof(text), "%" PRIu64 ".0", value);
	while (text[n - 1] == '0' && text[n - 2] != '.')
		n--;
	buffer_add(out, text, (size_t)n);
}

static void series(struct buffer *out, const char *name, const char *suffix, const char *labels)
{
	buffer_str(out, name);
	buffer_str(out, suffix);
	if (!*labels)
		return;
	buffer_ch(out, '{');
	buffer_str(out, labels);
	buffer_ch(out, '}');
}

/* LE is a bound's index; N stands for infinity. */
static void bucket(struct buffer *out, const char *name, const char *labels,
                   const struct histogram_bounds *b, unsigned le)
{
	buffer_str(out, name);
	buffer_str(out, "_bucket{");
	buffer_str(out, labels);
	buffer_str(out, *labels ? ",le=\"" : "le=\"");
	if (le < b->n)
		buffer_decimal(out, b->at[le], b->digits);
	else
		buffer_str(out, "+Inf");
	buffer_str(out, "\"}");
}

void histogram_write(struct buffer *out, const struct histogram *h,
                     const struct histogram_bounds *b, const char *name, const char *labels)
{
	uint64_t n = 0;

	for (unsigned i = 0; i <= b->n; i++) {
		n += h->counts[i == b->n ? HISTOGRAM_BOUNDS_MAX : i];
		bucket(out, name, labels, b, i);
		buffer_ch(out, ' ');
		buffer_u64(out, n);
		buffer_ch(out, '\n');
	}
	series(out, name, "_count", labels);
	buffer_ch(out, ' ');
	buffer_u64(out, n);
	buffer_ch(out, '\n');
	series(out, name, "_sum", labels);
	buffer_ch(out, ' ');
	buffer_decimal(out, h->sum, b->digits);
	buffer_ch(out, '\n');
}
