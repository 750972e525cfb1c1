/*
 * The way to warren-store: one process a request, words in argv, JSON lines back. The static program thereby
 * needs neither sqlite (0.1 ms and 450 KB a start, by relocations alone) nor a resident server.
 *
 * Trust: the helper is Warren's own; its lines are parsed as JSON all the same. Threads: one.
 * #syscalls: pipe2 read close memfd_create
 */
#include "image/manage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/spawn.h"
#include "os/subid.h"

#define WORDS_MAX 1024
#define LINE_MAX_ (8u << 20)

struct answer {
	int (*line)(void *arg, struct json_object *o);
	void *arg;
	struct err *e;
	int result; /* the helper's own error, once it said one */
};

static void put_json(struct json_object **o)
{
	json_object_put(*o);
}

static int one_line(struct answer *a, const char *text, size_t n)
{
	__attribute__((cleanup(put_json))) struct json_object *o = NULL;
	struct json_object *v, *code;
	int r = json_parse(text, n, LINE_MAX_, "warren-store", &o, a->e);

	if (r)
		return r;
	if (json_object_object_get_ex(o, "error", &v)) {
		r = json_object_object_get_ex(o, "code", &code) ? json_object_get_int(code) : 0;
		return a->result = err_set(a->e, r < 0 ? r : -EPROTO, "%s",
					   json_object_get_string(v));
	}
	return a->line ? a->line(a->arg, o) : 0;
}

static int read_answer(int fd, struct answer *a)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(LINE_MAX_);

	for (;;) {
		char *p = buf_reserve(&b, 4096);

		if (!p)
			return err_sys(a->e, b.error, "warren-store: answer");
		ssize_t n = read(fd, p, 4096);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? err_sys(a->e, -errno, "warren-store: answer") : 0;
		buf_commit(&b, (size_t)n);
		for (char *nl; (nl = memchr(b.data, '\n', b.len));) {
			size_t len = (size_t)(nl - b.data);
			int r = one_line(a, b.data, len);

			if (r)
				return r;
			buf_consume(&b, len + 1);
		}
	}
}

/* What the helper said on its standard error: the reason when it gave no other (a library that is missing), else it is
 * handed on. */
static int complain(int said, bool reason, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(64u << 10);

	if (lseek(said, 0, SEEK_SET) < 0 || read_all(said, &b) || !b.len)
		return 0;
	if (!reason)
		return write_full(STDERR_FILENO, b.data, b.len);
	b.data[strcspn(b.data, "\n")] = '\0';
	return err_set(e, -ELIBACC, "%s", b.data);
}

static int finish(pid_t pid, int r, int said, struct err *e)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return r ? r : -errno;
	if (complain(said, !r && status, e) < 0 && !r && status)
		return e->code;
	if (r || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
		return r;
	if (WIFSIGNALED(status))
		return err_set(e, -EPROTO, "warren-store was killed by signal %d",
			       WTERMSIG(status));
	return err_set(e, -EPROTO, "warren-store ended with status %d and no reason",
		       WEXITSTATUS(status));
}

int image_manage(const char *const *words, int (*line)(void *arg, struct json_object *o), void *arg,
		 struct err *e)
{
	char helper[PATH_MAX], data[PATH_MAX];
	const char *argv[WORDS_MAX + 4] = { "warren-store", data };
	struct answer a = { line, arg, e, 0 };
	size_t n = 2;
	int p[2];
	pid_t pid;
	int r = paths_helper("warren-store", helper, sizeof(helper), e);

	if (!r)
		r = paths_data(data, sizeof(data), e);
	if (r)
		return r;
	argv[n++] = geteuid() ? "user" : "root";
	for (; *words && n < WORDS_MAX + 3; words++)
		argv[n++] = *words;
	if (*words)
		return err_set(e, -E2BIG, "more than %d words at once", WORDS_MAX);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "start warren-store: pipe");
	cleanup_fd int said = memfd_create("complaints", MFD_CLOEXEC);
	const int stdio[3] = { 0, p[1], said };

	if (geteuid())
		r = subid_spawn(&pid, helper, argv, stdio, e);
	else
		r = spawn_program(&pid, helper, argv, stdio, e);
	close(p[1]);
	cleanup_fd int answer = p[0];

	if (r)
		return r;
	r = read_answer(answer, &a);
	close_fd(&answer);
	return finish(pid, r, said, e);
}
