/*
 * Where registries.conf and certs.d are. One main file counts, the user's before the host's; files of the drop-in
 * directories are read after it, in the order of their names, the host's before the user's.
 *
 * Trust: the files are the administrator's and the user's; one that may not be read is an error, since what it
 * blocks would be pulled without it. Threads: any. #syscalls: access openat read getdents64 close
 */
#include "image/registries.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "os/file.h"

#define FILE_MAX  (1u << 20)
#define CERTS_MAX (256u << 10)

static bool is_missing(int r)
{
	return r == -ENOENT || r == -ENOTDIR;
}

static int read_conf(struct registries *c, const char *path, struct err *e)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(FILE_MAX);
	int r = file_read(AT_FDCWD, path, &b);

	if (is_missing(r))
		return r;
	return r ? err_sys(e, r, "'%s'", path) : registries_parse(c, buf_str(&b), b.len, path, e);
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

/* Calls `fn` for each file of the directory, sorted. A missing directory has none. */
static int each_file(const char *dir, int (*fn)(void *arg, const char *path, struct err *e),
		     void *arg, struct err *e)
{
	struct dirent **names;
	int n = scandir(dir, &names, visible, alphasort), r = 0;

	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		if (!r && snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name) <
				  (int)sizeof(path))
			r = fn(arg, path, e);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return r;
}

static int drop_in(void *arg, const char *path, struct err *e)
{
	int r = str_ends(path, ".conf") ? read_conf(arg, path, e) : 0;

	return is_missing(r) ? 0 : r;
}

int registries_load(struct registries *c, struct err *e)
{
	const char *given = getenv("CONTAINERS_REGISTRIES_CONF"), *home = getenv("HOME");
	char own[PATH_MAX] = "", dir[PATH_MAX + 4];
	int r = -ENOENT;

	*c = (struct registries){ .n = 0 };
	if (home && *home)
		snprintf(own, sizeof(own), "%s/.config/containers/registries.conf", home);
	if (given && *given)
		r = read_conf(c, given, e);
	else if (*own && access(own, F_OK) == 0) /* a home that is not ours to enter has none */
		r = read_conf(c, own, e);
	if (is_missing(r) && !(given && *given))
		r = read_conf(c, "/etc/containers/registries.conf", e);
	if (is_missing(r))
		r = given && *given ? err_sys(e, r, "'%s'", given) : 0;
	if (!r)
		r = each_file("/etc/containers/registries.conf.d", drop_in, c, e);
	snprintf(dir, sizeof(dir), "%s.d", own);
	if (!r && *own)
		r = each_file(dir, drop_in, c, e);
	if (r)
		registries_fini(c);
	return r;
}

int registries_local_names(const char *name, struct strlist *out)
{
	cleanup_with(registries_fini) struct registries c = { .n = 0 };
	struct reference ref;
	int r = reference_parse(name, &ref, NULL);

	/* A file that is wrong is the pull's matter: what is here can be run. */
	if (!r && ref.short_name && registries_load(&c, NULL) == 0)
		r = registries_candidates(&c, name, out, NULL);
	return r || strlist_has(out, name) ? r : strlist_add(out, name);
}

/* A file of PEM texts; what is not readable for us does not count, as for other clients. */
static int take_cert(void *arg, const char *path, struct err *e)
{
	struct registry_certs *c = arg;
	struct buf *to = str_ends(path, ".crt")	   ? &c->authorities
			 : str_ends(path, ".cert") ? &c->cert
			 : str_ends(path, ".key")  ? &c->key
						   : NULL;

	if (!to || (to != &c->authorities && to->len))
		return 0;
	int r = file_read(AT_FDCWD, path, to);

	if (!r)
		r = buf_addc(to, '\n');
	return r ? err_sys(e, r, "'%s'", path) : 0;
}

int registry_certs_load(const char *registry, struct registry_certs *out, struct err *e)
{
	const char *home = getenv("HOME");
	char own[PATH_MAX] = "";
	const char *const places[] = { own, "/etc/containers/certs.d", "/etc/docker/certs.d" };
	int r = 0;

	*out = (struct registry_certs){ BUF_INIT(CERTS_MAX), BUF_INIT(CERTS_MAX),
					BUF_INIT(CERTS_MAX) };
	if (home && *home)
		snprintf(own, sizeof(own), "%s/.config/containers/certs.d", home);
	/* The first directory that knows the registry counts. */
	for (size_t i = 0; !r && i < 3 && !out->authorities.len && !out->cert.len; i++) {
		char dir[PATH_MAX + 300];

		snprintf(dir, sizeof(dir), "%s/%s", places[i], registry);
		if (*places[i] && !strchr(registry, '/'))
			r = each_file(dir, take_cert, out, e);
	}
	if (!r && !out->cert.len != !out->key.len)
		r = err_set(e, -EINVAL,
			    "certs.d/%s: a client's certificate needs both *.cert and *.key",
			    registry);
	if (r)
		registry_certs_fini(out);
	return r;
}

void registry_certs_fini(struct registry_certs *c)
{
	if (c->key.data)
		explicit_bzero(c->key.data, c->key.cap);
	buf_fini(&c->authorities);
	buf_fini(&c->cert);
	buf_fini(&c->key);
}
