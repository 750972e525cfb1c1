/*
 * Guest kernels that are named by their file: imported when they are first seen, so that a compressed one starts as fast
 * as any other from then on. The store's name tells the file by what it is, not by where it lies: a file that was
 * replaced is another kernel.
 *
 * Trust: the file is the user's; see kernel_import.c. Threads: none. #syscalls: stat open memfd_create fstat
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "run/kernel.h"
#include "run/kernel_int.h"
#include "wire/sha256.h"

int kernel_file_name(const char *path, char name[KERNEL_FILE_NAME], struct err *e)
{
	cleanup_free char *made = NULL;
	struct kernelinfo info;
	uint8_t digest[32];
	struct sha256 h;
	struct stat st;

	if (stat(path, &st) < 0)
		return err_sys(e, -errno, "kernel '%s'", path);
	const uint64_t id[] = { st.st_dev,
				st.st_ino,
				(uint64_t)st.st_size,
				(uint64_t)st.st_mtim.tv_sec,
				(uint64_t)st.st_mtim.tv_nsec,
				kernel_modules_stamp() };

	sha256_init(&h);
	sha256_add(&h, id, sizeof(id));
	sha256_finish(&h, digest);
	int n = snprintf(name, KERNEL_FILE_NAME, "file-");

	for (int i = 0; i < 8; i++)
		n += snprintf(name + n, KERNEL_FILE_NAME - (size_t)n, "%02x", digest[i]);
	if (kernel_info(name, &info, NULL) == 0) {
		kernelinfo_fini(&info);
		return 0;
	}
	return kernel_import(
		&(struct kernel_import){ .source = path, .name = name, .no_default = true }, &made,
		e);
}

int kernel_add_initrd(struct kernel *k, const char *path, struct err *e)
{
	static const char zeroes[4];
	cleanup_fd int both = memfd_create("initramfs", MFD_CLOEXEC);
	cleanup_fd int fd = -1;
	struct stat st;
	int r = kernel_initrd_open(path, &fd, e);

	if (r < 0)
		return r;
	if (both < 0 || fstat(fd, &st) < 0)
		return err_sys(e, -errno, "initramfs '%s'", path);
	r = kernel_copy(fd, both, e);

	/* The kernel looks for the next archive at a multiple of four. */
	if (r == 0) {
		r = write_full(both, zeroes, -(size_t)st.st_size & 3);
		if (r < 0)
			err_sys(e, r, "write");
	}
	if (r == 0)
		r = kernel_copy(k->initramfs, both, e);
	if (r < 0)
		return err_wrap(e, "initramfs '%s'", path);
	close(k->initramfs);
	k->initramfs = steal_fd(&both);
	return 0;
}
