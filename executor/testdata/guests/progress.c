/* Says how far it is, and what may be done with the descriptor for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const char *what, int got) { printf("%s: %d %s\n", what, got, got < 0 ? strerror(errno) : ""); }

int main(int argc, char **argv) {
	char c;
	struct stat st;
	FILE *f = fdopen(1000, "w");
	say("character device", fstat(1000, &st) ? -1 : S_ISCHR(st.st_mode));
	say("terminal", isatty(1000));
	say("read", (int)read(1000, &c, 1));
	say("seek", (int)lseek(1000, 0, SEEK_SET));
	say("cut", ftruncate(1000, 0));
	say("line", fprintf(f, "0.25 a line of stdio\n")); /* line buffered, as it is a terminal */
	if (argc > 1)
		for (;;) argv[0] = argv[1]; /* computes for ever, with no call */
	say("close", close(1000));
	say("still there", (int)write(1000, "- after the end\n", 16));
	return 0;
}
