/*
 * Hooks: programs that the config names, run at six moments.
 *
 * Each gets the container's state on stdin (a memory file, so that a hook that does not read cannot block us) and
 * one pipe for what it prints, whose beginning goes into the error. The timeout is watched by poll on the
 * hook's pidfd and the pipe.
 *
 * Trust: hooks are the operator's programs and run with our rights; startContainer's are files of the image, run in
 * its root with the command's rights. Threads: none.
 * #syscalls: memfd_create clone3 close_range execve poll read kill wait4 pipe2
 */
#include "container/hooks_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "os/file.h"
#include "os/sys.h"
#include "wire/json.h"

enum { SAID_MAX = 300, STATE_MAX = 4 << 20 };

static const char *const stage_names[OCI_HOOK_STAGES] = {
	"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
};

int container_state_json(const struct container_state *st, struct buf *out)
{
	buf_adds(out, "{\"ociVersion\":\"1.3.0\"");
	json_put_key(out, "id");
	json_put_string(out, st->id);
	json_put_key(out, "status");
	json_put_string(out, st->status);
	if (st->pid)
		buf_addf(out, ",\"pid\":%d", (int)st->pid);
	json_put_key(out, "bundle");
	json_put_string(out, st->bundle);
	if (st->annotations && st->annotations->n) {
		json_put_key(out, "annotations");
		buf_addc(out, '{');
		for (size_t i = 0; i < st->annotations->n; i++) {
			json_put_key(out, st->annotations->v[i].key);
			json_put_string(out, st->annotations->v[i].value);
		}
		buf_addc(out, '}');
	}
	return buf_addc(out, '}');
}

static int state_file(const struct container_state *st, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(STATE_MAX);
	int err = container_state_json(st, &text);

	if (err)
		return err_sys(e, err, "state");
	cleanup_fd int fd = memfd_create("state", MFD_CLOEXEC);

	if (fd < 0)
		return err_sys(e, -errno, "state");
	err = write_full(fd, text.data, text.len);
	if (err || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, err ? err : -errno, "state");
	return steal_fd(&fd);
}

/* A hook gets its three streams and nothing else that we have open. One that runs inside is a program of the image:
 * of our environment it learns nothing either. */
__attribute__((noreturn)) static void run_child(const struct oci_hook *h, bool inside, int state,
						int out)
{
	static char *const empty[] = { NULL };
	const char *only_name[] = { h->path, NULL };
	const char **argv = h->args.n ? h->args.v : only_name;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	dup2(state, 0);
	dup2(out, 1);
	dup2(out, 2);
	if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		execve(h->path, (char *const *)(uintptr_t)argv,
		       h->env.v ? (char *const *)(uintptr_t)h->env.v
		       : inside ? empty
				: environ);
	dprintf(2, "%s", strerror(errno));
	_exit(127);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

/* Until the hook has ended or its time is up. */
static int watch(int pidfd, int out, int timeout, char said[SAID_MAX])
{
	int64_t deadline = now_ms() + timeout * 1000LL;
	size_t len = 0;

	for (;;) {
		struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN },
				       { .fd = out, .events = POLLIN } };
		int64_t left = timeout ? deadline - now_ms() : -1;
		char chunk[512];

		if (timeout && left <= 0)
			return -ETIMEDOUT;
		int n = poll(p, 2, left > INT32_MAX ? INT32_MAX : (int)left);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[1].revents) {
			ssize_t got = read(out, chunk, sizeof(chunk));

			if (got > 0) {
				size_t take = (size_t)got;

				if (take > SAID_MAX - 1 - len)
					take = SAID_MAX - 1 - len;
				memcpy(said + len, chunk, take);
				len += take;
				said[len] = '\0';
				continue;
			}
			if (got == 0 && !(p[0].revents & POLLIN)) {
				struct pollfd only = { .fd = pidfd, .events = POLLIN };

				poll(&only, 1, left > INT32_MAX ? INT32_MAX : (int)left);
				continue;
			}
		}
		if (n > 0 && p[0].revents)
			return 0;
	}
}

static int judge(pid_t pid, int watched, const struct oci_hook *h, const char *said, struct err *e)
{
	int status;

	if (watched)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (watched == -ETIMEDOUT)
		return err_set(e, watched, "took longer than %d s", h->timeout);
	if (watched)
		return err_sys(e, watched, "wait");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status))
		return err_set(e, -ECANCELED, "ended with status %d%s%s", WEXITSTATUS(status),
			       *said ? ": " : "", said);
	return err_set(e, -ECANCELED, "ended by signal %d%s%s", WTERMSIG(status), *said ? ": " : "",
		       said);
}

static int run_one(const struct oci_hook *h, bool inside, const struct container_state *st,
		   struct err *e)
{
	cleanup_fd int state = state_file(st, e);
	cleanup_fd int out = -1, in = -1, pidfd = -1;
	struct clone_args args = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	char said[SAID_MAX] = "";
	int ends[2], fd = -1;

	if (state < 0)
		return state;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	out = ends[0];
	in = ends[1];
	args.pidfd = (uint64_t)(uintptr_t)&fd;
	pid_t pid = sys_clone3(&args);

	if (pid < 0)
		return err_sys(e, pid, "fork");
	if (!pid)
		run_child(h, inside, state, in);
	pidfd = fd;
	close_fd(&in);
	return judge(pid, watch(pidfd, out, h->timeout, said), h, said, e);
}

int hooks_run(const struct oci_spec *spec, enum oci_hook_stage stage,
	      const struct container_state *st, struct err *e)
{
	for (size_t i = 0; i < spec->hooks[stage].n; i++) {
		const struct oci_hook *h = &spec->hooks[stage].v[i];
		int err = run_one(h, stage == OCI_HOOK_START_CONTAINER, st, e);

		if (err)
			return err_wrap(e, "hook %s[%zu] '%s'", stage_names[stage], i, h->path);
	}
	return 0;
}

void hooks_run_all(const struct oci_spec *spec, enum oci_hook_stage stage,
		   const struct container_state *st)
{
	for (size_t i = 0; i < spec->hooks[stage].n; i++) {
		const struct oci_hook *h = &spec->hooks[stage].v[i];
		struct err e = ERR_INIT;

		if (run_one(h, false, st, &e))
			log_warn("hook %s[%zu] '%s': %s", stage_names[stage], i, h->path, e.msg);
	}
}
