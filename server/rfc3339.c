#include "server/rfc3339.h"

#define SECONDS_MIN (-62135596800) /* 0001-01-01T00:00:00Z */
#define SECONDS_MAX 253402300799   /* 9999-12-31T23:59:59Z */

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years are counted from
 * March, so that the leap day is the last one. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t m = (month + 9) % 12;

	return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

/* The inverse. Years 1 to 9999. */
static void date_of(int64_t days, int64_t *year, int64_t *month, int64_t *day)
{
	int64_t z = days + 719468; /* from 0000-03-01: never negative here */
	int64_t era = z / 146097;
	int64_t in_era = z % 146097;
	int64_t y = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	int64_t in_year = in_era - (365 * y + y / 4 - y / 100);
	int64_t m = (5 * in_year + 2) / 153;

	*day = in_year - (153 * m + 2) / 5 + 1;
	*month = m < 10 ? m + 3 : m - 9;
	*year = era * 400 + y + (*month <= 2);
}

/* N digits, and what stands behind them. Returns where it ends. */
static char *number(char *p, int64_t value, int n, char after)
{
	for (int i = n - 1; i >= 0; i--, value /= 10)
		p[i] = (char)('0' + value % 10);
	p[n] = after;
	return p + n + 1;
}

bool rfc3339_format(char out[static RFC3339_MAX], int64_t seconds, int32_t nanos)
{
	int64_t days, rest, year, month, day;
	char *p = out;

	if (seconds < SECONDS_MIN || seconds > SECONDS_MAX || nanos < 0 || nanos > 999999999)
		return false;
	days = (seconds - SECONDS_MIN) / 86400 + SECONDS_MIN / 86400;
	rest = (seconds - SECONDS_MIN) % 86400;
	date_of(days, &year, &month, &day);
	p = number(p, year, 4, '-');
	p = number(p, month, 2, '-');
	p = number(p, day, 2, 'T');
	p = number(p, rest / 3600, 2, ':');
	p = number(p, rest / 60 % 60, 2, ':');
	p = number(p, rest % 60, 2, nanos ? '.' : 'Z');
	if (nanos % 1000000 == 0 && nanos)
		p = number(p, nanos / 1000000, 3, 'Z');
	else if (nanos % 1000 == 0 && nanos)
		p = number(p, nanos / 1000, 6, 'Z');
	else if (nanos)
		p = number(p, nanos, 9, 'Z');
	*p = '\0';
	return true;
}

/* Exactly N digits at *P, with LO <= value <= HI. */
static bool digits(const char **p, const char *end, int n, int64_t lo, int64_t hi, int64_t *out)
{
	int64_t v = 0;

	for (int i = 0; i < n; i++, (*p)++) {
		if (*p == end || **p < '0' || **p > '9')
			return false;
		v = v * 10 + (**p - '0');
	}
	*out = v;
	return v >= lo && v <= hi;
}

static bool character(const char **p, const char *end, char a, char b)
{
	if (*p == end || (**p != a && **p != b))
		return false;
	(*p)++;
	return true;
}

static bool fraction(const char **p, const char *end, int32_t *nanos)
{
	int n = 0;

	*nanos = 0;
	if (*p == end || **p != '.')
		return true;
	for ((*p)++; *p < end && **p >= '0' && **p <= '9'; (*p)++, n++)
		if (n < 9)
			*nanos = *nanos * 10 + (**p - '0');
	if (n == 0 || n > 9)
		return false;
	for (; n < 9; n++)
		*nanos *= 10;
	return true;
}

static bool offset(const char **p, const char *end, int64_t *seconds)
{
	int64_t hours, minutes, sign;

	*seconds = 0;
	if (character(p, end, 'Z', 'z'))
		return true;
	if (*p == end || (**p != '+' && **p != '-'))
		return false;
	sign = **p == '+' ? 1 : -1;
	(*p)++;
	if (!digits(p, end, 2, 0, 23, &hours) || !character(p, end, ':', ':') ||
	    !digits(p, end, 2, 0, 59, &minutes))
		return false;
	*seconds = sign * (hours * 3600 + minutes * 60);
	return true;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
	return days_of(month == 12 ? year + 1 : year, month % 12 + 1, 1) - days_of(year, month, 1);
}

bool rfc3339_parse(const char *s, size_t n, int64_t *seconds, int32_t *nanos)
{
	const char *end = s + n;
	int64_t year, month, day, h, m, sec, east, total;

	if (!digits(&s, end, 4, 1, 9999, &year) || !character(&s, end, '-', '-') ||
	    !digits(&s, end, 2, 1, 12, &month) || !character(&s, end, '-', '-') ||
	    !digits(&s, end, 2, 1, 31, &day) || !character(&s, end, 'T', 't') ||
	    !digits(&s, end, 2, 0, 23, &h) || !character(&s, end, ':', ':') ||
	    !digits(&s, end, 2, 0, 59, &m) || !character(&s, end, ':', ':') ||
	    !digits(&s, end, 2, 0, 59, &sec) || !fraction(&s, end, nanos) ||
	    !offset(&s, end, &east) || s != end || day > days_in_month(year, month))
		return false;
	total = days_of(year, month, day) * 86400 + h * 3600 + m * 60 + sec - east;
	*seconds = total;
	return total >= SECONDS_MIN && total <= SECONDS_MAX;
}
