/*
 * cp for guests: the agent packs and unpacks inside, the host's own tar(1) on this side. docker's rules of
 * what goes where need to know whether the target is a directory: inside, the agent's answer tells.
 *
 * Trust: names in the stream from a guest are hostile: tar keeps them below its directory, takes of them only what was
 * asked for, and takes over neither owners nor set-id bits unless -a asks for them. Threads: none.
 * #syscalls: pipe2 vfork execve wait4 newfstatat
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/util.h"
#include "os/spawn.h"
#include "run/guest.h"
#include "run/guest_wall.h"

/* "a/b/" -> "a" and "b"; "b" -> "." and "b"; "/" -> "/" and ".". */
static int split(const char *path, char dir[PATH_MAX], char name[PATH_MAX], struct err *e)
{
	if ((size_t)snprintf(dir, PATH_MAX, "%s", path) >= PATH_MAX)
		return err_sys(e, -ENAMETOOLONG, "'%.60s'", path);
	for (size_t n = strlen(dir); n > 1 && dir[n - 1] == '/';)
		dir[--n] = '\0';
	char *slash = strrchr(dir, '/');

	snprintf(name, PATH_MAX, "%s", slash ? slash + 1 : dir);
	if (!name[0])
		snprintf(name, PATH_MAX, ".");
	if (!slash)
		snprintf(dir, PATH_MAX, ".");
	else
		slash[slash == dir] = '\0';
	return 0;
}

/* tar's --transform for the first component; names are quoted for it. */
static void rename_option(char *out, size_t size, const char *from, const char *to)
{
	struct buf b = BUF_INIT(4 * PATH_MAX);
	const char *const parts[2] = { from, to };

	buf_adds(&b, "--transform=flags=rh;s\001^");
	for (int i = 0; i < 2; i++) {
		for (const char *c = parts[i]; *c; c++) {
			if (strchr(i ? "\\&" : "\\.*[]^$", *c))
				buf_addc(&b, '\\');
			buf_addc(&b, *c);
		}
		if (i == 0)
			buf_adds(&b, "\001");
	}
	buf_adds(&b, "\001");
	snprintf(out, size, "%s", buf_str(&b));
	buf_fini(&b);
}

/* Runs tar with one end of a pipe and lets the guest have the other. */
static int through(struct instance *in, bool put, bool follow, const char *inside,
		   const char *const *argv, struct err *e)
{
	struct err tar = ERR_INIT, guest = ERR_INIT;
	int p[2], stderr_fd;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "pipe");
	const int stdio[3] = { put ? -1 : p[0], put ? p[1] : -1, -1 };
	int r = spawn_with_stderr(&pid, "tar", argv, stdio, &stderr_fd, e);

	close(p[put]);
	if (r == 0)
		r = guest_copy(in, put, follow, inside, p[!put], &guest);
	else
		stderr_fd = -1;
	close(p[!put]);
	if (stderr_fd < 0)
		return r;
	int r2 = spawn_finish(pid, stderr_fd, "tar", &tar);

	/* A guest that refused leaves tar with a broken pipe, which is not the reason. */
	if (r < 0 || r2 < 0)
		*e = r < 0 ? guest : tar;
	return r < 0 ? r : r2;
}

/* -L: what the link that is named leads to, under the link's own name. */
static int copy_in_followed(struct instance *in, const char *host, const char *inside,
			    const char *name, struct err *e)
{
	char real[PATH_MAX], dir[PATH_MAX], base[PATH_MAX], change[4 * PATH_MAX], to_dir[PATH_MAX],
		to_name[PATH_MAX];
	int r = realpath(host, real) ? split(real, dir, base, e) : err_sys(e, -errno, "'%s'", host);

	if (r == 0)
		r = split(inside, to_dir, to_name, e);
	if (r < 0)
		return r;
	rename_option(change, sizeof(change), base, name);
	const char *const into[] = { "tar", "-C", dir, "--numeric-owner", change, "-cf", "-",
				     "--",  base, NULL };

	r = through(in, true, false, inside, into, e);
	if ((r != -ENOENT && r != -ENOTDIR) || str_ends(inside, "/"))
		return r;
	err_clear(e);
	rename_option(change, sizeof(change), base, to_name);
	return through(in, true, false, to_dir, into, e);
}

static int copy_in(struct instance *in, const char *host, const char *inside, bool follow,
		   struct err *e)
{
	char dir[PATH_MAX], name[PATH_MAX], to_dir[PATH_MAX], to_name[PATH_MAX],
		change[4 * PATH_MAX];
	int r = split(host, dir, name, e);

	if (r == 0)
		r = split(inside, to_dir, to_name, e);
	if (r < 0)
		return r;
	if (faccessat(AT_FDCWD, host, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, -errno, "'%s'", host);
	struct stat st;

	if (follow && lstat(host, &st) == 0 && S_ISLNK(st.st_mode))
		return copy_in_followed(in, host, inside, name, e);
	const char *const plain[] = { "tar", "-C", dir, "--numeric-owner", "-cf", "-",
				      "--",  name, NULL };

	/* "DIR/." and an existing directory: into it; else under the new name. */
	r = through(in, true, false, inside, plain, e);
	if ((r != -ENOENT && r != -ENOTDIR) || str_ends(inside, "/"))
		return r;
	err_clear(e);
	rename_option(change, sizeof(change), name, to_name);
	const char *const renamed[] = { "tar", "-C", dir, "--numeric-owner", change, "-cf", "-",
					"--",  name, NULL };

	return through(in, true, false, to_dir, renamed, e);
}

static int copy_out(struct instance *in, const char *inside, const char *host, bool archive,
		    bool follow, struct err *e)
{
	char dir[PATH_MAX], name[PATH_MAX], from_dir[PATH_MAX], from[PATH_MAX],
		change[4 * PATH_MAX];
	struct stat st;
	int r = split(host, dir, name, e);

	if (r == 0)
		r = split(inside, from_dir, from, e);
	if (r < 0)
		return r;
	bool into = stat(host, &st) == 0 && S_ISDIR(st.st_mode);

	if (!into && str_ends(host, "/"))
		return err_sys(e, -ENOTDIR, "'%s'", host);
	rename_option(change, sizeof(change), from, name);
	const char *argv[12] = {
		"tar",
		"-C",
		into ? host : dir,
		archive ? "-p" : "--no-same-permissions",
		archive ? "--same-owner" : "--no-same-owner",
		"--numeric-owner",
		"-xf",
		"-",
	};
	size_t n = 8;

	if (!into)
		argv[n++] = change;
	/* Whatever else a guest sends would land beside it, among files of the user's. "." is all that comes. */
	if (!streq(from, ".")) {
		argv[n++] = "--";
		argv[n++] = from;
	}
	/* A slash behind a link follows it; what comes has the link's name either way. */
	return through(in, false, follow || str_ends(inside, "/"), inside, argv, e);
}

int guest_cp(struct instance *in, bool into, const char *host, const char *inside, bool archive,
	     bool follow, struct err *e)
{
	int r;

	if (streq(host, "-"))
		r = guest_copy(in, into, follow, inside, into ? STDIN_FILENO : STDOUT_FILENO, e);
	else
		r = into ? copy_in(in, host, inside, follow, e)
			 : copy_out(in, inside, host, archive, follow, e);
	if (r == -EBADMSG && into && streq(host, "-"))
		err_wrap(e, "standard input: expected a tar stream");
	return r < 0 ? r : 0;
}
