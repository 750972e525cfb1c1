/* Guest kernels: imported once, kept below the data directory, opened for each start.
 *
 * DATA/kernels/NAME/ holds vmlinux, info (wire/kernelinfo.h), modules/NAME.ko, and initramfs-WALL-STAMP
 * images that are made when first asked for; DATA/kernels/default is a symbolic link to a NAME. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "wire/kernelinfo.h"

struct kernel_import {
	const char *source; /* a .deb, bzImage or vmlinux; NULL: fetch the distribution's package */
	const char *name;   /* NULL: the release */
	const char *
		modules; /* lib/modules/RELEASE for a bare kernel image; NULL: the host's, if any */
	bool no_default; /* it does not become the default, not even as the first */
	void (*progress)(void *arg, const char *line); /* may be NULL */
	void *arg;
};

/* `*name` is to be freed. Makes it the default when there is none. 0 or -errno, and nothing is left. */
int kernel_import(const struct kernel_import *im, char **name, struct err *e);

/* Sorted names; an absent store is an empty list. `*standard` (to be freed) is the default or NULL. */
int kernel_list(struct strlist *names, char **standard, struct err *e);
int kernel_info(const char *name, struct kernelinfo *out, struct err *e);
int kernel_set_default(const char *name, struct err *e);
/* The default goes with it. */
int kernel_remove(const char *name, struct err *e);

/* The name under which the store has the kernel in the file `path` (a .deb, bzImage or vmlinux); imports it when it is
 * new there. 0 or -errno. */
enum { KERNEL_FILE_NAME = 32 };
int kernel_file_name(const char *path, char name[KERNEL_FILE_NAME], struct err *e);

/* A kernel for a guest: what the VMM gets as descriptors. */
struct kernel {
	int vmlinux, initramfs;
	struct kernelinfo info;
};

#define KERNEL_INIT                             \
	{                                       \
		.vmlinux = -1, .initramfs = -1, \
	}

/* `name`: NULL for the default; with a slash, a file. `wall`: "pv" or "vm". Builds the initramfs when the agent or the kernel
 * changed since. 0, or -ENOENT with the mend, or -errno. */
int kernel_open(struct kernel *k, const char *name, const char *wall, struct err *e);
void kernel_fini(struct kernel *k);
/* Files of the user's, unpacked before those of the agent's initramfs, which win. 0 or -errno. */
int kernel_add_initrd(struct kernel *k, const char *path, struct err *e);

/* Opens a kernel that is a file of the user's; a bzImage is unpacked into a file without a name. 0 or -errno. */
int kernel_file_open(const char *path, int *fd, struct err *e);
/* The same for an initramfs: it is looked at, whether it is one. */
int kernel_initrd_open(const char *path, int *fd, struct err *e);
