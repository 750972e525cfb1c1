/*
 * Starting a keeper: this program again, by its hidden command `keeper`, in a session of its own.
 *
 * `run` starts it before it makes the instance, so that the two get ready side by side.
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

int keeper_spawn(const char *root, struct keeper_seed *seed, struct err *e)
{
	static char program[] = "warren", command[] = "keeper", option[] = "--root";
	char *argv[] = { program, command, option, (char *)(uintptr_t)root, seed->id, NULL };
	cleanup_fd int ours = -1;
	cleanup_fd int theirs = -1;
	int socks[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks) < 0)
		return err_sys(e, -errno, "socket for the keeper");
	ours = socks[0];
	theirs = socks[1];
	int r = spawn(argv, theirs);

	if (r)
		return err_sys(e, r, "start the keeper of '%.12s'", seed->id);
	seed->sock = steal_fd(&ours);
	return 0;
}

void keeper_seed_fini(struct keeper_seed *seed)
{
	close_fd(&seed->sock);
}

void keeper_start_of(const struct subject *s, struct control_start *out)
{
	const struct record *r = &s->rec;

	*out = (struct control_start){
		.flags = (r->tty ? CONTROL_START_TTY : 0u) |
			 (r->open_stdin ? CONTROL_START_STDIN : 0u) |
			 (r->stdin_once ? CONTROL_START_STDIN_ONCE : 0u) |
			 (r->auto_remove ? CONTROL_START_REMOVE : 0u),
		.policy = (enum control_policy)r->restart_policy,
		.retries = (uint32_t)r->restart_max,
		.log_max_file = r->log_max_file > 0 ? (uint32_t)r->log_max_file : 1,
		.log_max_size = (uint64_t)r->log_max_size,
		.timeout_ms = (uint64_t)r->timeout_ms,
		.log = r->log ? r->log : "",
	};
}
