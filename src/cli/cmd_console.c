/*
 * warren console: the console of a guest's kernel, as on a serial line. ^] leaves it.
 *
 * Trust: what the guest prints goes to the terminal as any program's output. Threads: none.
 * #syscalls: socketpair poll read write
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"
#include "cli/xl.h"
#include "os/file.h"
#include "os/tty.h"
#include "run/guest.h"

#define LEAVE 0x1d /* ^] */

/* Typed bytes; 1 when the user leaves. */
static int typed(int line)
{
	char piece[512];
	ssize_t n = read(STDIN_FILENO, piece, sizeof(piece));
	const char *leave = n > 0 ? memchr(piece, LEAVE, (size_t)n) : NULL;

	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return n < 0 ? -errno : 2;
	int r = write_full(line, piece, leave ? (size_t)(leave - piece) : (size_t)n);

	return r < 0 ? r : leave != NULL;
}

static int printed(int line)
{
	char piece[4096];
	ssize_t n = read(line, piece, sizeof(piece));

	if (n < 0 && errno == EINTR)
		return 0;
	return n <= 0 ? 1 : write_full(STDOUT_FILENO, piece, (size_t)n);
}

/* Until ^], the guest's end, or (from a file or pipe) for as long as the guest prints. */
static int carry(int line, int link)
{
	struct pollfd p[3] = { { .fd = STDIN_FILENO, .events = POLLIN },
			       { .fd = line, .events = POLLIN },
			       { .fd = link, .events = POLLIN } };
	int r = 0;

	while (r == 0) {
		if (poll(p, ARRAY_SIZE(p), -1) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			r = typed(line);
		if (r == 2) { /* no more input: still listen */
			p[0].fd = -1;
			r = 0;
		}
		if (r == 0 && p[1].revents)
			r = printed(line);
		if (r == 0 && p[2].revents)
			r = 1;
	}
	return r < 0 ? r : 0;
}

int console_attend(struct subject *s, const char *word, struct err *e)
{
	struct tty_mode mode = TTY_MODE_INIT;
	cleanup_fd int line = -1;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, -errno, "socketpair");
	line = pair[0];
	fcntl(pair[1], F_SETFL, O_NONBLOCK); /* the monitor shall not wait for us */
	cleanup_fd int link = guest_console(&s->in, pair[1], pair[1], e);

	close(pair[1]);
	if (link < 0)
		return err_wrap(e, "console of '%s'", word);
	if (isatty(STDIN_FILENO)) {
		fprintf(stderr, "Connected to the console of %s. Leave with ^].\n", word);
		tty_raw(&mode, STDIN_FILENO);
	}
	int r = carry(line, link);

	tty_restore(&mode);
	return r < 0 ? err_sys(e, r, "console of '%s'", word) : 0;
}

static int run(void *settings, int argc, char **argv, struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e);

	(void)settings, (void)argc;
	if (!r)
		r = subject_open(&s, root, argv[0], false, e);
	return r ? r : console_attend(&s, argv[0], e);
}

static const struct opt opts[] = {
	OPT_END,
};

extern const struct command cmd_console;
const struct command cmd_console = {
	.name = "console",
	.args = "INSTANCE",
	.summary = "Connect the terminal to the console of a guest's kernel",
	.opts = opts,
	.run = run,
	.min_args = 1,
	.max_args = 1,
	.complete_args = COMPLETE_INSTANCE,
};
