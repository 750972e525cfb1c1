/* Tar streams: there and back in pieces of any size, and every guard. */
#include "../test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "wire/tar.h"

struct seen {
	struct buf names, data;
	struct tar_entry last;
	int stop_at; /* entries until the callback refuses; 0: never */
	int entries;
};

static int on_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct seen *s = arg;

	buf_addf(&s->names, "%c %s %s %llu\n", (char)t->type, t->path, t->link,
		 (unsigned long long)t->size);
	s->last = *t;
	return ++s->entries == s->stop_at ? err_set(e, -EPERM, "enough") : 0;
}

static int on_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct seen *s = arg;

	return buf_add(&s->data, p, n);
}

static void seen_init(struct seen *s)
{
	*s = (struct seen){ .names = BUF_INIT(1 << 20), .data = BUF_INIT(1 << 20) };
}

static void seen_fini(struct seen *s)
{
	buf_fini(&s->names);
	buf_fini(&s->data);
}

/* Parses `b` in pieces of `step`. */
static int parse(const struct buf *b, size_t step, struct seen *s, struct err *e)
{
	struct tar_parser t;
	int r = 0;

	tar_parser_init(&t);
	t.entry = on_entry;
	t.data = on_data;
	t.arg = s;
	for (size_t at = 0; at < b->len && r == 0; at += step)
		r = tar_parser_feed(&t, (const uint8_t *)b->data + at, MIN(step, b->len - at), e);
	if (r == 0)
		r = tar_parser_end(&t, e);
	tar_parser_fini(&t);
	return r;
}

static void add_file(struct buf *b, const char *path, const char *content)
{
	static const char zeroes[TAR_BLOCK];
	size_t n = strlen(content);

	tar_add_header(b, &(struct tar_entry){ .type = TAR_FILE,
					       .path = path,
					       .link = "",
					       .mode = 0644,
					       .uid = 7,
					       .gid = 8,
					       .size = n,
					       .mtime = 12345 });
	buf_add(b, content, n);
	buf_add(b, zeroes, tar_pad(n));
}

static void add_end(struct buf *b)
{
	static const char zeroes[2 * TAR_BLOCK];

	buf_add(b, zeroes, sizeof(zeroes));
}

static void test_round_trip(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	char deep[301];

	memset(deep, 'd', 300);
	deep[300] = '\0';
	deep[150] = '/';
	add_file(&b, "a", "hello");
	add_file(&b, deep, "");
	tar_add_header(&b, &(struct tar_entry){ .type = TAR_SYMLINK, .path = "l", .link = deep });
	tar_add_header(&b,
		       &(struct tar_entry){
			       .type = TAR_CHAR, .path = "c", .link = "", .major = 5, .minor = 1 });
	add_file(&b, "z", "last");
	add_end(&b);
	buf_adds(&b, "rubbish behind the end");
	const size_t steps[] = { 1, 7, 511, 512, 513, 100000 };

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		struct buf want = BUF_INIT(4096);
		struct seen s;

		seen_init(&s);
		assert_int_equal(parse(&b, steps[i], &s, NULL), 0);
		buf_addf(&want, "0 a  5\n0 %s  0\n2 l %s 0\n3 c  0\n0 z  4\n", deep, deep);
		assert_string_equal(buf_str(&s.names), buf_str(&want));
		assert_string_equal(buf_str(&s.data), "hellolast");
		assert_int_equal(s.last.mtime, 12345);
		assert_int_equal(s.last.uid, 7);
		assert_int_equal(s.last.mode, 0644);
		buf_fini(&want);
		seen_fini(&s);
	}
	buf_fini(&b);
}

/* Changes one field of the first header and mends the checksum. */
static void patch(struct buf *b, size_t at, const char *bytes, size_t n, bool fix_sum)
{
	unsigned sum = 0;
	char text[8];

	memcpy(b->data + at, bytes, n);
	if (!fix_sum)
		return;
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= 148 && i < 156 ? ' ' : (unsigned char)b->data[i];
	snprintf(text, sizeof(text), "%06o", sum & 0777777);
	memcpy(b->data + 148, text, 7);
}

static const struct {
	const char *what;
	size_t at;
	const char *bytes;
	size_t n;
	bool fix_sum;
} bad[] = {
	{ "checksum", 0, "b", 1, false },
	{ "size is no number", 124, "9999", 4, true },
	{ "size beyond 2^63", 124, "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12, true },
	{ "negative size", 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12, true },
	{ "mode is no number", 100, "x", 1, true },
	{ "uid beyond 32 bits", 108, "\x80\0\0\x01\0\0\0\0", 8, true },
	{ "no name", 0, "\0", 1, true },
	{ "hard link to nothing", 156, "1", 1, true },
	{ "huge long name", 156, "L\0\0\0\0", 1, true },
	{ "pax header that is none", 156, "x", 1, true },
	{ "longer than the archive", 124, "00000077777", 11, true },
};

static void test_hostile(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct buf b = BUF_INIT(1 << 20);
		struct err e = ERR_INIT;
		struct seen s;

		seen_init(&s);
		add_file(&b, "a", "hello");
		if (bad[i].bytes[0] == 'L')
			memcpy(b.data + 124, "00010000001", 11); /* 2 MB */
		patch(&b, bad[i].at, bad[i].bytes, bad[i].n, bad[i].fix_sum);
		add_end(&b);
		if (parse(&b, 512, &s, &e) != -EBADMSG)
			fail_msg("%s: accepted", bad[i].what);
		assert_true(e.msg[0]);
		seen_fini(&s);
		buf_fini(&b);
	}
}

static void test_truncated(void **state)
{
	struct buf b = BUF_INIT(1 << 20);

	add_file(&b, "a", "hello");
	for (size_t n = 1; n < b.len; n++) {
		struct buf cut = { .data = b.data, .len = n, .max = n };
		struct seen s;

		seen_init(&s);
		assert_int_equal(parse(&cut, 4096, &s, NULL), -EBADMSG);
		seen_fini(&s);
	}
	buf_fini(&b);
}

static const char *const bad_pax[] = { "",
				       "x",
				       "5",
				       "5 a=b",
				       "99 path=x\n",
				       "3 =\n",
				       "10 pathx\n\n\n",
				       "30 size=99999999999999999999\n",
				       "12 size=-10\n",
				       "11 path=a\0b\n" };

static void test_hostile_pax(void **state)
{
	static const char zeroes[TAR_BLOCK];

	for (size_t i = 0; i < ARRAY_SIZE(bad_pax); i++) {
		size_t n = i == ARRAY_SIZE(bad_pax) - 1 ? 11 : strlen(bad_pax[i]);
		struct buf b = BUF_INIT(1 << 20);
		struct seen s;

		if (n == 0)
			continue;
		seen_init(&s);
		tar_add_header(&b, &(struct tar_entry){
					   .type = TAR_FILE, .path = "p", .link = "", .size = n });
		patch(&b, 156, "x", 1, true);
		buf_add(&b, bad_pax[i], n);
		buf_add(&b, zeroes, tar_pad(n));
		add_file(&b, "a", "hello");
		add_end(&b);
		if (parse(&b, 512, &s, NULL) != -EBADMSG)
			fail_msg("pax '%s': accepted", bad_pax[i]);
		seen_fini(&s);
		buf_fini(&b);
	}
}

static void test_callback_ends_it(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct seen s;

	seen_init(&s);
	s.stop_at = 1;
	add_file(&b, "a", "hello");
	add_end(&b);
	assert_int_equal(parse(&b, 512, &s, NULL), -EPERM);
	assert_int_equal(s.data.len, 0);
	seen_fini(&s);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),	 cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_truncated),	 cmocka_unit_test(test_hostile_pax),
		cmocka_unit_test(test_callback_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
