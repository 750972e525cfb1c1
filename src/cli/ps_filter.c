/*
 * Filters of `ps`, docker's names and rules.
 *
 * Trust: words are the user's. Threads: none. #syscalls: none of its own
 */
#include "cli/ps_filter.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"

static bool by_id(struct subject *s, const char *v)
{
	return strstr(s->in.id, v);
}

static bool by_name(struct subject *s, const char *v)
{
	const char *name = s->rec.name ? s->rec.name : "";
	size_t n = strlen(v);

	/* The regular expressions that scripts really write: ^name$, ^/name$. */
	bool start = v[0] == '^', end = n && v[n - 1] == '$';

	v += start;
	n -= (size_t)start + (size_t)end;
	if (start && *v == '/') {
		v++;
		n--;
	}
	if (start && strncmp(name, v, n) != 0)
		return false;
	if (start)
		return !end || strlen(name) == n;
	if (end)
		return strlen(name) >= n && strncmp(name + strlen(name) - n, v, n) == 0;
	return memmem(name, strlen(name), v, n);
}

static bool by_label(struct subject *s, const char *v)
{
	size_t n = strlen(v);

	for (size_t i = 0; i < s->rec.labels.n; i++) {
		const char *l = s->rec.labels.v[i];

		if (streq(l, v) || (!strchr(v, '=') && strncmp(l, v, n) == 0 && l[n] == '='))
			return true;
	}
	return false;
}

static bool by_status(struct subject *s, const char *v)
{
	return streq(subject_status_name(subject_status(s)), v);
}

static bool by_exited(struct subject *s, const char *v)
{
	int64_t code;

	return subject_status(s) == SUBJECT_EXITED && !str_to_i64(v, &code) &&
	       code == s->rec.exit_code;
}

static bool by_ancestor(struct subject *s, const char *v)
{
	const char *image = s->rec.image ? s->rec.image : "", *tag = strrchr(image, ':');
	const char *id = s->rec.image_id ? s->rec.image_id : "";
	const char *hex = str_after(id, "sha256:");

	return streq(image, v) || streq(id, v) || (hex && strlen(v) >= 4 && str_after(hex, v)) ||
	       (tag && strlen(v) == (size_t)(tag - image) && strncmp(image, v, strlen(v)) == 0);
}

static bool by_network(struct subject *s, const char *v)
{
	return s->rec.network && streq(s->rec.network, v);
}

static bool by_volume(struct subject *s, const char *v)
{
	for (size_t i = 0; i < s->rec.binds.n; i++)
		if (strstr(s->rec.binds.v[i], v))
			return true;
	/* Anonymous ones and those of --mount, by name or place. */
	for (size_t i = 0; i < s->rec.volumes.n; i++) {
		const char *name = s->rec.volumes.v[i] + 2, *at = strchr(name, ' ');

		if (at && (streq(at + 1, v) ||
			   (strlen(v) == (size_t)(at - name) && !strncmp(name, v, strlen(v)))))
			return true;
	}
	return false;
}

static bool by_health(struct subject *s, const char *v)
{
	return streq(s->rec.health_status ? s->rec.health_status : "none", v);
}

static bool by_isolation(struct subject *s, const char *v)
{
	return s->in.wall && streq(s->in.wall, v);
}

static const struct kind {
	const char *name;
	bool (*match)(struct subject *s, const char *v);
	bool wants_all, every; /* every: all words of this kind must hold */
	const char *choices;   /* "a|b": the only values that there are; NULL: any */
} kinds[] = {
	{ "ancestor", by_ancestor, false, false, NULL },
	{ "before", NULL, true, false, NULL },
	{ "exited", by_exited, true, false, NULL },
	{ "health", by_health, false, false, "starting|healthy|unhealthy|none" },
	{ "id", by_id, false, false, NULL },
	{ "isolation", by_isolation, false, false, "container|pv|vm" },
	{ "label", by_label, false, true, NULL },
	{ "name", by_name, false, false, NULL },
	{ "network", by_network, false, false, NULL },
	{ "since", NULL, true, false, NULL },
	{ "status", by_status, true, false,
	  "created|restarting|running|removing|paused|exited|dead" },
	{ "volume", by_volume, false, false, NULL },
};

static bool is_choice(const char *choices, const char *v)
{
	size_t n = strlen(v);

	for (const char *p = choices; p; p = strchr(p, '|')) {
		p += *p == '|';
		if (n && strcspn(p, "|") == n && memcmp(p, v, n) == 0)
			return true;
	}
	return false;
}

static int check_value(const struct kind *k, const char *v, struct err *e)
{
	int64_t code;

	if (k->choices && !is_choice(k->choices, v))
		return err_set(e, -EINVAL, "invalid filter '%s=%s': expected %s", k->name, v,
			       k->choices);
	if (streq(k->name, "exited") && str_to_i64(v, &code))
		return err_set(e, -EINVAL, "invalid filter 'exited=%s': expected a number", v);
	return 0;
}

static const struct kind *kind_of(const char *word)
{
	size_t n = strcspn(word, "=");

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (word[n] && strlen(kinds[i].name) == n && strncmp(word, kinds[i].name, n) == 0)
			return &kinds[i];
	return NULL;
}

static const char *value_of(const char *word)
{
	return strchr(word, '=') + 1;
}

static int creation_of(const char *word, const char *root, char out[32], struct err *e)
{
	cleanup_with(subject_fini) struct subject s;
	int r = subject_open(&s, root, word, false, e);

	if (!r)
		snprintf(out, 32, "%s", s.in.created ? s.in.created : "");
	return r;
}

int ps_filter_parse(struct ps_filter *f, const struct strlist *words, const char *root,
		    struct err *e)
{
	*f = (struct ps_filter){ .words = words };
	for (size_t i = 0; i < words->n; i++) {
		const struct kind *k = kind_of(words->v[i]);
		int r = 0;

		if (!k)
			return err_set(e, -EINVAL, "invalid filter '%s'", words->v[i]);
		r = check_value(k, value_of(words->v[i]), e);
		f->wants_all |= k->wants_all;
		if (!r && streq(k->name, "before"))
			r = creation_of(value_of(words->v[i]), root, f->before, e);
		else if (!r && streq(k->name, "since"))
			r = creation_of(value_of(words->v[i]), root, f->since, e);
		if (r)
			return r;
	}
	return 0;
}

bool ps_filter_match(const struct ps_filter *f, struct subject *s)
{
	const char *created = s->in.created ? s->in.created : "";

	if ((f->before[0] && strcmp(created, f->before) >= 0) ||
	    (f->since[0] && strcmp(created, f->since) <= 0))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		bool asked = false, any = false, all = true;

		for (size_t w = 0; kinds[i].match && w < f->words->n; w++) {
			if (kind_of(f->words->v[w]) != &kinds[i])
				continue;
			bool yes = kinds[i].match(s, value_of(f->words->v[w]));

			asked = true;
			any |= yes;
			all &= yes;
		}
		if (asked && !(kinds[i].every ? all : any))
			return false;
	}
	return true;
}
