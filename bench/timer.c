/*
 * timer: how long commands take and how much memory they hold at most, measured by a program that weighs nothing.
 *
 * A process remembers the size of the program that it was forked from, so a measuring script in Python would put its
 * own 15 MB into every figure. This one is static and starts its children by vfork. Several commands separated by
 * "+" are one run: create + start + delete. Standard output goes to /dev/null, or with -o to the place where the time
 * to the first byte is taken.
 *
 * timer [-o] COMMAND [ARG...] [+ COMMAND [ARG...]]...
 * prints: nanoseconds, peak resident kilobytes of any one process, nanoseconds to the first byte (0 without -o).
 *
 * Trust: argv is the bench's. Threads: none. #syscalls: clone execve wait4 clock_gettime pipe2 read poll write
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what, int code)
{
	fprintf(stderr, "timer: %s: %s\n", what, strerror(code));
	exit(125);
}

/* Reads until the writers are gone; the time of the first byte. */
static uint64_t drain(int fd)
{
	char bytes[4096];
	uint64_t first = 0;

	for (;;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return first;
		if (!first)
			first = now();
	}
}

int main(int argc, char **argv)
{
	int want_output = argc > 1 && strcmp(argv[1], "-o") == 0, out[2] = { -1, -1 };
	long peak = 0;
	uint64_t first = 0;

	argv += 1 + want_output;
	if (!argv[0])
		fail("usage: timer [-o] COMMAND [ARG...] [+ COMMAND...]", EINVAL);
	uint64_t begin = now();

	while (argv[0]) {
		char **end = argv;
		posix_spawn_file_actions_t actions;
		struct rusage used;
		int status, r;
		pid_t pid;

		while (*end && strcmp(*end, "+") != 0)
			end++;
		char **next = *end ? end + 1 : end;

		*end = NULL;
		if (want_output && pipe2(out, O_CLOEXEC) < 0)
			fail("pipe", errno);
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
		if (want_output)
			posix_spawn_file_actions_adddup2(&actions, out[1], 1);
		else
			posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
		r = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
		if (r)
			fail(argv[0], r);
		posix_spawn_file_actions_destroy(&actions);
		if (want_output) {
			close(out[1]);
			uint64_t at = drain(out[0]);

			first = first ? first : at;
			close(out[0]);
		}
		while (wait4(pid, &status, 0, &used) < 0)
			if (errno != EINTR)
				fail("wait", errno);
		if (used.ru_maxrss > peak)
			peak = used.ru_maxrss;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
			fprintf(stderr, "timer: %s: status %#x\n", argv[0], (unsigned)status);
			return 1;
		}
		argv = next;
	}
	printf("%llu %ld %llu\n", (unsigned long long)(now() - begin), peak,
	       (unsigned long long)(first ? first - begin : 0));
	return 0;
}
