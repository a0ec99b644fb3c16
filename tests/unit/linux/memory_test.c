/* Memory that is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "linux/memory.h"

#define PAGES 64

static size_t page;

/* How many of the pages from P on lie in memory. */
static size_t resident(uint8_t *p, size_t pages)
{
	unsigned char in[PAGES];
	size_t n = 0;

	assert_int_equal(mincore(p, pages * page, in), 0);
	for (size_t i = 0; i < pages; i++)
		n += in[i] & 1;
	return n;
}

static void test_whole_pages_go(void **state)
{
	uint8_t *p = aligned_alloc(page, PAGES * page);

	(void)state;
	assert_non_null(p);
	memset(p, 7, PAGES * page);
	memory_drop(p + 1, (PAGES - 1) * page); /* ends one byte within the last page */
	assert_int_equal(resident(p + page, PAGES - 2), 0);
	for (size_t i = 0; i < PAGES * page; i++)
		assert_int_equal(p[i], i < page || i >= (PAGES - 1) * page ? 7 : 0);
	free(p);
}

static void test_less_than_a_page_stays(void **state)
{
	uint8_t *p = aligned_alloc(page, 2 * page);

	(void)state;
	assert_non_null(p);
	memset(p, 7, 2 * page);
	memory_drop(p, page - 1);
	memory_drop(p + 1, page);
	memory_drop(p + page, 0);
	for (size_t i = 0; i < 2 * page; i++)
		assert_int_equal(p[i], 7);
	free(p);
}

/* It comes back as it was, or this would not go on. */
static void test_text_comes_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		char text[32];

		memory_drop_text();
		snprintf(text, sizeof(text), "%s %u", "the same", i);
		assert_int_equal(strncmp(text, "the same ", 9), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_pages_go),
		cmocka_unit_test(test_less_than_a_page_stays),
		cmocka_unit_test(test_text_comes_back),
	};

	page = (size_t)sysconf(_SC_PAGESIZE);
	return cmocka_run_group_tests_name("linux memory", tests, NULL, NULL);
}
