/*
 * The console of a guest's kernel: what it prints goes to a log of bounded size beside the instance, to whoever is
 * attached, and, where nothing else of the guest speaks, to the instance's own output.
 *
 * Trust: the guest may print anything, at any rate; nobody waits for anybody here. Threads: the monitor's.
 * #syscalls: openat recvfrom sendto read write pread64 ftruncate lseek
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "run/guest_int.h"

/* A guest that floods it keeps the newest. */
#define BOOT_LOG_MAX (1u << 20)

int guest_console_open(struct monitor *m, struct err *e)
{
	int out = m->args->stdio[1];

	m->boot_log = openat(m->dir, GUEST_BOOT_LOG,
			     O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (m->boot_log < 0)
		return err_sys(e, -errno, "create '%s'", GUEST_BOOT_LOG);
	if (m->args->domain && out >= 0)
		fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
	return 0;
}

static void console_gone(struct monitor *m)
{
	loop_unwatch(&m->loop, &m->console_input);
	close_fd(&m->console_in);
	close_fd(&m->console_out);
}

void guest_console_ready(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, console);
	char piece[4096];
	ssize_t n = recv(w->fd, piece, sizeof(piece), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		loop_unwatch(&m->loop, w);
		return;
	}
	if (m->boot_log_size + (size_t)n > BOOT_LOG_MAX) { /* begin anew: the newest matters */
		m->boot_log_size = 0;
		if (ftruncate(m->boot_log, 0) < 0)
			close_fd(&m->boot_log);
	}
	m->boot_log_size += (size_t)n;
	if (m->boot_log >= 0 && write_full(m->boot_log, piece, (size_t)n) < 0)
		close_fd(&m->boot_log); /* a full disk loses the log, not the guest */
	/* A domain has no output but this; a keeper that is slow loses some. */
	if (m->args->domain && m->args->stdio[1] >= 0 &&
	    write(m->args->stdio[1], piece, (size_t)n) < 0 && errno != EAGAIN)
		close_fd(&m->args->stdio[1]);
	/* Whoever reads too slowly loses some, as on a serial line: the monitor has more to do than to wait. */
	if (m->console_out >= 0 &&
	    send(m->console_out, piece, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 &&
	    errno != EAGAIN)
		console_gone(m);
}

void guest_console_typed(struct loop_fd *w, uint32_t events)
{
	struct monitor *m = container_of(w, struct monitor, console_input);
	char piece[1024];
	ssize_t n = read(w->fd, piece, sizeof(piece));

	(void)events;
	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			console_gone(m);
		return;
	}
	/* A kernel that reads nothing loses what is typed, as a serial line would. */
	if (send(m->console.fd, piece, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

/* The last line that the kernel printed, for errors. */
void guest_console_last_line(struct monitor *m, char *out, size_t size)
{
	char tail[1024];
	ssize_t n = 0;

	out[0] = '\0';
	if (m->boot_log >= 0) {
		off_t at = lseek(m->boot_log, 0, SEEK_END);

		n = pread(m->boot_log, tail, sizeof(tail) - 1, at > 1023 ? at - 1023 : 0);
	}
	while (n > 0 && (tail[n - 1] == '\n' || tail[n - 1] == '\r'))
		n--;
	if (n <= 0)
		return;
	tail[n] = '\0';
	char *line = strrchr(tail, '\n');

	snprintf(out, size, "; the kernel's last line: %.200s", line ? line + 1 : tail);
}
