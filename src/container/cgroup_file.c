/*
 * One value in one file of one cgroup directory.
 *
 * Trust: paths are Warren's own, texts come from a checked config.json; the kernel judges the values, and its
 * refusal is reported with the member of the specification that asked for it.
 * Threads: any. #syscalls: openat read write close faccessat2
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "container/cgroup_int.h"
#include "os/file.h"

static int join_path(char out[PATH_MAX], const struct cgroup_dir *d, const char *file)
{
	int n = snprintf(out, PATH_MAX, "%s/%s", d->path, file);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int cgroup_file_read(const struct cgroup_dir *d, const char *file, struct buf *b)
{
	char path[PATH_MAX];
	int r = join_path(path, d, file);

	return r ? r : file_read(AT_FDCWD, path, b);
}

bool cgroup_file_exists(const struct cgroup_dir *d, const char *file)
{
	char path[PATH_MAX];

	return !join_path(path, d, file) && access(path, F_OK) == 0;
}

static int parse_u64(const char *s, uint64_t *out)
{
	char number[24];
	size_t n = strcspn(s, " \n");

	if (n >= sizeof(number))
		return -EINVAL;
	memcpy(number, s, n);
	number[n] = '\0';
	if (streq(number, "max") || streq(number, "-1")) {
		*out = UINT64_MAX;
		return 0;
	}
	return str_to_u64(number, out);
}

int cgroup_file_u64(const struct cgroup_dir *d, const char *file, uint64_t *out)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(4096);
	int r = cgroup_file_read(d, file, &b);

	return r ? r : parse_u64(buf_str(&b), out);
}

int cgroup_file_key(const struct cgroup_dir *d, const char *file, const char *key, uint64_t *out)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(1 << 16);
	int r = cgroup_file_read(d, file, &b);
	size_t n = strlen(key);

	if (r)
		return r;
	for (const char *s = buf_str(&b); *s; s += *s == '\n') {
		if (!strncmp(s, key, n) && s[n] == ' ')
			return parse_u64(s + n + 1, out);
		s += strcspn(s, "\n");
	}
	return -ENOENT;
}

int cgroup_file_write(const struct cgroup_dir *d, const char *file, const char *field,
		      struct err *e, const char *fmt, ...)
{
	char path[PATH_MAX];
	char text[4096];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(text))
		return err_set(e, -EINVAL, "linux.resources.%s: value too long", field);
	int r = join_path(path, d, file);

	if (!r)
		r = file_poke(AT_FDCWD, path, text);
	if (r == -ENOENT)
		return err_set(e, r, "linux.resources.%s: this kernel has no %s", field, path);
	return r ? err_sys(e, r, "linux.resources.%s: %s: write '%s'", field, path, text) : 0;
}
