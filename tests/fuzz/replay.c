/* Without libFuzzer: runs the files of a folder through the target, then noise, then cuts and
 * mutations of the files from a fixed seed, until its time is used up. An input that once failed
 * goes into the corpus and is tried for ever after. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INPUT_MAX 65536
#define MUTATIONS 400
#define NOISE     2000
#define SECONDS   3 /* of processor time, for all but the files themselves */

static uint64_t seed = 1;

static uint32_t next_random(void)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (uint32_t)(seed >> 33);
}

/* A copy of exactly N bytes, so that the address sanitizer sees the first read past it. */
static void try_input(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static bool time_is_up(void)
{
	static clock_t start;

	if (!start)
		start = clock();
	return clock() - start > SECONDS * CLOCKS_PER_SEC;
}

static void try_variants(uint8_t *data, size_t n)
{
	static uint8_t changed[INPUT_MAX];

	for (size_t cut = 0; cut < n && !time_is_up(); cut++)
		try_input(data, cut);
	for (int i = 0; i < MUTATIONS && n && !time_is_up(); i++) {
		memcpy(changed, data, n);
		for (uint32_t edits = next_random() % 4 + 1; edits; edits--)
			changed[next_random() % n] = (uint8_t)next_random();
		try_input(changed, n);
	}
}

static size_t read_file(const char *folder, const char *name, uint8_t *buf)
{
	char path[1024];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "rb");
	if (!f) {
		perror(path);
		exit(1);
	}
	n = fread(buf, 1, INPUT_MAX, f);
	fclose(f);
	return n;
}

/* Calls EACH for every file; returns how many there are. A folder that is not there has none. */
static unsigned for_files(const char *path, void (*each)(uint8_t *data, size_t n))
{
	static uint8_t buf[INPUT_MAX];
	DIR *folder = opendir(path);
	struct dirent *entry;
	unsigned files = 0;

	while (folder && (entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		each(buf, read_file(path, entry->d_name, buf));
		files++;
	}
	if (folder)
		closedir(folder);
	return files;
}

static void try_file(uint8_t *data, size_t n)
{
	try_input(data, n);
}

int main(int argc, char **argv)
{
	uint8_t noise[512];
	unsigned files;

	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	files = for_files(argv[1], try_file);
	for (int i = 0; i < NOISE && !time_is_up(); i++) {
		size_t n = next_random() % sizeof(noise);

		for (size_t k = 0; k < n; k++)
			noise[k] = (uint8_t)next_random();
		try_input(noise, n);
	}
	(void)for_files(argv[1], try_variants);
	printf("%u inputs, noise and variants\n", files);
	return 0;
}
