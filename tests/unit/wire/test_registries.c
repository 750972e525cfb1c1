/* registries.conf: what its tables say of a name, and what is refused. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/registries.h"

static const char FILE_TEXT[] =
	"# comment\n"
	"unqualified-search-registries = [\"quay.io\", # first\n  'docker.io',]\n"
	"short-name-mode = \"permissive\"\n"
	"[[registry]]\nlocation = \"docker.io\"\n"
	"[[registry.mirror]]\nlocation = \"mirror.local:5000/hub/\"\ninsecure = true\n"
	"[[registry.mirror]]\nlocation = \"digests.local\"\npull-from-mirror = \"digest-only\"\n"
	"[[registry]]\nprefix = \"quay.io/team\"\nlocation = \"quay.local/x\"\n"
	"[[registry]]\nprefix = \"quay.io\"\nblocked = true\n"
	"[[registry]]\nprefix = \"*.example.org\"\ninsecure = true\nlocation = \"all.local\"\n"
	"[aliases]\n\"box\" = \"quay.io/team/box\"\n\"a/b\" = \"z.io/b\"\n";

static void load(struct registries *c)
{
	struct err e = ERR_INIT;

	*c = (struct registries){ .n = 0 };
	assert_int_equal(registries_parse(c, FILE_TEXT, strlen(FILE_TEXT), "f", &e), 0);
}

static void names_without_registry_are_looked_up(void **state)
{
	static const struct {
		const char *name, *first, *second;
	} rows[] = {
		{ "debian:12", "quay.io/debian:12", "docker.io/debian:12" },
		{ "box:1", "quay.io/team/box:1", NULL },
		{ "a/b", "z.io/b", NULL },
		{ "a.io/b", "a.io/b", NULL },
	};
	struct registries c;

	(void)state;
	load(&c);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct strlist l = { .n = 0 };

		assert_int_equal(registries_candidates(&c, rows[i].name, &l, NULL), 0);
		assert_int_equal(l.n, rows[i].second ? 2 : 1);
		assert_string_equal(l.v[0], rows[i].first);
		if (rows[i].second)
			assert_string_equal(l.v[1], rows[i].second);
		strlist_fini(&l);
	}
	registries_fini(&c);
}

#define D64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void places_are_tried_in_order(void **state)
{
	static const struct {
		const char *name, *places[3];
		bool blocked;
	} rows[] = {
		{ "docker.io/debian",
		  { "mirror.local:5000/hub/library/debian", "docker.io/library/debian" },
		  false },
		{ "docker.io/debian@sha256:" D64,
		  { "mirror.local:5000/hub/library/debian", "digests.local/library/debian",
		    "docker.io/library/debian" },
		  false },
		{ "quay.io/team/x/y", { "quay.local/x/x/y" }, false },
		{ "quay.io/teamwork/x", { "quay.io/teamwork/x" }, true },
		{ "a.example.org/x", { "all.local/x" }, false },
		{ "example.org/x", { "example.org/x" }, false },
	};
	struct registries c;

	(void)state;
	load(&c);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reference ref, out;
		bool insecure;
		char text[600];
		size_t n = 0;

		assert_int_equal(reference_parse(rows[i].name, &ref, NULL), 0);
		const struct registries_rule *rule = registries_find(&c, &ref);

		assert_int_equal(rule && rule->blocked, rows[i].blocked);
		while (registries_place(rule, &ref, n, &out, &insecure, NULL) == 1) {
			snprintf(text, sizeof(text), "%s/%s", out.registry, out.repository);
			assert_true(n < 3 && rows[i].places[n]);
			assert_string_equal(text, rows[i].places[n]);
			n++;
		}
		assert_true(n == 3 || !rows[i].places[n]);
	}
	registries_fini(&c);
}

static void later_files_win(void **state)
{
	static const char more[] = "unqualified-search-registries = []\n[[registry]]\n"
				   "prefix = \"quay.io\"\ninsecure = true\n[aliases]\nbox = \"\"\n";
	struct registries c;
	struct reference ref;
	struct strlist l = { .n = 0 };

	(void)state;
	load(&c);
	assert_int_equal(registries_parse(&c, more, strlen(more), "g", NULL), 0);
	assert_int_equal(reference_parse("quay.io/a", &ref, NULL), 0);
	assert_false(registries_find(&c, &ref)->blocked);
	assert_true(registries_find(&c, &ref)->insecure);
	/* An alias needs a value in TOML's string, which may be empty. */
	assert_int_equal(registries_candidates(&c, "box", &l, NULL), 0);
	assert_string_equal(l.v[0], "box");
	strlist_fini(&l);
	registries_fini(&c);
}

static void wrong_files_are_refused(void **state)
{
	static const struct {
		const char *text, *says;
	} rows[] = {
		{ "a = ", "f: line 1: expected a string" },
		{ "a", "f: line 1: expected '='" },
		{ "\n\na = \"x", "f: line 3: a string does not end" },
		{ "a = \"\\q\"", "unknown escape" },
		{ "a = [\"x\" \"y\"]", "expected ','" },
		{ "a = [", "a list does not end" },
		{ "a = [1]", "only lists of strings" },
		{ "a = {b = 1}", "inline tables" },
		{ "a = 1 2", "more behind" },
		{ "[a", "expected ']'" },
		{ "[[a]", "expected ']'" },
		{ "= 1", "expected a name" },
		{ "a = \"\"\"x\"\"\"", "multi-line" },
		{ "[[registry]]\ninsecure = \"yes\"",
		  "f: line 2: insecure: expected true or false" },
		{ "[[registry]]\n", "neither prefix nor location" },
		{ "[[registry.mirror]]\n", "before any" },
		{ "[[registry]]\nprefix = \"a\"\n[[registry.mirror]]\n", "no location" },
		{ "unqualified-search-registries = 1", "a list of strings" },
		{ "[aliases]\na = 1", "a: expected a string" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct registries c = { .n = 0 };
		struct err e = ERR_INIT;

		assert_true(registries_parse(&c, rows[i].text, strlen(rows[i].text), "f", &e) < 0);
		if (!strstr(e.msg, rows[i].says))
			fail_msg("%s: '%s'", rows[i].text, e.msg);
		registries_fini(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_without_registry_are_looked_up),
		cmocka_unit_test(places_are_tried_in_order),
		cmocka_unit_test(later_files_win),
		cmocka_unit_test(wrong_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
