/* The agent's protocol: frames there and back, hostile frames, windows. */
#include "../test.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "wire/agent.h"

static void test_round_trip(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct agent_frame f;
	struct err e = ERR_INIT, got = ERR_INIT;

	agent_put_hello(&b);
	agent_put_signal(&b, 7, 15, AGENT_SIGNAL_ALL);
	agent_put_resize(&b, 7, 24, 80);
	err_set(&e, -ENOENT, "no\nthing");
	agent_put_error(&b, 9, &e);
	assert_int_equal(b.error, 0);

	const uint8_t *p = (const uint8_t *)b.data;
	size_t n = b.len;

	/* Nothing is taken before a frame is whole. */
	for (size_t i = 0; i < AGENT_HEADER + 12; i++)
		assert_int_equal(agent_frame_parse(p, i, &f, NULL), 0);
	int used = agent_frame_parse(p, n, &f, NULL);

	assert_int_equal(used, AGENT_HEADER + 12);
	assert_int_equal(agent_hello_check(&f, NULL), 0);
	p += used;
	n -= (size_t)used;
	used = agent_frame_parse(p, n, &f, NULL);
	assert_int_equal(f.type, AGENT_SIGNAL);
	assert_int_equal(f.stream, 7);
	assert_int_equal(agent_u32(&f, 0), 15);
	assert_int_equal(agent_u32(&f, 1), AGENT_SIGNAL_ALL);
	p += used;
	n -= (size_t)used;
	used = agent_frame_parse(p, n, &f, NULL);
	assert_int_equal(agent_u16(&f, 0), 24);
	assert_int_equal(agent_u16(&f, 1), 80);
	p += used;
	n -= (size_t)used;
	assert_true(agent_frame_parse(p, n, &f, NULL) > 0);
	agent_error(&f, &got);
	assert_int_equal(got.code, -ENOENT);
	assert_string_equal(got.msg, "no thing");
	buf_fini(&b);
}

static void test_long(void **state)
{
	static char text[AGENT_PAYLOAD_MAX * 2 + 5];
	struct buf b = BUF_INIT(1 << 20);
	struct agent_frame f;
	size_t at = 0, total = 0, frames = 0;

	agent_put_long(&b, AGENT_CREATE, 1, text, sizeof(text));
	while (at < b.len) {
		int used = agent_frame_parse((const uint8_t *)b.data + at, b.len - at, &f, NULL);

		assert_true(used > 0);
		at += (size_t)used;
		total += f.length;
		frames++;
		assert_int_equal(f.flags, at < b.len ? AGENT_MORE : 0);
	}
	assert_int_equal(total, sizeof(text));
	assert_int_equal(frames, 3);
	buf_fini(&b);
}

/* length, type, flags: each wrong in one way. */
static const struct {
	uint32_t length;
	uint16_t type, flags;
} bad[] = {
	{ 0, 0, 0 },
	{ 0, AGENT_TYPES, 0 },
	{ 0, 0xffff, 0 },
	{ 11, AGENT_HELLO, 0 },
	{ 13, AGENT_HELLO, 0 },
	{ 12, AGENT_HELLO, 1 },
	{ AGENT_PAYLOAD_MAX + 1, AGENT_DATA, 1 },
	{ UINT32_MAX, AGENT_CREATE, 0 },
	{ 0, AGENT_DATA, 1 },
	{ 5, AGENT_DATA, 3 },
	{ 5, AGENT_DATA, AGENT_MORE },
	{ 5, AGENT_CREATE, 1 },
	{ 3, AGENT_ERROR, 0 },
	{ 4, AGENT_SIGNAL, 0 },
	{ 8, AGENT_SIGNAL, AGENT_MORE },
	{ 7, AGENT_TIME, 0 },
	{ 4097, AGENT_PUT, 0 },
	{ 0, AGENT_GET, 0 },
	{ 1, AGENT_START, 0 },
};

static void test_hostile(void **state)
{
	uint8_t p[64] = { 0 };
	struct agent_frame f;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;

		memcpy(p, &bad[i].length, 4);
		memcpy(p + 4, &bad[i].type, 2);
		memcpy(p + 6, &bad[i].flags, 2);
		assert_int_equal(agent_frame_parse(p, sizeof(p), &f, &e), -EBADMSG);
		assert_true(e.msg[0]);
	}
}

static void test_window(void **state)
{
	struct agent_flow sender, receiver;
	struct buf b = BUF_INIT(1 << 20);
	struct agent_frame f;

	agent_flow_init(&sender);
	agent_flow_init(&receiver);
	assert_int_equal(agent_flow_grant(&sender, 1), -EBADMSG);
	sender.credit -= 40000;
	assert_int_equal(agent_flow_receive(&receiver, 40000), 0);
	assert_int_equal(agent_flow_receive(&receiver, 30000), -EBADMSG);
	/* Little is owed: no frame yet; then one for all. */
	agent_flow_consume(&receiver, 10000, &b, 3, 1);
	assert_int_equal(b.len, 0);
	agent_flow_consume(&receiver, 30000, &b, 3, 1);
	assert_true(agent_frame_parse((const uint8_t *)b.data, b.len, &f, NULL) > 0);
	assert_int_equal(f.type, AGENT_WINDOW);
	assert_int_equal(agent_fd(&f), 1);
	assert_int_equal(agent_u32(&f, 0), 40000);
	assert_int_equal(agent_flow_grant(&sender, agent_u32(&f, 0)), 0);
	assert_int_equal(sender.credit, AGENT_WINDOW_SIZE);
	receiver.closed = true;
	assert_int_equal(agent_flow_receive(&receiver, 1), -EBADMSG);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
