/*
 * Command-line parsing from data.
 *
 * A command's options are one array. This file reads argv by it; cli/help.c prints it as help, as a
 * manual page and as completion for three shells. Accepted: --name value, --name=value, -n value,
 * -nvalue, -n=value, -abc for flags, "--" ends options. Long names are never abbreviated, so that
 * adding an option cannot change what a script means.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none
 */
#include "cli/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct found {
	const struct opt *opt;
	size_t base;
};

static bool find(const struct opt *opts, size_t base, const char *name, size_t len, char letter,
		 struct found *f)
{
	for (const struct opt *o = opts; o && o->kind != OPT_END_; o++) {
		if (o->kind == OPT_GROUP_) {
			if (find(o->group, base + o->offset, name, len, letter, f))
				return true;
			continue;
		}
		if (o->kind == OPT_HEADING_)
			continue;
		if (letter ? o->letter == letter
			   : o->name && strlen(o->name) == len &&
				     strncmp(o->name, name, len) == 0) {
			*f = (struct found){ o, base };
			return true;
		}
	}
	return false;
}

const struct opt *opt_find(const struct opt *opts, const char *name, size_t len, char letter)
{
	struct found f;

	return find(opts, 0, name, len, letter, &f) ? f.opt : NULL;
}

void opt_each(const struct opt *opts, void (*fn)(const struct opt *o, void *arg), void *arg)
{
	for (const struct opt *o = opts; o && o->kind != OPT_END_; o++) {
		if (o->kind == OPT_GROUP_)
			opt_each(o->group, fn, arg);
		else
			fn(o, arg);
	}
}

static bool choice_ok(const char *choices, const char *value)
{
	size_t n = strlen(value);

	for (const char *p = choices; *p;) {
		size_t len = strcspn(p, "|");

		if (len == n && strncmp(p, value, n) == 0)
			return true;
		p += len + (p[len] == '|');
	}
	return false;
}

static int store(const struct found *f, const char *shown, const char *value, char *settings,
		 struct err *e)
{
	const struct opt *o = f->opt;
	void *dest = settings + f->base + o->offset;
	int r = 0;

	if (o->choices && !choice_ok(o->choices, value))
		return err_set(e, -EINVAL, "%s: '%s' is none of %s", shown, value, o->choices);
	switch (o->kind) {
	case OPT_BOOL_:
		r = str_to_bool(value, dest);
		break;
	case OPT_STRING_:
		*(const char **)dest = value;
		break;
	case OPT_INT_:
		r = str_to_i64(value, dest);
		break;
	case OPT_SIZE_:
		r = str_to_size(value, dest);
		break;
	case OPT_DURATION_:
		r = str_to_duration(value, dest);
		break;
	case OPT_LIST_:
		r = strlist_add(dest, value);
		break;
	case OPT_CALL_:
		r = o->call(value, dest, e);
		return r < 0 ? err_wrap(e, "%s", shown) : 0;
	case OPT_GROUP_:
	case OPT_HEADING_:
	case OPT_END_:
		break;
	}
	if (r == -ERANGE)
		return err_set(e, r, "%s: '%s' is out of range", shown, value);
	if (r < 0)
		return err_set(e, r, "%s: '%s' is not a valid %s%s", shown, value,
			       o->metavar ? o->metavar : "true or false",
			       o->kind == OPT_SIZE_	  ? ", such as 512m or 2g"
			       : o->kind == OPT_DURATION_ ? ", such as 30s or 5m"
							  : "");
	return 0;
}

struct guess {
	const char *wrong, *best;
	size_t distance;
};

static void guess_option(const struct opt *o, void *arg)
{
	struct guess *g = arg;
	size_t d = o->kind != OPT_HEADING_ && o->name ? str_distance(g->wrong, o->name) : SIZE_MAX;

	if (d < g->distance) {
		g->distance = d;
		g->best = o->name;
	}
}

static int unknown_long(const struct opt *opts, const char *shown, struct err *e)
{
	struct guess g = { .wrong = shown + 2, .distance = 1 + str_slips_allowed(shown + 2) };

	opt_each(opts, guess_option, &g);
	if (g.best)
		return err_set(e, -EINVAL, "unknown option %s; did you mean --%s?", shown, g.best);
	return err_set(e, -EINVAL, "unknown option %s", shown);
}

static int parse_long(const struct opt *opts, char *settings, int argc, char **argv, int *i,
		      struct err *e)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	struct found f;
	char shown[128];

	snprintf(shown, sizeof(shown), "--%.*s", (int)len, name);
	if (!find(opts, 0, name, len, 0, &f))
		return unknown_long(opts, shown, e);
	if (!value && f.opt->kind == OPT_BOOL_)
		value = "true";
	if (!value) {
		if (*i + 1 >= argc)
			return err_set(e, -EINVAL, "%s needs a value: %s", shown, f.opt->metavar);
		value = argv[++*i];
	}
	return store(&f, shown, value, settings, e);
}

static int parse_letters(const struct opt *opts, char *settings, int argc, char **argv, int *i,
			 struct err *e)
{
	for (const char *p = argv[*i] + 1; *p; p++) {
		char shown[3] = { '-', *p, 0 };
		struct found f;
		int r;

		if (!find(opts, 0, NULL, 0, *p, &f))
			return err_set(e, -EINVAL, "unknown option %s", shown);
		if (f.opt->kind == OPT_BOOL_ && p[1] != '=') {
			r = store(&f, shown, "true", settings, e);
			if (r)
				return r;
			continue;
		}
		const char *value = p[1] == '=' ? p + 2 : p[1] ? p + 1 : NULL;

		if (!value && *i + 1 >= argc)
			return err_set(e, -EINVAL, "%s needs a value: %s", shown, f.opt->metavar);
		return store(&f, shown, value ? value : argv[++*i], settings, e);
	}
	return 0;
}

int opt_parse(const struct opt *opts, bool stop_at_arg, void *settings, int argc, char **argv,
	      struct err *e)
{
	int left = 0;

	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];
		int r = 0;

		if (streq(a, "--help") ||
		    (streq(a, "-h") && !find(opts, 0, NULL, 0, 'h', &(struct found){ 0 })))
			return -ECANCELED;
		if (streq(a, "--")) {
			while (++i < argc)
				argv[left++] = argv[i];
			break;
		}
		if (a[0] == '-' && a[1] == '-')
			r = parse_long(opts, settings, argc, argv, &i, e);
		else if (a[0] == '-' && a[1])
			r = parse_letters(opts, settings, argc, argv, &i, e);
		else if (stop_at_arg) {
			while (i < argc)
				argv[left++] = argv[i++];
			break;
		} else
			argv[left++] = argv[i];
		if (r)
			return r;
	}
	argv[left] = NULL;
	return left;
}

void opt_free(const struct opt *opts, void *settings)
{
	for (const struct opt *o = opts; o && o->kind != OPT_END_; o++) {
		char *dest = (char *)settings + o->offset;

		if (o->kind == OPT_LIST_)
			strlist_fini((struct strlist *)(void *)dest);
		else if (o->kind == OPT_GROUP_)
			opt_free(o->group, dest);
	}
}
