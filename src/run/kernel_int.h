/* Shared by the files that keep kernels. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "wire/kernelinfo.h"

/* Module and kernel images larger than this are refused. */
#define KERNEL_MODULE_MAX (64u << 20)
#define KERNEL_IMAGE_MAX  (1ull << 30)

/* All of `in`, from its start, to where `out` stands. 0 or -errno. */
int kernel_copy(int in, int out, struct err *e);

/* DATA/kernels; made when `make`. 0 or -errno. */
int kernel_store_path(char *out, size_t size, bool make, struct err *e);
/* Letters, digits, "._+-~", not a dot first, not "default". 0 or -EINVAL. */
int kernel_name_check(const char *name, struct err *e);

/* A module that is wanted, and its file once it was found. */
struct kernel_module {
	char name[56];
	struct buf image; /* uncompressed */
	struct strlist depends;
	bool found, parsed, visiting, placed;
};

struct kernel_modules {
	struct kernel_module *v;
	size_t n;
};

void kernel_modules_fini(struct kernel_modules *m);
/* The modules that guests of any wall want. 0 or -ENOMEM. */
int kernel_modules_wish(struct kernel_modules *m);
/* Changes whenever the lists do: a kernel that was imported with other ones may lack a module. */
uint32_t kernel_modules_stamp(void);
/* Adds when not there. 0 or -ENOMEM. */
int kernel_modules_add(struct kernel_modules *m, const char *name);
/* The wanted, not yet found module whose file `path` is ("…/xen-blkfront.ko.xz"), or NULL. */
struct kernel_module *kernel_modules_match(struct kernel_modules *m, const char *path);
/* A file's content was put into `image`: unpacks it when compressed, reads its dependencies and wishes
 * for them. 0 or -errno. */
int kernel_module_complete(struct kernel_modules *m, struct kernel_module *one, struct err *e);
/* Whether a dependency is still to be looked for. */
bool kernel_modules_missing(const struct kernel_modules *m);
/* Load orders for both walls. 0 or -errno. */
int kernel_modules_order(struct kernel_modules *m, struct kernelinfo *info, struct err *e);

/* Runs the decompressor from `in` (its current offset, at most `length` bytes) to `out`. */
int kernel_decompress(int in, uint64_t length, int out, uint64_t max, const char *what,
		      struct err *e);

/* The distribution's package, downloaded into a directory of its own. */
struct kernel_fetch {
	char dir[64], path[400];
};
int kernel_fetch(struct kernel_fetch *f, struct err *e);
void kernel_fetch_fini(struct kernel_fetch *f);

/* Removes a directory of plain files and directories; nothing there is fine. */
void kernel_tree_remove(const char *path);
/* Makes `name` the default when there is none. */
int kernel_adopt_default(const char *name, struct err *e);
