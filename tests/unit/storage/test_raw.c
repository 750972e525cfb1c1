/* Raw disks and the common range checks. */
#include "../test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "storage/block.h"

#define SIZE (1u << 20)

static int file_new(size_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void test_read_back(void **state)
{
	struct err e = ERR_INIT;
	struct block *b = block_raw_new(file_new(SIZE + 100), false, &e);
	char in[1024], out[2048];

	assert_non_null(b);
	assert_int_equal(b->size, SIZE); /* the tail is no whole sector */
	memset(in, 'x', sizeof(in));
	assert_int_equal(block_write(b, 512, in, sizeof(in)), 0);
	struct iovec iov[3] = { { out, 100 }, { out + 100, 924 }, { out + 1024, 1024 } };

	memset(out, 'y', sizeof(out));
	assert_int_equal(block_readv(b, 0, iov, 3), 0);
	assert_int_equal(out[511], 0);
	assert_int_equal(out[512], 'x');
	assert_int_equal(out[1535], 'x');
	assert_int_equal(out[1536], 0);
	assert_int_equal(block_flush(b), 0);
	assert_int_equal(block_discard(b, 512, 512), 0);
	assert_int_equal(block_zero(b, 1024, 512, true), 0);
	assert_int_equal(block_read(b, 0, out, sizeof(out)), 0);
	assert_int_equal(out[512], 0);
	assert_int_equal(out[1024], 0);
	assert_int_equal(block_write(b, 0, in, 512), 0);
	assert_int_equal(block_zero(b, 0, SIZE, false), 0);
	assert_int_equal(block_read(b, 0, out, 512), 0);
	assert_int_equal(out[0], 0);
	block_free(b);
}

/* Each row is wrong in one way only. */
static const struct {
	enum block_op op;
	uint64_t offset, len;
	bool read_only;
	int want;
} bad[] = {
	{ BLOCK_READ, SIZE, 512, false, -EINVAL },
	{ BLOCK_READ, SIZE - 512, 1024, false, -EINVAL },
	{ BLOCK_READ, UINT64_MAX - 511, 512, false, -EINVAL },
	{ BLOCK_READ, 1, 512, false, -EINVAL },
	{ BLOCK_READ, 0, 511, false, -EINVAL },
	{ BLOCK_WRITE, SIZE, 512, false, -EINVAL },
	{ BLOCK_WRITE, 0, 512, true, -EROFS },
	{ BLOCK_DISCARD, 0, 512, true, -EROFS },
	{ BLOCK_DISCARD, 0, UINT64_MAX - 511, false, -EINVAL },
	{ BLOCK_ZERO, 0, 512, true, -EROFS },
	{ BLOCK_ZERO, SIZE, 512, false, -EINVAL },
	{ BLOCK_ZERO, 512, 100, false, -EINVAL },
};

static void test_bad_requests(void **state)
{
	char p[1024] = "";

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct block *b = block_raw_new(file_new(SIZE), bad[i].read_only, NULL);
		int r = 0;

		switch (bad[i].op) {
		case BLOCK_READ:
			r = block_read(b, bad[i].offset, p, (size_t)bad[i].len);
			break;
		case BLOCK_WRITE:
			r = block_write(b, bad[i].offset, p, (size_t)bad[i].len);
			break;
		case BLOCK_DISCARD:
			r = block_discard(b, bad[i].offset, bad[i].len);
			break;
		default:
			r = block_zero(b, bad[i].offset, bad[i].len, false);
		}
		assert_int_equal(r, bad[i].want);
		block_free(b);
	}
}

static void test_not_a_disk(void **state)
{
	struct err e = ERR_INIT;
	int p[2];

	assert_int_equal(pipe(p), 0);
	assert_null(block_raw_new(p[0], false, &e));
	assert_int_equal(e.code, -EINVAL);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_back),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_not_a_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
