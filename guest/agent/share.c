/*
 * Directories of the host, which warren.share=DEVICE:INDEX names: the guest's kernel mounts them at binds/INDEX.
 * "virtiofs:TAG" is a device, and that is all. Else the directory has a line of its own to the server that keeps it
 * (storage/share.c); a process of its own carries the FUSE messages, so that the agent may wait for files behind
 * the mount as anybody may.
 *
 * Replies begin with their length: what comes over the line is cut there, since the kernel wants each whole.
 *
 * Trust: the host is trusted. Threads: none; one process a directory.
 * #syscalls: open mount fork poll read write
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "storage/share.h"

struct pump {
	int fuse, line;
	size_t request_n, sent; /* of the request that is on its way */
	size_t reply_n;		/* bytes of replies that came */
	uint8_t request[SHARE_MESSAGE_MAX + 4096], reply[2 * SHARE_MESSAGE_MAX];
};

/* The next request of the kernel. False when the mount is gone. */
static bool take_request(struct pump *p)
{
	ssize_t n = read(p->fuse, p->request, sizeof(p->request));

	if (n < 0)
		return errno == EAGAIN || errno == EINTR || errno == ENOENT;
	p->request_n = (size_t)n;
	p->sent = 0;
	return n > 0;
}

static bool send_request(struct pump *p)
{
	ssize_t n = write(p->line, p->request + p->sent, p->request_n - p->sent);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	p->sent += (size_t)n;
	if (p->sent == p->request_n)
		p->request_n = 0;
	return true;
}

/* Hands on what is whole. */
static bool give_replies(struct pump *p)
{
	size_t at = 0;

	while (p->reply_n - at >= sizeof(struct fuse_out_header)) {
		struct fuse_out_header h;

		memcpy(&h, p->reply + at, sizeof(h));
		if (h.len < sizeof(h) || h.len > SHARE_MESSAGE_MAX)
			return false;
		if (h.len > p->reply_n - at)
			break;
		/* ENOENT: whoever asked was interrupted meanwhile. */
		if (write(p->fuse, p->reply + at, h.len) < 0 && errno != ENOENT && errno != EINVAL)
			return false;
		at += h.len;
	}
	memmove(p->reply, p->reply + at, p->reply_n - at);
	p->reply_n -= at;
	return true;
}

static bool take_replies(struct pump *p)
{
	ssize_t n = read(p->line, p->reply + p->reply_n, sizeof(p->reply) - p->reply_n);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	p->reply_n += (size_t)n;
	return n > 0 && give_replies(p);
}

static void __attribute__((noreturn)) pump_run(int fuse, int line)
{
	static struct pump p;
	bool going = true;

	prctl(PR_SET_NAME, "warren-share");
	p.fuse = fuse;
	p.line = line;
	while (going) {
		struct pollfd fds[2] = {
			{ .fd = p.request_n ? -1 : fuse, .events = POLLIN },
			{ .fd = line, .events = (short)(POLLIN | (p.request_n ? POLLOUT : 0)) },
		};

		if (poll(fds, 2, -1) < 0) {
			going = errno == EINTR;
			continue;
		}
		if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
			going = take_replies(&p);
		if (going && p.request_n && fds[1].revents & POLLOUT)
			going = send_request(&p);
		if (going && !p.request_n && fds[0].revents)
			going = take_request(&p);
	}
	_exit(0); /* the mount answers ENOTCONN from now on */
}

static int mount_share(const char *source, const char *type, const char *options,
		       const char *target, struct err *e)
{
	if (mkdir(target, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "guest: create '%s'", target);
	if (mount(source, target, type, 0, options) < 0)
		return err_sys(e, -errno, "guest: shared directory '%s' (%s)", target, source);
	return 0;
}

static int share_by_line(const char *device, const char *target, struct err *e)
{
	char options[128];
	cleanup_fd int line = channel_device(device, e);
	cleanup_fd int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (line < 0)
		return line;
	if (fuse < 0)
		return err_sys(e, -errno, "guest: /dev/fuse");
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fuse);
	int r = mount_share("host", "fuse.host", options, target, e);
	pid_t pid = r ? 0 : fork();

	if (r)
		return r;
	if (pid < 0)
		return err_sys(e, -errno, "guest: fork");
	if (!pid)
		pump_run(fuse, line);
	return 0;
}

/* `word` is DEVICE:INDEX. */
static int start_share(const char *word, struct err *e)
{
	const char *colon = strrchr(word, ':');
	char device[64], target[64];
	uint64_t index;

	if (!colon || (size_t)(colon - word) >= sizeof(device) || str_to_u64(colon + 1, &index))
		return err_set(e, -EINVAL, "guest: warren.share=%s", word);
	memcpy(device, word, (size_t)(colon - word));
	device[colon - word] = '\0';
	snprintf(target, sizeof(target), AGENT_BINDS "/%llu", (unsigned long long)index);
	const char *tag = str_after(device, "virtiofs:");

	return tag ? mount_share(tag, "virtiofs", NULL, target, e)
		   : share_by_line(device, target, e);
}

int share_start_all(const struct agent_options *o, struct err *e)
{
	if (o->shares_n && mkdir(AGENT_BINDS, 0755) < 0 && errno != EEXIST)
		return err_sys(e, -errno, "guest: create '%s'", AGENT_BINDS);
	for (unsigned i = 0; i < o->shares_n; i++) {
		int r = start_share(o->share[i], e);

		if (r)
			return r;
	}
	return 0;
}
