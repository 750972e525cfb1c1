/*
 * Frames of the agent's protocol. Both ends parse them from the other side of the wall: the host because
 * a guest may be hostile, the agent because it shall not fall over.
 *
 * Trust: every byte is hostile. Threads: none. #syscalls: none
 */
#include "wire/agent.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/util.h"

/* What each type carries. `max` 0 means exactly `min`. */
static const struct {
	uint32_t min, max;
	bool has_fd;   /* flags are a descriptor */
	bool may_more; /* may come in pieces */
} shape[AGENT_TYPES] = {
	[AGENT_HELLO] = { 12, 0, false, false },
	[AGENT_CREATE] = { 4, AGENT_PAYLOAD_MAX, false, true },
	[AGENT_START] = { 0, 0, false, false },
	[AGENT_EXEC] = { 0, AGENT_PAYLOAD_MAX, false, true },
	[AGENT_SIGNAL] = { 8, 0, false, false },
	[AGENT_RESIZE] = { 4, 0, false, false },
	[AGENT_DATA] = { 1, AGENT_PAYLOAD_MAX, true, false },
	[AGENT_WINDOW] = { 4, 0, true, false },
	[AGENT_CLOSE] = { 0, 0, true, false },
	[AGENT_OK] = { 4, 0, false, false },
	[AGENT_REPLY] = { 0, AGENT_PAYLOAD_MAX, false, true },
	[AGENT_ERROR] = { 4, 1024, false, false },
	[AGENT_EXIT] = { 4, 0, false, false },
	[AGENT_STATS] = { 0, 0, false, false },
	[AGENT_PIDS] = { 0, 0, false, false },
	[AGENT_UPDATE] = { 0, AGENT_PAYLOAD_MAX, false, true },
	[AGENT_PAUSE] = { 0, 0, false, false },
	[AGENT_RESUME] = { 0, 0, false, false },
	[AGENT_FREEZE] = { 0, 0, false, false },
	[AGENT_THAW] = { 0, 0, false, false },
	[AGENT_TIME] = { 8, 0, false, false },
	[AGENT_ENTROPY] = { 1, 4096, false, false },
	[AGENT_SHUTDOWN] = { 4, 0, false, false },
	[AGENT_PUT] = { 1, 4096, false, false },
	[AGENT_GET] = { 1, 4096, false, false },
	[AGENT_LOG] = { 0, 1024, false, false },
	[AGENT_USER] = { 1, 512, false, false },
	[AGENT_TOP] = { 0, 0, false, false },
	[AGENT_DIFF] = { 0, 0, false, false },
};

static bool flags_ok(enum agent_type type, uint16_t flags)
{
	if (shape[type].has_fd)
		return flags <= 2;
	if (type == AGENT_EXIT)
		return flags <= AGENT_EXIT_OOM;
	if (type == AGENT_GET)
		return flags <= AGENT_GET_FOLLOW;
	return !(flags & ~(shape[type].may_more ? AGENT_MORE : 0u));
}

int agent_frame_parse(const uint8_t *p, size_t n, struct agent_frame *out, struct err *e)
{
	if (n < AGENT_HEADER)
		return 0;
	uint32_t length = le32_at(p);
	uint16_t type = le16_at(p + 4), flags = le16_at(p + 6);

	if (type == 0 || type >= AGENT_TYPES)
		return err_set(e, -EBADMSG, "agent protocol: no frame type %u", type);
	uint32_t min = shape[type].min, max = shape[type].max ? shape[type].max : min;

	if (length < min || length > max)
		return err_set(e, -EBADMSG,
			       "agent protocol: frame of type %u with %u bytes, not %u to %u", type,
			       length, min, max);
	if (!flags_ok((enum agent_type)type, flags))
		return err_set(e, -EBADMSG, "agent protocol: frame of type %u with flags %#x", type,
			       flags);
	if (n - AGENT_HEADER < length)
		return 0;
	*out = (struct agent_frame){
		.type = (enum agent_type)type,
		.flags = flags,
		.stream = le32_at(p + 8),
		.payload = p + AGENT_HEADER,
		.length = length,
	};
	return (int)(AGENT_HEADER + length);
}

uint32_t agent_u32(const struct agent_frame *f, unsigned index)
{
	return le32_at(f->payload + 4 * (size_t)index);
}

uint16_t agent_u16(const struct agent_frame *f, unsigned index)
{
	return le16_at(f->payload + 2 * (size_t)index);
}

uint64_t agent_u64(const struct agent_frame *f)
{
	return le32_at(f->payload) | (uint64_t)le32_at(f->payload + 4) << 32;
}

void agent_error(const struct agent_frame *f, struct err *e)
{
	char text[1024];
	size_t n = MIN((size_t)f->length - 4, sizeof(text) - 1);
	int32_t code = (int32_t)le32_at(f->payload);

	memcpy(text, f->payload + 4, n);
	text[n] = '\0';
	err_set(e, code < 0 && code > -4096 ? code : -EPROTO, "%s", text);
}

int agent_hello_check(const struct agent_frame *f, struct err *e)
{
	if (f->type != AGENT_HELLO || le32_at(f->payload) != AGENT_MAGIC)
		return err_set(e, -EPROTO,
			       "agent protocol: the guest does not greet as warren-agent");
	if (le32_at(f->payload + 4) != AGENT_VERSION)
		return err_set(
			e, -EPROTO,
			"agent protocol: the guest's agent speaks version %u, not %u. Fix: restart "
			"the guest",
			le32_at(f->payload + 4), AGENT_VERSION);
	return 0;
}

int agent_put(struct buf *out, enum agent_type type, uint16_t flags, uint32_t stream, const void *p,
	      size_t n)
{
	uint32_t length = htole32((uint32_t)n);
	uint16_t t = htole16((uint16_t)type), fl = htole16(flags);
	uint8_t h[AGENT_HEADER];

	stream = htole32(stream);
	memcpy(h, &length, 4);
	memcpy(h + 4, &t, 2);
	memcpy(h + 6, &fl, 2);
	memcpy(h + 8, &stream, 4);
	buf_add(out, h, sizeof(h));
	return buf_add(out, p, n);
}

int agent_put_u32(struct buf *out, enum agent_type type, uint16_t flags, uint32_t stream,
		  uint32_t v)
{
	v = htole32(v);
	return agent_put(out, type, flags, stream, &v, sizeof(v));
}

int agent_put_hello(struct buf *out)
{
	uint32_t v[3] = { htole32(AGENT_MAGIC), htole32(AGENT_VERSION), 0 };

	return agent_put(out, AGENT_HELLO, 0, 0, v, sizeof(v));
}

int agent_put_signal(struct buf *out, uint32_t stream, int sig, uint32_t flags)
{
	uint32_t v[2] = { htole32((uint32_t)sig), htole32(flags) };

	return agent_put(out, AGENT_SIGNAL, 0, stream, v, sizeof(v));
}

int agent_put_resize(struct buf *out, uint32_t stream, uint16_t rows, uint16_t columns)
{
	uint16_t v[2] = { htole16(rows), htole16(columns) };

	return agent_put(out, AGENT_RESIZE, 0, stream, v, sizeof(v));
}

int agent_put_error(struct buf *out, uint32_t stream, const struct err *e)
{
	uint8_t p[1024];
	uint32_t code = htole32((uint32_t)e->code);
	size_t n = MIN(strlen(e->msg), sizeof(p) - 4);

	memcpy(p, &code, 4);
	memcpy(p + 4, e->msg, n);
	return agent_put(out, AGENT_ERROR, 0, stream, p, n + 4);
}

int agent_put_long(struct buf *out, enum agent_type type, uint32_t stream, const void *p, size_t n)
{
	const uint8_t *b = p ? p
			     : (const uint8_t *)""; /* nothing is sent as a frame without payload */
	int r;

	do {
		size_t part = MIN(n, (size_t)AGENT_PAYLOAD_MAX);

		r = agent_put(out, type, part < n ? AGENT_MORE : 0, stream, b, part);
		b += part;
		n -= part;
	} while (n && r == 0);
	return r;
}

int agent_flow_grant(struct agent_flow *f, uint32_t bytes)
{
	if (bytes > AGENT_WINDOW_SIZE - f->credit)
		return -EBADMSG;
	f->credit += bytes;
	return 0;
}

int agent_flow_receive(struct agent_flow *f, uint32_t bytes)
{
	if (f->closed || bytes > AGENT_WINDOW_SIZE - f->held - f->owed)
		return -EBADMSG;
	f->held += bytes;
	return 0;
}

int agent_flow_consume(struct agent_flow *f, uint32_t bytes, struct buf *out, uint32_t stream,
		       unsigned fd)
{
	bytes = MIN(bytes, f->held);
	f->held -= bytes;
	f->owed += bytes;
	if (f->owed < AGENT_WINDOW_SIZE / 4 || f->closed)
		return out->error;
	uint32_t grant = f->owed;

	f->owed = 0;
	return agent_put_u32(out, AGENT_WINDOW, (uint16_t)fd, stream, grant);
}
