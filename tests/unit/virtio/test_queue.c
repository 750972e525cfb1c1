/* Virtqueues against a little driver, well-behaved and hostile, split and packed. */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../test.h"
#include "base/util.h"
#include "virtio/queue.h"

enum { SIZE = 8, DESC = 0x1000, DRIVER = 0x2000, DEVICE = 0x3000, TABLE = 0x4000, DATA = 0x10000 };

#define W VIRTQ_DESC_F_WRITE
#define N VIRTQ_DESC_F_NEXT
#define I VIRTQ_DESC_F_INDIRECT

struct fixture {
	struct memory mem;
	struct virtq q;
	struct virtq_chain c;
	uint16_t avail; /* of the driver */
};

static void *at(struct fixture *f, uint64_t gpa)
{
	void *p = memory_at(&f->mem, GPA(gpa), 1);

	assert_non_null(p);
	return p;
}

static void begin(struct fixture *f, uint64_t features)
{
	memset(f->mem.base, 0, 0x10000);
	virtq_init(&f->q, &f->mem, VIRTQ_MAX);
	f->q.layout = (struct virtq_layout){ SIZE, DESC, DRIVER, DEVICE };
	assert_int_equal(virtq_start(&f->q, features), 0);
	f->avail = 0;
}

static int setup(void **state)
{
	static struct fixture f;
	struct err e = ERR_INIT;

	*state = &f;
	return memory_init(&f.mem, 2 << 20, false, &e);
}

static int teardown(void **state)
{
	memory_fini(&((struct fixture *)*state)->mem);
	return 0;
}

static void put_desc(struct fixture *f, uint64_t table, uint16_t i, uint64_t addr, uint32_t len,
		     uint16_t flags, uint16_t next)
{
	struct virtq_desc *d = at(f, table + 16 * (uint64_t)i);

	*d = (struct virtq_desc){ htole64(addr), htole32(len), htole16(flags), htole16(next) };
}

static void offer(struct fixture *f, uint16_t head)
{
	uint16_t *ring = at(f, DRIVER);

	ring[2 + f->avail % SIZE] = htole16(head);
	ring[1] = htole16(++f->avail);
}

static uint16_t used_index(struct fixture *f)
{
	return le16toh(((uint16_t *)at(f, DEVICE))[1]);
}

static void split_carries_a_chain(void **state)
{
	struct fixture *f = *state;
	char text[16] = "";

	begin(f, 0);
	memcpy(at(f, DATA), "hello", 5);
	memcpy(at(f, DATA + 0x100), " you", 4);
	put_desc(f, DESC, 5, DATA, 5, N, 2);
	put_desc(f, DESC, 2, DATA + 0x100, 4, N, 7);
	put_desc(f, DESC, 7, DATA + 0x200, 16, W, 0);
	assert_int_equal(virtq_pop(&f->q, &f->c), 0);
	offer(f, 5);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.readable, 2);
	assert_int_equal(f->c.writable, 1);
	assert_int_equal(f->c.readable_len, 9);
	assert_int_equal(f->c.writable_len, 16);
	assert_int_equal(virtq_gather(&f->c, 3, text, sizeof(text)), 6);
	assert_string_equal(text, "lo you");
	assert_int_equal(virtq_scatter(&f->c, 2, "answer", 6), 6);
	assert_memory_equal(at(f, DATA + 0x202), "answer", 6);
	virtq_push(&f->q, &f->c, 8);
	assert_int_equal(used_index(f), 1);
	struct virtq_used_elem *u = at(f, DEVICE + 4);

	assert_int_equal(le32toh(u->id), 5);
	assert_int_equal(le32toh(u->len), 8);
	assert_true(virtq_wants_interrupt(&f->q));
	assert_false(virtq_wants_interrupt(&f->q));
	assert_int_equal(virtq_pop(&f->q, &f->c), 0);
}

static void split_goes_round(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	for (int i = 0; i < 70000; i++) { /* the 16-bit indexes wrap once */
		put_desc(f, DESC, (uint16_t)(i % SIZE), DATA, 4, W, 0);
		offer(f, (uint16_t)(i % SIZE));
		assert_int_equal(virtq_pop(&f->q, &f->c), 1);
		assert_int_equal(f->c.id, i % SIZE);
		virtq_push(&f->q, &f->c, 4);
		assert_int_equal(used_index(f), (i + 1) & 0xffff);
	}
}

static void split_indirect(void **state)
{
	struct fixture *f = *state;

	begin(f, 1ull << VIRTIO_F_INDIRECT_DESC);
	put_desc(f, TABLE, 0, DATA, 4, N, 1);
	put_desc(f, TABLE, 1, DATA + 8, 8, W, 0);
	put_desc(f, DESC, 1, TABLE, 32, I, 0);
	offer(f, 1);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.id, 1);
	assert_int_equal(f->c.readable_len, 4);
	assert_int_equal(f->c.writable_len, 8);
}

/* 2.7.10: an interrupt exactly when the entry the driver named was passed. */
static void split_event_index(void **state)
{
	struct fixture *f = *state;

	begin(f, 1ull << VIRTIO_F_EVENT_IDX);
	uint16_t *used_event = at(f, DRIVER + 4 + 2 * SIZE);
	uint16_t *avail_event = at(f, DEVICE + 4 + 8 * SIZE);

	*used_event = htole16(1);
	put_desc(f, DESC, 0, DATA, 4, W, 0);
	for (int i = 0; i < 3; i++) {
		offer(f, 0);
		assert_int_equal(virtq_pop(&f->q, &f->c), 1);
		assert_int_equal(le16toh(*avail_event), i + 1);
		virtq_push(&f->q, &f->c, 4);
		assert_int_equal(virtq_wants_interrupt(&f->q), i == 1);
	}
	virtq_hush(&f->q);
	offer(f, 0);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_int_equal(le16toh(*avail_event), 3);
	offer(f, 0);
	assert_true(virtq_listen(&f->q));
	assert_int_equal(le16toh(*avail_event), 4);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_false(virtq_listen(&f->q));
}

static void split_flags_suppress(void **state)
{
	struct fixture *f = *state;

	begin(f, 0);
	*(uint16_t *)at(f, DRIVER) = htole16(VIRTQ_AVAIL_F_NO_INTERRUPT);
	put_desc(f, DESC, 0, DATA, 4, W, 0);
	offer(f, 0);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	virtq_push(&f->q, &f->c, 0);
	assert_false(virtq_wants_interrupt(&f->q));
	virtq_hush(&f->q);
	assert_int_equal(*(uint16_t *)at(f, DEVICE), VIRTQ_USED_F_NO_NOTIFY);
	assert_false(virtq_listen(&f->q));
	assert_int_equal(*(uint16_t *)at(f, DEVICE), 0);
}

static void put_packed(struct fixture *f, uint16_t i, uint64_t addr, uint32_t len, uint16_t id,
		       uint16_t flags, bool wrap)
{
	struct virtq_packed_desc *d = at(f, DESC + 16 * (uint64_t)i);

	flags |= wrap ? VIRTQ_DESC_F_AVAIL : VIRTQ_DESC_F_USED;
	*d = (struct virtq_packed_desc){ htole64(addr), htole32(len), htole16(id), htole16(flags) };
}

static void packed_goes_round(void **state)
{
	struct fixture *f = *state;
	uint16_t slot = 0;
	bool wrap = true;

	begin(f, 1ull << VIRTIO_F_RING_PACKED);
	for (int i = 0; i < 1000; i++) { /* chains of three in a ring of eight */
		uint16_t head = slot;
		bool head_wrap = wrap;

		for (int k = 0; k < 3; k++) {
			put_packed(f, slot, DATA + 16 * (uint64_t)k, 4, (uint16_t)i,
				   (uint16_t)((k < 2 ? N : 0) | (k ? W : 0)), wrap);
			if (++slot == SIZE) {
				slot = 0;
				wrap = !wrap;
			}
		}
		assert_int_equal(virtq_pop(&f->q, &f->c), 1);
		assert_int_equal(f->c.id, i);
		assert_int_equal(f->c.slots, 3);
		assert_int_equal(f->c.readable, 1);
		assert_int_equal(f->c.writable, 2);
		assert_int_equal(virtq_pop(&f->q, &f->c), 0);
		f->c.id = (uint16_t)i;
		f->c.slots = 3;
		virtq_push(&f->q, &f->c, 5);
		struct virtq_packed_desc *d = at(f, DESC + 16 * (uint64_t)head);

		assert_int_equal(le16toh(d->id), i);
		assert_int_equal(le32toh(d->len), 5);
		assert_int_equal(le16toh(d->flags),
				 head_wrap ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0);
		assert_true(virtq_wants_interrupt(&f->q));
	}
}

static void packed_event_index(void **state)
{
	struct fixture *f = *state;
	struct virtq_packed_event *driver;

	begin(f, 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_EVENT_IDX);
	driver = at(f, DRIVER);
	*driver = (struct virtq_packed_event){ htole16(2 | 0 << 15), htole16(VIRTQ_EVENT_DESC) };
	/* Slot 2 of the second round: entries 0..7 of the first pass it by. */
	for (int i = 0; i < 12; i++) {
		put_packed(f, (uint16_t)(i % SIZE), DATA, 4, 0, W, i < SIZE);
		assert_int_equal(virtq_pop(&f->q, &f->c), 1);
		virtq_push(&f->q, &f->c, 1);
		assert_int_equal(virtq_wants_interrupt(&f->q), i == 10);
	}
	driver->flags = htole16(VIRTQ_EVENT_DISABLE);
	put_packed(f, 4, DATA, 4, 0, W, false);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	virtq_push(&f->q, &f->c, 1);
	assert_false(virtq_wants_interrupt(&f->q));
}

static void packed_indirect(void **state)
{
	struct fixture *f = *state;

	begin(f, 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_INDIRECT_DESC);
	put_desc(f, TABLE, 0, DATA, 4, 0, 0); /* same place for address and length; next is flags */
	((struct virtq_packed_desc *)at(f, TABLE))[0].flags = 0;
	((struct virtq_packed_desc *)at(f, TABLE))[1] = (struct virtq_packed_desc){ htole64(DATA),
										    htole32(9), 0,
										    htole16(W) };
	put_packed(f, 0, TABLE, 32, 77, I, true);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.id, 77);
	assert_int_equal(f->c.readable_len, 4);
	assert_int_equal(f->c.writable_len, 9);
}

/* One thing broken a row; the text is the guard that must catch it. */
static const struct {
	const char *why;
	struct virtq_desc d[3]; /* 0..2 of the ring, chain starts at 0 */
	struct virtq_desc t[2]; /* of the indirect table */
	uint16_t head, ahead;
	uint64_t features;
} hostile[] = {
	{ .why = "a descriptor points outside memory", .d = { { 2 << 20, 1, W, 0 } } },
	{ .why = "a descriptor points outside memory", .d = { { (2 << 20) - 1, 2, W, 0 } } },
	{ .why = "a descriptor points outside memory", .d = { { UINT64_MAX, 2, W, 0 } } },
	{ .why = "a descriptor points outside memory",
	  .d = { { UINT64_MAX - 1, UINT32_MAX, 0, 0 } } },
	{ .why = "a descriptor chain that loops", .d = { { DATA, 1, N, 1 }, { DATA, 1, N, 0 } } },
	{ .why = "a descriptor chain that loops", .d = { { DATA, 1, N, 0 } } },
	{ .why = "a descriptor number outside the table", .d = { { DATA, 1, N, SIZE } } },
	{ .why = "a descriptor number outside the table", .d = { { 0 } }, .head = SIZE },
	{ .why = "a descriptor number outside the table", .d = { { 0 } }, .head = 65535 },
	{ .why = "a readable descriptor after a writable one",
	  .d = { { DATA, 1, N | W, 1 }, { DATA, 1, 0, 0 } } },
	{ .why = "the available index ran away", .d = { { DATA, 1, 0, 0 } }, .ahead = SIZE },
	{ .why = "an indirect descriptor that was not negotiated", .d = { { TABLE, 16, I, 0 } } },
	{ .why = "an indirect descriptor with a next one",
	  .d = { { TABLE, 16, I | N, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "an indirect table of a wrong size",
	  .d = { { TABLE, 0, I, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "an indirect table of a wrong size",
	  .d = { { TABLE, 24, I, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "an indirect table of a wrong size",
	  .d = { { TABLE, 16u * 40000, I, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "an indirect table outside memory",
	  .d = { { (2 << 20) - 16, 32, I, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "an indirect table inside another",
	  .d = { { TABLE, 32, I, 0 } },
	  .t = { { TABLE, 32, I, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "a descriptor chain that loops",
	  .d = { { TABLE, 32, I, 0 } },
	  .t = { { DATA, 1, N, 1 }, { DATA, 1, N, 0 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
	{ .why = "a descriptor number outside the table",
	  .d = { { TABLE, 32, I, 0 } },
	  .t = { { DATA, 1, N, 2 } },
	  .features = 1ull << VIRTIO_F_INDIRECT_DESC },
};

static void hostile_chains_kill_the_queue(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(hostile); i++) {
		begin(f, hostile[i].features);
		memcpy(at(f, DESC), hostile[i].d, sizeof(hostile[i].d));
		memcpy(at(f, TABLE), hostile[i].t, sizeof(hostile[i].t));
		f->avail = hostile[i].ahead;
		offer(f, hostile[i].head);
		assert_int_equal(virtq_pop(&f->q, &f->c), -EPROTO);
		assert_string_equal(f->q.broken, hostile[i].why);
		assert_int_equal(virtq_pop(&f->q, &f->c), -EPROTO);
		virtq_push(&f->q, &f->c, 0);
		assert_int_equal(used_index(f), 0);
	}
}

static void too_many_pieces(void **state)
{
	struct fixture *f = *state;

	begin(f, 1ull << VIRTIO_F_INDIRECT_DESC);
	for (uint16_t i = 0; i <= VIRTQ_IOV_MAX; i++)
		put_desc(f, TABLE, i, DATA, 1, i < VIRTQ_IOV_MAX ? N : 0, (uint16_t)(i + 1));
	put_desc(f, DESC, 0, TABLE, 16 * (VIRTQ_IOV_MAX + 1), I, 0);
	offer(f, 0);
	assert_int_equal(virtq_pop(&f->q, &f->c), -EPROTO);
	assert_string_equal(f->q.broken, "a buffer of too many pieces");
}

static void hostile_packed(void **state)
{
	struct fixture *f = *state;

	begin(f, 1ull << VIRTIO_F_RING_PACKED);
	for (uint16_t i = 0; i < SIZE; i++)
		put_packed(f, i, DATA, 1, 0, N, true);
	assert_int_equal(virtq_pop(&f->q, &f->c), -EPROTO);
	assert_string_equal(f->q.broken, "a descriptor chain that loops");

	begin(f, 1ull << VIRTIO_F_RING_PACKED | 1ull << VIRTIO_F_INDIRECT_DESC);
	put_packed(f, 0, DATA, 1, 0, N, true);
	put_packed(f, 1, TABLE, 16, 0, I, true);
	assert_int_equal(virtq_pop(&f->q, &f->c), -EPROTO);
	assert_string_equal(f->q.broken, "an indirect descriptor inside a chain");
}

/* A driver that gives up a queue while the device has a chain of it, and makes a smaller one. */
static void chains_of_a_larger_ring_write_nothing_behind_it(void **state)
{
	static const uint8_t untouched[4096];
	struct fixture *f = *state;

	begin(f, 1ull << VIRTIO_F_RING_PACKED);
	for (uint16_t i = 0; i < 3; i++)
		put_packed(f, i, DATA, 4, 0, (uint16_t)(W | (i < 2 ? N : 0)), true);
	assert_int_equal(virtq_pop(&f->q, &f->c), 1);
	assert_int_equal(f->c.slots, 3);
	virtq_reset(&f->q);
	memset(at(f, DESC), 0, sizeof(untouched));
	f->q.layout = (struct virtq_layout){ 1, DESC, DRIVER, DEVICE };
	assert_int_equal(virtq_start(&f->q, 1ull << VIRTIO_F_RING_PACKED), 0);
	virtq_push(&f->q, &f->c, 4);
	virtq_push(&f->q, &f->c, 4);
	assert_string_equal(f->q.broken, "a chain comes back that is longer than the queue");
	assert_memory_equal(at(f, DESC + 16), untouched, sizeof(untouched) - 16);
}

static void hostile_layouts(void **state)
{
	struct fixture *f = *state;
	static const struct {
		struct virtq_layout l;
		bool packed;
	} rows[] = {
		{ { 0, DESC, DRIVER, DEVICE }, false },
		{ { 6, DESC, DRIVER, DEVICE }, false },
		{ { VIRTQ_MAX * 2, DESC, DRIVER, DEVICE }, false },
		{ { 8, DESC + 8, DRIVER, DEVICE }, false },
		{ { 8, DESC, DRIVER + 1, DEVICE }, false },
		{ { 8, DESC, DRIVER, DEVICE + 2 }, false },
		{ { 8, (2 << 20) - 64, DRIVER, DEVICE }, false },
		{ { 8, DESC, (2 << 20) - 16, DEVICE }, false },
		{ { 8, DESC, DRIVER, (2 << 20) - 16 }, false },
		{ { 8, UINT64_MAX - 15, DRIVER, DEVICE }, false },
		{ { 8, DESC, DRIVER + 2, DEVICE }, true },
		{ { 0, DESC, DRIVER, DEVICE }, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		virtq_init(&f->q, &f->mem, VIRTQ_MAX);
		f->q.layout = rows[i].l;
		assert_int_equal(
			virtq_start(&f->q, rows[i].packed ? 1ull << VIRTIO_F_RING_PACKED : 0),
			-EINVAL);
		assert_false(f->q.ready);
		assert_non_null(f->q.broken);
	}
	f->q.layout = (struct virtq_layout){ 6, DESC, DRIVER, DEVICE };
	assert_int_equal(virtq_start(&f->q, 1ull << VIRTIO_F_RING_PACKED), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_carries_a_chain),
		cmocka_unit_test(split_goes_round),
		cmocka_unit_test(split_indirect),
		cmocka_unit_test(split_event_index),
		cmocka_unit_test(split_flags_suppress),
		cmocka_unit_test(packed_goes_round),
		cmocka_unit_test(packed_event_index),
		cmocka_unit_test(packed_indirect),
		cmocka_unit_test(hostile_chains_kill_the_queue),
		cmocka_unit_test(too_many_pieces),
		cmocka_unit_test(hostile_packed),
		cmocka_unit_test(chains_of_a_larger_ring_write_nothing_behind_it),
		cmocka_unit_test(hostile_layouts),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
