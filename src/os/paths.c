/*
 * Where Warren's own files live. The program works from the build tree and installed, so it looks
 * for its helpers beside itself; nothing is compiled in.
 *
 * Trust: the environment is the user's own; no set-user-id program calls this. Threads: any
 * (getenv). #syscalls: readlink access geteuid
 */
#include "os/paths.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"

/* The running program's directory, without a slash at its end. */
static int own_directory(char *out, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", out, size - 1);

	if (n < 0)
		return -errno;
	out[n] = '\0';
	/* Run from a clone or a copy, /proc does not know the place any more (os/sealed_start.c). */
	const char *told = getenv("WARREN_SELF");

	if (told && (streq(out, "/") || str_after(out, "/memfd:"))) {
		if ((size_t)snprintf(out, size, "%s", told) >= size)
			return -ENAMETOOLONG;
	}
	char *slash = strrchr(out, '/');

	if (!slash)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static int try_place(const char *dir, const char *below, const char *name, char *out, size_t size)
{
	int n = snprintf(out, size, "%s%s/%s", dir, below, name);

	if (n < 0 || (size_t)n >= size)
		return -ENAMETOOLONG;
	return access(out, X_OK) < 0 ? -errno : 0;
}

int paths_helper(const char *name, char *out, size_t size, struct err *e)
{
	static const char *const below[] = { "/libexec/warren", "/../libexec/warren", "" };
	const char *fixed = getenv("WARREN_LIBEXEC");
	char dir[PATH_MAX];
	int r;

	if (fixed && *fixed) {
		r = try_place(fixed, "", name, out, size);
		return r ? err_sys(e, r, "helper program '%s' in WARREN_LIBEXEC=%s", name, fixed)
			 : 0;
	}
	r = own_directory(dir, sizeof(dir));
	if (r)
		return err_sys(e, r, "find helper program '%s': readlink /proc/self/exe", name);
	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		if (!*below[i] && !str_ends(dir, "/libexec/warren"))
			continue;
		if (!try_place(dir, below[i], name, out, size))
			return 0;
	}
	return err_set(e, -ENOENT,
		       "helper program '%s' is neither in %s/libexec/warren nor in "
		       "%s/../libexec/warren",
		       name, dir, dir);
}

static int absolute(const char *name, const char *value, struct err *e)
{
	if (value[0] == '/')
		return 0;
	return err_set(e, -EINVAL, "%s: '%s' is not an absolute path", name, value);
}

int paths_data(char *out, size_t size, struct err *e)
{
	const char *own = getenv("WARREN_DATA"), *xdg = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");
	int n;

	if (own && *own) {
		n = absolute("WARREN_DATA", own, e);
		if (n)
			return n;
		n = snprintf(out, size, "%s", own);
	} else if (geteuid() == 0) {
		n = snprintf(out, size, "/var/lib/warren");
	} else if (xdg && xdg[0] == '/') {
		n = snprintf(out, size, "%s/warren", xdg);
	} else if (home && home[0] == '/') {
		n = snprintf(out, size, "%s/.local/share/warren", home);
	} else {
		return err_set(e, -ENOENT,
			       "no data directory: set HOME, XDG_DATA_HOME or WARREN_DATA");
	}
	if (n < 0 || (size_t)n >= size)
		return err_set(e, -ENAMETOOLONG, "data directory: name too long");
	return 0;
}
