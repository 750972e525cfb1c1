/*
 * Control packets, checked.
 *
 * One table says for each type who may send it, what its arguments and flags may be, and how long the body
 * may be. Everything that arrives passes through it before anybody looks at a member, so the keeper's and
 * the client's switches need no checks of their own.
 *
 * Trust: packets come from another process, perhaps of another version. Threads: none. #syscalls: none
 */
#include "wire/control.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"

struct head {
	uint16_t type, flags;
	uint32_t a, b, n;
};

_Static_assert(sizeof(struct head) == CONTROL_HEAD, "the head is 16 bytes on the wire");

enum sender { BOTH, CLIENT, KEEPER };

static const struct rule {
	enum control_type type;
	enum sender sender;
	uint16_t flags; /* the bits that may be set */
	uint32_t a_min, a_max, b_max, body_max;
} rules[] = {
	{ CONTROL_HELLO, BOTH, 0, CONTROL_MAGIC, CONTROL_MAGIC, UINT32_MAX, 0 },
	{ CONTROL_START, CLIENT, 0, 0, 0, 0, CONTROL_START_MAX },
	{ CONTROL_ATTACH, CLIENT, 7, 0, 0, 0, 0 },
	{ CONTROL_STDIN, CLIENT, 0, 0, 0, 0, CONTROL_BODY_MAX },
	{ CONTROL_RESIZE, CLIENT, 0, 0, UINT16_MAX, UINT16_MAX, 0 },
	{ CONTROL_SIGNAL, CLIENT, 0, 1, 64, 1, 0 },
	{ CONTROL_STOP, CLIENT, 0, 1, 64, UINT32_MAX, 0 },
	{ CONTROL_WAIT, CLIENT, 0, 0, CONTROL_WAIT_EXIT, 0, 0 },
	{ CONTROL_POLICY, CLIENT, 0, 0, CONTROL_POLICY_UNLESS_STOPPED, INT32_MAX, 0 },
	{ CONTROL_OK, KEEPER, 0, 0, 0, 0, 0 },
	{ CONTROL_ERROR, KEEPER, 0, 0, UINT32_MAX, 255, sizeof(((struct err *)0)->msg) },
	{ CONTROL_STARTED, KEEPER, 0, 0, INT32_MAX, 0, 0 },
	{ CONTROL_STDOUT, KEEPER, 0, 0, 0, 0, CONTROL_BODY_MAX },
	{ CONTROL_STDERR, KEEPER, 0, 0, 0, 0, CONTROL_BODY_MAX },
	{ CONTROL_EXIT, KEEPER, 3, 0, 255, 0, 0 },
};

void control_head(const struct control_msg *m, uint8_t head[static CONTROL_HEAD])
{
	struct head h = {
		.type = htole16((uint16_t)m->type),
		.flags = htole16(m->flags),
		.a = htole32(m->a),
		.b = htole32(m->b),
		.n = htole32((uint32_t)m->n),
	};

	memcpy(head, &h, sizeof(h));
}

static const struct rule *rule_for(uint16_t type)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		if ((uint16_t)rules[i].type == type)
			return &rules[i];
	return NULL;
}

int control_parse(const void *packet, size_t n, int to_keeper, struct control_msg *m, struct err *e)
{
	struct head h;

	if (n < sizeof(h))
		return err_set(e, -EPROTO, "control message: %zu bytes are no message", n);
	memcpy(&h, packet, sizeof(h));
	uint16_t type = le16toh(h.type), flags = le16toh(h.flags);
	uint32_t a = le32toh(h.a), b = le32toh(h.b), len = le32toh(h.n);
	const struct rule *r = rule_for(type);

	if (!r || r->sender == (to_keeper ? KEEPER : CLIENT))
		return err_set(e, -EPROTO, "control message: unknown type %u", type);
	if (flags & ~r->flags)
		return err_set(e, -EPROTO, "control message %u: flags: %#x not known", type, flags);
	if (a < r->a_min || a > r->a_max || b > r->b_max)
		return err_set(e, -EPROTO, "control message %u: argument out of range", type);
	if (len != n - sizeof(h) || len > r->body_max)
		return err_set(e, -EPROTO, "control message %u: length: %u in a packet of %zu",
			       type, len, n);
	*m = (struct control_msg){
		.type = (enum control_type)type,
		.flags = flags,
		.a = a,
		.b = b,
		.body = (const char *)packet + sizeof(h),
		.n = len,
	};
	return 0;
}

struct start_body {
	uint32_t flags, policy, retries, log_max_file;
	uint64_t log_max_size, timeout_ms;
};

_Static_assert(sizeof(struct start_body) == 32, "what is before the log's path is 32 bytes");

size_t control_start_pack(const struct control_start *s, uint8_t out[static CONTROL_START_MAX])
{
	struct start_body b = {
		.flags = htole32(s->flags),
		.policy = htole32((uint32_t)s->policy),
		.retries = htole32(s->retries),
		.log_max_file = htole32(s->log_max_file),
		.log_max_size = htole64(s->log_max_size),
		.timeout_ms = htole64(s->timeout_ms),
	};
	size_t n = strlen(s->log) + 1;

	if (n > CONTROL_START_MAX - sizeof(b))
		return 0;
	memcpy(out, &b, sizeof(b));
	memcpy(out + sizeof(b), s->log, n);
	return sizeof(b) + n;
}

int control_start_parse(const void *body, size_t n, struct control_start *s, struct err *e)
{
	struct start_body b;
	const char *log = (const char *)body + sizeof(b);

	if (n <= sizeof(b))
		return err_set(e, -EPROTO, "start message: %zu bytes are too few", n);
	memcpy(&b, body, sizeof(b));
	uint32_t policy = le32toh(b.policy);

	if (le32toh(b.flags) > 15)
		return err_set(e, -EPROTO, "start message: flags: %#x not known", le32toh(b.flags));
	if (policy > CONTROL_POLICY_UNLESS_STOPPED)
		return err_set(e, -EPROTO, "start message: policy: %u not known", policy);
	if (!le32toh(b.log_max_file) || le64toh(b.timeout_ms) > INT64_MAX / 1000000)
		return err_set(e, -EPROTO, "start message: number out of range");
	if (memchr(log, '\0', n - sizeof(b)) != log + (n - sizeof(b)) - 1 || (*log && *log != '/'))
		return err_set(e, -EPROTO, "start message: log: no absolute path");
	*s = (struct control_start){
		.flags = le32toh(b.flags),
		.policy = (enum control_policy)policy,
		.retries = le32toh(b.retries),
		.log_max_file = le32toh(b.log_max_file),
		.log_max_size = le64toh(b.log_max_size),
		.timeout_ms = le64toh(b.timeout_ms),
		.log = log,
	};
	return 0;
}
