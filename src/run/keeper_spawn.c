/*
 * Starting a keeper: this program again, by its hidden command `keeper`, in a session of its own.
 *
 * A fresh program instead of a fork, because the creator has parsed images and options by then and a fork
 * would keep all those pages alive for as long as the instance lives.
 *
 * Trust: none crosses here. Threads: any. #syscalls: socketpair vfork execve setsid rt_sigprocmask
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/keeper.h"

enum { WORDS_MAX = 32, NUMBER = 24 };

struct words {
	char *v[WORDS_MAX];
	size_t n;
	char numbers[8][NUMBER];
	size_t numbers_n;
};

static void add(struct words *w, const char *word)
{
	w->v[w->n++] = (char *)(uintptr_t)word;
}

static void add_number(struct words *w, const char *option, int64_t value)
{
	if (!value)
		return;
	char *s = w->numbers[w->numbers_n++];

	snprintf(s, NUMBER, "%lld", (long long)value);
	add(w, option);
	add(w, s);
}

static void compose(struct words *w, const struct subject *s, const char *root)
{
	const struct record *r = &s->rec;

	add(w, "warren");
	add(w, "keeper");
	add(w, "--root");
	add(w, root);
	if (r->log) {
		add(w, "--log");
		add(w, r->log);
	}
	add_number(w, "--log-max-size", r->log_max_size);
	add_number(w, "--log-max-file", r->log_max_file);
	add_number(w, "--policy", r->restart_policy);
	add_number(w, "--retries", r->restart_max);
	add_number(w, "--timeout-ms", r->timeout_ms);
	if (r->tty)
		add(w, "--tty");
	if (r->open_stdin)
		add(w, "--stdin");
	if (r->stdin_once)
		add(w, "--stdin-once");
	if (r->auto_remove)
		add(w, "--rm");
	add(w, s->in.id);
	w->v[w->n] = NULL;
}

/* Descriptor 3 is the keeper's end; it closes all others itself. */
static int spawn(char *const *argv, int sock)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, usual;
	pid_t pid;

	sigemptyset(&none);
	sigfillset(&usual);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &usual);
	posix_spawn_file_actions_adddup2(&actions, sock, 3);
	int r = -posix_spawn(&pid, "/proc/self/exe", &actions, &attr, argv, environ);

	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return r;
}

int keeper_spawn(const struct subject *s, const char *root, struct err *e)
{
	struct words w = { 0 };
	cleanup_fd int ours = -1;
	cleanup_fd int theirs = -1;
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return err_sys(e, -errno, "socket for the keeper");
	ours = socks[0];
	theirs = socks[1];
	compose(&w, s, root);
	int r = spawn(w.v, theirs);

	return r ? err_sys(e, r, "start the keeper of '%.12s'", s->in.id) : steal_fd(&ours);
}
