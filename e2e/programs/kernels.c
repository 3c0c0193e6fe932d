// Calls a function of executor/testdata/kernels/kernels.c by its name, with a
// number, and prints what it gives.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KERNELS(X) X(collatz) X(sieve) X(mix) X(fib) X(sortq) X(matmul) X(saxpy) X(nbody) X(mandel)
#define DECLARE(n) uint64_t n(uint32_t);
#define CALL(n) if (!strcmp(argv[i], #n)) printf(#n " %016llx\n", (unsigned long long)n(arg));
KERNELS(DECLARE)

int main(int argc, char **argv) {
	for (int i = 1; i + 1 < argc; i += 2) {
		uint32_t arg = strtoul(argv[i + 1], 0, 10);
		KERNELS(CALL)
	}
	return 0;
}
