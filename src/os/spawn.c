/*
 * Helper programs: posix_spawn, whose vfork does not copy our page tables, and one place that turns a
 * helper's last words into an error of ours.
 *
 * Trust: a helper's stderr may be shaped by hostile input; it is bounded and made printable.
 * Threads: any. #syscalls: vfork clone execve pipe2 read wait4 open
 */
#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"

extern char **environ;

static int spawn_actions(posix_spawn_file_actions_t *fa, const int stdio[3])
{
	int high[3] = { -1, -1, -1 }, r = 0;

	/* First out of the way of 0..2, so that no dup2 overwrites a later source. */
	for (int i = 0; i < 3 && r == 0; i++) {
		if (stdio[i] >= 0 && stdio[i] < 3 && stdio[i] != i) {
			high[i] = 1000 + i;
			r = posix_spawn_file_actions_adddup2(fa, stdio[i], high[i]);
		}
	}
	for (int i = 0; i < 3 && r == 0; i++) {
		if (stdio[i] < 0)
			r = posix_spawn_file_actions_addopen(fa, i, "/dev/null",
							     i ? O_WRONLY : O_RDONLY, 0);
		else
			r = posix_spawn_file_actions_adddup2(fa, high[i] >= 0 ? high[i] : stdio[i],
							     i);
	}
	for (int i = 0; i < 3 && r == 0; i++) {
		if (high[i] >= 0)
			r = posix_spawn_file_actions_addclose(fa, high[i]);
	}
	return -r;
}

int spawn_program(pid_t *pid, const char *path, const char *const *argv, const int stdio[3],
		  struct err *e)
{
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t at;
	sigset_t none, all;
	int r;

	posix_spawn_file_actions_init(&fa);
	posix_spawnattr_init(&at);
	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_setsigmask(&at, &none);
	posix_spawnattr_setsigdefault(&at, &all);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	r = spawn_actions(&fa, stdio);
	if (r == 0)
		r = -posix_spawnp(pid, path, &fa, &at, (char *const *)(uintptr_t)argv, environ);
	posix_spawnattr_destroy(&at);
	posix_spawn_file_actions_destroy(&fa);
	return r < 0 ? err_sys(e, r, "start '%s'", path) : 0;
}

int spawn_with_stderr(pid_t *pid, const char *path, const char *const *argv, const int stdio[3],
		      int *stderr_fd, struct err *e)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "start '%s': pipe", path);
	int r = spawn_program(pid, path, argv, (const int[3]){ stdio[0], stdio[1], p[1] }, e);

	close(p[1]);
	if (r < 0)
		close(p[0]);
	else
		*stderr_fd = p[0];
	return r;
}

/* Leaves the last line that says something in `text`. */
static void last_words(int fd, char *text, size_t size)
{
	char piece[512];
	size_t len = 0;

	text[0] = '\0';
	for (;;) {
		ssize_t n = read(fd, piece, sizeof(piece));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++) {
			unsigned char c = (unsigned char)piece[i];

			if (c != '\n' && text[len] == '\n')
				len = 0;
			if (len + 1 >= size)
				continue;
			if (c == '\n' && len) {
				text[len] = '\n'; /* drop it when another line comes */
			} else if (c >= ' ' && c != 0x7f) {
				text[len++] = (char)c;
				text[len] = '\0';
			}
		}
	}
	text[len] = '\0';
}

int spawn_finish(pid_t pid, int stderr_fd, const char *what, struct err *e)
{
	char text[512] = "";
	int status;

	if (stderr_fd >= 0) {
		last_words(stderr_fd, text, sizeof(text));
		close(stderr_fd);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return err_sys(e, -errno, "%s: wait", what);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (text[0])
		return err_set(e, -EPROTO, "%s: %s", what, text);
	if (WIFSIGNALED(status))
		return err_set(e, -EPROTO, "%s: killed by signal %d", what, WTERMSIG(status));
	return err_set(e, -EPROTO, "%s: exit status %d", what, WEXITSTATUS(status));
}
