/* The block ring against a driver that breaks one rule a row. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../test.h"
#include "pv/blkring.h"

#define PAGES	16u
#define DISK	(64u * BLOCK_SECTOR)
#define RO_PAGE 3u /* granted for reading only */

struct fixture {
	struct blkring ring;
	uint8_t *memory; /* PAGES pages, then one that must not be touched */
	struct block *disk;
	unsigned notified;
	_Atomic bool stop;
};

static void *page_of(void *arg, uint32_t ref, bool write)
{
	struct fixture *f = arg;

	if (ref >= PAGES || (write && ref == RO_PAGE))
		return NULL;
	return f->memory + ref * 4096u;
}

static void notify(void *arg)
{
	((struct fixture *)arg)->notified++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e = ERR_INIT;
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK), 0);
	f->disk = block_raw_new(fd, false, &e);
	assert_non_null(f->disk);
	f->memory = mmap(NULL, (PAGES + 1) * 4096u, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(mprotect(f->memory + PAGES * 4096u, 4096, PROT_NONE), 0);
	f->ring = (struct blkring){ .block = f->disk, .page = page_of, .notify = notify, .arg = f };
	blkring_start(&f->ring, f->memory);
	f->ring.head->rsp_event = 1;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	munmap(f->memory, (PAGES + 1) * 4096u);
	block_free(f->disk);
	free(f);
	return 0;
}

/* The status that one request got. */
static int16_t submit(struct fixture *f, const union xen_blk_slot *q)
{
	uint32_t at = f->ring.head->req_prod;

	f->ring.slots[at % BLKRING_SLOTS] = *q;
	f->ring.head->req_prod = at + 1;
	assert_true(blkring_drain(&f->ring, &f->stop));
	assert_int_equal(f->ring.head->rsp_prod, at + 1);
	assert_int_equal(f->ring.slots[at % BLKRING_SLOTS].response.id, q->rw.id);
	return f->ring.slots[at % BLKRING_SLOTS].response.status;
}

static union xen_blk_slot transfer(uint8_t op, uint64_t sector, uint32_t gref, uint8_t first,
				   uint8_t last)
{
	union xen_blk_slot q = { .rw = { .op = op, .segments = 1, .id = 42, .sector = sector } };

	q.rw.seg[0] = (struct xen_blk_segment){ .gref = gref, .first = first, .last = last };
	return q;
}

static void moves_data_both_ways(void **state)
{
	struct fixture *f = *state;
	union xen_blk_slot q = transfer(XEN_BLK_WRITE, 8, 2, 0, 7);

	memset(f->memory + 2 * 4096, 0xa5, 4096);
	assert_int_equal(submit(f, &q), XEN_BLK_OKAY);
	assert_int_equal(f->notified, 1);
	q = transfer(XEN_BLK_READ, 9, 5, 2, 3);
	assert_int_equal(submit(f, &q), XEN_BLK_OKAY);
	assert_int_equal(f->memory[5 * 4096 + 2 * 512 - 1], 0);
	assert_int_equal(f->memory[5 * 4096 + 2 * 512], 0xa5);
	assert_int_equal(f->memory[5 * 4096 + 4 * 512 - 1], 0xa5);
	assert_int_equal(f->memory[5 * 4096 + 4 * 512], 0);
	q = (union xen_blk_slot){ .rw = { .op = XEN_BLK_FLUSH, .id = 1 } };
	assert_int_equal(submit(f, &q), XEN_BLK_OKAY);
	/* Read-only grants may be written from, not read into. */
	q = transfer(XEN_BLK_WRITE, 0, RO_PAGE, 0, 0);
	assert_int_equal(submit(f, &q), XEN_BLK_OKAY);
}

static void indirect_segments(void **state)
{
	struct fixture *f = *state;
	struct xen_blk_segment *seg = (void *)(f->memory + 4096);
	union xen_blk_slot q = { .indirect = { .op = XEN_BLK_INDIRECT,
					       .indirect_op = XEN_BLK_READ,
					       .segments = 6,
					       .id = 9,
					       .gref = { 1 } } };

	for (unsigned i = 0; i < 6; i++)
		seg[i] = (struct xen_blk_segment){ .gref = 4 + i, .first = 0, .last = 7 };
	assert_int_equal(submit(f, &q), XEN_BLK_OKAY);
	seg[5].gref = RO_PAGE;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	seg[5].gref = 9;
	q.indirect.segments = BLKRING_SEGMENTS_MAX + 1;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	q.indirect.segments = 0;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	q.indirect.segments = 6;
	q.indirect.gref[0] = PAGES;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	q.indirect.gref[0] = 1;
	q.indirect.indirect_op = XEN_BLK_FLUSH;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	q.indirect.indirect_op = XEN_BLK_INDIRECT;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
}

static void one_broken_rule_a_row(void **state)
{
	static const struct {
		uint8_t op, segments;
		uint64_t sector;
		uint32_t gref;
		uint8_t first, last;
	} row[] = {
		{ XEN_BLK_READ, 0, 0, 2, 0, 0 },	  /* no segment */
		{ XEN_BLK_READ, 12, 0, 2, 0, 0 },	  /* more than a request has */
		{ XEN_BLK_READ, 255, 0, 2, 0, 0 },	  /* far more */
		{ XEN_BLK_READ, 1, 0, PAGES, 0, 0 },	  /* not granted */
		{ XEN_BLK_READ, 1, 0, UINT32_MAX, 0, 0 }, /* no such reference */
		{ XEN_BLK_READ, 1, 0, RO_PAGE, 0, 0 },	  /* granted for reading only */
		{ XEN_BLK_READ, 1, 0, 2, 5, 4 },	  /* backwards */
		{ XEN_BLK_READ, 1, 0, 2, 0, 8 },	  /* past the page */
		{ XEN_BLK_READ, 1, 0, 2, 0, 255 },	  /* far past it */
		{ XEN_BLK_READ, 1, 64, 2, 0, 0 },	  /* past the disk */
		{ XEN_BLK_READ, 1, 60, 2, 0, 7 },	  /* across its end */
		{ XEN_BLK_WRITE, 1, 60, 2, 0, 7 },
		{ XEN_BLK_READ, 1, UINT64_MAX, 2, 0, 0 },	/* wraps */
		{ XEN_BLK_READ, 1, UINT64_MAX / 512, 2, 0, 7 }, /* wraps in bytes */
		{ XEN_BLK_WRITE, 1, 1ull << 55, 2, 0, 7 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		union xen_blk_slot q = transfer(row[i].op, row[i].sector, row[i].gref, row[i].first,
						row[i].last);

		q.rw.segments = row[i].segments;
		if (submit(f, &q) != XEN_BLK_ERROR)
			fail_msg("row %zu was accepted", i);
	}
	union xen_blk_slot q = transfer(77, 0, 2, 0, 0);

	assert_int_equal(submit(f, &q), XEN_BLK_NOT_SUPPORTED);
	q = (union xen_blk_slot){
		.discard = { .op = XEN_BLK_DISCARD, .id = 1, .sector = 60, .sectors = 5 }
	};
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	q.discard.sector = UINT64_MAX;
	assert_int_equal(submit(f, &q), XEN_BLK_ERROR);
	assert_int_equal(f->ring.refused, sizeof(row) / sizeof(row[0]) + 3);
	q = transfer(XEN_BLK_READ, 63, 2, 0, 0);
	assert_int_equal(submit(f, &q), XEN_BLK_OKAY);
}

static void wild_indices_end_the_service(void **state)
{
	struct fixture *f = *state;

	f->ring.head->req_prod = BLKRING_SLOTS + 1;
	assert_false(blkring_drain(&f->ring, &f->stop));
	f->ring.head->req_prod = (uint32_t)-1;
	assert_false(blkring_drain(&f->ring, &f->stop));
	assert_int_equal(f->ring.requests, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(moves_data_both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(indirect_segments, set_up, tear_down),
		cmocka_unit_test_setup_teardown(one_broken_rule_a_row, set_up, tear_down),
		cmocka_unit_test_setup_teardown(wild_indices_end_the_service, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
