// exits drive PROGRAM N DEATHS: starts N runs of a program and prints their PIDs.
// For a line of input it kills DEATHS of them, one each 10 ms, waits for each as
// below, and prints when it killed and when it was told, in nanoseconds of
// CLOCK_MONOTONIC. At the end of its input it kills the rest.
//
// exits watch N DEATHS: reads N PIDs, waits for all of them with pidfds in one
// epoll, prints "ready", and when DEATHS have exited, when it was told of each.
#define _GNU_SOURCE
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

extern char **environ;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static long long now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void add(int epoll, int pid) {
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int fd = syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
		die("pidfd");
}

static void print(const long long *times, int n) {
	for (int i = 0; i < n; i++)
		printf("%lld ", times[i]);
	printf("\n");
	fflush(stdout);
}

static void drive(char *program, int n, int deaths) {
	pid_t *pids = calloc(n, sizeof *pids);
	long long *times = calloc(2 * deaths, sizeof *times);
	int epoll = epoll_create1(EPOLL_CLOEXEC), killed = 0;
	char *args[] = {program, NULL};
	for (int i = 0; i < n; i++) {
		if (posix_spawn(&pids[i], program, NULL, NULL, args, environ) != 0)
			die(program);
		add(epoll, pids[i]);
		printf("%d ", pids[i]);
	}
	printf("\n");
	fflush(stdout);
	while (getchar() == '\n' && killed == 0) {
		for (; killed < deaths; killed++) {
			struct timespec pause = {0, 10000000};
			struct epoll_event event;
			nanosleep(&pause, NULL);
			times[2 * killed] = now();
			if (kill(pids[killed], SIGKILL) != 0 || epoll_wait(epoll, &event, 1, -1) != 1)
				die("kill");
			times[2 * killed + 1] = now();
		}
		print(times, 2 * deaths);
	}
	for (int i = killed; i < n; i++)
		kill(pids[i], SIGKILL);
	while (wait(NULL) > 0)
		;
}

static void watch(int n, int deaths) {
	long long *times = calloc(deaths, sizeof *times);
	int epoll = epoll_create1(EPOLL_CLOEXEC), pid, told = 0;
	for (int i = 0; i < n; i++) {
		if (scanf("%d", &pid) != 1)
			die("PID");
		add(epoll, pid);
	}
	printf("ready\n");
	fflush(stdout);
	while (told < deaths) {
		struct epoll_event events[128];
		for (int got = epoll_wait(epoll, events, 128, -1); got > 0 && told < deaths; got--)
			times[told++] = now();
	}
	print(times, deaths);
	while (getchar() != EOF)
		;
}

int main(int argc, char **argv) {
	if (argc == 5 && strcmp(argv[1], "drive") == 0)
		drive(argv[2], atoi(argv[3]), atoi(argv[4]));
	else if (argc == 4 && strcmp(argv[1], "watch") == 0)
		watch(atoi(argv[2]), atoi(argv[3]));
	else
		return 2;
	return 0;
}
