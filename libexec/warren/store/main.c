/*
 * warren-store DATA root|user VERB [NAME=VALUE...]
 *
 * The only program that changes the image store. `warren` starts it for everything but starting an instance; for an
 * ordinary user it runs as root of a user namespace that maps his subordinate ids. It answers on standard output
 * with one JSON object a line: results, {"status": TEXT} for progress, and {"error": TEXT, "code": -ERRNO} at the
 * end when it failed (exit status 1).
 *
 * Verbs: import source= [name=] [os= architecture= variant=] [cmd=]; list; tag image= name=; remove image= [force=1];
 * prune [all=1]; usage; repair.
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

static int do_list(struct store *s, const struct words *w, struct err *e)
{
	(void)w;
	return image_list_all(s, e);
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
	{ "import", do_import }, { "list", do_list },	  { "prune", do_prune },
	{ "remove", do_remove }, { "repair", do_repair }, { "tag", do_tag },
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
	struct store s = { .say = say };
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
	if (!e.code)
		err_sys(&e, r, "image store");
	buf_adds(&b, "{\"error\":");
	json_put_string(&b, e.msg);
	buf_addf(&b, ",\"code\":%d}", r);
	say(NULL, buf_str(&b));
	return 1;
}
