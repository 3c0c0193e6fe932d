// Prints what the C library makes of floating-point numbers: mathematics,
// formatting, parsing, and bits that nobody chose.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252ULL;
static uint64_t next(void) { // xorshift64
	state ^= state << 13, state ^= state >> 7, state ^= state << 17;
	return state;
}
static uint64_t bits(double d) { uint64_t b; memcpy(&b, &d, 8); return b; }
static double from(uint64_t b) { double d; memcpy(&d, &b, 8); return d; }
static double plain(void) { return (double)(int64_t)next() / (1LL << 56); } // -128 to 128

static double (*const one[])(double) = {sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, exp, exp2, expm1, log, log2, log10, log1p,
	sqrt, cbrt, floor, ceil, trunc, round, rint, nearbyint, erf, erfc, tgamma, lgamma, fabs, logb};
static double (*const two[])(double, double) = {pow, atan2, fmod, remainder, hypot, fmin, fmax, fdim, copysign, nextafter};

static void libm(int n, int wild) {
	for (int f = 0; f < sizeof one / sizeof *one; f++) {
		uint64_t sum = 0;
		for (int i = 0; i < n; i++) sum = sum * 31 + bits(one[f](wild ? from(next()) : plain()));
		printf("one %d %016llx\n", f, (unsigned long long)sum);
	}
	for (int f = 0; f < sizeof two / sizeof *two; f++) {
		uint64_t sum = 0;
		for (int i = 0; i < n; i++) {
			double a = wild ? from(next()) : plain(), b = wild ? from(next()) : plain();
			sum = sum * 31 + bits(two[f](a, b)) + bits(fma(a, b, a));
		}
		printf("two %d %016llx\n", f, (unsigned long long)sum);
	}
}

static void text(int n) {
	char s[64];
	int wrong = 0;
	for (int i = 0; i < n; i++) {
		double d = from(next());
		snprintf(s, sizeof s, "%.17g", d);
		wrong += d == d && strtod(s, 0) != d;
		printf("%s %a %.3e %g\n", s, d, d, (double)(float)d);
	}
	printf("%d did not come back\n", wrong);
}

// NaNs by every operation that makes some, and what becomes of those that carry
// something.
static void nans(void) {
	volatile double zero = 0, inf = INFINITY, odd = from(0x7ff4dead0000beefULL), minus = from(0xfff8000000000123ULL);
	double made[] = {zero / zero, inf - inf, inf * zero, sqrt(-1), odd + 1, odd * minus, minus - odd, (double)(float)odd,
		fmin(odd, 1), floor(minus), pow(-1, 0.5), log(-1), fmod(1, zero), from(bits(odd)), -odd, fabs(minus), copysign(odd, -1)};
	for (int i = 0; i < sizeof made / sizeof *made; i++) printf("%016llx %f\n", (unsigned long long)bits(made[i]), made[i]);
}

static void chance(void) {
	uint64_t b[8];
	getentropy(b, sizeof b);
	for (int i = 0; i < 8; i++) printf("%016llx\n", (unsigned long long)b[i]);
	struct timespec t;
	for (int i = 0; i < 4; i++) {
		clock_gettime(i & 1 ? CLOCK_MONOTONIC : CLOCK_REALTIME, &t);
		printf("%lld.%09ld %d\n", (long long)t.tv_sec, t.tv_nsec, rand());
	}
	time_t now = time(0);
	printf("%s%s", ctime(&now), asctime(gmtime(&now)));
}

static int deep(int n) { volatile char frame[64]; frame[n % 64] = n; return n ? deep(n - 1) + frame[n % 64] : 0; }

static char *volatile kept; // so that nobody finds that what is taken is not used

static void hoard(void) {
	size_t got = 0;
	for (size_t n = 1 << 16; n; n /= 2) // as much as there is
		for (char *p; (p = malloc(n)); got += n) memset(p, 1, n), kept = p;
	printf("%zu bytes\n", got);
}

int main(int argc, char **argv) {
	const char *what = argc > 1 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[2]) : 100;
	if (!strcmp(what, "libm")) libm(n, 0);
	else if (!strcmp(what, "wild")) libm(n, 1);
	else if (!strcmp(what, "text")) text(n);
	else if (!strcmp(what, "nans")) nans();
	else if (!strcmp(what, "chance")) chance();
	else if (!strcmp(what, "deep")) printf("%d\n", deep(n));
	else if (!strcmp(what, "hoard")) hoard();
	else if (!strcmp(what, "abort")) puts("before"), fflush(stdout), abort();
	else return 42;
	return 0;
}
