/* Challenges, tokens and credential files; Containerfiles' text. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/containerfile.h"
#include "wire/registry.h"

static void challenges(void **state)
{
	struct challenge c;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(
		challenge_parse("Bearer realm=\"https://a/t\",service=\"s \\\"x\",scope=\"r:p\"",
				&c, &e),
		0);
	assert_true(c.bearer);
	assert_string_equal(c.realm, "https://a/t");
	assert_string_equal(c.service, "s \"x");
	assert_string_equal(c.scope, "r:p");
	assert_int_equal(challenge_parse("Basic realm=x, bearer realm=https://b", &c, &e), 0);
	assert_true(c.bearer && c.basic);
	assert_string_equal(c.realm, "https://b");
	assert_int_equal(challenge_parse("Basic realm=\"x\"", &c, &e), 0);
	assert_false(c.bearer);

	static const char *const bad[] = { "",
					   "Negotiate",
					   "Bearer",
					   "Bearer realm=",
					   ",,,",
					   "=",
					   "Bearer realm=\"a b\"",
					   "Bearer service=x" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(challenge_parse(bad[i], &c, &e), -EINVAL);
}

static void tokens(void **state)
{
	static const char *const bad[] = { "",
					   "{}",
					   "[]",
					   "{\"token\":1}",
					   "{\"token\":\"\"}",
					   "{\"token\":\"a\\nb\"}",
					   "{\"token\":\"0123456789abcdef\"}" };
	struct err e = ERR_INIT;
	char t[16];

	(void)state;
	assert_int_equal(token_parse("{\"access_token\":\"abc\"}", 22, t, sizeof(t), &e), 0);
	assert_string_equal(t, "abc");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(token_parse(bad[i], strlen(bad[i]), t, sizeof(t), &e) < 0);
}

static void credential_files(void **state)
{
	static const char old[] =
		"{\"HttpHeaders\":{\"a\":\"b\"},\"auths\":{\"h:5000\":{\"auth\":\"YTpi\"}}}";
	struct credentials c;
	struct err e = ERR_INIT;
	char *text;

	(void)state;
	assert_int_equal(credentials_parse(old, strlen(old), "f", "h:5000", &c, &e), 1);
	assert_string_equal(c.user, "a");
	assert_string_equal(c.password, "b");
	assert_int_equal(credentials_parse(old, strlen(old), "f", "other", &c, &e), 0);
	assert_int_equal(credentials_edit(old, strlen(old), "f", "docker.io", "ann", "p:w\xc3\xa4",
					  &text, &e),
			 0);
	assert_non_null(strstr(text, "HttpHeaders"));
	assert_non_null(strstr(text, "https://index.docker.io/v1/"));
	assert_int_equal(credentials_parse(text, strlen(text), "f", "docker.io", &c, &e), 1);
	assert_string_equal(c.user, "ann");
	assert_string_equal(c.password, "p:w\xc3\xa4");
	free(text);

	static const char *const bad[] = { "{\"auths\":{\"x\":{\"auth\":\"!!\"}}}",
					   "{\"auths\":{\"x\":{\"auth\":\"YQ==\"}}}", "{" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_true(credentials_parse(bad[i], strlen(bad[i]), "f", "x", &c, &e) < 0);
}

static void containerfiles(void **state)
{
	static const char text[] =
		"# c\nfrom a\nRUN x \\\n# in between\n  y\n\nCMD [\"a\", \"b c\"]";
	char v1[] = "A=1", v2[] = "B=";
	char *vars[] = { v1, v2, NULL };
	const struct strlist known = { vars, 2 };
	static const struct {
		const char *in, *out;
	} rows[] = { { "$A${A}", "11" },   { "${B:-x}${A:-x}", "x1" }, { "${A:+y}${B:+y}", "y" },
		     { "\\$A $", "$A $" }, { "${A", "${A" },	       { "$C-$A", "-1" } };
	struct strlist w = { 0 };
	struct arena a = ARENA_INIT(1 << 20);
	struct err e = ERR_INIT;
	struct instruction *in;
	size_t n;

	(void)state;
	assert_int_equal(containerfile_parse(text, strlen(text), "f", &a, &in, &n, &e), 0);
	assert_int_equal(n, 3);
	assert_string_equal(in[0].name, "FROM");
	assert_string_equal(in[1].args, "x   y");
	assert_int_equal(in[2].line, 7);
	assert_int_equal(containerfile_list(in[2].args, &w), 1);
	assert_string_equal(w.v[1], "b c");
	assert_int_equal(containerfile_words("a 'b c' \"d\\\"e\"", &w), 0);
	assert_string_equal(w.v[4], "d\"e");
	assert_int_equal(containerfile_words("'open", &w), -EINVAL);
	strlist_fini(&w);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *s = containerfile_expand(rows[i].in, &known);

		assert_string_equal(s, rows[i].out);
		free(s);
	}
	assert_int_equal(containerfile_parse("NOPE x", 6, "f", &a, &in, &n, &e), -EINVAL);
	assert_string_equal(e.msg, "f:1: 'NOPE x' is no instruction known here");
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(challenges),
		cmocka_unit_test(tokens),
		cmocka_unit_test(credential_files),
		cmocka_unit_test(containerfiles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
