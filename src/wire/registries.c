/*
 * registries.conf as containers-registries.conf(5) has it. Rules are found by the longest prefix that ends where a part
 * of the name ends; a prefix "*.host" is for all hosts below that one. What a prefix matched is replaced by the location.
 * Members that are not known are skipped: the file is shared with other programs.
 *
 * Trust: the files are the administrator's and the user's. Threads: any. #syscalls: none
 */
#include "wire/registries.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "wire/toml.h"

struct parsing {
	struct registries *c, own; /* `own`: what this file says */
	bool searched;
};

static int bad(struct err *e, const char *key, const char *expected)
{
	return err_set(e, -EINVAL, "%s: expected %s", key, expected);
}

static void rule_fini(struct registries_rule *r)
{
	for (size_t i = 0; i < r->mirrors_n; i++)
		free(r->mirrors[i].location);
	free(r->mirrors);
	free(r->prefix);
	free(r->location);
}

void registries_fini(struct registries *c)
{
	for (size_t i = 0; i < c->n; i++)
		rule_fini(&c->rules[i]);
	free(c->rules);
	strlist_fini(&c->search);
	strlist_fini(&c->aliases);
	*c = (struct registries){ .n = 0 };
}

static struct registries_rule *add_rule(struct registries *c)
{
	struct registries_rule *v = reallocarray(c->rules, c->n + 1, sizeof(*v));

	if (!v)
		return NULL;
	c->rules = v;
	v[c->n] = (struct registries_rule){ .prefix = NULL };
	return &v[c->n++];
}

static int on_table(void *arg, const char *path, bool element, struct err *e)
{
	struct parsing *p = arg;

	if (!element)
		return 0;
	if (streq(path, "registry"))
		return add_rule(&p->own) ? 0 : -ENOMEM;
	if (!streq(path, "registry.mirror"))
		return 0;
	if (!p->own.n)
		return err_set(e, -EINVAL, "[[registry.mirror]] before any [[registry]]");
	struct registries_rule *r = &p->own.rules[p->own.n - 1];
	struct registries_mirror *v = reallocarray(r->mirrors, r->mirrors_n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	r->mirrors = v;
	v[r->mirrors_n++] = (struct registries_mirror){ .location = NULL };
	return 0;
}

static int set_text(char **out, const char *key, const struct toml_value *v, struct err *e)
{
	if (v->kind != TOML_STRING || !*v->string)
		return bad(e, key, "a string");
	free(*out);
	*out = strdup(v->string);
	/* "host/" means "host". */
	for (size_t n = *out ? strlen(*out) : 0; n && (*out)[n - 1] == '/'; n--)
		(*out)[n - 1] = '\0';
	return *out ? 0 : -ENOMEM;
}

static int set_bool(bool *out, const char *key, const struct toml_value *v, struct err *e)
{
	if (v->kind != TOML_BOOL)
		return bad(e, key, "true or false");
	*out = v->boolean;
	return 0;
}

static int rule_value(struct registries_rule *r, const char *key, const struct toml_value *v,
		      struct err *e)
{
	if (streq(key, "prefix"))
		return set_text(&r->prefix, key, v, e);
	if (streq(key, "location"))
		return set_text(&r->location, key, v, e);
	if (streq(key, "insecure"))
		return set_bool(&r->insecure, key, v, e);
	if (streq(key, "blocked"))
		return set_bool(&r->blocked, key, v, e);
	if (streq(key, "mirror-by-digest-only"))
		return set_bool(&r->mirrors_by_digest, key, v, e);
	return 0;
}

static int mirror_value(struct registries_mirror *m, const char *key, const struct toml_value *v,
			struct err *e)
{
	if (streq(key, "location"))
		return set_text(&m->location, key, v, e);
	if (streq(key, "insecure"))
		return set_bool(&m->insecure, key, v, e);
	if (!streq(key, "pull-from-mirror"))
		return 0;
	if (v->kind != TOML_STRING ||
	    (!streq(v->string, "all") && !streq(v->string, "digest-only") &&
	     !streq(v->string, "tag-only")))
		return bad(e, key, "all, digest-only or tag-only");
	m->only_digests = streq(v->string, "digest-only");
	m->only_tags = streq(v->string, "tag-only");
	return 0;
}

static int copy_list(struct strlist *to, const struct strlist *from)
{
	int r = 0;

	for (size_t i = 0; !r && i < from->n; i++)
		r = strlist_add(to, from->v[i]);
	return r;
}

/* [registries.search], [registries.insecure], [registries.block] of version 1. */
static int old_value(struct parsing *p, const char *table, const struct toml_value *v,
		     struct err *e)
{
	if (v->kind != TOML_LIST)
		return bad(e, "registries", "a list of strings");
	if (streq(table, "search")) {
		p->searched = true;
		return copy_list(&p->own.search, &v->list);
	}
	for (size_t i = 0; i < v->list.n; i++) {
		struct registries_rule *r = add_rule(&p->own);

		if (!r || !(r->prefix = strdup(v->list.v[i])))
			return -ENOMEM;
		r->insecure = streq(table, "insecure");
		r->blocked = streq(table, "block");
	}
	return 0;
}

static int on_value(void *arg, const char *path, const char *key, const struct toml_value *v,
		    struct err *e)
{
	struct parsing *p = arg;
	struct registries_rule *last = p->own.n ? &p->own.rules[p->own.n - 1] : NULL;
	const char *old = str_after(path, "registries.");

	if (!*path && streq(key, "unqualified-search-registries")) {
		if (v->kind != TOML_LIST)
			return bad(e, key, "a list of strings");
		p->searched = true;
		return copy_list(&p->own.search, &v->list);
	}
	if (streq(path, "registry") && last)
		return rule_value(last, key, v, e);
	if (streq(path, "registry.mirror") && last && last->mirrors_n)
		return mirror_value(&last->mirrors[last->mirrors_n - 1], key, v, e);
	if (old && streq(key, "registries"))
		return old_value(p, old, v, e);
	if (streq(path, "aliases")) {
		cleanup_free char *pair = NULL;

		if (v->kind != TOML_STRING)
			return bad(e, key, "a string");
		if (asprintf(&pair, "%s=%s", key, v->string) < 0)
			return -ENOMEM;
		return strlist_add(&p->own.aliases, pair);
	}
	return 0;
}

/* A file's rules, complete and each prefix once. */
static int take_rules(struct parsing *p, const char *name, struct err *e)
{
	struct registries *c = p->c;

	for (size_t i = 0; i < p->own.n; i++) {
		struct registries_rule *r = &p->own.rules[i], *to = NULL;

		for (size_t k = 0; k < r->mirrors_n; k++)
			if (!r->mirrors[k].location)
				return err_set(e, -EINVAL,
					       "%s: a [[registry.mirror]] of '%s' has "
					       "no location",
					       name, r->prefix ? r->prefix : r->location);
		if (!r->prefix && r->location && !(r->prefix = strdup(r->location)))
			return -ENOMEM;
		if (!r->prefix)
			return err_set(e, -EINVAL,
				       "%s: a [[registry]] has neither prefix nor location", name);
		for (size_t k = 0; k < c->n; k++)
			if (streq(c->rules[k].prefix, r->prefix))
				to = &c->rules[k];
		if (to)
			rule_fini(to);
		else if (!(to = add_rule(c)))
			return -ENOMEM;
		*to = *r;
		*r = (struct registries_rule){ .prefix = NULL };
	}
	return 0;
}

int registries_parse(struct registries *c, const char *text, size_t n, const char *name,
		     struct err *e)
{
	static const struct toml_ops ops = { on_table, on_value };
	struct parsing p = { .c = c };
	int r = toml_parse(text, n, name, &ops, &p, e);

	if (!r)
		r = take_rules(&p, name, e);
	if (!r && p.searched) {
		strlist_fini(&c->search);
		r = copy_list(&c->search, &p.own.search);
	}
	if (!r)
		r = copy_list(&c->aliases, &p.own.aliases);
	registries_fini(&p.own);
	return r;
}

int registries_candidates(const struct registries *c, const char *name, struct strlist *out,
			  struct err *e)
{
	const char *slash = strrchr(name, '/'), *rest = slash ? slash : name;
	size_t n = (size_t)(rest - name) + strcspn(rest, ":@");
	cleanup_free char *whole = NULL;
	struct reference ref;
	int r = reference_parse(name, &ref, e);

	if (r || !ref.short_name)
		return r ? r : strlist_add(out, name);
	for (size_t i = c->aliases.n; i-- > 0;) {
		const char *a = c->aliases.v[i];

		if (strncmp(a, name, n) != 0 || a[n] != '=')
			continue;
		/* An alias to nothing takes an earlier one back. */
		if (!a[n + 1])
			break;
		if (asprintf(&whole, "%s%s", a + n + 1, name + n) < 0)
			return -ENOMEM;
		return strlist_add(out, whole);
	}
	for (size_t i = 0; !r && i < c->search.n; i++) {
		char *one = NULL;

		r = asprintf(&one, "%s/%s", c->search.v[i], name) < 0 ? -ENOMEM
								      : strlist_add(out, one);
		free(one);
	}
	return r || c->search.n ? r : strlist_add(out, name);
}

/* How many bytes of `whole` the prefix covers; 0: none. */
static size_t matched(const char *prefix, const char *whole)
{
	const char *below = str_after(prefix, "*."), *host = whole;
	size_t n;

	if (below) {
		/* The host's end must be the prefix's host, with something before it. */
		size_t end = strcspn(whole, ":/"), len = strcspn(below, ":/");

		if (end <= len + 1 || whole[end - len - 1] != '.')
			return 0;
		host = whole + end - len;
		prefix = below;
	}
	n = strlen(prefix);
	if (strncmp(host, prefix, n) != 0 || (host[n] && !strchr("/:@", host[n])))
		return 0;
	return (size_t)(host - whole) + n;
}

static int whole_name(const struct reference *ref, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/%s", ref->registry, ref->repository);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

const struct registries_rule *registries_find(const struct registries *c,
					      const struct reference *ref)
{
	const struct registries_rule *best = NULL;
	char whole[600];

	if (whole_name(ref, whole, sizeof(whole)))
		return NULL;
	for (size_t i = 0; i < c->n; i++)
		if (matched(c->rules[i].prefix, whole) &&
		    (!best || strlen(c->rules[i].prefix) > strlen(best->prefix)))
			best = &c->rules[i];
	return best;
}

static int move_to(const struct registries_rule *rule, const char *location, struct reference *ref,
		   struct err *e)
{
	char whole[600], moved[1000];

	if (whole_name(ref, whole, sizeof(whole)))
		return -ENAMETOOLONG;
	snprintf(moved, sizeof(moved), "%s%s", location, whole + matched(rule->prefix, whole));
	size_t host = strcspn(moved, "/");

	if (!moved[host] || !host || host >= sizeof(ref->registry) ||
	    strlen(moved + host + 1) >= sizeof(ref->repository) || strpbrk(moved, " \r\n@?#"))
		return err_set(e, -EINVAL,
			       "registries.conf: location '%s' of '%s' is not "
			       "HOST[:PORT][/PATH]",
			       location, rule->prefix);
	snprintf(ref->registry, sizeof(ref->registry), "%.*s", (int)host, moved);
	snprintf(ref->repository, sizeof(ref->repository), "%s", moved + host + 1);
	return 0;
}

int registries_place(const struct registries_rule *rule, const struct reference *ref, size_t i,
		     struct reference *out, bool *insecure, struct err *e)
{
	bool by_digest = *ref->digest;
	const char *location = rule ? rule->location : NULL;

	*out = *ref;
	*insecure = rule && rule->insecure;
	for (size_t k = 0; rule && k < rule->mirrors_n; k++) {
		const struct registries_mirror *m = &rule->mirrors[k];

		if ((by_digest ? m->only_tags : m->only_digests || rule->mirrors_by_digest) || i--)
			continue;
		*insecure = m->insecure;
		int r = move_to(rule, m->location, out, e);

		return r ? r : 1;
	}
	if (i)
		return 0;
	int r = location ? move_to(rule, location, out, e) : 0;

	return r ? r : 1;
}
