/* The protocol between a host and a guest's agent: frames, and what is put together again is what came. */
#include "base/buf.h"
#include "fuzz.h"
#include "wire/agent.h"

static void look(const struct agent_frame *f)
{
	struct err e = ERR_INIT;

	switch (f->type) {
	case AGENT_HELLO:
		agent_hello_check(f, &e);
		break;
	case AGENT_SIGNAL:
		agent_u32(f, 0);
		agent_u32(f, 1);
		break;
	case AGENT_RESIZE:
		agent_u16(f, 0);
		agent_u16(f, 1);
		break;
	case AGENT_WINDOW:
	case AGENT_OK:
	case AGENT_EXIT:
	case AGENT_SHUTDOWN:
		agent_u32(f, 0);
		break;
	case AGENT_TIME:
		agent_u64(f);
		break;
	case AGENT_ERROR:
		agent_error(f, &e);
		FUZZ_CHECK(memchr(e.msg, '\0', sizeof(e.msg)));
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);
	struct agent_flow flow;
	size_t at = 0;

	FUZZ_CHECK(copy);
	if (size)
		memcpy(copy, data, size);
	agent_flow_init(&flow);
	while (at < size) {
		struct agent_frame f;
		struct err e = ERR_INIT;
		int r = agent_frame_parse(copy + at, size - at, &f, &e);

		if (r < 0)
			FUZZ_CHECK_ERROR(r, e);
		if (r <= 0)
			break;
		FUZZ_CHECK((size_t)r <= size - at);
		FUZZ_CHECK(f.length <= AGENT_PAYLOAD_MAX && f.type < AGENT_TYPES);
		struct buf again = BUF_INIT(1 << 20);

		FUZZ_CHECK(agent_put(&again, f.type, f.flags, f.stream, f.payload, f.length) == 0);
		FUZZ_CHECK(again.len == (size_t)r && !memcmp(again.data, copy + at, again.len));
		buf_fini(&again);
		look(&f);
		if (f.type == AGENT_DATA)
			agent_flow_receive(&flow, f.length);
		if (f.type == AGENT_WINDOW)
			agent_flow_grant(&flow, agent_u32(&f, 0));
		FUZZ_CHECK(flow.credit <= AGENT_WINDOW_SIZE && flow.held <= AGENT_WINDOW_SIZE);
		at += (size_t)r;
	}
	free(copy);
	return 0;
}
