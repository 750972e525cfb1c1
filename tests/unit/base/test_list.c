/* Intrusive lists: order, removal while walking, removing twice. */
#include "../test.h"
#include "base/list.h"

struct item {
	int value;
	struct list link;
};

static void keeps_order(void **state)
{
	struct list head = LIST_INIT(head);
	struct item items[5];
	int want = 0;

	(void)state;
	assert_true(list_empty(&head));
	for (int i = 0; i < 5; i++) {
		items[i].value = i;
		list_add(&head, &items[i].link);
	}
	list_for_each (p, &head)
		assert_int_equal(list_item(p, struct item, link)->value, want++);
	assert_int_equal(want, 5);
}

static void removal_while_walking(void **state)
{
	struct list head = LIST_INIT(head);
	struct item items[6];
	int seen = 0;

	(void)state;
	for (int i = 0; i < 6; i++) {
		items[i].value = i;
		list_add(&head, &items[i].link);
	}
	list_for_each_safe (p, &head) {
		seen++;
		if (list_item(p, struct item, link)->value % 2 == 0)
			list_del(p);
	}
	assert_int_equal(seen, 6);
	seen = 0;
	list_for_each (p, &head) {
		assert_int_equal(list_item(p, struct item, link)->value, 2 * seen + 1);
		seen++;
	}
	assert_int_equal(seen, 3);
}

static void removing_twice_does_no_harm(void **state)
{
	struct list head = LIST_INIT(head);
	struct item a, b;

	(void)state;
	list_add(&head, &a.link);
	list_add(&head, &b.link);
	list_del(&a.link);
	list_del(&a.link);
	assert_ptr_equal(head.next, &b.link);
	assert_ptr_equal(head.prev, &b.link);
	list_del(&b.link);
	assert_true(list_empty(&head));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order),
		cmocka_unit_test(removal_while_walking),
		cmocka_unit_test(removing_twice_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
