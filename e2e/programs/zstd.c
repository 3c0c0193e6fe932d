// Compresses its standard input at the level named, expands that again, checks
// that it is the same, prints the sizes and hashes, and writes what is
// compressed to the file named, if one is.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "zstd.h"
#include "zdict.h"
#define XXH_STATIC_LINKING_ONLY
#include "xxhash.h"

int main(int argc, char **argv) {
	size_t size = 0, room = 1 << 16, n;
	char *in = malloc(room);
	while ((n = fread(in + size, 1, room - size, stdin)) > 0)
		if ((size += n) == room) in = realloc(in, room *= 2);
	int level = argc > 1 ? atoi(argv[1]) : 3;
	size_t bound = ZSTD_compressBound(size);
	char *small = malloc(bound), *back = malloc(size + 1);
	size_t packed = ZSTD_compress(small, bound, in, size, level);
	if (ZSTD_isError(packed)) {
		fprintf(stderr, "%s\n", ZSTD_getErrorName(packed));
		return 2;
	}
	size_t again = ZSTD_decompress(back, size + 1, small, packed);
	int same = again == size && !memcmp(in, back, size);
	printf("level %d: %zu to %zu bytes, xxh64 %016llx to %016llx, %s\n", level, size, packed,
		(unsigned long long)ZSTD_XXH64(in, size, 0), (unsigned long long)ZSTD_XXH64(small, packed, 0), same ? "the same again" : "DIFFERENT");
	if (argc > 2) {
		FILE *f = fopen(argv[2], "wb");
		if (!f || fwrite(small, 1, packed, f) != packed || fclose(f)) return 3;
	}
	return !same;
}
