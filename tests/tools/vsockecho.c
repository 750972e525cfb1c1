/*
 * For tests of a guest's sockets, inside it:
 *
 *	vsockecho listen PORT [N]	answers N connections (1): sends back what came, until its end
 *	vsockecho call PORT		connects to the host; standard input goes there, what comes is printed
 */
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"
#include "os/file.h"

static char piece[65536];

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int echo(int fd)
{
	ssize_t n;

	while ((n = read(fd, piece, sizeof(piece))) > 0)
		if (write_full(fd, piece, (size_t)n) < 0)
			return fail("write");
	return n < 0 ? fail("read") : 0;
}

static int answer(int listener, int times)
{
	int r = 0;

	puts("ready");
	fflush(stdout);
	while (times-- > 0) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return fail("accept");
		r |= echo(fd);
		close(fd);
	}
	return r;
}

static int call(int fd)
{
	struct pollfd p[2] = { { .fd = 0, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	for (;;) {
		if (poll(p, 2, -1) < 0)
			return fail("poll");
		for (int i = 0; i < 2; i++) {
			ssize_t n = p[i].revents ? read(p[i].fd, piece, sizeof(piece)) : -1;

			if (!p[i].revents)
				continue;
			if (n < 0)
				return fail("read");
			if (!n && i) /* the host's end */
				return 0;
			if (!n) {
				shutdown(fd, SHUT_WR);
				p[0].fd = -1;
			} else if (write_full(i ? 1 : fd, piece, (size_t)n) < 0) {
				return fail("write");
			}
		}
	}
}

int main(int argc, char **argv)
{
	int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
	bool listens = argc > 2 && streq(argv[1], "listen");
	struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK,
		.svm_cid = listens ? VMADDR_CID_ANY : VMADDR_CID_HOST,
		.svm_port = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0,
	};

	if (fd < 0)
		return fail("socket");
	if (!listens)
		return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? fail("connect")
									   : call(fd);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 16) < 0)
		return fail("bind");
	return answer(fd, argc > 3 ? (int)strtol(argv[3], NULL, 10) : 1);
}
