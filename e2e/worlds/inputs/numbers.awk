BEGIN {
	srand(7); before = srand()
	for (i = 1; i <= 300; i++) {
		x = i * 1.37
		printf "%.15g %.12e %g %d\n", sin(x) * exp(-x / 50), atan2(x, 3), log(x), int(x * x)
		s += sqrt(x); r += rand()
	}
	printf "%.17g %.17g %s %s\n", s, r, substr(s / 3, 1, 9), before
}
