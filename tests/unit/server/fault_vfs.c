#include "fault_vfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#define PATH_CAP 600
#define SYNCED   ".synced"

struct fault_file {
	sqlite3_file base;
	const char *name; /* SQLite keeps it as long as the file is open; NULL for temporary ones */
	sqlite3_file *real;
};

static struct {
	sqlite3_vfs vfs;
	sqlite3_vfs *real;
	enum fault_kind kind;
	unsigned at, seen, failed;
	bool sticky;
} disk;

static bool fails_now(bool sync)
{
	if (disk.kind == FAULT_NONE || (disk.kind == FAULT_SYNC) != sync)
		return false;
	disk.seen++;
	if (disk.sticky ? disk.seen < disk.at : disk.seen != disk.at)
		return false;
	disk.failed++;
	return true;
}

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct fault_file *)(void *)f)->real;
}

static void copy_file(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		abort();
	while ((n = read(in, buf, sizeof(buf))) > 0)
		if (write(out, buf, (size_t)n) != n)
			abort();
	close(in);
	close(out);
}

static int do_close(sqlite3_file *f)
{
	int rc = real_of(f)->pMethods->xClose(real_of(f));

	sqlite3_free(real_of(f));
	return rc;
}

static int do_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}

static int do_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	if (fails_now(false)) {
		if (disk.kind == FAULT_TORN && n > 1)
			(void)real_of(f)->pMethods->xWrite(real_of(f), p, n / 2, at);
		return disk.kind == FAULT_WRITE ? SQLITE_IOERR_WRITE : SQLITE_FULL;
	}
	return real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int do_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), size);
}

static int do_sync(sqlite3_file *f, int flags)
{
	const char *name = ((struct fault_file *)(void *)f)->name;
	char synced[PATH_CAP];
	int rc;

	if (fails_now(true))
		return SQLITE_IOERR_FSYNC;
	rc = real_of(f)->pMethods->xSync(real_of(f), flags);
	if (rc || !name)
		return rc;
	snprintf(synced, sizeof(synced), "%s" SYNCED, name);
	copy_file(name, synced);
	return SQLITE_OK;
}

static int do_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), size);
}

static int do_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}

static int do_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}

static int do_check(sqlite3_file *f, int *reserved)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), reserved);
}

static int do_control(sqlite3_file *f, int op, void *arg)
{
	/* What names the file must name the wrapped one. */
	if (op == SQLITE_FCNTL_VFS_POINTER)
		return SQLITE_NOTFOUND;
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}

static int do_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}

static int do_traits(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}

static int do_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}

static int do_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), at, n, flags);
}

static void do_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}

static int do_shm_unmap(sqlite3_file *f, int remove_it)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), remove_it);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2, .xClose = do_close, .xRead = do_read, .xWrite = do_write,
	.xTruncate = do_truncate, .xSync = do_sync, .xFileSize = do_size, .xLock = do_lock,
	.xUnlock = do_unlock, .xCheckReservedLock = do_check, .xFileControl = do_control,
	.xSectorSize = do_sector, .xDeviceCharacteristics = do_traits, .xShmMap = do_shm_map,
	.xShmLock = do_shm_lock, .xShmBarrier = do_shm_barrier, .xShmUnmap = do_shm_unmap,
};

static int do_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
	struct fault_file *file = (struct fault_file *)(void *)f;
	int rc;

	(void)vfs;
	memset(file, 0, sizeof(*file));
	file->real = sqlite3_malloc(disk.real->szOsFile);
	if (!file->real)
		return SQLITE_NOMEM;
	memset(file->real, 0, (size_t)disk.real->szOsFile);
	rc = disk.real->xOpen(disk.real, name, file->real, flags, out_flags);
	if (rc) {
		sqlite3_free(file->real);
		return rc;
	}
	file->name = name;
	file->base.pMethods = &methods;
	return SQLITE_OK;
}

static int do_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	char synced[PATH_CAP];

	(void)vfs;
	snprintf(synced, sizeof(synced), "%s" SYNCED, name);
	(void)unlink(synced);
	return disk.real->xDelete(disk.real, name, sync_dir);
}

void fault_vfs_install(void)
{
	if (disk.real)
		return;
	disk.real = sqlite3_vfs_find(NULL);
	disk.vfs = *disk.real;
	disk.vfs.zName = "fault";
	disk.vfs.szOsFile = (int)sizeof(struct fault_file);
	disk.vfs.xOpen = do_open;
	disk.vfs.xDelete = do_delete;
	if (sqlite3_vfs_register(&disk.vfs, 1))
		abort();
}

void fault_set(enum fault_kind kind, unsigned at, bool sticky)
{
	disk.kind = kind;
	disk.at = at;
	disk.sticky = sticky;
	disk.seen = disk.failed = 0;
}

unsigned fault_count(void)
{
	return disk.failed;
}

void fault_take_image(const char *dir, const char *to, bool power_cut)
{
	/* The index of the log is made anew after a crash. */
	static const char *const files[] = { "server.db", "server.db-wal", "server.db-journal" };
	char from[PATH_CAP], image[PATH_CAP];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(from, sizeof(from), "%s/%s%s", dir, files[i], power_cut ? SYNCED : "");
		snprintf(image, sizeof(image), "%s/%s", to, files[i]);
		(void)unlink(image);
		if (access(from, F_OK) == 0)
			copy_file(from, image);
	}
}
