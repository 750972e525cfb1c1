/* The host's end of a guest's streams: a reader that stops stops its own stream, never the monitor. */
#include <fcntl.h>
#include <pty.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../test.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "run/guest_int.h"

static struct monitor m;
static int agent_end, master;
static struct guest_stream *stream;

static int set_up(void **state)
{
	int line[2], slave;

	(void)state;
	memset(&m, 0, sizeof(m));
	assert_int_equal(loop_init(&m.loop), 0);
	list_init(&m.streams);
	list_init(&m.clients);
	buf_init(&m.rx, 1 << 20);
	buf_init(&m.tx, 1 << 20);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line), 0);
	m.agent.fd = line[0];
	agent_end = line[1];
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	stream = guest_stream_new(&m, 7, (const int[3]){ -1, slave, -1 });
	assert_non_null(stream);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	guest_stream_free(stream);
	loop_fini(&m.loop);
	buf_fini(&m.tx);
	close(m.agent.fd);
	close(agent_end);
	close(master);
	return 0;
}

/* What a guest may send at once: a whole window, in lines longer than a terminal's room is even. */
static void send_window(void)
{
	static uint8_t text[4096];
	const struct agent_frame f = {
		.type = AGENT_DATA, .flags = 1, .stream = 7, .payload = text, .length = sizeof(text)
	};

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\n';
	for (size_t i = 0; i < AGENT_WINDOW_SIZE / sizeof(text); i++)
		assert_int_equal(guest_stream_frame(stream, &f), 0);
}

static void turn(uint64_t ns)
{
	for (uint64_t end = now_ns() + ns; now_ns() < end;)
		assert_int_equal(loop_once(&m.loop, 1), 0);
}

static void a_terminal_that_nobody_reads_does_not_block(void **state)
{
	(void)state;
	alarm(10); /* a blocked write would wait for ever */
	send_window();
	turn(50ull * 1000000);
	assert_true(stream->out[1].len > 0);
	assert_true(stream->out[1].len < AGENT_WINDOW_SIZE);
	alarm(0);
}

static void what_waits_comes_when_it_is_read(void **state)
{
	char piece[8192];
	size_t got = 0;

	(void)state;
	alarm(20);
	send_window();
	turn(20ull * 1000000);
	assert_int_equal(fcntl(master, F_SETFL, O_NONBLOCK), 0);
	while (stream->out[1].len || got < AGENT_WINDOW_SIZE) {
		ssize_t n = read(master, piece, sizeof(piece));

		got += n > 0 ? (size_t)n : 0;
		turn(1000000);
	}
	/* Each line's end became two bytes. */
	while (got < AGENT_WINDOW_SIZE + AGENT_WINDOW_SIZE / 4096) {
		ssize_t n = read(master, piece, sizeof(piece));

		got += n > 0 ? (size_t)n : 0;
	}
	alarm(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_terminal_that_nobody_reads_does_not_block, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(what_waits_comes_when_it_is_read, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
