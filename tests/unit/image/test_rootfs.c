/* Looking into stacked layers: which one answers, what hides what, and where links may lead. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "../test.h"
#include "image/rootfs.h"
#include "os/file.h"
#include "os/tree.h"

static char top[] = "/tmp/warren-test-rootfs-XXXXXX";
static const char *layers[4];

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(top))
		return -1;
	for (int i = 0; i < 3; i++) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), "%s/%d", top, i);
		if (mkdir(path, 0755) < 0)
			return -1;
		layers[i] = strdup(path);
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		free((void *)(uintptr_t)layers[i]);
	return tree_remove(AT_FDCWD, top);
}

static void put(int layer, const char *name, const char *text)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", layers[layer], name);
	char *slash = strrchr(path, '/');

	*slash = '\0';
	assert_int_equal(tree_make(path), 0);
	*slash = '/';
	assert_int_equal(file_replace(AT_FDCWD, path, text, strlen(text), 0644, false), 0);
}

static void place(int layer, const char *name, const char *target)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", layers[layer], name);
	if (target)
		assert_int_equal(symlink(target, path), 0);
	else if (mknod(path, S_IFCHR, makedev(0, 0)) < 0)
		skip();
}

static const char *look(const char *path)
{
	static char text[64];
	struct buf b = BUF_INIT(60);
	const struct image_list list = { layers, 3 };
	int r = image_rootfs_read(&list, path, &b);

	snprintf(text, sizeof(text), "%s", r ? strerrorname_np(-r) : buf_str(&b));
	buf_fini(&b);
	return text;
}

static void the_topmost_answers(void **state)
{
	(void)state;
	put(0, "etc/passwd", "low");
	put(0, "etc/group", "low");
	put(1, "etc/group", "middle");
	put(2, "srv/x", "top");
	assert_string_equal(look("etc/passwd"), "low");
	assert_string_equal(look("etc/group"), "middle");
	assert_string_equal(look("srv/x"), "top");
	assert_string_equal(look("etc/none"), "ENOENT");
	assert_string_equal(look("etc"), "ENOENT");
}

static void whiteouts_hide(void **state)
{
	(void)state;
	put(0, "gone/file", "low");
	put(0, "removed", "low");
	place(1, "removed", NULL);
	place(2, "gone", NULL);
	assert_string_equal(look("removed"), "ENOENT");
	assert_string_equal(look("gone/file"), "ENOENT");
}

static void opaque_and_files_hide(void **state)
{
	char path[PATH_MAX];

	(void)state;
	put(0, "dir/file", "low");
	put(1, "dir/other", "middle");
	put(0, "was/dir/file", "low");
	put(2, "was/dir", "a file now");
	assert_string_equal(look("was/dir/file"), "ENOENT");
	snprintf(path, sizeof(path), "%s/dir", layers[1]);
	assert_string_equal(look("dir/file"), "low");
	if (setxattr(path, "user.overlay.opaque", "y", 1, 0) < 0)
		skip();
	assert_string_equal(look("dir/file"), "ENOENT");
	assert_string_equal(look("dir/other"), "middle");
}

static void links_stay_inside(void **state)
{
	struct stat st;
	char real[PATH_MAX], path[PATH_MAX];
	const struct image_list list = { layers, 3 };

	(void)state;
	put(0, "usr/lib/x", "in");
	place(0, "lib", "usr/lib");
	place(0, "up", "../../../../../../etc/hostname");
	place(0, "root", "/etc");
	snprintf(path, sizeof(path), "%s/fifo", layers[2]);
	assert_int_equal(mkfifo(path, 0644), 0);
	assert_string_equal(look("lib/x"), "in");
	assert_string_equal(look("up"), "ENOENT");
	assert_string_equal(look("root/shadow"), "ENOENT");
	assert_string_equal(look("fifo"), "ENOENT");
	assert_int_equal(image_rootfs_stat(&list, "lib", &st, real, sizeof(real)), 0);
	assert_string_equal(real, "usr/lib");
	assert_int_equal(image_rootfs_stat(&list, "nothing", &st, real, sizeof(real)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_topmost_answers),
		cmocka_unit_test(whiteouts_hide),
		cmocka_unit_test(opaque_and_files_hide),
		cmocka_unit_test(links_stay_inside),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
