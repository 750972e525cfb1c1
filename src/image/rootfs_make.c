/*
 * Root file systems made on the spot, so that there is something to run without a registry: "busybox" is the
 * distribution's static busybox with its applets as links and the few files of /etc that programs expect; "debian"
 * is what mmdebstrap makes from the host's own package sources.
 *
 * Trust: the distribution's packages. Threads: one. #syscalls: openat read write pipe2 close wait4
 */
#include "image/rootfs_make.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"
#include "os/spawn.h"
#include "wire/tar.h"

#define TAR_MAX	     (32u << 20)
#define BUSYBOX_HINT "Fix: apt-get install busybox-static"

static const struct {
	const char *path, *text;
} etc_files[] = {
	{ "etc/passwd",
	  "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n" },
	{ "etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n" },
	{ "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n" },
	{ "etc/hostname", "" },
	{ "etc/hosts", "127.0.0.1\tlocalhost\n" },
	{ "etc/resolv.conf", "" },
	{ "etc/profile", "export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n" },
};

static const struct {
	const char *path;
	uint32_t mode;
} directories[] = {
	{ "bin", 0755 },      { "dev", 0755 },	   { "etc", 0755 },	 { "home", 0755 },
	{ "lib", 0755 },      { "mnt", 0755 },	   { "proc", 0555 },	 { "root", 0700 },
	{ "run", 0755 },      { "sbin", 0755 },	   { "sys", 0555 },	 { "tmp", 01777 },
	{ "usr", 0755 },      { "usr/bin", 0755 }, { "usr/sbin", 0755 }, { "var", 0755 },
	{ "var/tmp", 01777 },
};

static void add(struct buf *b, enum tar_type type, const char *path, uint32_t mode,
		const char *link, const void *data, size_t n)
{
	static const char zeros[TAR_BLOCK];
	const struct tar_entry t = {
		.type = type, .path = path, .link = link, .mode = mode, .size = n
	};

	tar_add_header(b, &t);
	buf_add(b, data, n);
	buf_add(b, zeros, tar_pad(n));
}

/* What `busybox --list-full` prints: "bin/sh\nusr/bin/awk\n...". */
static int list_applets(const char *busybox, struct buf *out, struct err *e)
{
	const char *argv[] = { "busybox", "--list-full", NULL };
	int p[2], complaint;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "busybox: pipe");
	int r = spawn_with_stderr(&pid, busybox, argv, (const int[3]){ -1, p[1], -1 }, &complaint,
				  e);

	close(p[1]);
	cleanup_fd int from = p[0];

	if (r)
		return r;
	int bad = read_all(from, out);

	r = spawn_finish(pid, complaint, "busybox --list-full", e);
	return r ? r : bad ? err_sys(e, bad, "busybox --list-full") : 0;
}

static void add_applets(struct buf *b, char *list)
{
	for (char *save = NULL, *name = strtok_r(list, "\n", &save); name;
	     name = strtok_r(NULL, "\n", &save)) {
		const char *base = strrchr(name, '/');

		/* Only what lies where a link to /bin/busybox makes sense. */
		if (streq(base ? base + 1 : name, "busybox") || strstr(name, "..") ||
		    !(str_after(name, "bin/") || str_after(name, "sbin/") ||
		      str_after(name, "usr/")))
			continue;
		add(b, TAR_SYMLINK, name, 0777, "/bin/busybox", NULL, 0);
	}
}

/* 1: a static x86-64 program, by its having no interpreter. */
static bool is_static(const struct buf *b)
{
	return b->len > 64 && memcmp(b->data, "\177ELF", 4) == 0 &&
	       !memmem(b->data, b->len < 65536 ? b->len : 65536, "ld-linux", 8);
}

static int make_busybox(const char *path, struct err *e)
{
	static const char *const places[] = { "/bin/busybox", "/usr/bin/busybox" };
	cleanup_with(buf_fini) struct buf program = BUF_INIT(TAR_MAX / 2), tar = BUF_INIT(TAR_MAX);
	cleanup_with(buf_fini) struct buf list = BUF_INIT(1u << 20);
	const char *found = places[0];
	int r = file_read(AT_FDCWD, found, &program);

	if (r == -ENOENT)
		r = file_read(AT_FDCWD, found = places[1], &program);
	if (r)
		return err_sys(e, r, "busybox: '%s'. " BUSYBOX_HINT, places[0]);
	if (!is_static(&program))
		return err_set(e, -ENOEXEC, "busybox: '%s' is not a static program. " BUSYBOX_HINT,
			       found);
	r = list_applets(found, &list, e);
	if (r)
		return r;
	for (size_t i = 0; i < sizeof(directories) / sizeof(directories[0]); i++)
		add(&tar, TAR_DIRECTORY, directories[i].path, directories[i].mode, "", NULL, 0);
	add(&tar, TAR_FILE, "bin/busybox", 0755, "", program.data, program.len);
	for (size_t i = 0; i < sizeof(etc_files) / sizeof(etc_files[0]); i++)
		add(&tar, TAR_FILE, etc_files[i].path, 0644, "", etc_files[i].text,
		    strlen(etc_files[i].text));
	if (list.data)
		add_applets(&tar, list.data);
	static const char end[2 * TAR_BLOCK];

	buf_add(&tar, end, sizeof(end));
	r = tar.error ? tar.error : file_replace(AT_FDCWD, path, tar.data, tar.len, 0600, false);
	return r ? err_sys(e, r, "'%s'", path) : 0;
}

/* The host's own release, from os-release. */
static int host_suite(char *out, size_t size)
{
	cleanup_fclose FILE *f = fopen("/etc/os-release", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		const char *v = str_after(line, "VERSION_CODENAME=");

		if (!v)
			continue;
		v += *v == '"';
		snprintf(out, size, "%.*s", (int)strcspn(v, "\"\n"), v);
		return 0;
	}
	return -ENOENT;
}

static bool is_word(const char *s, const char *also)
{
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && !strchr(also, *s))
			return false;
	return true;
}

static int make_debian(const struct rootfs_make *m, const char *path, struct err *e)
{
	char suite[64], variant[64], include[1024];
	const char *argv[8] = { "mmdebstrap", variant, "--format=tar" };
	size_t n = 3;
	int complaint;
	pid_t pid;

	snprintf(suite, sizeof(suite), "%s", m->suite ? m->suite : "");
	if (!*suite && host_suite(suite, sizeof(suite)))
		return err_set(e, -ENOENT, "debian: /etc/os-release names no release; use --suite");
	snprintf(variant, sizeof(variant), "--variant=%s", m->variant ? m->variant : "minbase");
	if (!is_word(suite, "-") || suite[0] == '-' || !is_word(variant, "-="))
		return err_set(e, -EINVAL, "debian: suite '%s' or variant is not a word", suite);
	if (m->include) {
		if (!is_word(m->include, "+-.:,"))
			return err_set(e, -EINVAL, "debian: --include '%s' is no list of packages",
				       m->include);
		snprintf(include, sizeof(include), "--include=%s", m->include);
		argv[n++] = include;
	}
	argv[n++] = suite;
	argv[n++] = path;
	int r = spawn_with_stderr(&pid, "mmdebstrap", argv, (const int[3]){ -1, 2, -1 }, &complaint,
				  e);

	if (r == -ENOENT)
		return err_set(e, r,
			       "debian: mmdebstrap is not installed. Fix: apt-get install "
			       "mmdebstrap");
	return r ? r : spawn_finish(pid, complaint, "mmdebstrap", e);
}

int rootfs_make(const struct rootfs_make *m, const char *path, struct err *e)
{
	if (streq(m->what, "busybox"))
		return make_busybox(path, e);
	if (streq(m->what, "debian"))
		return make_debian(m, path, e);
	return err_set(e, -EINVAL, "'%s': none of busybox, debian", m->what);
}
