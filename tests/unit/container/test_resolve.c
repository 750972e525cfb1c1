/* Names in a hostile root: a table of paths, what they lead to, and that nothing outside is touched. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../test.h"
#include "base/util.h"
#include "container/resolve_int.h"
#include "os/tree.h"

static char top[PATH_MAX], root_path[PATH_MAX + 8];
static int root;

static void make_link(const char *target, const char *name)
{
	assert_int_equal(symlinkat(target, root, name), 0);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/test-resolve-XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(root_path, sizeof(root_path), "%s/root", top);
	assert_int_equal(mkdir(root_path, 0755), 0);
	root = open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(mkdirat(root, "dir", 0755), 0);
	assert_int_equal(mkdirat(root, "dir/sub", 0755), 0);
	close(openat(root, "file", O_WRONLY | O_CREAT, 0644));
	make_link("/dir", "absolute");
	make_link("../../../dir", "climbing");
	make_link("loop-b", "loop-a");
	make_link("loop-a", "loop-b");
	make_link("/made/by/link", "dangling");
	make_link("../../outside", "dangling-up");
	make_link("/proc/self/root", "magic");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(root);
	return tree_remove(AT_FDCWD, top);
}

/* Where a descriptor leads, relative to the root; "?" when it is not below it. */
static void where(int fd, char out[PATH_MAX])
{
	char link[64], path[PATH_MAX];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);

	assert_true(n > 0);
	path[n] = '\0';
	size_t len = strlen(root_path);

	if (strncmp(path, root_path, len) != 0 || (path[len] && path[len] != '/'))
		snprintf(out, PATH_MAX, "?");
	else
		snprintf(out, PATH_MAX, "%s", path[len] ? path + len : "/");
}

static const struct {
	const char *path;
	bool directory;
	int error;
	const char *leads_to;
} made[] = {
	{ "/", true, 0, "/" },
	{ "", true, 0, "/" },
	{ "dir/sub", true, 0, "/dir/sub" },
	{ "/dir//sub/", true, 0, "/dir/sub" },
	{ "/dir/../..", true, 0, "/" },
	{ "../../../etc", true, 0, "/etc" },
	{ "absolute/sub", true, 0, "/dir/sub" },
	{ "climbing/sub", true, 0, "/dir/sub" },
	{ "climbing/new/deep", true, 0, "/dir/new/deep" },
	{ "new/file", false, 0, "/new/file" },
	{ "file", false, 0, "/file" },
	{ "file/x", false, -ENOTDIR, NULL },
	{ "loop-a", true, -ELOOP, NULL },
	{ "loop-a/x", true, -ELOOP, NULL },
	{ "dangling", true, 0, "/made/by/link" },
	{ "dangling-up/x", false, 0, "/outside/x" },
	{ "dir/./new2", true, 0, "/dir/new2" },
};

static void everything_is_made_inside(void **state)
{
	char path[PATH_MAX];
	struct stat st;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
		int fd = root_make(root, made[i].path, made[i].directory);

		if (made[i].error) {
			if (fd != made[i].error)
				fail_msg("%s: %d, not %d", made[i].path, fd, made[i].error);
			continue;
		}
		if (fd < 0)
			fail_msg("%s: %s", made[i].path, strerror(-fd));
		where(fd, path);
		if (strcmp(path, made[i].leads_to) != 0)
			fail_msg("%s leads to %s, not %s", made[i].path, path, made[i].leads_to);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(S_ISDIR(st.st_mode), made[i].directory);
		close(fd);
	}
	/* What the links that climb would have made. */
	snprintf(path, sizeof(path), "%.4000s/outside", top);
	assert_int_equal(access(path, F_OK), -1);
}

static void magic_links_end_at_the_root(void **state)
{
	int fd = root_open(root, "magic");

	(void)state;
	assert_true(fd < 0);
	assert_int_equal(root_open(root, "/nope"), -ENOENT);
}

static void parents(void **state)
{
	const char *name;
	char path[PATH_MAX];
	int fd = root_parent(root, "/dev/sub/null", &name);

	(void)state;
	assert_true(fd >= 0);
	where(fd, path);
	assert_string_equal(path, "/dev/sub");
	assert_string_equal(name, "null");
	close(fd);
	assert_int_equal(root_parent(root, "/", &name), -EINVAL);
	assert_int_equal(root_parent(root, "/a/..", &name), -EINVAL);
	assert_int_equal(root_parent(root, "/a/.", &name), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_is_made_inside, set_up, tear_down),
		cmocka_unit_test_setup_teardown(magic_links_end_at_the_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(parents, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
