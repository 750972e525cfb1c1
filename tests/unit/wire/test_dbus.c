/* D-Bus messages: alignment, round trips, and every way of lying about a length. */
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/cleanup.h"
#include "wire/dbus.h"

static void print_call(struct buf *out)
{
	cleanup_with(buf_fini) struct buf body = BUF_INIT(4096);
	const struct dbus_msg m = {
		.type = DBUS_CALL,
		.serial = 7,
		.path = "/org/freedesktop/systemd1",
		.interface = "org.freedesktop.systemd1.Manager",
		.member = "StartTransientUnit",
		.destination = "org.freedesktop.systemd1",
		.signature = "sat",
	};

	dbus_put_string(&body, "x.scope");
	size_t array = dbus_array_begin(&body, 8);

	dbus_put_u64(&body, 5);
	dbus_array_end(&body, array, 8);
	struct dbus_msg copy = m;

	copy.body = (const unsigned char *)body.data;
	copy.body_n = body.len;
	assert_int_equal(dbus_print(&copy, out), 0);
}

static void aligns_as_the_protocol_says(void **state)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(256);
	static const unsigned char expect[] = { 1, 0, 0, 0, 'a', 0, 0, 0, 8, 0, 0, 0,
						0, 0, 0, 0, 9,	 0, 0, 0, 0, 0, 0, 0 };

	dbus_put_string(&b, "a");
	size_t array = dbus_array_begin(&b, 8);

	dbus_put_u64(&b, 9);
	dbus_array_end(&b, array, 8);
	assert_int_equal(b.len, sizeof(expect));
	assert_memory_equal(b.data, expect, sizeof(expect));
	/* An empty array still has the padding before its first element. */
	buf_clear(&b);
	array = dbus_array_begin(&b, 8);
	dbus_array_end(&b, array, 8);
	assert_int_equal(b.len, 8);
	assert_memory_equal(b.data, "\0\0\0\0\0\0\0\0", 8);
}

static void reads_what_it_writes(void **state)
{
	cleanup_with(buf_fini) struct buf out = BUF_INIT(4096);
	struct dbus_msg m;
	size_t used = 0;
	const char *s;
	uint32_t n;

	print_call(&out);
	assert_int_equal(dbus_parse(out.data, out.len, &m, &used), 1);
	assert_int_equal(used, out.len);
	assert_int_equal(m.serial, 7);
	assert_string_equal(m.member, "StartTransientUnit");
	assert_string_equal(m.signature, "sat");
	assert_null(m.sender);
	struct dbus_reader r = { .p = m.body, .n = m.body_n };

	assert_int_equal(dbus_get_string(&r, &s), 0);
	assert_string_equal(s, "x.scope");
	assert_int_equal(dbus_get_u32(&r, &n), 0);
	assert_int_equal(n, 8);
	/* Any shorter piece asks for more. */
	for (size_t i = 0; i < out.len; i++)
		assert_int_equal(dbus_parse(out.data, i, &m, &used), 0);
}

/* Every byte set to every value of a few: no crash, no read outside (the sanitizers watch), never a longer message
 * than there are bytes. */
static void survives_damage(void **state)
{
	static const unsigned char values[] = { 0, 1, 7, 8, 0x7f, 0x80, 0xff, 'l', 's', 'u' };
	cleanup_with(buf_fini) struct buf out = BUF_INIT(4096);

	print_call(&out);
	for (size_t at = 0; at < out.len; at++) {
		for (size_t v = 0; v < sizeof(values); v++) {
			char old = out.data[at];
			struct dbus_msg m;
			size_t used = 0;

			out.data[at] = (char)values[v];
			int r = dbus_parse(out.data, out.len, &m, &used);

			if (r == 1)
				assert_true(used <= out.len);
			else
				assert_true(r == 0 || r == -EBADMSG || r == -EMSGSIZE);
			out.data[at] = old;
		}
	}
}

static void strings_must_end_where_they_say(void **state)
{
	static const unsigned char no_nul[] = { 1, 0, 0, 0, 'a', 'b' },
				   short_one[] = { 9, 0, 0, 0, 'a', 0 },
				   inner[] = { 3, 0, 0, 0, 'a', 0, 'c', 0 },
				   huge[] = { 255, 255, 255, 255, 0 };
	const struct {
		const unsigned char *p;
		size_t n;
	} rows[] = { { no_nul, 6 }, { short_one, 6 }, { inner, 8 }, { huge, 5 }, { huge, 3 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct dbus_reader r = { .p = rows[i].p, .n = rows[i].n };
		const char *s;

		assert_int_equal(dbus_get_string(&r, &s), -EBADMSG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aligns_as_the_protocol_says),
		cmocka_unit_test(reads_what_it_writes),
		cmocka_unit_test(survives_damage),
		cmocka_unit_test(strings_must_end_where_they_say),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
