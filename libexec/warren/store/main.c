/*
 * warren-store DATA root|user VERB [NAME=VALUE...]
 *
 * The only program that changes the image store. `warren` starts it for everything but starting an instance; for an
 * ordinary user it runs as root of a user namespace that maps his subordinate ids. It answers on standard output
 * with one JSON object a line: results, {"status": TEXT} for progress, and {"error": TEXT, "code": -ERRNO} at the
 * end when it failed (exit status 1).
 *
 * Verbs: artifact-pull name= to=; artifact-push name= file=... [type=]; commit image= [upper= name= author= message= created_by= change=...]; export image= upper= fd=; extract image= path= to=; fill image= path= volume=; untar source= to=; load source= [title=] (all images of an archive); save fd= image=...; import source= [name=] [os= architecture= variant=] [cmd=]; list; layers image=; tag image= name=; remove image= [force=1];
 * prune [all=1]; usage; repair; pull image= [[in]secure=1]; push image= [destination=]; login registry=; logout registry=
 * (user and password in the environment, WARREN_CREDENTIALS=user:password); layer digest= size= diff_id= name= (one layer of a
 * pull, started by it).
 *
 * Trust: argv is Warren's; documents and layers are hostile: layers go to warren-unpack. Threads: one.
 * #syscalls: write exit_group
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/str.h"
#include "image/store/commit.h"
#include "image/store/remote.h"
#include "image/store/store.h"
#include "wire/json.h"

struct words {
	char **v;
	int n;
};

static const char *word(const struct words *w, const char *name)
{
	for (int i = 0; i < w->n; i++) {
		const char *rest = str_after(w->v[i], name);

		if (rest && *rest == '=')
			return rest + 1;
	}
	return NULL;
}

static const char *word_or(const struct words *w, const char *name, const char *otherwise)
{
	const char *v = word(w, name);

	return v ? v : otherwise;
}

static int need(const struct words *w, const char *name, const char **out, struct err *e)
{
	*out = word(w, name);
	return *out ? 0 : err_set(e, -EINVAL, "warren-store: no %s= given", name);
}

static int do_import(struct store *s, const struct words *w, struct err *e)
{
	struct import_request r = { .name = word(w, "name"),
				    .os = word_or(w, "os", "linux"),
				    .architecture = word_or(w, "architecture", "amd64"),
				    .variant = word(w, "variant"),
				    .cmd = word(w, "cmd") };
	int err = need(w, "source", &r.source, e);

	return err ? err : image_import(s, &r, e);
}

static int do_load(struct store *s, const struct words *w, struct err *e)
{
	struct import_request r = {
		.all = true, .title = word(w, "title"), .os = "linux", .architecture = "amd64"
	};
	int err = need(w, "source", &r.source, e);

	return err ? err : image_import(s, &r, e);
}

static int out_fd(const struct words *w, int *out, struct err *e)
{
	const char *fd;
	uint64_t n = 0;
	int r = need(w, "fd", &fd, e);

	if (!r && (str_to_u64(fd, &n) || n < 3 || n > 1 << 20))
		r = err_set(e, -EINVAL, "warren-store: fd=%s", fd);
	*out = (int)n;
	return r;
}

static int do_save(struct store *s, const struct words *w, struct err *e)
{
	const char **images = calloc((size_t)w->n + 1, sizeof(*images));
	size_t n = 0;
	int out, r = images ? out_fd(w, &out, e) : -ENOMEM;

	for (int i = 0; !r && i < w->n; i++)
		if (str_after(w->v[i], "image="))
			images[n++] = str_after(w->v[i], "image=");
	if (!r)
		r = image_save(s, out, images, n, e);
	free(images);
	return r;
}

static int do_commit(struct store *s, const struct words *w, struct err *e)
{
	struct commit_request c = { .name = word(w, "name"),
				    .author = word(w, "author"),
				    .message = word(w, "message"),
				    .created_by = word(w, "created_by") };
	const char **changes = calloc((size_t)w->n + 1, sizeof(*changes));
	int r = changes ? need(w, "image", &c.image, e) : -ENOMEM;

	c.upper = word(w, "upper");
	for (int i = 0; !r && i < w->n; i++)
		if (str_after(w->v[i], "change="))
			changes[c.changes_n++] = str_after(w->v[i], "change=");
	c.changes = changes;
	if (!r)
		r = image_commit(s, &c, e);
	free(changes);
	return r;
}

static int do_export(struct store *s, const struct words *w, struct err *e)
{
	const char *image, *upper;
	int out, r = need(w, "image", &image, e);

	if (!r)
		r = need(w, "upper", &upper, e);
	if (!r)
		r = out_fd(w, &out, e);
	return r ? r : image_export(s, image, upper, out, e);
}

static int do_fill(struct store *s, const struct words *w, struct err *e)
{
	const char *image, *path, *volume;
	int r = need(w, "image", &image, e);

	if (!r)
		r = need(w, "path", &path, e);
	if (!r)
		r = need(w, "volume", &volume, e);
	return r ? r : image_fill(s, image, path, volume, e);
}

static int do_extract(struct store *s, const struct words *w, struct err *e)
{
	const char *image, *path, *to;
	int r = need(w, "image", &image, e);

	if (!r)
		r = need(w, "path", &path, e);
	if (!r)
		r = need(w, "to", &to, e);
	return r ? r : image_extract(s, image, path, to, e);
}

static int do_untar(struct store *s, const struct words *w, struct err *e)
{
	const char *source, *to;
	int r = need(w, "source", &source, e);

	if (!r)
		r = need(w, "to", &to, e);
	if (!r)
		r = file_unpack(s, source, to, e);
	if (r == 1)
		s->say(s->say_arg, "{\"unpacked\":\"yes\"}");
	return r < 0 ? r : 0;
}

static int do_list(struct store *s, const struct words *w, struct err *e)
{
	(void)w;
	return image_list_all(s, e);
}

static int do_layers(struct store *s, const struct words *w, struct err *e)
{
	const char *image;
	int r = need(w, "image", &image, e);

	return r ? r : image_layer_sizes(s, image, e);
}

static int do_tag(struct store *s, const struct words *w, struct err *e)
{
	const char *image, *name;
	int r = need(w, "image", &image, e);

	if (!r)
		r = need(w, "name", &name, e);
	return r ? r : image_tag(s, image, name, e);
}

static int do_remove(struct store *s, const struct words *w, struct err *e)
{
	const char *image;
	int r = need(w, "image", &image, e);

	return r ? r : image_remove(s, image, word(w, "force"), e);
}

static int do_prune(struct store *s, const struct words *w, struct err *e)
{
	return image_prune(s, word(w, "all"), e);
}

/* Secrets do not go through argv, which everybody can read. */
static const char *given_creds(void)
{
	const char *v = getenv("WARREN_CREDENTIALS");

	return v && *v ? v : NULL;
}

static enum remote_tls tls_of(const struct words *w)
{
	return word(w, "insecure") ? REMOTE_TLS_OPTIONAL
	       : word(w, "secure") ? REMOTE_TLS_REQUIRED
				   : REMOTE_TLS_AUTO;
}

static int do_pull(struct store *s, const struct words *w, struct err *e)
{
	struct pull_request p = { .creds = given_creds(), .tls = tls_of(w) };
	int r = need(w, "image", &p.image, e);

	p.platform = (struct import_request){ .os = word_or(w, "os", "linux"),
					      .architecture = word_or(w, "architecture", "amd64"),
					      .variant = word(w, "variant") };
	return r ? r : image_pull(s, &p, e);
}

static int do_layer(struct store *s, const struct words *w, struct err *e)
{
	const char *digest, *size, *diff_id, *counter = word(w, "counter");
	uint64_t bytes = 0, fd = 0;
	int r = need(w, "digest", &digest, e);

	if (!r)
		r = need(w, "size", &size, e);
	if (!r)
		r = need(w, "diff_id", &diff_id, e);
	if (!r && str_to_u64(size, &bytes))
		r = err_set(e, -EINVAL, "warren-store: size=%s", size);
	if (!r && counter && (str_to_u64(counter, &fd) || fd < 3 || fd > 1 << 20))
		r = err_set(e, -EINVAL, "warren-store: counter=%s", counter);
	return r ? r
		 : image_pull_layer(s, digest, bytes, diff_id, word_or(w, "name", "layer"), (int)fd,
				    e);
}

static int do_artifact_push(struct store *s, const struct words *w, struct err *e)
{
	const char **files = calloc((size_t)w->n + 1, sizeof(*files)), *name;
	size_t n = 0;
	int r = files ? need(w, "name", &name, e) : -ENOMEM;

	for (int i = 0; !r && i < w->n; i++)
		if (str_after(w->v[i], "file="))
			files[n++] = str_after(w->v[i], "file=");
	if (!r)
		r = artifact_push(s, name,
				  word_or(w, "type", "application/vnd.dev.warren.files.v1"), files,
				  n, given_creds(), tls_of(w), e);
	free(files);
	return r;
}

static int do_artifact_pull(struct store *s, const struct words *w, struct err *e)
{
	const char *name, *to;
	int r = need(w, "name", &name, e);

	if (!r)
		r = need(w, "to", &to, e);
	return r ? r : artifact_pull(s, name, to, given_creds(), tls_of(w), e);
}

static int do_push(struct store *s, const struct words *w, struct err *e)
{
	const char *image;
	int r = need(w, "image", &image, e);

	return r ? r : image_push(s, image, word(w, "destination"), given_creds(), tls_of(w), e);
}

static int do_login(struct store *s, const struct words *w, struct err *e)
{
	const char *registry;
	int r = need(w, "registry", &registry, e);

	if (!r && !given_creds())
		r = err_set(e, -EINVAL, "login: no user and password");
	return r ? r : registry_login(s, registry, given_creds(), tls_of(w), e);
}

static int do_logout(struct store *s, const struct words *w, struct err *e)
{
	const char *registry;
	char path[4096];
	int r = need(w, "registry", &registry, e);

	(void)s;
	return r ? r : auth_store(registry, "", "", path, sizeof(path), e);
}

static int do_usage(struct store *s, const struct words *w, struct err *e)
{
	(void)w;
	return store_usage(s, e);
}

/* store_open() has done it. */
static int do_repair(struct store *s, const struct words *w, struct err *e)
{
	(void)s, (void)w, (void)e;
	return 0;
}

static const struct {
	const char *name;
	int (*fn)(struct store *s, const struct words *w, struct err *e);
} verbs[] = {
	{ "artifact-pull", do_artifact_pull },
	{ "artifact-push", do_artifact_push },
	{ "commit", do_commit },
	{ "export", do_export },
	{ "extract", do_extract },
	{ "fill", do_fill },
	{ "import", do_import },
	{ "layer", do_layer },
	{ "layers", do_layers },
	{ "list", do_list },
	{ "load", do_load },
	{ "save", do_save },
	{ "login", do_login },
	{ "logout", do_logout },
	{ "pull", do_pull },
	{ "push", do_push },
	{ "prune", do_prune },
	{ "remove", do_remove },
	{ "repair", do_repair },
	{ "tag", do_tag },
	{ "untar", do_untar },
	{ "usage", do_usage },
};

static void say(void *arg, const char *json)
{
	(void)arg;
	puts(json);
	fflush(stdout);
}

static int run(struct store *s, int argc, char **argv, struct err *e)
{
	const struct words w = { argv + 4, argc - 4 };

	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!streq(verbs[i].name, argv[3]))
			continue;
		int r = store_open(s, argv[1], streq(argv[2], "user"), e);

		if (!r)
			r = verbs[i].fn(s, &w, e);
		store_close(s);
		return r;
	}
	return err_set(e, -EINVAL, "warren-store: unknown verb '%s'", argv[3]);
}

int main(int argc, char **argv)
{
	struct store s = { .say = say, .progress = getenv("WARREN_PROGRESS") };
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT(8192);

	if (argc < 4) {
		fprintf(stderr, "usage: warren-store DATA root|user VERB [NAME=VALUE...]\n");
		return 2;
	}
	umask(022);
	/* Who reads our answers may go away; we finish or fail by ourselves. */
	signal(SIGPIPE, SIG_IGN);
	int r = run(&s, argc, argv, &e);

	if (!r)
		return 0;
	/* A layer's process has said it already. */
	if (r == -ECANCELED && !e.code)
		return 1;
	if (!e.code)
		err_sys(&e, r, "image store");
	buf_adds(&b, "{\"error\":");
	json_put_string(&b, e.msg);
	buf_addf(&b, ",\"code\":%d}", r);
	say(NULL, buf_str(&b));
	buf_fini(&b);
	return 1;
}
