/* xenstore's core: what a driver may do, and what it may not. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "pv/store.h"

#define HOME "/local/domain/1"

struct fixture {
	struct store *s;
	struct buf out;
	char changed[16][128];
	unsigned changes;
};

static void on_change(void *arg, const char *path)
{
	struct fixture *f = arg;

	if (f->changes < 16)
		snprintf(f->changed[f->changes], sizeof(f->changed[0]), "%s", path);
	f->changes++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	buf_init(&f->out, 1 << 20);
	f->s = store_new(HOME, on_change, f);
	assert_non_null(f->s);
	assert_int_equal(store_write(f->s, HOME "/domid", "1", NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_free(f->s);
	buf_fini(&f->out);
	free(f);
	return 0;
}

/* One request; `out` then begins with its reply. */
static void ask(struct fixture *f, uint32_t type, uint32_t tx, const char *p, size_t n)
{
	const struct xen_store_msg m = {
		.type = type, .req_id = 7, .tx_id = tx, .len = (uint32_t)n
	};

	buf_clear(&f->out);
	store_request(f->s, &m, (const uint8_t *)p, &f->out);
	assert_int_equal(f->out.error, 0);
}

#define ASK(f, type, tx, text) ask(f, type, tx, text, sizeof(text))

/* Takes the next message off `out`; returns its type. */
static uint32_t take(struct fixture *f, char *payload, size_t size)
{
	struct xen_store_msg m;

	assert_true(f->out.len >= sizeof(m));
	memcpy(&m, f->out.data, sizeof(m));
	assert_true(f->out.len >= sizeof(m) + m.len);
	assert_true(m.len < size);
	memcpy(payload, f->out.data + sizeof(m), m.len);
	payload[m.len] = '\0';
	buf_consume(&f->out, sizeof(m) + m.len);
	return m.type;
}

static void expect(struct fixture *f, uint32_t type, const char *text)
{
	char b[4200];

	assert_int_equal(take(f, b, sizeof(b)), type);
	assert_string_equal(b, text);
}

static void reads_what_was_written(void **state)
{
	struct fixture *f = *state;

	ASK(f, XS_WRITE, 0,
	    "device/vbd/1/state\0"
	    "3");
	expect(f, XS_WRITE, "OK");
	assert_int_equal(f->changes, 1);
	assert_string_equal(f->changed[0], HOME "/device/vbd/1/state");
	ASK(f, XS_READ, 0, HOME "/device/vbd/1/state");
	char b[16];

	assert_int_equal(take(f, b, sizeof(b)), XS_READ);
	assert_string_equal(b, "3");
	ASK(f, XS_READ, 0, "nothing/here");
	expect(f, XS_ERROR, "ENOENT");
	ASK(f, XS_DIRECTORY, 0, "device/vbd");
	expect(f, XS_DIRECTORY, "1");
	ASK(f, XS_GET_DOMAIN_PATH, 0, "1");
	expect(f, XS_GET_DOMAIN_PATH, HOME);
}

static void writes_only_at_home(void **state)
{
	static const char *const forbidden[] = { "/local/domain/0/x", "/local/domain/10/x", "/x",
						 "/", HOME };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		ask(f, XS_MKDIR, 0, forbidden[i], strlen(forbidden[i]) + 1);
		expect(f, XS_ERROR, "EACCES");
		ask(f, XS_RM, 0, forbidden[i], strlen(forbidden[i]) + 1);
		expect(f, XS_ERROR, "EACCES");
	}
	assert_int_equal(f->changes, 0);
	assert_non_null(store_read(f->s, HOME "/domid"));
}

static void odd_messages_get_errors(void **state)
{
	struct fixture *f = *state;
	char longer[700];

	memset(longer, 'a', sizeof(longer));
	ask(f, XS_READ, 0, longer, sizeof(longer));
	expect(f, XS_ERROR, "E2BIG");
	ask(f, XS_READ, 0, "", 0);
	expect(f, XS_ERROR, "EINVAL");
	ASK(f, XS_READ, 0, "a b");
	expect(f, XS_ERROR, "EINVAL");
	ASK(f, XS_READ, 0, "a//b");
	expect(f, XS_ERROR, "EINVAL");
	ASK(f, XS_WATCH, 0, "no-token");
	expect(f, XS_ERROR, "EINVAL");
	ASK(f, XS_READ, 99, "domid");
	expect(f, XS_ERROR, "ENOENT");
	ASK(f, XS_INTRODUCE, 0, "1");
	expect(f, XS_ERROR, "ENOSYS");
	ASK(f, 12345, 0, "1");
	expect(f, XS_ERROR, "ENOSYS");
	ASK(f, XS_TRANSACTION_END, 0, "T");
	expect(f, XS_ERROR, "EINVAL");
}

static void watches_fire_for_what_is_below(void **state)
{
	struct fixture *f = *state;
	char b[200];

	ASK(f, XS_WATCH, 0,
	    "device\0"
	    "tok");
	expect(f, XS_WATCH, "OK");
	assert_int_equal(take(f, b, sizeof(b)), XS_WATCH_EVENT); /* at once */
	assert_string_equal(b, "device");
	assert_string_equal(b + 7, "tok");
	buf_clear(&f->out);
	assert_int_equal(store_write(f->s, HOME "/device/vbd/1/state", "2", &f->out), 0);
	assert_int_equal(take(f, b, sizeof(b)), XS_WATCH_EVENT);
	assert_string_equal(b, "device/vbd/1/state");
	assert_int_equal(store_write(f->s, HOME "/devices", "2", &f->out), 0);
	assert_int_equal(f->out.len, 0);
	assert_int_equal(store_remove(f->s, HOME "/device", &f->out), 0);
	assert_int_equal(take(f, b, sizeof(b)), XS_WATCH_EVENT);
	ASK(f, XS_UNWATCH, 0,
	    "device\0"
	    "tok");
	expect(f, XS_UNWATCH, "OK");
	assert_int_equal(store_write(f->s, HOME "/device", "2", &f->out), 0);
	assert_int_equal(f->out.len, 0);
}

static void transactions_are_whole_or_nothing(void **state)
{
	static const char one[] = { 'a', 0, '1', 0 };
	struct fixture *f = *state;
	char id[16];

	ASK(f, XS_TRANSACTION_START, 0, "");
	assert_int_equal(take(f, id, sizeof(id)), XS_TRANSACTION_START);
	uint32_t tx = (uint32_t)strtoul(id, NULL, 10);

	ask(f, XS_WRITE, tx, one, sizeof(one) - 1);
	expect(f, XS_WRITE, "OK");
	assert_null(store_read(f->s, HOME "/a"));
	assert_int_equal(f->changes, 0);
	ASK(f, XS_TRANSACTION_END, tx, "T");
	expect(f, XS_TRANSACTION_END, "OK");
	assert_non_null(store_read(f->s, HOME "/a"));
	assert_int_equal(f->changes, 1);

	ASK(f, XS_TRANSACTION_START, 0, "");
	take(f, id, sizeof(id));
	tx = (uint32_t)strtoul(id, NULL, 10);
	ASK(f, XS_WRITE, tx,
	    "b\0"
	    "1");
	assert_int_equal(store_write(f->s, HOME "/c", "x", NULL), 0);
	ASK(f, XS_TRANSACTION_END, tx, "T");
	expect(f, XS_ERROR, "EAGAIN");
	assert_null(store_read(f->s, HOME "/b"));
	ASK(f, XS_TRANSACTION_END, tx, "T");
	expect(f, XS_ERROR, "ENOENT");
}

static void quotas_hold(void **state)
{
	struct fixture *f = *state;
	char b[64];
	unsigned made = 0;

	for (unsigned i = 0; i < 5000; i++) {
		int n = snprintf(b, sizeof(b), "n/%u%cv", i, '\0');

		ask(f, XS_WRITE, 0, b, (size_t)n);
		made += ((struct xen_store_msg *)(void *)f->out.data)->type == XS_WRITE;
	}
	assert_in_range(made, 1000, 2048);
	for (unsigned i = 0; i < 1000; i++) {
		int n = snprintf(b, sizeof(b), "n%ct%u", '\0', i);

		ask(f, XS_WATCH, 0, b, (size_t)n + 1);
	}
	expect(f, XS_ERROR, "ENOSPC");
	for (unsigned i = 0; i < 20; i++)
		ASK(f, XS_TRANSACTION_START, 0, "");
	expect(f, XS_ERROR, "ENOSPC");
	ASK(f, XS_RESET_WATCHES, 0, "");
	expect(f, XS_RESET_WATCHES, "OK");
	ASK(f, XS_WATCH, 0,
	    "n\0"
	    "t");
	expect(f, XS_WATCH, "OK");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reads_what_was_written, set_up, tear_down),
		cmocka_unit_test_setup_teardown(writes_only_at_home, set_up, tear_down),
		cmocka_unit_test_setup_teardown(odd_messages_get_errors, set_up, tear_down),
		cmocka_unit_test_setup_teardown(watches_fire_for_what_is_below, set_up, tear_down),
		cmocka_unit_test_setup_teardown(transactions_are_whole_or_nothing, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(quotas_hold, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
