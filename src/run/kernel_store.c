/*
 * The store of guest kernels: one directory a kernel, a symbolic link for the default, and the initramfs
 * of each wall, made again whenever the agent's file is another one than it was made from.
 *
 * Trust: the store is the user's own. Threads: none.
 * #syscalls: open openat unlinkat rename symlink readlink fstat getdents64
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "os/paths.h"
#include "os/tree.h"
#include "run/kernel.h"
#include "run/kernel_int.h"
#include "wire/cpio.h"

#define INITRAMFS_MAX (256u << 20)

int kernel_name_check(const char *name, struct err *e)
{
	static const char ok[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-~";
	size_t n = strlen(name);

	if (n == 0 || n > 100 || name[0] == '.' || streq(name, "default") || strspn(name, ok) != n)
		return err_set(e, -EINVAL, "kernel name '%.100s': letters, digits and ._+-~ only",
			       name);
	return 0;
}

int kernel_store_path(char *out, size_t size, bool make, struct err *e)
{
	char data[PATH_MAX];
	int r = paths_data(data, sizeof(data), e);

	if (r < 0)
		return r;
	if ((size_t)snprintf(out, size, "%s/kernels", data) >= size)
		return err_sys(e, -ENAMETOOLONG, "kernel store");
	r = make ? tree_make(out) : 0;
	return r < 0 ? err_sys(e, r, "create '%s'", out) : 0;
}

void kernel_tree_remove(const char *path)
{
	tree_remove(AT_FDCWD, path); /* what cannot be removed now is removed with its successor */
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The default's name, NULL when there is none. To be freed. */
static char *default_get(const char *store)
{
	char path[PATH_MAX + 16], to[256];

	snprintf(path, sizeof(path), "%s/default", store);
	ssize_t n = readlink(path, to, sizeof(to) - 1);

	if (n < 0)
		return NULL;
	to[n] = '\0';
	return kernel_name_check(to, NULL) < 0 ? NULL : strdup(to);
}

int kernel_list(struct strlist *names, char **standard, struct err *e)
{
	char store[PATH_MAX];
	int r = kernel_store_path(store, sizeof(store), false, e);

	*standard = NULL;
	if (r < 0)
		return r;
	cleanup_closedir DIR *d = opendir(store);

	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "open '%s'", store);
	for (struct dirent *de; (de = readdir(d));) {
		if (kernel_name_check(de->d_name, NULL) == 0 && strlist_add(names, de->d_name) < 0)
			return err_sys(e, -ENOMEM, "kernel list");
	}
	if (names->n)
		qsort(names->v, names->n, sizeof(*names->v), by_name);
	*standard = default_get(store);
	return 0;
}

/* Opens a kernel's directory. The descriptor or -errno. */
static int open_kernel(const char *name, struct err *e)
{
	char store[PATH_MAX], path[PATH_MAX + 128];
	int r = kernel_name_check(name, e);

	if (r == 0)
		r = kernel_store_path(store, sizeof(store), false, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/%s", store, name);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno == ENOENT)
		return err_set(e, -ENOENT, "no kernel '%s'. Fix: warren kernel import", name);
	return fd < 0 ? err_sys(e, -errno, "open '%s'", path) : fd;
}

static int read_info(int dir, const char *name, struct kernelinfo *out, struct err *e)
{
	struct buf text = BUF_INIT(64 << 10);
	int r = file_read(dir, "info", &text);

	if (r < 0)
		err_sys(e, r, "kernel '%s': info", name);
	else
		r = kernelinfo_parse(buf_str(&text), out, e);
	buf_fini(&text);
	return r;
}

int kernel_info(const char *name, struct kernelinfo *out, struct err *e)
{
	cleanup_fd int dir = open_kernel(name, e);

	return dir < 0 ? dir : read_info(dir, name, out, e);
}

int kernel_set_default(const char *name, struct err *e)
{
	char store[PATH_MAX], path[PATH_MAX + 16], fresh[PATH_MAX + 32];
	cleanup_fd int dir = open_kernel(name, e);

	if (dir < 0)
		return dir;
	int r = kernel_store_path(store, sizeof(store), false, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/default", store);
	snprintf(fresh, sizeof(fresh), "%s/.default-%d", store, (int)getpid());
	unlink(fresh);
	if (symlink(name, fresh) < 0 || rename(fresh, path) < 0)
		return err_sys(e, -errno, "kernel default '%s'", path);
	return 0;
}

int kernel_adopt_default(const char *name, struct err *e)
{
	char store[PATH_MAX];
	int r = kernel_store_path(store, sizeof(store), false, e);

	if (r < 0)
		return r;
	cleanup_free char *now = default_get(store);
	struct kernelinfo k;

	if (now && kernel_info(now, &k, NULL) == 0) {
		kernelinfo_fini(&k);
		return 0;
	}
	return kernel_set_default(name, e);
}

int kernel_remove(const char *name, struct err *e)
{
	char store[PATH_MAX], path[PATH_MAX + 128], gone[PATH_MAX + 128];
	cleanup_fd int dir = open_kernel(name, e);

	if (dir < 0)
		return dir;
	int r = kernel_store_path(store, sizeof(store), false, e);

	if (r < 0)
		return r;
	cleanup_free char *standard = default_get(store);

	/* Out of sight in one step; guests that run keep what they have open. */
	snprintf(path, sizeof(path), "%s/%s", store, name);
	snprintf(gone, sizeof(gone), "%s/.gone-%d", store, (int)getpid());
	if (rename(path, gone) < 0)
		return err_sys(e, -errno, "kernel rm '%s'", name);
	kernel_tree_remove(gone);
	if (standard && streq(standard, name)) {
		snprintf(path, sizeof(path), "%s/default", store);
		unlink(path);
	}
	return 0;
}

/* ---- initramfs ---- */

static int add_file(struct buf *out, uint32_t *ino, const char *path, uint32_t mode, int dirfd,
		    const char *from, struct err *e)
{
	struct buf content = BUF_INIT(KERNEL_MODULE_MAX);
	int r = file_read(dirfd, from, &content);

	if (r == 0)
		r = cpio_add(out, ++*ino,
			     &(struct cpio_entry){ .path = path,
						   .mode = mode,
						   .data = content.data,
						   .size = content.len });
	buf_fini(&content);
	return r < 0 ? err_sys(e, r, "initramfs: '%s'", from) : 0;
}

static int build_initramfs(struct buf *out, int dir, const struct strlist *modules,
			   const char *agent, struct err *e)
{
	static const char *const dirs[] = { "dev", "proc", "sys", "modules" };
	struct buf order = BUF_INIT(64 << 10);
	uint32_t ino = 0;
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		cpio_add(out, ++ino,
			 &(struct cpio_entry){ .path = dirs[i], .mode = S_IFDIR | 0755 });
	cpio_add(out, ++ino,
		 &(struct cpio_entry){
			 .path = "dev/console", .mode = S_IFCHR | 0600, .major = 5, .minor = 1 });
	r = add_file(out, &ino, "init", S_IFREG | 0755, AT_FDCWD, agent, e);
	for (size_t i = 0; i < modules->n && r == 0; i++) {
		char name[80];

		snprintf(name, sizeof(name), "modules/%s.ko", modules->v[i]);
		r = add_file(out, &ino, name, S_IFREG | 0644, dir, name, e);
		buf_addf(&order, "%s\n", modules->v[i]);
	}
	if (r == 0)
		r = cpio_add(out, ++ino,
			     &(struct cpio_entry){ .path = "modules/order",
						   .mode = S_IFREG | 0644,
						   .data = buf_str(&order),
						   .size = order.len });
	if (r == 0)
		r = cpio_end(out);
	buf_fini(&order);
	return r < 0 && e && !e->code ? err_sys(e, r, "initramfs") : r;
}

/* What tells one agent from another. */
static int agent_stamp(const char *agent, char *out, size_t size, struct err *e)
{
	struct stat st;

	if (stat(agent, &st) < 0)
		return err_sys(e, -errno, "'%s'", agent);
	snprintf(out, size, "%llx-%llx", (unsigned long long)st.st_size,
		 (unsigned long long)st.st_mtim.tv_sec * 1000000000ull +
			 (unsigned long long)st.st_mtim.tv_nsec);
	return 0;
}

/* Others of the same wall are from older agents. */
static void remove_stale(int dir, const char *prefix, const char *keep)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_closedir DIR *d = copy < 0 ? NULL : fdopendir(copy);

	for (struct dirent *de; d && (de = readdir(d));) {
		if (str_after(de->d_name, prefix) && !streq(de->d_name, keep))
			unlinkat(dir, de->d_name, 0);
	}
}

/* The descriptor of the wall's initramfs, made when it is missing, or -errno. */
static int open_initramfs(int dir, const char *wall, const struct strlist *modules, struct err *e)
{
	char agent[PATH_MAX], stamp[64], name[128], prefix[32];
	int r = paths_helper("warren-agent", agent, sizeof(agent), e);

	if (r == 0)
		r = agent_stamp(agent, stamp, sizeof(stamp), e);
	if (r < 0)
		return r;
	snprintf(prefix, sizeof(prefix), "initramfs-%s-", wall);
	snprintf(name, sizeof(name), "%s%s", prefix, stamp);
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : err_sys(e, -errno, "initramfs '%s'", name);
	struct buf image = BUF_INIT(INITRAMFS_MAX);

	r = build_initramfs(&image, dir, modules, agent, e);
	if (r == 0) {
		r = file_replace(dir, name, image.data, image.len, 0644, 0);
		if (r < 0)
			err_sys(e, r, "write initramfs '%s'", name);
	}
	buf_fini(&image);
	if (r < 0)
		return r;
	remove_stale(dir, prefix, name);
	fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, -errno, "initramfs '%s'", name) : fd;
}

void kernel_fini(struct kernel *k)
{
	close_fd(&k->vmlinux);
	close_fd(&k->initramfs);
	kernelinfo_fini(&k->info);
}

int kernel_open(struct kernel *k, const char *name, const char *wall, struct err *e)
{
	cleanup_free char *standard = NULL;
	char store[PATH_MAX], file[KERNEL_FILE_NAME];

	*k = (struct kernel)KERNEL_INIT;
	if (!name) {
		int r = kernel_store_path(store, sizeof(store), false, e);

		if (r < 0)
			return r;
		name = standard = default_get(store);
	}
	if (name && strchr(name, '/')) {
		int r = kernel_file_name(name, file, e);

		if (r < 0)
			return r;
		name = file;
	}
	if (!name)
		return err_set(e, -ENOENT,
			       "no guest kernel was imported. Fix: warren kernel import");
	cleanup_fd int dir = open_kernel(name, e);

	if (dir < 0)
		return dir;
	int r = read_info(dir, name, &k->info, e);

	if (r < 0)
		return r;
	if (k->info.wishes != kernel_modules_stamp()) {
		r = err_set(
			e, -ESTALE,
			"kernel '%s' was imported by another version of Warren, which took other "
			"modules. Fix: warren kernel import, or name its package '%s'",
			name, k->info.source);
	} else if (streq(wall, "pv") && !k->info.xen_pv) {
		r = err_set(
			e, -ENOTSUP,
			"kernel '%s' has no Xen PV entry. Fix: import a linux-image-cloud-amd64 or "
			"linux-image-amd64 package",
			name);
	} else {
		k->vmlinux = openat(dir, "vmlinux", O_RDONLY | O_CLOEXEC);
		if (k->vmlinux < 0)
			r = err_sys(e, -errno, "kernel '%s': vmlinux", name);
	}
	if (r == 0) {
		k->initramfs = open_initramfs(dir, wall,
					      streq(wall, "vm") ? &k->info.vm : &k->info.pv, e);
		r = k->initramfs < 0 ? k->initramfs : 0;
	}
	if (r < 0)
		kernel_fini(k);
	return r;
}
