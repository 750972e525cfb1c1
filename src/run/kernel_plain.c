/*
 * Kernels and initramfs images that are files of the user's, for domains and for config.json's `vm` object.
 *
 * Trust: the files are the user's choice; the kernel is judged by the machine's loader, in its jail. Threads: none.
 * #syscalls: openat pread64 fstat lseek memfd_create
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/paths.h"
#include "run/kernel.h"
#include "run/kernel_int.h"
#include "wire/bzimage.h"

/* A regular file and its beginning. A descriptor or -errno. */
static int open_head(const char *path, const char *what, uint8_t *head, size_t size, ssize_t *n,
		     struct stat *st, struct err *e)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, st) < 0)
		return err_sys(e, -errno, "%s '%s'", what, path);
	if (!S_ISREG(st->st_mode))
		return err_set(e, -EINVAL, "%s '%s': not a regular file", what, path);
	*n = pread(fd, head, size, 0);
	return *n < 0 ? err_sys(e, -errno, "%s '%s'", what, path) : steal_fd(&fd);
}

/* Where an unpacked kernel goes: a file without a name, else memory. */
static int open_nameless(struct err *e)
{
	char data[PATH_MAX];
	int fd = -1;

	if (paths_data(data, sizeof(data), NULL) == 0)
		fd = open(data, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = memfd_create("vmlinux", MFD_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "a file for the unpacked kernel") : fd;
}

int kernel_file_open(const char *path, int *fd, struct err *e)
{
	uint8_t head[BZIMAGE_HEAD * 8] = { 0 };
	struct bzimage bz;
	struct stat st;
	ssize_t n = 0;

	*fd = -1;
	cleanup_fd int in = open_head(path, "kernel", head, sizeof(head), &n, &st, e);

	if (in < 0)
		return in;
	if (n >= 4 && memcmp(head, "\177ELF", 4) == 0) {
		*fd = steal_fd(&in);
		return 0;
	}
	if (!bzimage_detect(head, (size_t)n))
		return err_set(e, -EBADMSG, "kernel '%s': neither a vmlinux nor a bzImage", path);
	int r = bzimage_parse(head, (size_t)n, (uint64_t)st.st_size, &bz, e);

	if (r < 0)
		return err_wrap(e, "kernel '%s'", path);
	cleanup_fd int out = open_nameless(e);

	if (out < 0)
		return out;
	if (lseek(in, (off_t)bz.payload_offset, SEEK_SET) < 0)
		return err_sys(e, -errno, "kernel '%s'", path);
	r = kernel_decompress(in, bz.payload_size, out, KERNEL_IMAGE_MAX, "unpack", e);
	if (r < 0)
		return err_wrap(e, "kernel '%s'", path);
	*fd = steal_fd(&out);
	return 0;
}

int kernel_initrd_open(const char *path, int *fd, struct err *e)
{
	/* What Linux itself looks for: cpio archives and what it can unpack. */
	static const struct {
		uint8_t n;
		const char *magic;
	} known[] = { { 6, "070701" },	  { 6, "070702" },  { 2, "\037\213" },
		      { 2, "\037\236" },  { 3, "BZh" },	    { 3, "\135\000\000" },
		      { 6, "\3757zXZ" },  { 4, "\211LZO" }, { 4, "\002\041\114\030" },
		      { 4, "(\265/\375" } };
	uint8_t head[8] = { 0 };
	struct stat st;
	ssize_t n = 0;

	*fd = -1;
	cleanup_fd int in = open_head(path, "initramfs", head, sizeof(head), &n, &st, e);

	if (in < 0)
		return in;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (n >= known[i].n && memcmp(head, known[i].magic, known[i].n) == 0) {
			*fd = steal_fd(&in);
			return 0;
		}
	}
	return err_set(e, -EBADMSG,
		       "initramfs '%s': neither a cpio archive nor a compressed one. Fix: make one "
		       "with cpio -o -H newc",
		       path);
}
