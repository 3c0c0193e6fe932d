// A database in memory that does the SQL on its standard input, prints what it
// gives, and writes the database to the file named, if one is. It is linked with
// SQLite as it is; only what SQLite asks of a system is made here, as there are
// no locks in WASI.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "sqlite3-binding.h"

static int no_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out) {
	f->pMethods = 0;
	return SQLITE_CANTOPEN;
}
static int no_delete(sqlite3_vfs *v, const char *name, int sync) { return SQLITE_IOERR; }
static int no_access(sqlite3_vfs *v, const char *name, int flags, int *out) { *out = 0; return SQLITE_OK; }
static int same_path(sqlite3_vfs *v, const char *name, int n, char *out) { sqlite3_snprintf(n, out, "%s", name); return SQLITE_OK; }
static int randomness(sqlite3_vfs *v, int n, char *out) {
	for (int at = 0, some; at < n; at += some) {
		some = n - at < 256 ? n - at : 256;
		if (getentropy(out + at, some)) return at;
	}
	return n;
}
static int no_sleep(sqlite3_vfs *v, int micros) { return micros; }
static int last_error(sqlite3_vfs *v, int n, char *out) { return 0; }
static int now64(sqlite3_vfs *v, sqlite3_int64 *out) { // milliseconds of the Julian day
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	*out = 210866760000000LL + t.tv_sec * 1000LL + t.tv_nsec / 1000000;
	return SQLITE_OK;
}
static int now(sqlite3_vfs *v, double *out) {
	sqlite3_int64 t;
	now64(v, &t);
	*out = t / 86400000.0;
	return SQLITE_OK;
}

static sqlite3_vfs memory = {
	.iVersion = 2, .szOsFile = sizeof(sqlite3_file), .mxPathname = 512, .zName = "none",
	.xOpen = no_open, .xDelete = no_delete, .xAccess = no_access, .xFullPathname = same_path,
	.xRandomness = randomness, .xSleep = no_sleep, .xCurrentTime = now, .xGetLastError = last_error, .xCurrentTimeInt64 = now64,
};

int sqlite3_os_init(void) { return sqlite3_vfs_register(&memory, 1); }
int sqlite3_os_end(void) { return SQLITE_OK; }

static int row(void *ignored, int n, char **values, char **names) {
	for (int i = 0; i < n; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
	putchar('\n');
	return 0;
}

static char *slurp(void) {
	size_t size = 0, room = 1 << 16, n;
	char *text = malloc(room);
	while ((n = fread(text + size, 1, room - size - 1, stdin)) > 0)
		if ((size += n) + 1 == room) text = realloc(text, room *= 2);
	text[size] = 0;
	return text;
}

int main(int argc, char **argv) {
	sqlite3 *db;
	char *why = 0;
	if (sqlite3_open(":memory:", &db) != SQLITE_OK) return 3;
	int rc = sqlite3_exec(db, slurp(), row, 0, &why);
	if (rc != SQLITE_OK) fprintf(stderr, "%s\n", why);
	if (argc > 1) {
		sqlite3_int64 size = 0;
		unsigned char *bytes = sqlite3_serialize(db, "main", &size, 0);
		FILE *f = fopen(argv[1], "wb");
		if (size && !bytes || !f || fwrite(bytes, 1, size, f) != size || fclose(f)) return 4;
	}
	sqlite3_close(db);
	return rc;
}
