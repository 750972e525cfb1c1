/*
 * --init: process 1 of the container is this loop. It reaps what is left to it, passes signals on to the command,
 * and ends as the command ends.
 *
 * Trust: the command may be able to trace it, so it has the container's user and capabilities, and its seccomp filter
 * too. As it executes nothing, it needs no privilege to load that. A filter that notifies is the command's alone.
 * Threads: none. #syscalls: clone3 rt_sigtimedwait wait4 kill exit_group rt_sigprocmask prctl seccomp close_range
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <sys/syscall.h>

#include "container/process_int.h"

static void reap(pid_t command)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid != command)
			continue;
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	}
}

/* 0 or -errno. */
static int give_up_rights(const struct process_setup *s, struct err *e)
{
	static const struct oci_caps none;
	int listener;
	int err = caps_apply(s->process->caps ? s->process->caps : &none, 0, e);

	if (!err && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		err = -errno;
	if (!err && s->seccomp && !s->seccomp->notify)
		err = container_seccomp_load(s->seccomp, &listener, e);
	return err;
}

int reaper_fork(const struct process_setup *s, struct err *e)
{
	sigset_t all, none;

	sigfillset(&all);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &all, NULL);
	pid_t command = fork();

	if (command < 0)
		return err_sys(e, -errno, "fork");
	if (!command) {
		sigprocmask(SIG_SETMASK, &none, NULL);
		return 0;
	}
	prctl(PR_SET_NAME, "warren-init", 0, 0, 0);
	syscall(SYS_close_range, 0U, ~0U, 0);
	if (give_up_rights(s, e))
		_exit(126);
	for (;;) {
		int sig = sigwaitinfo(&all, NULL);

		if (sig == SIGCHLD)
			reap(command);
		else if (sig > 0)
			kill(command, sig);
	}
}
