/* Mount options: words to flags, what belongs to the file system, and what cannot be. */
#include <errno.h>
#include <string.h>
#include <sys/mount.h>

#include "../test.h"
#include "base/util.h"
#include "container/mount_int.h"

static int parse(const char *type, const char **words, size_t n, struct mount_opts *o)
{
	struct oci_mount m = { .destination = "/x", .type = type, .options = { words, n } };
	struct err e = ERR_INIT;

	return mount_opts_parse(&m, o, &e);
}

#define PARSE(type, o, ...)                          \
	parse(type, (const char *[]){ __VA_ARGS__ }, \
	      ARRAY_SIZE(((const char *[]){ __VA_ARGS__ })), o)

static void words_become_flags(void **state)
{
	struct mount_opts o;

	(void)state;
	assert_int_equal(PARSE("tmpfs", &o, "nosuid", "noexec", "size=1m", "defaults", "mode=755"),
			 0);
	assert_int_equal(o.flags, MS_NOSUID | MS_NOEXEC);
	assert_string_equal(o.data, "size=1m,mode=755");
	assert_false(o.bind);
}

static void the_last_word_counts(void **state)
{
	struct mount_opts o;

	(void)state;
	assert_int_equal(PARSE("bind", &o, "ro", "rw"), 0);
	assert_int_equal(o.set & MOUNT_ATTR_RDONLY, 0);
	assert_true(o.clear & MOUNT_ATTR_RDONLY);
	assert_int_equal(PARSE("bind", &o, "rw", "ro"), 0);
	assert_true(o.set & MOUNT_ATTR_RDONLY);
	assert_int_equal(o.clear & MOUNT_ATTR_RDONLY, 0);
}

static void access_time_is_one_field(void **state)
{
	struct mount_opts o;

	(void)state;
	assert_int_equal(PARSE("bind", &o, "noatime", "relatime"), 0);
	assert_int_equal(o.set & MOUNT_ATTR__ATIME, MOUNT_ATTR_RELATIME);
	assert_int_equal(o.clear & MOUNT_ATTR__ATIME, MOUNT_ATTR__ATIME);
	assert_int_equal(PARSE("bind", &o, "strictatime"), 0);
	assert_int_equal(o.set & MOUNT_ATTR__ATIME, MOUNT_ATTR_STRICTATIME);
}

static void recursive_words_are_kept_apart(void **state)
{
	struct mount_opts o;

	(void)state;
	assert_int_equal(PARSE(NULL, &o, "rbind", "rro", "nosuid", "rslave"), 0);
	assert_true(o.bind && o.recursive && o.prop_recursive);
	assert_int_equal(o.rec_set, MOUNT_ATTR_RDONLY);
	assert_int_equal(o.set, MOUNT_ATTR_NOSUID);
	assert_int_equal(o.propagation, MS_SLAVE);
}

static void id_maps_are_for_binds(void **state)
{
	struct mount_opts o;

	(void)state;
	assert_int_equal(PARSE("tmpfs", &o, "idmap"), -EINVAL);
	assert_int_equal(PARSE("bind", &o, "ridmap"), 0);
	assert_true(o.idmap && o.idmap_recursive);
}

static void options_have_a_limit(void **state)
{
	static char big[PATH_MAX + 10];
	struct mount_opts o;

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	assert_int_equal(PARSE("tmpfs", &o, big), -EINVAL);
}

static void propagation_words(void **state)
{
	(void)state;
	assert_int_equal(mount_propagation("rshared"), MS_SHARED | MS_REC);
	assert_int_equal(mount_propagation("unbindable"), MS_UNBINDABLE);
	assert_int_equal(mount_propagation("loud"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_become_flags),
		cmocka_unit_test(the_last_word_counts),
		cmocka_unit_test(access_time_is_one_field),
		cmocka_unit_test(recursive_words_are_kept_apart),
		cmocka_unit_test(id_maps_are_for_binds),
		cmocka_unit_test(options_have_a_limit),
		cmocka_unit_test(propagation_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
