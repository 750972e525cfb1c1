/* Arenas: zeroed, aligned, bounded. */
#include <stdalign.h>
#include <string.h>

#include "../test.h"
#include "base/arena.h"
#include "base/cleanup.h"

static void aligned_and_zeroed(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(1 << 20);

	(void)state;
	for (size_t size = 0; size < 300; size++) {
		unsigned char *p = arena_alloc(&a, size);

		assert_non_null(p);
		assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xaa, size);
	}
}

static void pieces_do_not_overlap(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(1 << 20);
	unsigned char *p[200];

	(void)state;
	for (int i = 0; i < 200; i++) {
		p[i] = arena_alloc(&a, 100);
		assert_non_null(p[i]);
		memset(p[i], i, 100);
	}
	for (int i = 0; i < 200; i++)
		for (int k = 0; k < 100; k++)
			assert_int_equal(p[i][k], i);
}

static void ceiling_holds(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(20000);
	size_t got = 0;

	(void)state;
	assert_null(arena_alloc(&a, 20001));
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_alloc(&a, SIZE_MAX - 7));
	while (arena_alloc(&a, 1000))
		got += 1000;
	assert_true(got > 10000 && got <= 20000);
	assert_true(a.total <= 20000);
}

static void ceiling_is_exact(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(8192);

	(void)state;
	assert_non_null(arena_alloc(&a, 8192));
	assert_int_equal(a.total, 8192);
	assert_null(arena_alloc(&a, 1));
}

static void a_block_is_used_to_its_end(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(1 << 20);

	(void)state;
	assert_non_null(arena_alloc(&a, 16));
	size_t size = a.total;

	assert_non_null(arena_alloc(&a, size - 16));
	assert_int_equal(a.total, size);
	assert_int_equal(a.used, size);
}

static void array_size_does_not_wrap(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(1 << 20);

	(void)state;
	assert_null(arena_calloc(&a, SIZE_MAX / 2, 4));
	assert_non_null(arena_calloc(&a, 10, 4));
	assert_non_null(arena_calloc(&a, 0, 4));
}

static void text(void **state)
{
	cleanup_with(arena_fini) struct arena a = ARENA_INIT(1 << 20);
	char big[9000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_string_equal(arena_strdup(&a, ""), "");
	assert_string_equal(arena_strdup(&a, big), big);
	assert_string_equal(arena_printf(&a, "%s/%d", "a", 7), "a/7");
}

static void usable_again_after_the_end(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 8192);
	assert_non_null(arena_alloc(&a, 4000));
	arena_fini(&a);
	assert_int_equal(a.total, 0);
	assert_non_null(arena_alloc(&a, 8000));
	arena_fini(&a);
	arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aligned_and_zeroed),
		cmocka_unit_test(pieces_do_not_overlap),
		cmocka_unit_test(ceiling_holds),
		cmocka_unit_test(ceiling_is_exact),
		cmocka_unit_test(a_block_is_used_to_its_end),
		cmocka_unit_test(array_size_does_not_wrap),
		cmocka_unit_test(text),
		cmocka_unit_test(usable_again_after_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
