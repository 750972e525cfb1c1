/* Option tables: every accepted spelling, every refusal, and what Tab offers. */
#include "cli/opt.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "cli/cli.h"

struct shared {
	const char *format;
	int64_t count;
};

struct settings {
	bool quiet, all;
	uint64_t memory, timeout;
	struct strlist env;
	struct shared shared;
	int called;
};

static int call(const char *value, void *dest, struct err *e)
{
	if (streq(value, "bad"))
		return err_set(e, -EDOM, "bad is not good");
	*(int *)dest += (int)strlen(value);
	return 0;
}

static const struct opt shared_opts[] = {
	OPT_STRING(0, "format", "FORMAT", struct shared, format, "How", .choices = "json|text"),
	OPT_INT('n', "count", "N", struct shared, count, "How many"),
	OPT_END,
};

static const struct opt opts[] = {
	OPT_BOOL('q', "quiet", struct settings, quiet, "Say less"),
	OPT_BOOL('a', "all", struct settings, all, "Everything"),
	OPT_HEADING("Limits"),
	OPT_SIZE('m', "memory", "BYTES", struct settings, memory, "Memory"),
	OPT_DURATION('t', "timeout", "TIME", struct settings, timeout, "Time"),
	OPT_LIST('e', "env", "NAME=VALUE", struct settings, env, "Environment"),
	OPT_CALL(0, "call", "TEXT", struct settings, called, "Call", .call = call),
	OPT_GROUP(shared_opts, struct settings, shared),
	OPT_END,
};

static struct settings s;
static struct err e;

static int clear(void **state)
{
	(void)state;
	opt_free(opts, &s);
	memset(&s, 0, sizeof(s));
	err_clear(&e);
	return 0;
}

/* Parses a line cut at blanks; the words that stay are put together again in `left`. */
static char left[256];

static int parse(const char *line, bool stop_at_arg)
{
	static char copy[256];
	char *argv[32], *save = NULL;
	int argc = 0;

	clear(NULL);
	left[0] = '\0';
	snprintf(copy, sizeof(copy), "cmd %s", line);
	for (char *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
		argv[argc++] = p;
	argv[argc] = NULL;
	int n = opt_parse(opts, stop_at_arg, &s, argc, argv, &e);

	for (int i = 0; i < n; i++) {
		size_t used = strlen(left);

		snprintf(left + used, sizeof(left) - used, "%s%s", i ? " " : "", argv[i]);
	}
	if (n >= 0)
		assert_null(argv[n]);
	return n;
}

static void spellings(void **state)
{
	static const char *const lines[] = {
		"-q -m 1k -n 7 -e A=1 -e B=2",
		"-qm1k -n7 -eA=1 -eB=2",
		"--quiet --memory 1k --count 7 --env A=1 --env B=2",
		"--quiet=true --memory=1k --count=7 --env=A=1 --env=B=2",
		"-m=1k -q -n=7 -e=A=1 -e=B=2",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		assert_int_equal(parse(lines[i], false), 0);
		assert_true(s.quiet);
		assert_false(s.all);
		assert_true(s.memory == 1024);
		assert_true(s.shared.count == 7);
		assert_int_equal(s.env.n, 2);
		assert_string_equal(s.env.v[0], "A=1");
		assert_string_equal(s.env.v[1], "B=2");
	}
}

static void words_stay_in_order(void **state)
{
	(void)state;
	assert_int_equal(parse("one -q two --all three", false), 3);
	assert_string_equal(left, "one two three");
	assert_true(s.quiet && s.all);
	assert_int_equal(parse("-q image -a --count", true), 3);
	assert_string_equal(left, "image -a --count");
	assert_false(s.all);
	assert_int_equal(parse("-q -- -a x", false), 2);
	assert_string_equal(left, "-a x");
	assert_int_equal(parse("- x", false), 2);
	assert_string_equal(left, "- x");
}

static void the_last_value_wins_and_flags_can_be_taken_back(void **state)
{
	(void)state;
	assert_int_equal(parse("--format json --format text -q -q=false", false), 0);
	assert_string_equal(s.shared.format, "text");
	assert_false(s.quiet);
}

static void refusals(void **state)
{
	static const struct {
		const char *line, *message;
	} rows[] = {
		{ "--nothing", "unknown option --nothing" },
		{ "--quite", "unknown option --quite; did you mean --quiet?" },
		{ "--memmory=1", "unknown option --memmory; did you mean --memory?" },
		{ "-z", "unknown option -z" },
		{ "-qz", "unknown option -z" },
		{ "--memory", "--memory needs a value: BYTES" },
		{ "-m", "-m needs a value: BYTES" },
		{ "--memory=lots", "--memory: 'lots' is not a valid BYTES, such as 512m or 2g" },
		{ "-n 9999999999999999999", "-n: '9999999999999999999' is out of range" },
		{ "--quiet=perhaps", "--quiet: 'perhaps' is not a valid true or false" },
		{ "--format yaml", "--format: 'yaml' is none of json|text" },
		{ "--format js", "--format: 'js' is none of json|text" },
		{ "--call bad", "--call: bad is not good" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(parse(rows[i].line, false) < 0);
		assert_string_equal(e.msg, rows[i].message);
	}
	/* A part of a name is no name. */
	assert_true(parse("--qui", false) < 0);
	assert_false(s.quiet);
}

static void help_is_asked(void **state)
{
	(void)state;
	assert_int_equal(parse("-q --help", false), -ECANCELED);
	assert_int_equal(parse("-h", false), -ECANCELED);
	assert_int_equal(parse("x --help", true), 2);
	assert_int_equal(parse("--env --help", false), 0);
}

static void callbacks_and_times(void **state)
{
	(void)state;
	assert_int_equal(parse("--call abc --call=de -t 1.5s", false), 0);
	assert_int_equal(s.called, 5);
	assert_true(s.timeout == 1500000000);
}

static const struct command thing = {
	.name = "thing",
	.args = "IMAGE [ARG...]",
	.summary =
		"Does a thing whose description is long enough that it must be wrapped somewhere",
	.text = "First.\n\n  example --here\n.dotted line",
	.opts = opts,
	.stop_at_arg = true,
	.complete_args = COMPLETE_DIR,
};
static const struct command secret = { .name = "secret", .summary = "Hidden", .hidden = true };
static const struct command *const inner[] = { &thing, &secret, NULL };
static const struct opt before[] = {
	OPT_STRING(0, "root", "DIR", struct shared, format, "Where", .complete = COMPLETE_DIR),
	OPT_END,
};
static const struct command outer = { .name = "outer",
				      .summary = "Options, then a word",
				      .opts = before,
				      .subs = inner,
				      .stop_at_arg = true };
static const struct command group = { .name = "group", .summary = "A group", .subs = inner };
static const struct command *const table[] = { &group, &outer, &secret, &thing, NULL };

static char *offered(int n, const char *const *words)
{
	char *text = NULL, *copy[8];
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	for (int i = 0; i < n; i++)
		copy[i] = strdup(words[i]);
	complete_words(f, table, n, copy);
	for (int i = 0; i < n; i++)
		free(copy[i]);
	fclose(f);
	return text;
}

static void completion(void **state)
{
	static const struct {
		const char *words[6], *offers;
	} rows[] = {
		{ { "" }, "group\tA group\nouter\tOptions, then a word\nthing\t" },
		{ { "se" }, ":\n" },
		{ { "nothing", "" }, ":\n" },
		{ { "group", "th" }, "thing\t" },
		{ { "outer", "" }, "thing\t" },
		{ { "outer", "--ro" }, "--root\tWhere\n:\n" },
		{ { "outer", "--root", "" }, ":dir\n" },
		{ { "outer", "--root", "x", "th" }, "thing\t" },
		{ { "outer", "--root=x", "thing", "--qu" }, "--quiet\tSay less\n:\n" },
		{ { "thing", "--qu" }, "--quiet\tSay less\n:\n" },
		{ { "thing", "--format", "" }, "json\t\ntext\t\n:\n" },
		{ { "thing", "--format=t" }, "--format=text\t\n:\n" },
		{ { "thing", "" }, ":dir\n" },
		{ { "thing", "-q", "" }, ":dir\n" },
		{ { "thing", "-m", "" }, ":\n" },
		{ { "thing", "-qm", "" }, ":\n" },
		{ { "thing", "-m1", "" }, ":dir\n" },
		{ { "thing", "image", "--qu" }, ":file\n" },
		{ { "group", "thing", "--", "--qu" }, ":dir\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int n = 0;

		while (n < 6 && rows[i].words[n])
			n++;
		cleanup_free char *text = offered(n, rows[i].words);

		if (strncmp(text, rows[i].offers, strlen(rows[i].offers)) != 0)
			fail_msg("row %zu: offered '%s'", i, text);
	}
}

static void help_is_wrapped(void **state)
{
	cleanup_free char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	setenv("COLUMNS", "50", 1);
	help_command(f, "warren thing", &thing);
	fclose(f);
	unsetenv("COLUMNS");
	for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
		assert_true(strcspn(p, "\n") <= 50);
	assert_non_null(strstr(text, "\n  example --here\n"));
	assert_non_null(strstr(text, "\nLimits:\n  -m,"));
	assert_non_null(strstr(text, "--format FORMAT"));
	assert_non_null(strstr(text, "(json|text)"));
}

static void manual_escapes_roff(void **state)
{
	cleanup_free char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	(void)state;
	man_page(f, "warren thing", &thing, NULL);
	fclose(f);
	assert_non_null(strstr(text, ".TH WARREN-THING 1"));
	assert_non_null(strstr(text, "\n\\&.dotted line\n"));
	assert_non_null(
		strstr(text, "\\fB\\-m\\fR, \\fB\\-\\-memory\\fR \\fIBYTES\\fR\nMemory.\n"));
	assert_non_null(strstr(text, ".SS Limits\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(spellings, clear),
		cmocka_unit_test_teardown(words_stay_in_order, clear),
		cmocka_unit_test_teardown(the_last_value_wins_and_flags_can_be_taken_back, clear),
		cmocka_unit_test_teardown(refusals, clear),
		cmocka_unit_test_teardown(help_is_asked, clear),
		cmocka_unit_test_teardown(callbacks_and_times, clear),
		cmocka_unit_test(completion),
		cmocka_unit_test(help_is_wrapped),
		cmocka_unit_test(manual_escapes_roff),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
