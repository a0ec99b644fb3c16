/* The registry over a disk that fails at every place where it can: what was acknowledged is there
 * afterwards, for the running server, after a crash and after a power cut; what was refused is
 * there whole or not at all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fault_vfs.h"
#include "linux/entropy.h"
#include "registry/registry.h"
#include "server/database.h"

#define TURNS  4
#define AGENTS 3 /* registered in one turn */

/* While the leases of schema_v1.sql were running. */
static const struct wall_time wall = { 1795228800, 0 };
static const struct logger quiet;
static char dir[64], image[80];

static int setup(void **state)
{
	(void)state;
	fault_vfs_install();
	/* What is synced is kept track of by the VFS, so memory will do, and is faster. */
	snprintf(dir, sizeof(dir), "%s/warren-fault-XXXXXX",
	         access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(dir));
	snprintf(image, sizeof(image), "%s/image", dir);
	return mkdir(image, 0700);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	(void)state;
	fault_set(FAULT_NONE, 0, false);
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct server {
	struct database *db;
	struct registry *r;
};

static void shut(struct server *s)
{
	registry_free(s->r);
	database_close(s->db);
	*s = (struct server){ 0 };
}

/* As the server does it; false when the disk did not let it. */
static bool start(struct server *s, const char *path)
{
	char why[256];
	enum err e;

	*s = (struct server){ 0 };
	if (database_open(path, &quiet, &s->db, why, sizeof(why))) {
		assert_true(*why != '\0');
		return false;
	}
	e = database_begin(s->db);
	if (!e)
		e = registry_new(&(struct registry_config){
			.alloc = &linux_allocator, .rng = &linux_rng, .log = &quiet,
			.sql = database_sql(s->db), .version = "test", .ttl_s = 300,
			.limit_buckets = 64 }, NS_PER_S, wall, &s->r);
	if (database_commit(s->db) || e) {
		shut(s);
		return false;
	}
	return true;
}

static enum status call(struct server *s, enum rpc_method method, const void *request)
{
	struct registry_answer a;

	registry_handle(s->r, &(struct registry_call){ .ticket = 1, .method = method,
		.request = request, .caller = { .host = "" }, .deadline_ns = TIME_NEVER },
		NS_PER_S, wall);
	assert_true(registry_next_answer(s->r, &a));
	return a.code;
}

static enum status register_agent(struct server *s, unsigned turn, unsigned i)
{
	static RegisterAgentRequest q;

	memset(&q, 0, sizeof(q));
	snprintf(q.mesh_id, sizeof(q.mesh_id), "m");
	snprintf(q.agent_id, sizeof(q.agent_id), "a-%u-%u", turn, i);
	snprintf(q.pubkey, sizeof(q.pubkey), "a key that is not looked at");
	q.endpoints_count = 1;
	snprintf(q.endpoints[0], sizeof(q.endpoints[0]), "192.0.2.1:1");
	return call(s, RPC_REGISTER_AGENT, &q);
}

static enum status look_up(struct server *s, const char *mesh, const char *agent)
{
	static LookupAgentRequest q;

	memset(&q, 0, sizeof(q));
	snprintf(q.mesh_id, sizeof(q.mesh_id), "%s", mesh);
	snprintf(q.agent_id, sizeof(q.agent_id), "%s", agent);
	return call(s, RPC_LOOKUP_AGENT, &q);
}

/* One turn of the loop; whether its registrations were acknowledged. */
static bool serve_turn(struct server *s, unsigned turn)
{
	unsigned good = 0;

	if (database_begin(s->db))
		return false;
	for (unsigned i = 0; i < AGENTS; i++)
		good += register_agent(s, turn, i) == STATUS_OK;
	if (database_commit(s->db))
		return false;
	/* A turn that commits has failed no statement. */
	assert_int_equal(good, AGENTS);
	return true;
}

static void take_text(void *ctx, const struct sql_value *columns, size_t n)
{
	assert_int_equal(n, 1);
	snprintf(ctx, 64, "%.*s", (int)columns[0].bytes.len, (const char *)columns[0].bytes.p);
}

static void check_turns(struct server *s, const bool *acknowledged)
{
	struct sql sql = database_sql(s->db);
	char result[64] = "", agent[32];

	for (unsigned turn = 0; turn < TURNS; turn++) {
		unsigned there = 0;

		for (unsigned i = 0; i < AGENTS; i++) {
			snprintf(agent, sizeof(agent), "a-%u-%u", turn, i);
			there += look_up(s, "m", agent) == STATUS_OK;
		}
		assert_true(there == AGENTS || (there == 0 && !acknowledged[turn]));
	}
	assert_int_equal(sql_exec(&sql, "PRAGMA integrity_check(1)", NULL, 0, take_text, result),
	                 ERR_OK);
	assert_string_equal(result, "ok");
}

static void check_image(const bool *acknowledged, bool power_cut)
{
	struct server s;

	fault_take_image(dir, image, power_cut);
	assert_true(start(&s, image));
	check_turns(&s, acknowledged);
	shut(&s);
}

/* Serves while the AT-th operation of KIND fails. False when there were not so many. */
static bool serve_with_fault(enum fault_kind kind, unsigned at, bool sticky)
{
	bool acknowledged[TURNS] = { false };
	unsigned failed;
	struct server s;

	(void)teardown(NULL);
	(void)setup(NULL);
	assert_true(start(&s, dir));
	fault_set(kind, at, sticky);
	for (unsigned turn = 0; turn < TURNS; turn++)
		acknowledged[turn] = serve_turn(&s, turn);
	failed = fault_count();
	fault_set(FAULT_NONE, 0, false);
	check_turns(&s, acknowledged);
	check_image(acknowledged, false);
	check_image(acknowledged, true);
	shut(&s);
	return failed > 0;
}

static void sweep(enum fault_kind kind)
{
	unsigned n = 1;

	while (serve_with_fault(kind, n, false)) {
		(void)serve_with_fault(kind, n, true);
		n++;
	}
	/* There was something to sweep. */
	assert_true(n > TURNS);
}

static void a_full_disk(void **state)
{
	(void)state;
	sweep(FAULT_FULL);
}

static void a_disk_that_fills_up_half_way_through_a_page(void **state)
{
	(void)state;
	sweep(FAULT_TORN);
}

static void a_disk_that_does_not_write(void **state)
{
	(void)state;
	sweep(FAULT_WRITE);
}

static void a_disk_that_does_not_sync(void **state)
{
	(void)state;
	sweep(FAULT_SYNC);
}

/* --- starting ------------------------------------------------------------------------------- */

static void a_first_start_that_fails_is_no_obstacle(void **state)
{
	const bool nothing[TURNS] = { false };

	(void)state;
	for (enum fault_kind kind = FAULT_FULL; kind < FAULT_KINDS; kind++) {
		bool done = false;

		for (unsigned n = 1; !done; n++) {
			struct server s;

			(void)teardown(NULL);
			(void)setup(NULL);
			fault_set(kind, n, false);
			done = start(&s, dir) && fault_count() == 0;
			shut(&s);
			fault_set(FAULT_NONE, 0, false);
			check_image(nothing, true);
			check_image(nothing, false);
		}
	}
}

/* Until then nothing is synced, so this one must sync for all. */
static void the_first_commit_is_on_disk(void **state)
{
	const bool first[TURNS] = { true };
	struct server s = { 0 };
	char why[256];

	(void)state;
	assert_int_equal(database_open(dir, &quiet, &s.db, why, sizeof(why)), ERR_OK);
	assert_int_equal(database_begin(s.db), ERR_OK);
	assert_int_equal(registry_new(&(struct registry_config){
		.alloc = &linux_allocator, .rng = &linux_rng, .log = &quiet,
		.sql = database_sql(s.db), .version = "test", .ttl_s = 300,
		.limit_buckets = 64 }, NS_PER_S, wall, &s.r), ERR_OK);
	assert_true(serve_turn(&s, 0));
	check_image(first, true);
	shut(&s);
}

static void load_v1(void)
{
	static char text[262144];
	char path[128];
	sqlite3 *handle;
	FILE *f = fopen(FIXTURES "/schema_v1.sql", "rb");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	snprintf(path, sizeof(path), "%s/server.db", dir);
	assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
	assert_int_equal(sqlite3_exec(handle, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(handle);
}

static void check_v1(bool power_cut)
{
	struct server s;

	fault_take_image(dir, image, power_cut);
	assert_true(start(&s, image));
	assert_int_equal(look_up(&s, "family", "laptop"), STATUS_OK);
	assert_int_equal(look_up(&s, "family", "phone"), STATUS_OK);
	assert_int_equal(look_up(&s, "work", "printer"), STATUS_OK);
	shut(&s);
}

static void an_upgrade_that_fails_can_be_repeated(void **state)
{
	(void)state;
	for (enum fault_kind kind = FAULT_FULL; kind < FAULT_KINDS; kind++) {
		bool done = false;

		for (unsigned n = 1; !done; n++) {
			struct server s;

			(void)teardown(NULL);
			(void)setup(NULL);
			load_v1();
			fault_set(kind, n, false);
			done = start(&s, dir) && fault_count() == 0;
			fault_set(FAULT_NONE, 0, false);
			check_v1(false);
			check_v1(true);
			shut(&s);
		}
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_full_disk),
		T(a_disk_that_fills_up_half_way_through_a_page),
		T(a_disk_that_does_not_write),
		T(a_disk_that_does_not_sync),
		T(a_first_start_that_fails_is_no_obstacle),
		T(the_first_commit_is_on_disk),
		T(an_upgrade_that_fails_can_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
