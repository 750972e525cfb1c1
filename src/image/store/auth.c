/*
 * Where credentials are: $REGISTRY_AUTH_FILE, podman's auth.json, docker's config.json, in this order; the first that
 * knows the registry counts. A credential helper that a file names is asked as docker does it.
 *
 * Trust: the files and helpers are the user's own. Threads: one.
 * #syscalls: openat read write renameat pipe2 memfd_create
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "image/store/remote.h"
#include "os/file.h"
#include "os/spawn.h"
#include "os/tree.h"

enum { PLACES = 5 };

static size_t places(char out[PLACES][PATH_MAX])
{
	const char *own = getenv("REGISTRY_AUTH_FILE"), *run = getenv("XDG_RUNTIME_DIR");
	const char *home = getenv("HOME"), *docker = getenv("DOCKER_CONFIG");
	size_t n = 0;

	if (own && *own)
		snprintf(out[n++], PATH_MAX, "%s", own);
	snprintf(out[n++], PATH_MAX, "%s/containers%s/auth.json", run && *run ? run : "/run",
		 run && *run ? "" : "/0");
	if (home && *home)
		snprintf(out[n++], PATH_MAX, "%s/.config/containers/auth.json", home);
	if (docker && *docker)
		snprintf(out[n++], PATH_MAX, "%s/config.json", docker);
	else if (home && *home)
		snprintf(out[n++], PATH_MAX, "%s/.docker/config.json", home);
	return n;
}

static int ask_helper(const char *registry, struct credentials *c, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(64u << 10);
	char name[160];
	const char *argv[] = { name, "get", NULL };
	cleanup_fd int in = memfd_create("registry", MFD_CLOEXEC);
	int p[2], complaint;
	pid_t pid;

	snprintf(name, sizeof(name), "docker-credential-%s", c->helper);
	if (in < 0 || write_full(in, registry, strlen(registry)) || lseek(in, 0, SEEK_SET) < 0 ||
	    pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, -errno, "%s", name);
	int r = spawn_with_stderr(&pid, name, argv, (const int[3]){ in, p[1], -1 }, &complaint, e);

	close(p[1]);
	cleanup_fd int from = p[0];

	if (r)
		return r;
	read_all(from, &b);
	r = spawn_finish(pid, complaint, name, e);
	if (!r)
		r = credentials_parse_helper(buf_str(&b), b.len, c, e);
	return r ? err_wrap(e, "credentials for '%s'", registry) : 0;
}

int auth_find(const char *registry, struct credentials *out, struct err *e)
{
	char files[PLACES][PATH_MAX];
	size_t n = places(files);

	*out = (struct credentials){ .user = "" };
	for (size_t i = 0; i < n; i++) {
		__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(1u << 20);

		if (file_read(AT_FDCWD, files[i], &b) || !b.len)
			continue;
		int r = credentials_parse(b.data, b.len, files[i], registry, out, e);

		if (r < 0)
			return r;
		if (r)
			return *out->helper ? ask_helper(registry, out, e) : 0;
	}
	return 0;
}

int auth_store(const char *registry, const char *user, const char *password, char *path,
	       size_t size, struct err *e)
{
	__attribute__((cleanup(buf_fini))) struct buf b = BUF_INIT(1u << 20);
	char files[PLACES][PATH_MAX];
	size_t n = places(files);
	cleanup_free char *text = NULL;
	const char *own = getenv("REGISTRY_AUTH_FILE");

	/* docker's file, unless told otherwise: the last place. */
	snprintf(path, size, "%s", files[own && *own ? 0 : n - 1]);
	int r = file_read(AT_FDCWD, path, &b);

	if (r && r != -ENOENT)
		return err_sys(e, r, "'%s'", path);
	r = credentials_edit(buf_str(&b), b.len, path, registry, user, password, &text, e);
	if (r)
		return r;
	char *slash = strrchr(path, '/');

	*slash = '\0';
	r = *path ? tree_make(path) : 0;
	*slash = '/';
	if (!r)
		r = file_replace(AT_FDCWD, path, text, strlen(text), 0600, true);
	return r ? err_sys(e, r, "'%s'", path) : 0;
}
