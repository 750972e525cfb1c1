/* The block device behind its registers, over a memory file. Names of tests quote virtio 1.2. */
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"
#include "driver.h"
#include "virtio/block.h"

enum {
	SECTORS = 64,
	QUEUES = 2,
	HEADER = DRIVER_DATA,
	STATUS = DRIVER_DATA + 0x100,
	BODY = DRIVER_DATA + 0x1000
};

static int file = -1;

static int begin_with(void **state, bool read_only)
{
	static struct driver d;
	struct err e = ERR_INIT;

	driver_memory(&d);
	file = memfd_create("disk", 0);
	assert_int_equal(ftruncate(file, SECTORS * 512), 0);
	for (int i = 0; i < SECTORS; i++)
		assert_int_equal(pwrite(file, &(char){ (char)('A' + i % 26) }, 1, i * 512), 1);
	struct block *b = block_uring_new(dup(file), read_only, &e);

	assert_non_null(b);
	driver_attach(&d, virtio_block_new(&d.mem, b, "serial-number-of-20b", QUEUES), 0);
	*state = &d;
	return 0;
}

static int begin(void **state)
{
	return begin_with(state, false);
}

static int begin_read_only(void **state)
{
	return begin_with(state, true);
}

static int end(void **state)
{
	driver_detach(*state);
	close(file);
	return 0;
}

/* The device thread's part: takes what the disk has completed, until a buffer came back. -1: none does. */
static int64_t settle_on(struct driver *d, unsigned q)
{
	struct pollfd p = { .fd = virtio_block_event_fd(d->dev), .events = POLLIN };
	int64_t r;

	while ((r = driver_take(d, q)) < 0 && p.fd >= 0 && poll(&p, 1, 2000) == 1)
		virtio_block_reap(d->dev);
	return r;
}

static int64_t settle(struct driver *d)
{
	return settle_on(d, 0);
}

static void header(struct driver *d, uint32_t type, uint64_t sector)
{
	struct virtio_blk_req h = { htole32(type), 0, htole64(sector) };

	memcpy(guest(d, HEADER), &h, sizeof(h));
	*(uint8_t *)guest(d, STATUS) = 0xff;
}

/* One request whose data is one piece; the status it got. */
static int request(struct driver *d, uint32_t type, uint64_t sector, uint32_t len, bool from_device)
{
	const struct piece p[] = {
		{ HEADER, 16, false },
		{ BODY, len, from_device },
		{ STATUS, 1, true },
	};
	const struct piece bare[] = { p[0], p[2] };

	header(d, type, sector);
	driver_offer(d, 0, len ? p : bare, len ? 3 : 2);
	assert_true(settle(d) >= 1);
	return *(uint8_t *)guest(d, STATUS);
}

static void reads_and_writes_sectors(void **state)
{
	struct driver *d = *state;
	char c;

	assert_int_equal(request(d, VIRTIO_BLK_T_IN, 3, 1024, true), VIRTIO_BLK_S_OK);
	assert_int_equal(*(char *)guest(d, BODY), 'D');
	assert_int_equal(*(char *)guest(d, BODY + 512), 'E');
	memset(guest(d, BODY), 'x', 512);
	assert_int_equal(request(d, VIRTIO_BLK_T_OUT, 5, 512, false), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(file, &c, 1, 5 * 512 + 511), 1);
	assert_int_equal(c, 'x');
	assert_int_equal(pread(file, &c, 1, 6 * 512), 1);
	assert_int_equal(c, 'G');
	assert_int_equal(request(d, VIRTIO_BLK_T_FLUSH, 0, 0, false), VIRTIO_BLK_S_OK);
	assert_int_equal(d->interrupts, 3);
}

/* 2.7.8.2: used length is what was written to the buffer. */
static void used_length_counts_what_was_written(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = { { HEADER, 16, false },
				   { BODY, 512, true },
				   { STATUS, 1, true } };

	header(d, VIRTIO_BLK_T_IN, 0);
	driver_offer(d, 0, p, 3);
	assert_int_equal(settle(d), 513);
	assert_int_equal(driver_take(d, 0), -1);
}

/* 2.7.4.1: no assumption about how a request is cut into descriptors. */
static void any_layout_of_descriptors(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = {
		{ HEADER, 7, false },	   { HEADER + 7, 9, false },  { BODY, 100, true },
		{ BODY + 100, 900, true }, { BODY + 1000, 25, true },
	};

	header(d, VIRTIO_BLK_T_IN, 1);
	driver_offer(d, 0, p, 5);
	assert_int_equal(settle(d), 1025);
	assert_int_equal(*(char *)guest(d, BODY), 'B');
	assert_int_equal(*(char *)guest(d, BODY + 512), 'C');
	assert_int_equal(*(char *)guest(d, BODY + 1024), VIRTIO_BLK_S_OK);
}

/* 5.2.6.2: "A device MUST NOT write data past the capacity" and its kin: no part of it happens. */
static void requests_beyond_the_end_fail_whole(void **state)
{
	struct driver *d = *state;
	static const struct {
		uint64_t sector;
		uint32_t len;
	} rows[] = {
		{ SECTORS, 512 },    { SECTORS - 1, 1024 },
		{ UINT64_MAX, 512 }, { UINT64_MAX / 512, 1024 },
		{ 0, 100 },	     { 1ull << 55, 512 },
	};

	memset(guest(d, BODY), 'z', 1024);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(request(d, VIRTIO_BLK_T_OUT, rows[i].sector, rows[i].len, false),
				 VIRTIO_BLK_S_IOERR);
		assert_int_equal(request(d, VIRTIO_BLK_T_IN, rows[i].sector, rows[i].len, true),
				 VIRTIO_BLK_S_IOERR);
	}
	char c;

	assert_int_equal(pread(file, &c, 1, (SECTORS - 1) * 512), 1);
	assert_int_equal(c, 'A' + (SECTORS - 1) % 26);
	assert_int_equal(lseek(file, 0, SEEK_END), SECTORS * 512);
}

/* 5.2.6.2: unknown types are VIRTIO_BLK_S_UNSUPP. */
static void unknown_types_are_unsupported(void **state)
{
	struct driver *d = *state;

	assert_int_equal(request(d, 99, 0, 512, true), VIRTIO_BLK_S_UNSUPP);
	assert_int_equal(request(d, UINT32_MAX, 0, 0, true), VIRTIO_BLK_S_UNSUPP);
}

static void get_id_gives_the_serial(void **state)
{
	struct driver *d = *state;

	assert_int_equal(request(d, VIRTIO_BLK_T_GET_ID, 0, 20, true), VIRTIO_BLK_S_OK);
	assert_memory_equal(guest(d, BODY), "serial-number-of-20b", 20);
}

static int range_request(struct driver *d, uint32_t type, uint64_t sector, uint32_t n,
			 uint32_t flags)
{
	struct virtio_blk_range r = { htole64(sector), htole32(n), htole32(flags) };

	memcpy(guest(d, BODY), &r, sizeof(r));
	return request(d, type, 0, sizeof(r), false);
}

static void write_zeroes(void **state)
{
	struct driver *d = *state;
	char c;

	assert_int_equal(range_request(d, VIRTIO_BLK_T_WRITE_ZEROES, 2, 2, 0), VIRTIO_BLK_S_OK);
	assert_int_equal(pread(file, &c, 1, 3 * 512), 1);
	assert_int_equal(c, 0);
	assert_int_equal(pread(file, &c, 1, 4 * 512), 1);
	assert_int_equal(c, 'E');
	assert_int_equal(range_request(d, VIRTIO_BLK_T_WRITE_ZEROES, SECTORS, 1, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(d, VIRTIO_BLK_T_WRITE_ZEROES, 1, UINT32_MAX, 0),
			 VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 2), VIRTIO_BLK_S_UNSUPP);
	/* 5.2.6.2: "unmap" with a discard is unsupported */
	assert_int_equal(range_request(d, VIRTIO_BLK_T_DISCARD, 0, 1, 1), VIRTIO_BLK_S_UNSUPP);
}

/* 5.2.6.2: "If VIRTIO_BLK_F_RO ... the device MUST set the status byte to VIRTIO_BLK_S_IOERR for a write". */
static void read_only_disks_refuse_writes(void **state)
{
	struct driver *d = *state;

	reg_write(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	assert_true(reg_read(d, VIRTIO_MMIO_DEVICE_FEATURES) >> VIRTIO_BLK_F_RO & 1);
	assert_int_equal(request(d, VIRTIO_BLK_T_OUT, 0, 512, false), VIRTIO_BLK_S_IOERR);
	assert_int_equal(range_request(d, VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_IOERR);
	assert_int_equal(request(d, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
}

/* A request that cannot even be answered: the device asks for a reset, and works after it. */
static void headless_requests_break_the_queue(void **state)
{
	struct driver *d = *state;
	const struct piece no_status[] = { { HEADER, 16, false } };
	const struct piece short_header[] = { { HEADER, 8, false }, { STATUS, 1, true } };
	const struct piece *const rows[] = { no_status, short_header };

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		header(d, VIRTIO_BLK_T_IN, 0);
		driver_offer(d, 0, rows[i], (uint16_t)(1 + i));
		assert_int_equal(driver_take(d, 0), -1);
		assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
		driver_start(d, 0);
		assert_int_equal(request(d, VIRTIO_BLK_T_IN, 0, 512, true), VIRTIO_BLK_S_OK);
	}
}

/* 5.2.5.1: every queue takes requests, and they come back where they were offered. */
static void every_queue_serves(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = { { HEADER, 16, false },
				   { BODY, 512, true },
				   { STATUS, 1, true } };
	uint16_t queues;

	driver_start(d, 1ull << VIRTIO_BLK_F_MQ);
	d->dev->ops->config_read(d->dev, offsetof(struct virtio_blk_config, num_queues), &queues,
				 2);
	assert_int_equal(le16toh(queues), QUEUES);
	header(d, VIRTIO_BLK_T_IN, 2);
	driver_offer(d, 1, p, 3);
	assert_int_equal(settle_on(d, 1), 513);
	assert_int_equal(*(char *)guest(d, BODY), 'C');
	assert_int_equal(driver_take(d, 0), -1);
}

/* A driver that goes away with requests under way gets none of them later (2.4). */
static void reset_waits_for_the_disk(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = { { HEADER, 16, false },
				   { BODY, 512, true },
				   { STATUS, 1, true } };

	header(d, VIRTIO_BLK_T_IN, 2);
	driver_offer(d, 0, p, 3);
	reg_write(d, VIRTIO_MMIO_STATUS, 0);
	memset(guest(d, BODY), 'x', 512);
	virtio_block_reap(d->dev);
	assert_int_equal(*(char *)guest(d, BODY), 'x');
	driver_start(d, 0);
	assert_int_equal(driver_take(d, 0), -1);
}

static void config_tells_the_capacity(void **state)
{
	struct driver *d = *state;
	uint64_t capacity = 0;

	d->mmio.range.access(&d->mmio.range, VIRTIO_MMIO_CONFIG, &capacity, 8, false);
	assert_int_equal(le64toh(capacity), SECTORS);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 60), 0);
	assert_int_equal(reg_read(d, 0xffc), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(reads_and_writes_sectors),
		TEST(used_length_counts_what_was_written),
		TEST(any_layout_of_descriptors),
		TEST(requests_beyond_the_end_fail_whole),
		TEST(unknown_types_are_unsupported),
		TEST(get_id_gives_the_serial),
		TEST(write_zeroes),
		TEST(headless_requests_break_the_queue),
		TEST(every_queue_serves),
		TEST(reset_waits_for_the_disk),
		TEST(config_tells_the_capacity),
		cmocka_unit_test_setup_teardown(read_only_disks_refuse_writes, begin_read_only,
						end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
