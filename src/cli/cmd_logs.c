/*
 * warren logs: what an instance wrote.
 *
 * Trust: argv is the user's; the text is the instance's and printed as it is, like any program's output.
 * Threads: none. #syscalls: those of run/logread.c, poll inotify_init1 inotify_add_watch
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"
#include "cli/when.h"
#include "os/file.h"
#include "run/follow.h"
#include "run/guest.h"

struct settings {
	bool follow, timestamps, details, boot;
	const char *since, *until, *tail;
};

#define T struct settings

static const struct opt opts[] = {
	OPT_BOOL('f', "follow", T, follow, "Go on with what comes"),
	OPT_STRING(0, "since", "TIME", T, since, "Only later lines: a time, or 10m ago"),
	OPT_STRING(0, "until", "TIME", T, until, "Only earlier lines"),
	OPT_STRING('n', "tail", "NUMBER|all", T, tail, "Only the last lines"),
	OPT_BOOL('t', "timestamps", T, timestamps, "Show when each line was written"),
	OPT_BOOL(0, "boot", T, boot, "The console of the guest's kernel instead"),
	OPT_BOOL(0, "details", T, details, "Accepted; there are none"),
	OPT_END,
};

static int print_line(void *arg, const struct logline *l)
{
	const struct settings *set = arg;
	FILE *f = l->stderr_ ? stderr : stdout;
	char when[31];

	if (set->timestamps) {
		time_rfc3339_format(l->time, when);
		fprintf(f, "%s ", when);
	}
	fwrite(l->text, 1, l->n, f);
	/* The two streams keep their order. */
	if (l->stderr_)
		fflush(stdout);
	return ferror(f) ? -EPIPE : 0;
}

static int parse(const struct settings *set, struct log_filter *want, struct err *e)
{
	uint64_t n;
	int r = 0;

	*want = (struct log_filter){ .tail = -1 };
	if (set->tail && !streq(set->tail, "all")) {
		if (str_to_u64(set->tail, &n) || n > INT64_MAX)
			return err_set(e, -EINVAL, "--tail '%s': expected a number, or all",
				       set->tail);
		want->tail = (int64_t)n;
	}
	if (set->since)
		r = when_parse("--since", set->since, &want->since, e);
	if (!r && set->until)
		r = when_parse("--until", set->until, &want->until, e);
	return r;
}

/* What the kernel of a pv or vm guest printed since its start. */
static int print_boot_log(struct subject *s, struct err *e)
{
	cleanup_fd int fd = -1;
	char piece[4096];
	ssize_t n;
	int r = guest_boot_log(&s->in, &fd, e);

	if (r)
		return r;
	while ((n = read_full(fd, piece, sizeof(piece))) > 0)
		fwrite(piece, 1, (size_t)n, stdout);
	return n < 0 ? err_sys(e, (int)n, "read the kernel's log") : 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	const struct settings *set = settings;
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	struct log_filter want;
	int r = parse(set, &want, e);

	(void)argc;
	if (!r)
		r = registry_root(&root, e);
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	if (r)
		return r;
	if (set->boot)
		return print_boot_log(&s, e);
	r = follow_log(&s, &want, set->follow, print_line, settings, e);
	return r == -EPIPE ? 0 : r;
}

extern const struct command cmd_logs;
const struct command cmd_logs = {
	.name = "logs",
	.args = "INSTANCE",
	.summary = "Show what an instance wrote",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
