/* passwd and group files as images bring them, malformed ones too. */
#include <string.h>

#include "../test.h"
#include "wire/passwd.h"

static const char passwd[] = "# comment\n"
			     "broken\n"
			     "short:x:1\n"
			     "neg:x:-1:0:::\n"
			     "huge:x:4294967295:0:::\n"
			     "letters:x:12a:0:::\n"
			     "root:x:0:0:root:/root:/bin/sh\n"
			     "rel:x:5:6::home:/bin/sh\n"
			     "web:x:33:34:a:/var/www:/bin:x:y\n"
			     "web:x:99:99::/other:\n"
			     ":x:44:44:::\n"
			     "last:x:1000:1001::/home/last:/bin/sh";
static const char group[] =
	"root:x:0:\nweb:x:34:a,web,b\nbad:x:z:web\nadm:x:4:web\nnear:x:5:webx,we\nx:x:7:,web,\n";

static void finds(void **state)
{
	struct passwd_entry p;
	uint32_t gids[8], gid;

	(void)state;
	assert_true(passwd_find(passwd, strlen(passwd), "root", 0, &p));
	assert_string_equal(p.home, "/root");
	assert_true(passwd_find(passwd, strlen(passwd), "web", 0, &p));
	assert_int_equal(p.uid, 33);
	assert_int_equal(p.gid, 34);
	assert_true(passwd_find(passwd, strlen(passwd), NULL, 1000, &p));
	assert_string_equal(p.name, "last");
	assert_true(passwd_find(passwd, strlen(passwd), "rel", 0, &p));
	assert_string_equal(p.home, "");
	assert_true(group_find(group, strlen(group), "adm", &gid));
	assert_int_equal(gid, 4);
	assert_int_equal(group_memberships(group, strlen(group), "web", gids, 8), 3);
	assert_int_equal(gids[0], 34);
	assert_int_equal(gids[2], 7);
	assert_int_equal(group_memberships(group, strlen(group), "web", gids, 1), 1);
}

static void passes_over_what_is_malformed(void **state)
{
	static const char *const absent[] = { "broken",	 "short",   "neg", "huge",
					      "letters", "comment", "",	   "nobody" };
	struct passwd_entry p;
	uint32_t gid;

	(void)state;
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		assert_false(passwd_find(passwd, strlen(passwd), absent[i], 0, &p));
	assert_false(group_find(group, strlen(group), "bad", &gid));
	assert_false(passwd_find("", 0, "root", 0, &p));
	assert_false(passwd_find("root:x:0:0\0:x", 13, "root", 0, &p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds),
		cmocka_unit_test(passes_over_what_is_malformed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
