/* The one door to guest memory. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../test.h"
#include "machine/memory.h"

static void ranges_are_checked_whole(void **state)
{
	static const struct {
		uint64_t gpa, len;
		bool inside;
	} row[] = {
		{ 0, 0, true },
		{ 0, 1, true },
		{ 0, PAGE_2M, true },
		{ 0, PAGE_2M + 1ull, false },
		{ PAGE_2M - 1, 1, true },
		{ PAGE_2M - 1, 2, false },
		{ PAGE_2M, 0, true },
		{ PAGE_2M, 1, false },
		{ PAGE_2M + 1ull, 0, false },
		{ UINT64_MAX, 0, false },
		{ UINT64_MAX, 1, false },
		{ UINT64_MAX, 2, false }, /* wraps to 1 */
		{ 1, UINT64_MAX, false }, /* wraps to 0 */
		{ PAGE_2M / 2, UINT64_MAX - 10, false },
	};
	struct memory m;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(memory_init(&m, PAGE_2M, false, &e), 0);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		void *p = memory_at(&m, GPA(row[i].gpa), row[i].len);

		if ((p != NULL) != row[i].inside)
			fail_msg("row %zu: %s", i, p ? "let in" : "refused");
		if (p)
			assert_ptr_equal(p, m.base + row[i].gpa);
	}
	char b[8];

	assert_int_equal(memory_read(&m, GPA(PAGE_2M - 4), b, 8), -EFAULT);
	assert_int_equal(memory_write(&m, GPA(PAGE_2M - 8), "12345678", 8), 0);
	assert_int_equal(memory_read(&m, GPA(PAGE_2M - 8), b, 8), 0);
	assert_memory_equal(b, "12345678", 8);
	memory_fini(&m);
	assert_null(memory_at(&m, GPA(0), 1));
}

/* 4 MB, of which the upper half lies above 4 GB. */
static void a_hole_belongs_to_nobody(void **state)
{
	static const struct {
		uint64_t gpa, len;
		int64_t at; /* in the mapping, -1: refused */
	} row[] = {
		{ 0, PAGE_2M, 0 },
		{ PAGE_2M - 1, 1, PAGE_2M - 1 },
		{ PAGE_2M - 1, 2, -1 }, /* into the hole */
		{ PAGE_2M + 1ull, 1, -1 },
		{ MEMORY_HIGH - 1, 1, -1 },
		{ MEMORY_HIGH - 1, 2, -1 }, /* out of the hole */
		{ MEMORY_HIGH, 1, PAGE_2M },
		{ MEMORY_HIGH, PAGE_2M, PAGE_2M },
		{ MEMORY_HIGH, PAGE_2M + 1ull, -1 },
		{ MEMORY_HIGH + PAGE_2M - 1, 1, 2 * (int64_t)PAGE_2M - 1 },
		{ MEMORY_HIGH + PAGE_2M, 1, -1 },
		{ MEMORY_HIGH + PAGE_2M + 1, 0, -1 },
		{ 0, MEMORY_HIGH + 1, -1 },
		{ UINT64_MAX, 2, -1 },
		{ MEMORY_HIGH, UINT64_MAX, -1 },
	};
	struct memory m;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(memory_init(&m, 2 * PAGE_2M, false, &e), 0);
	memory_make_hole(&m, MEMORY_HIGH - PAGE_2M); /* above what there is: nothing happens */
	assert_ptr_equal(memory_at(&m, GPA(PAGE_2M), PAGE_2M), m.base + PAGE_2M);
	assert_null(memory_at(&m, GPA(MEMORY_HIGH), 0));
	memory_make_hole(&m, PAGE_2M);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		uint8_t *p = memory_at(&m, GPA(row[i].gpa), row[i].len);

		if (p != (row[i].at < 0 ? NULL : m.base + row[i].at))
			fail_msg("row %zu", i);
	}
	memory_fini(&m);
}

static void odd_sizes_are_refused(void **state)
{
	struct memory m;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(memory_init(&m, 0, false, &e), -EINVAL);
	assert_int_equal(memory_init(&m, PAGE, false, &e), -EINVAL);
	assert_null(m.base);
	memory_fini(&m);
}

static void files_are_loaded_and_stay_untouched(void **state)
{
	struct memory m;
	struct err e = ERR_INIT;
	char page[PAGE], back[PAGE];
	int fd = memfd_create("file", MFD_CLOEXEC);

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		memset(page, 'a' + (int)i, sizeof(page));
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	}
	assert_int_equal(memory_init(&m, PAGE_2M, false, &e), 0);
	memset(m.base, '.', 8 * PAGE);
	/* Whole pages and a tail; what lies behind the tail stays. */
	assert_int_equal(memory_load(&m, GPA(PAGE), fd, PAGE, PAGE + 10), 0);
	assert_int_equal(m.base[PAGE - 1], '.');
	assert_int_equal(m.base[PAGE], 'b');
	assert_int_equal(m.base[2 * PAGE + 9], 'c');
	assert_int_equal(m.base[2 * PAGE + 10], '.');
	/* Places that do not line up. */
	assert_int_equal(memory_load(&m, GPA(5), fd, PAGE - 1, 3), 0);
	assert_memory_equal(m.base + 4, ".abb.", 5);
	m.base[PAGE] = 'X';
	assert_int_equal(pread(fd, back, 1, PAGE), 1);
	assert_int_equal(back[0], 'b');
	assert_int_equal(memory_load(&m, GPA(PAGE_2M - PAGE), fd, 0, PAGE + 1), -EFAULT);
	assert_int_equal(memory_load(&m, GPA(0), fd, 3 * PAGE, PAGE + 1), -EIO);
	memory_fini(&m);
	close(fd);
}

static void clones_do_not_share_writes(void **state)
{
	struct memory m, clone;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(memory_init(&m, PAGE_2M, true, &e), 0);
	m.base[7] = 'm';
	assert_int_equal(memory_init_file(&clone, m.fd, 0, PAGE_2M, &e), 0);
	assert_int_equal(clone.base[7], 'm');
	clone.base[7] = 'c';
	assert_int_equal(m.base[7], 'm');
	memory_fini(&clone);
	memory_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_checked_whole),
		cmocka_unit_test(a_hole_belongs_to_nobody),
		cmocka_unit_test(odd_sizes_are_refused),
		cmocka_unit_test(files_are_loaded_and_stay_untouched),
		cmocka_unit_test(clones_do_not_share_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
