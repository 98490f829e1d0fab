// Does the system calls of a check or a gate as often as it is told by a line
// "work times argument...", and answers with the nanoseconds that this took, by
// the clock and of the processor.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static void die(const char *what) {
	perror(what);
	exit(1);
}

static double now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void read_file(const char *path) {
	char buf[512];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, buf, sizeof buf) <= 0)
		die(path);
	close(fd);
}

static void once(const char *work, const char *a, const char *b, int pid) {
	switch (*work) {
	case 'g': // getpid
		syscall(SYS_getpid);
		break;
	case 'p': { // pidfd
		struct stat st;
		int fd = syscall(SYS_pidfd_open, pid, 0);
		struct pollfd p = {fd, POLLIN, 0};
		if (fd < 0 || fstat(fd, &st) != 0 || (poll(&p, 1, 0) < 0 && errno != EINTR))
			die("pidfd");
		close(fd);
		break;
	}
	case 'n': // nobody
		if (syscall(SYS_pidfd_open, pid, 0) >= 0 || errno != ESRCH)
			die("nobody");
		break;
	case 'r': // read one file, or two
		read_file(a);
		if (*b)
			read_file(b);
		break;
	default:
		fprintf(stderr, "unknown work %s\n", work);
		exit(1);
	}
}

int main(void) {
	char line[4096], work[32], a[1500], b[1500];
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		long n = 0;
		*a = *b = 0;
		if (sscanf(line, "%31s %ld %1499s %1499s", work, &n, a, b) < 2)
			die("line");
		int pid = atoi(a);
		double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
		for (long i = 0; i < n; i++)
			once(work, a, b, pid);
		cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		printf("%.0f %.0f\n", now(CLOCK_MONOTONIC) - wall, cpu);
	}
	return 0;
}
