/*
 * What the image commands share: asking the store, ages and sizes as docker words them.
 *
 * Trust: the store's answers are Warren's own, but hold text out of images; control bytes do not reach the
 * terminal. Threads: none. #syscalls: write
 */
#include "cli/images.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "cli/progress.h"
#include "image/manage.h"

struct asking {
	bool quiet;
	struct progress *bars;
	void (*fn)(void *arg, struct json_object *o);
	void *arg;
};

const char *images_text(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "";
}

void images_print_imported(void *arg, struct json_object *o)
{
	const char *name = images_text(o, "imported");

	(void)arg;
	if (*name)
		printf("%s\n", name);
}

static uint64_t number_of(struct json_object *o, const char *key)
{
	struct json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_uint64(v) : 0;
}

static void print_status(const struct asking *a, const char *status)
{
	char clean[1200];

	snprintf(clean, sizeof(clean), "%s", status);
	for (char *p = clean; *p; p++)
		*p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
	if (a->bars)
		progress_say(a->bars, clean);
	else
		fprintf(stderr, "%s\n", clean);
}

static int one(void *arg, struct json_object *o)
{
	const struct asking *a = arg;
	const char *status = images_text(o, "status"), *bar = images_text(o, "progress");

	if (*status && !a->quiet)
		print_status(a, status);
	if (*bar && a->bars)
		progress_set(a->bars, bar, images_text(o, "state"), number_of(o, "current"),
			     number_of(o, "total"));
	if (!*status && !*bar && a->fn)
		a->fn(a->arg, o);
	return 0;
}

int images_ask(const char *const *words, bool quiet, void (*fn)(void *arg, struct json_object *o),
	       void *arg, struct err *e)
{
	struct asking a = { quiet, quiet ? NULL : progress_new(), fn, arg };

	/* The store says how far it is only when somebody can see it. */
	if (a.bars && setenv("WARREN_PROGRESS", "1", 1))
		return -ENOMEM;
	int r = image_manage(words, one, &a, e);

	unsetenv("WARREN_PROGRESS");
	progress_free(a.bars);
	return r;
}

int images_platform(const char *s, char words[3][64], size_t *n, struct err *e)
{
	static const char *const keys[] = { "os", "architecture", "variant" };

	for (*n = 0; s && *s && *n < 3; (*n)++) {
		size_t len = strcspn(s, "/");

		snprintf(words[*n], 64, "%s=%.*s", keys[*n], (int)MIN(len, (size_t)40), s);
		s += len + (s[len] == '/');
	}
	return s && *s ? err_set(e, -EINVAL, "--platform: expected OS/ARCH[/VARIANT]") : 0;
}

int images_pull(const char *image, const char *platform, struct err *e)
{
	char name[1200], words[3][64];
	const char *argv[8] = { "pull", name };
	size_t n;
	int r = images_platform(platform, words, &n, e);

	for (size_t i = 0; !r && i < n; i++)
		argv[2 + i] = words[i];
	if (!r && snprintf(name, sizeof(name), "image=%s", image) >= (int)sizeof(name))
		r = err_set(e, -EINVAL, "image name '%.40s...' is too long", image);
	r = r ? r : images_ask(argv, false, NULL, NULL, e);
	return r ? err_wrap(e, "pull '%s'", image) : 0;
}

void images_age(const char *rfc3339, int64_t unix_s, char *out, size_t size)
{
	static const struct {
		int64_t seconds;
		const char *word;
	} units[] = { { 31536000, "year" }, { 2592000, "month" }, { 604800, "week" },
		      { 86400, "day" },	    { 3600, "hour" },	  { 60, "minute" },
		      { 1, "second" } };
	struct tm tm = { 0 };

	if (rfc3339 && *rfc3339 && strptime(rfc3339, "%Y-%m-%dT%H:%M:%S", &tm))
		unix_s = timegm(&tm);
	int64_t age = time(NULL) - unix_s;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		int64_t n = age / units[i].seconds;

		/* docker says "3 weeks" up to eight weeks and so on; one unit of two is too coarse. */
		if (n >= 2 || (n == 1 && units[i].seconds <= 60)) {
			snprintf(out, size, "%lld %s%s ago", (long long)n, units[i].word,
				 n == 1 ? "" : "s");
			return;
		}
	}
	snprintf(out, size, "Less than a second ago");
}

void images_size(uint64_t bytes, char *out, size_t size)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };
	double v = (double)bytes;
	size_t u = 0;

	for (; v >= 1000 && u < 4; u++)
		v /= 1000;
	snprintf(out, size,
		 v >= 100 || u == 0 ? "%.0f%s"
		 : v >= 10	    ? "%.1f%s"
				    : "%.2f%s",
		 v, units[u]);
}

void images_print_removed(void *arg, struct json_object *o)
{
	const char *name = images_text(o, "untagged"), *id = images_text(o, "deleted");

	(void)arg;
	if (*name)
		printf("Untagged: %s\n", name);
	if (*id)
		printf("Deleted: %s\n", id);
}

static void print_pruned(void *arg, struct json_object *o)
{
	struct json_object *v;
	uint64_t *freed = arg;

	images_print_removed(NULL, o);
	if (json_object_object_get_ex(o, "freed", &v))
		*freed += json_object_get_uint64(v);
}

int images_prune(bool all, uint64_t *freed, struct err *e)
{
	return images_ask((const char *[]){ "prune", all ? "all=1" : NULL, NULL }, false,
			  print_pruned, freed, e);
}
