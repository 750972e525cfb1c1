/*
 * The default guest kernel: what the distribution's own tools download, so that its signatures are
 * checked by them and not by us.
 *
 * Trust: apt's. Threads: none. #syscalls: mkdir pipe2 getdents64
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "os/file.h"
#include "os/spawn.h"
#include "run/kernel_int.h"

/* Depends on the package of the newest release. */
#define META_PACKAGE "linux-image-cloud-amd64"

/* Runs a shell-less command and gives its output. */
static int output_of(const char *const *argv, struct buf *out, struct err *e)
{
	int p[2], stderr_fd;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	int r = spawn_with_stderr(&pid, argv[0], argv, (const int[3]){ -1, p[1], -1 }, &stderr_fd,
				  e);

	close(p[1]);
	if (r == 0) {
		r = read_all(p[0], out);
		int r2 = spawn_finish(pid, stderr_fd, argv[0], e);

		r = r2 < 0 ? r2 : r < 0 ? err_sys(e, r, "%s: output", argv[0]) : 0;
	}
	close(p[0]);
	return r;
}

/* "linux-image-6.1.0-56-cloud-amd64" out of "  Depends: linux-image-…". */
static int find_dependency(const char *text, char *out, size_t size)
{
	const char *at = strstr(text, "Depends: linux-image-");

	if (!at)
		return -ENOENT;
	at += strlen("Depends: ");
	size_t n = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789.+-");

	if (n >= size)
		return -ENOENT;
	memcpy(out, at, n);
	out[n] = '\0';
	return 0;
}

static int find_deb(struct kernel_fetch *f)
{
	cleanup_closedir DIR *d = opendir(f->dir);

	for (struct dirent *de; d && (de = readdir(d));) {
		if (str_ends(de->d_name, ".deb")) {
			snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, de->d_name);
			return 0;
		}
	}
	return -ENOENT;
}

int kernel_fetch(struct kernel_fetch *f, struct err *e)
{
	const char *const ask[] = { "apt-cache", "depends", META_PACKAGE, NULL };
	struct buf text = BUF_INIT(64 << 10);
	char package[200] = "";
	int r = output_of(ask, &text, e);

	if (r == 0 && find_dependency(buf_str(&text), package, sizeof(package)) < 0)
		r = err_set(e, -ENOENT,
			    "the package index has no " META_PACKAGE
			    ". Fix: apt-get update, or name a package, bzImage or vmlinux");
	buf_fini(&text);
	if (r < 0)
		return r;
	snprintf(f->dir, sizeof(f->dir), "/tmp/warren-kernel-XXXXXX");
	if (!mkdtemp(f->dir)) {
		f->dir[0] = '\0';
		return err_sys(e, -errno, "mkdtemp in /tmp");
	}
	/* apt-get downloads into its working directory, which is nobody else's: not as user _apt. */
	const char *const get[] = {
		"env",	    "-C",    f->dir, "apt-get", "-q", "-o", "APT::Sandbox::User=root",
		"download", package, NULL
	};
	struct buf ignored = BUF_INIT(1 << 20);

	r = output_of(get, &ignored, e);
	buf_fini(&ignored);
	if (r < 0)
		return err_wrap(e, "apt-get download %s", package);
	return find_deb(f) < 0 ? err_set(e, -ENOENT, "apt-get download %s left no package", package)
			       : 0;
}

void kernel_fetch_fini(struct kernel_fetch *f)
{
	if (f->dir[0])
		kernel_tree_remove(f->dir);
}
