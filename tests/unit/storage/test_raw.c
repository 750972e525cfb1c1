/* Raw disks, read and written by the thread itself and by io_uring, rate limits, and the common range checks. */
#include "../test.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "os/loop.h"
#include "storage/block.h"

#define SIZE (1u << 20)

static int file_new(size_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* The cases' back end; `*state` is one of these. */
struct opener {
	struct block *(*open)(int fd, bool read_only, struct err *e);
};

static struct block *limited_new(int fd, bool read_only, struct err *e)
{
	const struct block_limits none = { 0 };
	struct block *b = block_uring_new(fd, read_only, e);

	return b ? block_limit_new(b, &none, e) : NULL;
}

static struct opener raw = { block_raw_new }, uring = { block_uring_new },
		     limited = { limited_new };

static struct block *open_disk(void **state, size_t size, bool read_only, struct err *e)
{
	struct opener *o = *state;

	return o->open(file_new(size), read_only, e);
}

static void test_read_back(void **state)
{
	struct err e = ERR_INIT;
	struct block *b = open_disk(state, SIZE + 100, false, &e);
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
		struct block *b = open_disk(state, SIZE, bad[i].read_only, NULL);
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
	assert_null(((struct opener *)*state)->open(p[0], false, &e));
	assert_int_equal(e.code, -EINVAL);
	close(p[1]);
}

struct counted {
	struct block_io io;
	int *left;
};

static void count_down(struct block_io *io)
{
	struct counted *c = container_of(io, struct counted, io);

	assert_int_equal(io->result, 0);
	--*c->left;
}

static void wait_for(struct block *b, const int *left)
{
	while (*left) {
		struct pollfd p = { .fd = b->event_fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, 5000), 1);
		block_reap(b);
	}
}

/* More requests than the ring has room for, all under way at once; each finds its own data. */
static void test_many_at_once(void **state)
{
	enum { MANY = 300 };
	static struct counted c[MANY];
	static struct iovec iov[MANY];
	static char data[MANY][512];
	struct block *b = open_disk(state, SIZE, false, NULL);
	int left = MANY;

	for (int i = 0; i < MANY; i++) {
		memset(data[i], 'a' + i % 26, 512);
		iov[i] = (struct iovec){ data[i], 512 };
		c[i] = (struct counted){ { .op = BLOCK_WRITE,
					   .offset = (uint64_t)i * 512,
					   .iov = &iov[i],
					   .iov_n = 1,
					   .done = count_down },
					 &left };
		block_submit(b, &c[i].io);
	}
	block_kick(b);
	wait_for(b, &left);
	memset(data, 0, sizeof(data));
	left = MANY;
	for (int i = 0; i < MANY; i++) {
		c[i].io.op = BLOCK_READ;
		block_submit(b, &c[i].io);
	}
	block_kick(b);
	wait_for(b, &left);
	for (int i = 0; i < MANY; i++) {
		if (data[i][0] != 'a' + i % 26 || data[i][511] != 'a' + i % 26)
			fail_msg("sector %d has %c", i, data[i][0]);
	}
	block_free(b);
}

/* A file that ends before the disk does: its rest reads as zeroes, also in the middle of a piece. */
static void test_file_that_shrank(void **state)
{
	int fd = file_new(SIZE), other = dup(fd);
	struct block *b = ((struct opener *)*state)->open(fd, false, NULL);
	char out[4096];

	memset(out, 'x', sizeof(out));
	assert_int_equal(block_write(b, 0, out, sizeof(out)), 0);
	assert_int_equal(ftruncate(other, 1000), 0);
	struct iovec iov[3] = { { out, 700 }, { out + 700, 700 }, { out + 1400, 2696 } };

	assert_int_equal(block_readv(b, 0, iov, 3), 0);
	assert_int_equal(out[999], 'x');
	for (size_t i = 1000; i < sizeof(out); i++)
		assert_int_equal(out[i], 0);
	block_free(b);
	close(other);
}

static uint64_t read_many(struct block *b, int n, size_t len)
{
	char buffer[8192];
	uint64_t begin = now_ns();

	for (int i = 0; i < n; i++)
		assert_int_equal(block_read(b, 0, buffer, len), 0);
	return (now_ns() - begin) / 1000000;
}

static void test_limits_hold(void **state)
{
	const struct block_limits slow = { .iops = 100 }, narrow = { .bps = 64 << 10 };
	struct block *b = block_limit_new(open_disk(state, SIZE, false, NULL), &slow, NULL);

	/* a second's worth at once, the rest at its pace; flushes are free */
	assert_true(read_many(b, 100, 512) < 300);
	uint64_t ms = read_many(b, 30, 512);

	assert_in_range(ms, 200, 1500);
	assert_int_equal(block_flush(b), 0);
	block_free(b);
	b = block_limit_new(open_disk(state, SIZE, false, NULL), &narrow, NULL);
	assert_true(read_many(b, 8, 8192) < 300);
	ms = read_many(b, 3, 8192);
	assert_in_range(ms, 200, 1500);
	block_free(b);
	/* zeroes may have to be written, and cost as much */
	b = block_limit_new(open_disk(state, SIZE, false, NULL), &narrow, NULL);
	assert_int_equal(block_zero(b, 0, 80 << 10, false), 0);
	ms = read_many(b, 1, 512);
	assert_in_range(ms, 200, 1500);
	block_free(b);
}

/* What waits for its turn begins when its owner is in a hurry. */
static void test_rush(void **state)
{
	const struct block_limits slow = { .iops = 1 };
	struct block *b = block_limit_new(open_disk(state, SIZE, false, NULL), &slow, NULL);
	char data[512];
	struct iovec iov = { data, 512 };
	struct counted c[20];
	int left = 20;
	uint64_t begin = now_ns();

	for (int i = 0; i < 20; i++) {
		c[i] = (struct counted){
			{ .op = BLOCK_READ, .iov = &iov, .iov_n = 1, .done = count_down }, &left
		};
		block_submit(b, &c[i].io);
	}
	block_kick(b);
	block_rush(b);
	while (left)
		block_reap(b);
	assert_true(now_ns() - begin < 1000000000ull);
	block_free(b);
}

/* ... and is paid for afterwards. */
static void test_rush_is_not_free(void **state)
{
	const struct block_limits narrow = { .bps = 64 << 10 };
	struct block *b = block_limit_new(open_disk(state, SIZE, false, NULL), &narrow, NULL);
	static char data[64 << 10];
	struct iovec iov = { data, sizeof(data) };
	struct counted c[2];
	int left = 2;

	for (int i = 0; i < 2; i++) {
		c[i] = (struct counted){
			{ .op = BLOCK_READ, .iov = &iov, .iov_n = 1, .done = count_down }, &left
		};
		block_submit(b, &c[i].io);
	}
	block_rush(b);
	while (left)
		block_reap(b);
	uint64_t ms = read_many(b, 1, 512);

	assert_in_range(ms, 500, 2500);
	block_free(b);
}

int main(void)
{
#define EACH(test)                                                                      \
	cmocka_unit_test_prestate(test, &raw), cmocka_unit_test_prestate(test, &uring), \
		cmocka_unit_test_prestate(test, &limited)
	const struct CMUnitTest tests[] = {
		EACH(test_read_back),
		EACH(test_bad_requests),
		EACH(test_not_a_disk),
		EACH(test_many_at_once),
		EACH(test_file_that_shrank),
		cmocka_unit_test_prestate(test_limits_hold, &raw),
		cmocka_unit_test_prestate(test_limits_hold, &uring),
		cmocka_unit_test_prestate(test_rush, &uring),
		cmocka_unit_test_prestate(test_rush_is_not_free, &uring),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
