/*
 * sharemount DIRECTORY MOUNTPOINT [ro]: serves a directory through the kernel of this host, as a guest would
 * mount it, until it is unmounted. For tests of storage/share.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "storage/share.h"

static uint8_t request[SHARE_MESSAGE_MAX + 4096], reply[SHARE_MESSAGE_MAX];

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char options[128];
	int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (argc < 3 || fuse < 0)
		return 2;
	umask(0);
	struct share_config c = {
		.root = open(argv[1], O_PATH | O_CLOEXEC),
		.proc = open("/proc/self/fd", O_PATH | O_CLOEXEC),
		.read_only = argc > 3 && streq(argv[3], "ro"),
		.set_owner = true,
	};
	struct share *s = share_new(&c, &e);

	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions", fuse);
	if (!s || mount("share", argv[2], "fuse", 0, options) < 0) {
		fprintf(stderr, "Error: %s %s\n", e.msg, s ? "cannot mount" : "");
		return 1;
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		ssize_t n = read(fuse, request, sizeof(request));

		if (n < 0 && (errno == EINTR || errno == ENOENT))
			continue;
		if (n < 0)
			break;
		ssize_t r = share_request(s, request, (size_t)n, reply);

		if (r < 0)
			return 3;
		if (r && write(fuse, reply, (size_t)r) < 0 && errno != ENOENT)
			return 4;
	}
	share_free(s);
	return 0;
}
