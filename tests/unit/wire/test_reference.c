/* Image names and digests: docker's completions, and what is refused. */
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "wire/reference.h"
#include "wire/sha256.h"

#define D64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_are_completed(void **state)
{
	static const struct {
		const char *in, *whole, *familiar;
	} rows[] = {
		{ "debian", "docker.io/library/debian:latest", "debian:latest" },
		{ "debian:12", "docker.io/library/debian:12", "debian:12" },
		{ "a/b", "docker.io/a/b:latest", "a/b:latest" },
		{ "docker.io/debian", "docker.io/library/debian:latest", "debian:latest" },
		{ "index.docker.io/library/x", "docker.io/library/x:latest", "x:latest" },
		{ "localhost/x", "localhost/x:latest", "localhost/x:latest" },
		{ "localhost:5000/x:v1", "localhost:5000/x:v1", "localhost:5000/x:v1" },
		{ "quay.io/a/b/c", "quay.io/a/b/c:latest", "quay.io/a/b/c:latest" },
		{ "[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest" },
		{ "x@sha256:" D64, "docker.io/library/x@sha256:" D64, "x@sha256:" D64 },
		{ "x:1@sha256:" D64, "docker.io/library/x:1@sha256:" D64, "x:1@sha256:" D64 },
		{ "a.b_c__d-e---f", "docker.io/library/a.b_c__d-e---f:latest",
		  "a.b_c__d-e---f:latest" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reference r;
		struct err e = ERR_INIT;
		char out[1024];

		assert_int_equal(reference_parse(rows[i].in, &r, &e), 0);
		assert_int_equal(reference_format(&r, out, sizeof(out)), 0);
		assert_string_equal(out, rows[i].whole);
		assert_int_equal(reference_familiar(&r, out, sizeof(out)), 0);
		assert_string_equal(out, rows[i].familiar);
	}
}

static void wrong_names_are_refused(void **state)
{
	static const struct {
		const char *in, *says;
	} rows[] = {
		{ "", "empty" },
		{ "A", "lower-case" },
		{ "a//b", "empty" },
		{ "/a", "empty" },
		{ "a/", "empty" },
		{ "a..b", "lower-case" },
		{ "a___b", "lower-case" },
		{ "a-", "lower-case" },
		{ ".a", "lower-case" },
		{ "a:", "tag ''" },
		{ "a:-x", "tag '-x'" },
		{ "a:b c", "tag 'b c'" },
		{ "a@sha256:12", "not a digest" },
		{ "a@md5:" D64, "not a digest" },
		{ "host:0/a", "port" },
		{ "host:65536/a", "port" },
		{ "ho_st.x/a", "registry" },
		{ "../a", "registry" },
		{ "a/../b", "lower-case" },
		{ "a b", "lower-case" },
		{ "a\nb", "lower-case" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reference r;
		struct err e = ERR_INIT;

		if (reference_parse(rows[i].in, &r, &e) != -EINVAL || !strstr(e.msg, rows[i].says))
			fail_msg("'%s': '%s' does not say '%s'", rows[i].in, e.msg, rows[i].says);
	}
}

static void digests(void **state)
{
	char out[DIGEST_SIZE];

	(void)state;
	assert_true(digest_valid("sha256:" D64));
	assert_false(digest_valid("sha256:" D64 "0"));
	assert_false(digest_valid("sha256:0123"));
	assert_false(digest_valid("SHA256:" D64));
	assert_false(
		digest_valid("sha256:"
			     "G123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
	digest_of("abc", 3, out);
	assert_string_equal(
		out, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	digest_of("", 0, out);
	assert_string_equal(
		out, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* The same bytes in pieces of any size give the same digest. */
static void pieces_do_not_matter(void **state)
{
	unsigned char data[1000], whole[32], pieces[32];
	struct sha256 s;

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (unsigned char)(i * 7);
	sha256_init(&s);
	sha256_add(&s, data, sizeof(data));
	sha256_finish(&s, whole);
	for (size_t step = 1; step < 200; step++) {
		sha256_init(&s);
		for (size_t at = 0; at < sizeof(data); at += step)
			sha256_add(&s, data + at, MIN(step, sizeof(data) - at));
		sha256_finish(&s, pieces);
		assert_memory_equal(whole, pieces, 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_completed),
		cmocka_unit_test(wrong_names_are_refused),
		cmocka_unit_test(digests),
		cmocka_unit_test(pieces_do_not_matter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
