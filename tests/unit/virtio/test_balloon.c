/* The balloon behind its registers. Names of tests quote virtio 1.2. */
#include <sys/mman.h>

#include "base/util.h"
#include "driver.h"
#include "virtio/balloon.h"

enum {
	INFLATE,
	DEFLATE,
	STATS,
	REPORTING, /* 5.5.2, when all features are negotiated */
	LIST = DRIVER_DATA,
	PAGES = DRIVER_DATA + 0x10000,
};

#define FEATURE(name) (1ull << VIRTIO_BALLOON_F_##name)

static int begin_with(void **state, uint64_t features)
{
	static struct driver d;

	driver_memory(&d);
	madvise(d.mem.base, d.mem.size, MADV_NOHUGEPAGE);
	driver_attach(&d, virtio_balloon_new(&d.mem), features);
	memset(guest(&d, PAGES), 0x55, 16 * PAGE);
	*state = &d;
	return 0;
}

static int begin(void **state)
{
	return begin_with(state, FEATURE(STATS_VQ) | FEATURE(PAGE_REPORTING));
}

static int begin_without_stats(void **state)
{
	return begin_with(state, FEATURE(PAGE_REPORTING));
}

static int begin_poisoned(void **state)
{
	return begin_with(state, FEATURE(PAGE_REPORTING) | FEATURE(PAGE_POISON));
}

static int end(void **state)
{
	driver_detach(*state);
	return 0;
}

/* Which of the 16 pages have lost their content, a bit each. */
static unsigned lost(struct driver *d)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < 16; i++)
		bits |= (*(uint8_t *)guest(d, PAGES + i * PAGE) == 0) << i;
	return bits;
}

static void give(struct driver *d, unsigned queue, const uint32_t *pfns, uint32_t n)
{
	const struct piece p = { LIST, 4 * n, false };

	memcpy(guest(d, LIST), pfns, 4 * n); /* little-endian here */
	driver_offer(d, queue, &p, 1);
}

static struct virtio_balloon_figures figures(struct driver *d)
{
	struct virtio_balloon_figures f;

	virtio_balloon_figures(d->dev, &f);
	return f;
}

/* 5.5.6: "The device MAY modify the contents of a page in the balloon": it goes back to the host, and only it. */
static void inflated_pages_go_back_to_the_host(void **state)
{
	struct driver *d = *state;
	const uint32_t first = PAGES / PAGE;
	const uint32_t pfns[] = {
		first + 1, first + 2, first + 3, first + 9, first + 7, first + 6
	};

	give(d, INFLATE, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(driver_take(d, INFLATE), 0);
	assert_int_equal(lost(d), 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 7 | 1 << 6);
	assert_int_equal(figures(d).inflated, 6 * PAGE);
	give(d, DEFLATE, pfns, 2);
	assert_int_equal(driver_take(d, DEFLATE), 0);
	assert_int_equal(figures(d).deflated, 2 * PAGE);
	*(uint8_t *)guest(d, PAGES + PAGE) = 1; /* and may be used again */
}

/* Page numbers beyond memory hurt nobody; those beside them count. */
static void page_numbers_are_checked(void **state)
{
	struct driver *d = *state;
	const uint32_t first = PAGES / PAGE;
	const uint32_t pfns[] = { UINT32_MAX, DRIVER_MEMORY / PAGE, first, 0x80000000,
				  DRIVER_MEMORY / PAGE + 1 };

	give(d, INFLATE, pfns, ARRAY_SIZE(pfns));
	assert_int_equal(driver_take(d, INFLATE), 0);
	assert_int_equal(lost(d), 1);
	assert_int_equal(figures(d).inflated, PAGE);
}

/* 5.5.6.7 */
static void reported_pages_go_back_to_the_host(void **state)
{
	struct driver *d = *state;
	const struct piece p[] = { { PAGES, 2 * PAGE, true },
				   { PAGES + 4 * PAGE + 100, 2 * PAGE,
				     true }, /* whole pages only */
				   { PAGES + 8 * PAGE, 10, true } };

	driver_offer(d, REPORTING, p, 3);
	assert_int_equal(driver_take(d, REPORTING), 0);
	assert_int_equal(lost(d), 3 | 1 << 5);
}

/* 5.5.2: queues whose feature is not negotiated do not exist, and those behind them move up. */
static void reporting_moves_up_without_stats(void **state)
{
	struct driver *d = *state;
	const struct piece p = { PAGES, PAGE, true };

	driver_offer(d, REPORTING - 1, &p, 1);
	assert_int_equal(driver_take(d, REPORTING - 1), 0);
	assert_int_equal(lost(d), 1);
	driver_offer(d, REPORTING, &p, 1);
	assert_int_equal(driver_take(d, REPORTING), -1);
}

/* 5.5.6.7: "If PAGE_POISON has been negotiated, the device MUST NOT modify the content of a reported page to a value
 * other than poison_val." */
static void reported_pages_keep_their_poison(void **state)
{
	struct driver *d = *state;
	const struct piece p = { PAGES, PAGE, true };

	reg_write(d, VIRTIO_MMIO_CONFIG + 12, 0x55555555);
	driver_offer(d, REPORTING - 1, &p, 1);
	assert_int_equal(driver_take(d, REPORTING - 1), 0);
	assert_int_equal(lost(d), 0);
	reg_write(d, VIRTIO_MMIO_CONFIG + 12, 0);
	driver_offer(d, REPORTING - 1, &p, 1);
	assert_int_equal(lost(d), 1);
}

/* The same memory many times: no list is longer than memory has pages. */
static void endless_lists_need_a_reset(void **state)
{
	struct driver *d = *state;
	enum { LONGEST = DRIVER_MEMORY / PAGE * 4 };

	memset(guest(d, LIST), 0xff, LONGEST + 4);
	driver_offer(d, 0, &(struct piece){ LIST, LONGEST, false }, 1);
	assert_int_equal(driver_take(d, 0), 0);
	driver_offer(d, 0, &(struct piece){ LIST, LONGEST + 4, false }, 1);
	assert_int_equal(driver_take(d, 0), -1);
	assert_true(reg_read(d, VIRTIO_MMIO_STATUS) & VIRTIO_STATUS_NEEDS_RESET);
}

static void put_stat(struct driver *d, unsigned i, uint16_t tag, uint64_t value)
{
	uint8_t *to = guest(d, LIST + 10 * i);

	memcpy(to, &tag, 2);
	memcpy(to + 2, &value, 8);
}

/* 5.5.6.3: "the device MUST ignore entries with tag values that it does not recognize" and "MUST accept entries in
 * any order". */
static void statistics_in_any_order_unknown_tags_ignored(void **state)
{
	struct driver *d = *state;
	const struct piece p = { LIST, 35, false }; /* and half an entry */

	put_stat(d, 0, VIRTIO_BALLOON_S_AVAIL, 500);
	put_stat(d, 1, 0x7777, 1);
	put_stat(d, 2, VIRTIO_BALLOON_S_MEMFREE, 400);
	driver_offer(d, STATS, &p, 1);
	assert_int_equal(driver_take(d, STATS), -1); /* it is kept */
	struct virtio_balloon_figures f = figures(d);

	assert_int_equal(f.stats, 1 << VIRTIO_BALLOON_S_AVAIL | 1 << VIRTIO_BALLOON_S_MEMFREE);
	assert_int_equal(f.stat[VIRTIO_BALLOON_S_AVAIL], 500);
	assert_int_equal(f.stat[VIRTIO_BALLOON_S_MEMFREE], 400);
	assert_int_equal(driver_take(d, STATS), 0); /* given back: news are wanted */
	put_stat(d, 2, VIRTIO_BALLOON_S_MEMFREE, 300);
	driver_offer(d, STATS, &p, 1);
	assert_int_equal(figures(d).stat[VIRTIO_BALLOON_S_MEMFREE], 300);
}

/* 5.5.6.3.1: drivers hold at most one; one that does not loses nothing. */
static void a_second_statistics_buffer(void **state)
{
	struct driver *d = *state;
	const struct piece p = { LIST, 10, false };

	driver_offer(d, STATS, &p, 1);
	driver_offer(d, STATS, &p, 1);
	assert_int_equal(driver_take(d, STATS), 0);
	assert_int_equal(driver_take(d, STATS), -1);
}

/* 5.5.4: num_pages is ours, actual the driver's. */
static void the_target_is_told(void **state)
{
	struct driver *d = *state;
	unsigned before = d->interrupts;

	virtio_balloon_set(d->dev, 64 * PAGE);
	assert_int_equal(d->interrupts, before + 1);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_INTERRUPT_CONFIG);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG), 64);
	reg_write(d, VIRTIO_MMIO_CONFIG, 5);
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG), 64);
	reg_write(d, VIRTIO_MMIO_CONFIG + 4, 60);
	reg_write(d, VIRTIO_MMIO_CONFIG + 12, 7); /* not negotiated */
	assert_int_equal(reg_read(d, VIRTIO_MMIO_CONFIG + 12), 0);
	assert_int_equal(figures(d).actual, 60 * PAGE);
	assert_int_equal(figures(d).target, 64 * PAGE);
	virtio_balloon_set(d->dev, UINT64_MAX);
	assert_int_equal(figures(d).target, DRIVER_MEMORY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#undef TEST
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
		TEST(inflated_pages_go_back_to_the_host),
		TEST(page_numbers_are_checked),
		TEST(endless_lists_need_a_reset),
		TEST(reported_pages_go_back_to_the_host),
		cmocka_unit_test_setup_teardown(reporting_moves_up_without_stats,
						begin_without_stats, end),
		cmocka_unit_test_setup_teardown(reported_pages_keep_their_poison, begin_poisoned,
						end),
		TEST(statistics_in_any_order_unknown_tags_ignored),
		TEST(a_second_statistics_buffer),
		TEST(the_target_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
