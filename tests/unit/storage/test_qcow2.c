/* qcow2 against qemu-img: images that it made, images that we wrote, and images that nobody should have made. */
#include "../test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/spawn.h"
#include "os/tree.h"
#include "storage/block.h"
#include "wire/qcow2.h"

#define SIZE  (8u << 20)
#define CLUST 65536u

static char dir[64];

static int setup(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/warren-qcow2-XXXXXX");
	return mkdtemp(dir) ? chdir(dir) : -1;
}

static int teardown(void **state)
{
	return chdir("/") < 0 ? -1 : tree_remove(AT_FDCWD, dir);
}

/* Runs qemu-img; skips the test where there is none. */
static void qemu_img(const char *const *argv)
{
	struct err e = ERR_INIT;
	int stderr_fd;
	pid_t pid;

	if (spawn_with_stderr(&pid, "qemu-img", argv, (const int[3]){ -1, -1, -1 }, &stderr_fd,
			      &e) < 0)
		skip();
	if (spawn_finish(pid, stderr_fd, "qemu-img", &e) < 0)
		fail_msg("%s", e.msg);
}

#define QEMU_IMG(...) qemu_img((const char *const[]){ "qemu-img", __VA_ARGS__, NULL })

static struct block *open_image(const char *name, bool read_only, struct block *backing)
{
	struct err e = ERR_INIT;
	int fd = open(name, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);

	assert_true(fd >= 0);
	struct block *b = block_qcow2_new(fd, read_only, backing, &e);

	if (!b)
		fail_msg("%s: %s", name, e.msg);
	return b;
}

static void write_raw(const char *name)
{
	cleanup_fd int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	char piece[4096];

	assert_int_equal(ftruncate(fd, SIZE), 0);
	for (unsigned i = 0; i < SIZE / sizeof(piece); i += 3) { /* with holes */
		memset(piece, (int)(i % 251) + 1, sizeof(piece));
		assert_int_equal(pwrite(fd, piece, sizeof(piece), (off_t)i * 4096), 4096);
	}
}

/* Whole disks are equal. */
static void assert_same(struct block *a, const char *raw)
{
	cleanup_fd int fd = open(raw, O_RDONLY | O_CLOEXEC);
	char x[10240], y[10240];

	for (uint64_t at = 0; at < a->size; at += sizeof(x)) {
		size_t n = (size_t)MIN((uint64_t)sizeof(x), a->size - at);

		memset(y, 0, sizeof(y));
		assert_true(pread(fd, y, n, (off_t)at) >= 0);
		assert_int_equal(block_read(a, at, x, n), 0);
		assert_memory_equal(x, y, n);
	}
}

static void test_reads_what_qemu_wrote(void **state)
{
	static const char *const sizes[] = { "cluster_size=512", "cluster_size=65536",
					     "cluster_size=2097152", "compat=0.10" };

	write_raw("raw");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", "-o", sizes[i], "raw", "img");
		struct block *b = open_image("img", true, NULL);

		assert_int_equal(b->size, SIZE);
		assert_same(b, "raw");
		block_free(b);
	}
}

/* The same writes to our image and to a raw file; qemu-img must find them equal and the image sound. */
static void write_both(struct block *b, const char *raw, unsigned seed)
{
	cleanup_fd int fd = open(raw, O_RDWR | O_CLOEXEC);
	static char piece[3 * CLUST];

	for (unsigned i = 0; i < 60; i++) {
		seed = seed * 1103515245u + 12345u;
		uint64_t at = (uint64_t)(seed >> 8) % (b->size / 512) * 512;
		size_t n = MIN((size_t)(1 + (seed >> 3) % 300) * 512, (size_t)(b->size - at));

		memset(piece, (int)(seed >> 16), n);
		assert_int_equal(block_write(b, at, piece, n), 0);
		assert_int_equal(pwrite(fd, piece, n, (off_t)at), (ssize_t)n);
		if (i % 20 == 10)
			assert_int_equal(block_flush(b), 0);
	}
	assert_int_equal(block_zero(b, 512, 5 * CLUST, false), 0);
	memset(piece, 0, sizeof(piece));
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(pwrite(fd, piece, CLUST, 512 + (off_t)i * CLUST), CLUST);
}

static void test_qemu_reads_what_we_wrote(void **state)
{
	static const char *const sizes[] = { "cluster_size=512", "cluster_size=65536",
					     "compat=0.10" };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		write_raw("raw");
		QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", "-o", sizes[i], "raw", "img");
		struct block *b = open_image("img", false, NULL);

		write_both(b, "raw", 7 + (unsigned)i);
		assert_same(b, "raw");
		block_free(b);
		QEMU_IMG("check", "img");
		QEMU_IMG("compare", "-f", "raw", "-F", "qcow2", "raw", "img");
	}
}

static void test_empty_image_grows(void **state)
{
	QEMU_IMG("create", "-q", "-f", "qcow2", "-o", "cluster_size=512", "img", "8M");
	QEMU_IMG("create", "-q", "-f", "raw", "raw", "8M");
	struct block *b = open_image("img", false, NULL);

	assert_same(b, "raw");
	write_both(b, "raw", 99);
	block_free(b);
	QEMU_IMG("check", "img");
	QEMU_IMG("compare", "-f", "raw", "-F", "qcow2", "raw", "img");
}

static void test_overlay(void **state)
{
	struct err e = ERR_INIT;

	write_raw("raw");
	write_raw("base");
	/* The overlay is larger than its backing disk. */
	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", "over", "10M");
	assert_null(block_qcow2_new(open("over", O_RDWR | O_CLOEXEC), false, NULL, &e));
	assert_int_equal(e.code, -EACCES);
	assert_non_null(strstr(e.msg, "'base'"));
	struct block *base = block_raw_new(open("base", O_RDONLY | O_CLOEXEC), true, NULL);
	struct block *b = open_image("over", false, base);

	assert_int_equal(b->size, 10u << 20);
	assert_int_equal(truncate("raw", 10 << 20), 0);
	assert_same(b, "raw");
	write_both(b, "raw", 5);
	assert_same(b, "raw");
	block_free(b);
	QEMU_IMG("check", "over");
	QEMU_IMG("compare", "-f", "raw", "-F", "qcow2", "raw", "over");
	/* Nothing went to the backing disk. */
	write_raw("raw");
	QEMU_IMG("compare", "-f", "raw", "-F", "raw", "raw", "base");
}

static void test_snapshots_stay(void **state)
{
	write_raw("raw");
	QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", "raw", "img");
	QEMU_IMG("snapshot", "-c", "one", "img");
	struct block *b = open_image("img", false, NULL);

	write_raw("work");
	write_both(b, "work", 3);
	assert_same(b, "work");
	block_free(b);
	QEMU_IMG("compare", "-f", "raw", "-F", "qcow2", "work", "img");
	QEMU_IMG("snapshot", "-a", "one", "img");
	QEMU_IMG("compare", "-f", "raw", "-F", "qcow2", "raw", "img");
}

static void test_no_flush_no_change(void **state)
{
	char piece[512];

	QEMU_IMG("create", "-q", "-f", "qcow2", "img", "8M");
	memset(piece, 'x', sizeof(piece));
	struct block *b = open_image("img", false, NULL);

	assert_int_equal(block_write(b, 0, piece, sizeof(piece)), 0);
	/* A kill now: the file as it is on disk is sound and still empty. */
	QEMU_IMG("convert", "-U", "-f", "qcow2", "-O", "raw", "img", "seen");
	cleanup_fd int fd = open("seen", O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, piece, 1, 0), 1);
	assert_int_equal(piece[0], 0);
	block_free(b);
}

static const struct {
	const char *what;
	off_t at;
	uint64_t value; /* big-endian, `n` bytes */
	size_t n;
	int want;
} bad[] = {
	{ "magic", 0, 0, 1, -EBADMSG },
	{ "version", 4, 4, 4, -ENOTSUP },
	{ "tiny clusters", 20, 8, 4, -EBADMSG },
	{ "huge clusters", 20, 22, 4, -EBADMSG },
	{ "clusters of 2^64", 20, 64, 4, -EBADMSG },
	{ "encrypted", 32, 1, 4, -ENOTSUP },
	{ "size not in sectors", 24, 1000, 8, -EBADMSG },
	{ "size beyond the L1", 24, 1ull << 50, 8, -EBADMSG },
	{ "size beyond all", 24, UINT64_MAX - 511, 8, -EBADMSG },
	{ "huge L1", 36, 0xffffffff, 4, -EBADMSG },
	{ "L1 outside", 40, 1ull << 40, 8, -EBADMSG },
	{ "L1 wraps", 40, UINT64_MAX - 65535, 8, -EBADMSG },
	{ "L1 unaligned", 40, 3 * CLUST + 8, 8, -EBADMSG },
	{ "L1 in the header", 40, 0, 8, -EBADMSG },
	{ "L1 on the refcount table", 40, CLUST, 8, -EBADMSG },
	{ "refcount table outside", 48, 1ull << 40, 8, -EBADMSG },
	{ "no refcount table", 56, 0, 4, -EBADMSG },
	{ "huge refcount table", 56, 0xffffffff, 4, -EBADMSG },
	{ "backing name outside", 8, 1ull << 40, 8, -EBADMSG },
	{ "corrupt", 72, 2, 8, -EBADMSG },
	{ "dirty", 72, 1, 8, -ENOTSUP },
	{ "external data", 72, 4, 8, -ENOTSUP },
	{ "extended L2", 72, 16, 8, -ENOTSUP },
	{ "unknown feature", 72, 1ull << 40, 8, -ENOTSUP },
	{ "other refcounts", 96, 3, 4, -ENOTSUP },
	{ "L2 outside", 3 * CLUST, 1ull << 40, 8, -EBADMSG },
	{ "L2 unaligned", 3 * CLUST, 4 * CLUST + 512, 8, -EBADMSG },
	{ "L2 is the L1", 3 * CLUST, 3 * CLUST, 8, -EBADMSG },
	{ "L2 is the header's neighbour", 3 * CLUST, CLUST, 8, -EBADMSG },
	{ "refcount block is the L1", CLUST, 3 * CLUST, 8, -EBADMSG },
	{ "refcount block outside", CLUST, 1ull << 40, 8, -EBADMSG },
	{ "refcount block twice", CLUST + 8, 2 * CLUST, 8, -EBADMSG },
};

static void patch(const char *name, off_t at, uint64_t value, size_t n)
{
	cleanup_fd int fd = open(name, O_RDWR | O_CLOEXEC);
	uint8_t b[8];

	for (size_t i = 0; i < n; i++)
		b[i] = (uint8_t)(value >> (8 * (n - 1 - i)));
	assert_int_equal(pwrite(fd, b, n, at), (ssize_t)n);
}

static int parse_header(const char *name, struct qcow2_header *h)
{
	cleanup_fd int fd = open(name, O_RDONLY | O_CLOEXEC);
	struct err e = ERR_INIT;
	uint8_t head[QCOW2_HEAD];
	ssize_t n = pread(fd, head, sizeof(head), 0);

	assert_true(n > 0);
	return qcow2_header_parse(head, (size_t)n, (uint64_t)lseek(fd, 0, SEEK_END), h, &e);
}

/* What the backing file is, is the image's word, and never guessed from its bytes. */
static void test_backing_format(void **state)
{
	static const struct {
		const char *compat, *word;
		int r;
		enum qcow2_backing want;
	} rows[] = {
		{ "compat=0.10", "raw", 0, QCOW2_BACKING_RAW },
		{ "compat=1.1", "raw", 0, QCOW2_BACKING_RAW },
		{ "compat=1.1", "qcow2", 0, QCOW2_BACKING_QCOW2 },
		{ "compat=1.1", "vmdk", -ENOTSUP, QCOW2_BACKING_UNSAID },
	};
	struct qcow2_header h;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		QEMU_IMG("create", "-q", "-u", "-f", "qcow2", "-o", rows[i].compat, "-b", "base",
			 "-F", rows[i].word, "over", "1M");
		assert_int_equal(parse_header("over", &h), rows[i].r);
		assert_int_equal(h.backing_format, rows[i].want);
	}
	QEMU_IMG("create", "-q", "-u", "-f", "qcow2", "-o", "compat=0.10", "-b", "base", "-F",
		 "raw", "over", "1M");
	patch("over", 72, 0x12345678, 4); /* an extension that we do not know */
	assert_int_equal(parse_header("over", &h), 0);
	assert_int_equal(h.backing_format, QCOW2_BACKING_UNSAID);
	patch("over", 76, 0xfffffff9, 4);
	assert_int_equal(parse_header("over", &h), -EBADMSG);
}

static void test_hostile(void **state)
{
	write_raw("raw");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;

		QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", "raw", "img");
		patch("img", bad[i].at, bad[i].value, bad[i].n);
		if (block_qcow2_new(open("img", O_RDWR | O_CLOEXEC), false, NULL, &e) ||
		    e.code != bad[i].want)
			fail_msg("%s: %d %s", bad[i].what, e.code, e.msg);
	}
}

/* Bad entries that only show when they are used; each an error, never a write to a wrong place. */
static void test_hostile_clusters(void **state)
{
	static const struct {
		const char *what;
		uint64_t entry;
		int read, write;
	} rows[] = {
		{ "outside", QCOW2_COPIED | 1ull << 40, -EIO, -EIO },
		{ "unaligned", QCOW2_COPIED | (4 * CLUST + 512), -EIO, -EIO },
		{ "header", QCOW2_COPIED | 512, -EIO, -EIO },
		{ "refcount table", QCOW2_COPIED | CLUST, 0, -EIO },
		{ "L1", QCOW2_COPIED | 3 * CLUST, 0, -EIO },
		{ "compressed", 1ull << 62 | 4 * CLUST, -ENOTSUP, -ENOTSUP },
	};
	char piece[512] = "";

	write_raw("raw");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", "raw", "img");
		patch("img", 4 * CLUST, rows[i].entry, 8);
		struct block *b = open_image("img", false, NULL);

		if (block_read(b, 0, piece, sizeof(piece)) != rows[i].read ||
		    block_write(b, 0, piece, sizeof(piece)) != rows[i].write)
			fail_msg("%s", rows[i].what);
		/* The neighbour is none the worse. */
		assert_int_equal(block_read(b, 12 * CLUST, piece, sizeof(piece)), 0);
		block_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_what_qemu_wrote),
		cmocka_unit_test(test_qemu_reads_what_we_wrote),
		cmocka_unit_test(test_empty_image_grows),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_snapshots_stay),
		cmocka_unit_test(test_no_flush_no_change),
		cmocka_unit_test(test_backing_format),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_hostile_clusters),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
