/* Small files as a whole: ceilings, short reads, replacement that is all or nothing. */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../test.h"
#include "base/cleanup.h"

struct place {
	char path[64];
	int fd;
};

static int enter(void **state)
{
	static struct place p;

	strncpy(p.path, "/tmp/warren-test-file-XXXXXX", sizeof(p.path) - 1);
	if (!mkdtemp(p.path))
		return -1;
	p.fd = open(p.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = &p;
	return p.fd < 0;
}

static int leave(void **state)
{
	struct place *p = *state;

	unlinkat(p->fd, "a", 0);
	unlinkat(p->fd, "target", 0);
	close(p->fd);
	return rmdir(p->path);
}

static void replaces_and_reads(void **state)
{
	struct place *p = *state;
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);
	struct stat st;

	umask(022);
	assert_int_equal(file_replace(p->fd, "a", "first", 5, 0600, 0), 0);
	assert_int_equal(file_replace(p->fd, "a", "second", 6, 0640, 1), 0);
	assert_int_equal(file_read(p->fd, "a", &b), 0);
	assert_string_equal(buf_str(&b), "second");
	assert_int_equal(fstatat(p->fd, "a", &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void leaves_no_temporary_file(void **state)
{
	struct place *p = *state;

	/* The name is taken by a directory: the rename fails after the temporary file was written.
	 */
	assert_int_equal(mkdirat(p->fd, "a", 0700), 0);
	assert_int_equal(file_replace(p->fd, "a", "x", 1, 0600, 0), -EISDIR);
	/* rmdir in leave() fails when anything is left. */
	assert_int_equal(unlinkat(p->fd, "a", AT_REMOVEDIR), 0);
}

static void replaces_a_link_and_not_its_target(void **state)
{
	struct place *p = *state;
	cleanup_with(buf_fini) struct buf b = BUF_INIT(100);

	assert_int_equal(file_replace(p->fd, "target", "safe", 4, 0600, 0), 0);
	assert_int_equal(symlinkat("target", p->fd, "a"), 0);
	assert_int_equal(file_replace(p->fd, "a", "new", 3, 0600, 0), 0);
	assert_int_equal(file_read(p->fd, "target", &b), 0);
	assert_string_equal(buf_str(&b), "safe");
}

static void reading_stops_at_the_ceiling(void **state)
{
	struct place *p = *state;
	cleanup_with(buf_fini) struct buf exact = BUF_INIT(10);
	cleanup_with(buf_fini) struct buf small = BUF_INIT(9);

	assert_int_equal(file_replace(p->fd, "a", "0123456789", 10, 0600, 0), 0);
	assert_int_equal(file_read(p->fd, "a", &exact), 0);
	assert_int_equal(exact.len, 10);
	assert_int_equal(file_read(p->fd, "a", &small), -EMSGSIZE);
}

static void missing_file(void **state)
{
	struct place *p = *state;
	cleanup_with(buf_fini) struct buf b = BUF_INIT(10);

	assert_int_equal(file_read(p->fd, "a", &b), -ENOENT);
	assert_int_equal(file_poke(p->fd, "a", "1"), -ENOENT);
	assert_int_equal(faccessat(p->fd, "a", F_OK, 0), -1);
}

static void pokes_in_place(void **state)
{
	struct place *p = *state;
	cleanup_with(buf_fini) struct buf b = BUF_INIT(10);

	assert_int_equal(file_replace(p->fd, "a", "12345", 5, 0600, 0), 0);
	assert_int_equal(file_poke(p->fd, "a", "99"), 0);
	assert_int_equal(file_read(p->fd, "a", &b), 0);
	assert_string_equal(buf_str(&b), "99345");
}

static void short_reads_are_put_together(void **state)
{
	int fds[2];
	char got[8] = "";

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t child = fork();

	if (!child) {
		close(fds[0]);
		for (int i = 0; i < 6; i++) {
			write_full(fds[1], &(char){ (char)('a' + i) }, 1);
			usleep(1000);
		}
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read_full(fds[0], got, 4), 4);
	assert_string_equal(got, "abcd");
	assert_int_equal(read_full(fds[0], got, 7), 2);
	assert_int_equal(read_full(fds[0], got, 7), 0);
	close(fds[0]);
	assert_int_equal(read_full(-1, got, 1), -EBADF);
	assert_int_equal(write_full(-1, got, 1), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replaces_and_reads, enter, leave),
		cmocka_unit_test_setup_teardown(leaves_no_temporary_file, enter, leave),
		cmocka_unit_test_setup_teardown(replaces_a_link_and_not_its_target, enter, leave),
		cmocka_unit_test_setup_teardown(reading_stops_at_the_ceiling, enter, leave),
		cmocka_unit_test_setup_teardown(missing_file, enter, leave),
		cmocka_unit_test_setup_teardown(pokes_in_place, enter, leave),
		cmocka_unit_test(short_reads_are_put_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
