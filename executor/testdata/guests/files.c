// Goes through the file system the way a C program does, and tells what it saw.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void say(const char *what, long n) {
  printf("%s: %ld%s%s\n", what, n, n < 0 ? " " : "", n < 0 ? strerror(errno) : "");
}

static void list(const char *path) {
  DIR *d = opendir(path);
  printf("%s:", path);
  for (struct dirent *e; d && (e = readdir(d));) printf(" %s", e->d_name);
  printf("\n");
  if (d) closedir(d);
}

static void put(const char *path, const char *text) {
  FILE *f = fopen(path, "w");
  if (!f) { say(path, -1); return; }
  fputs(text, f);
  say(path, fclose(f));
}

int main(int argc, char **argv) {
  char buf[32] = {0};
  struct stat st;
  printf("args: %d %s\nenv: %s\n", argc, argv[argc - 1], getenv("COLOUR"));
  printf("stdin: %zu bytes\n", fread(buf, 1, 5, stdin));
  list("/");
  list("/in");
  int fd = open("/in/a", O_RDWR);
  say("copy on write", pwrite(fd, "XY", 2, 1));
  say("read back", pread(fd, buf, 8, 0));
  printf("%s\n", buf);
  say("grow", ftruncate(fd, 8));
  say("end", lseek(fd, 0, SEEK_END));
  close(fd);
  mkdir("/out/d", 0777);
  say("mkdir again", mkdir("/out/d", 0777));
  put("/out/d/two", "2");
  put("/out/d/one", "1");
  fd = open("/out/d/one", O_WRONLY | O_APPEND);
  say("append", write(fd, "+", 1));
  close(fd);
  list("/out/d");
  say("rmdir full", rmdir("/out/d"));
  say("rename over", rename("/out/d/two", "/out/d/one"));
  say("rename into itself", rename("/out/d", "/out/d/e"));
  list("/out/d");
  say("unlink", unlink("/in/b"));
  say("unlink again", unlink("/in/b"));
  say("unlink directory", unlink("/out/d"));
  say("exclusive", open("/in/a", O_CREAT | O_EXCL | O_RDWR));
  say("no directory", open("/in/a", O_RDONLY | O_DIRECTORY));
  say("symlink", symlink("/in/a", "/out/link"));
  say("link", link("/in/a", "/out/hard"));
  say("escape", open("/../etc/passwd", O_RDONLY));
  stat("/in/a", &st);
  printf("stat: size %lld inode %llu mtime %lld\n", st.st_size, st.st_ino, st.st_mtime);
  printf("time: %lld\n", (long long)time(NULL));
  struct timespec hour = {3600, 0};
  nanosleep(&hour, NULL);
  printf("an hour later: %lld\n", (long long)time(NULL));
  unsigned char r[4];
  getentropy(r, 4);
  printf("random: %02x%02x%02x%02x\n", r[0], r[1], r[2], r[3]);
  fprintf(stderr, "to stderr\n");
  put("/out/last", "done\n");
  return 7;
}
