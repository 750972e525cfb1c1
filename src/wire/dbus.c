/*
 * D-Bus messages: just enough to call methods, read their answers and receive signals.
 *
 * A message is a header (fixed part, then an array of fields, padded to 8) and a body. Every value is aligned to its
 * own size counted from the start of the message; since the body starts on 8 and nothing needs more, a body can be
 * marshalled by itself.
 *
 * Trust: incoming bytes come from a bus daemon that may relay anybody's signals: each length is checked against what
 * is there, every string must end where it says. Threads: any. #syscalls: none
 */
#include "wire/dbus.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum field {
	FIELD_PATH = 1,
	FIELD_INTERFACE = 2,
	FIELD_MEMBER = 3,
	FIELD_ERROR_NAME = 4,
	FIELD_REPLY_SERIAL = 5,
	FIELD_DESTINATION = 6,
	FIELD_SENDER = 7,
	FIELD_SIGNATURE = 8,
};

/* Fixed part: order, type, flags, version, body length, serial, length of the fields. */
enum { FIXED = 16 };

static void align(struct buf *b, size_t to)
{
	while (!b->error && b->len % to)
		buf_addc(b, '\0');
}

void dbus_put_u32(struct buf *b, uint32_t v)
{
	uint32_t x = htole32(v);

	align(b, 4);
	buf_add(b, &x, sizeof(x));
}

void dbus_put_u64(struct buf *b, uint64_t v)
{
	uint64_t x = htole64(v);

	align(b, 8);
	buf_add(b, &x, sizeof(x));
}

void dbus_put_bool(struct buf *b, bool v)
{
	dbus_put_u32(b, v);
}

void dbus_put_string(struct buf *b, const char *s)
{
	dbus_put_u32(b, (uint32_t)strlen(s));
	buf_add(b, s, strlen(s) + 1);
}

void dbus_put_signature(struct buf *b, const char *s)
{
	buf_addc(b, (char)strlen(s));
	buf_add(b, s, strlen(s) + 1);
}

void dbus_put_struct(struct buf *b)
{
	align(b, 8);
}

size_t dbus_array_begin(struct buf *b, size_t to)
{
	dbus_put_u32(b, 0);
	size_t begin = b->len - 4;

	align(b, to);
	return begin;
}

/* The length counts neither itself nor the padding before the first element. */
void dbus_array_end(struct buf *b, size_t begin, size_t to)
{
	if (b->error)
		return;
	size_t first = begin + 4;

	while (first % to)
		first++;
	uint32_t n = htole32((uint32_t)(b->len - first));

	memcpy(b->data + begin, &n, sizeof(n));
}

static void put_field(struct buf *b, enum field code, const char *signature, const char *s)
{
	if (!s)
		return;
	dbus_put_struct(b);
	buf_addc(b, (char)code);
	dbus_put_signature(b, signature);
	if (*signature == 'g')
		dbus_put_signature(b, s);
	else
		dbus_put_string(b, s);
}

int dbus_print(const struct dbus_msg *m, struct buf *out)
{
	struct buf b = BUF_INIT(DBUS_MESSAGE_MAX);
	const char start[4] = { 'l', (char)m->type, 0, 1 };

	buf_add(&b, start, sizeof(start));
	dbus_put_u32(&b, (uint32_t)m->body_n);
	dbus_put_u32(&b, m->serial);
	size_t fields = dbus_array_begin(&b, 8);

	put_field(&b, FIELD_PATH, "o", m->path);
	put_field(&b, FIELD_INTERFACE, "s", m->interface);
	put_field(&b, FIELD_MEMBER, "s", m->member);
	put_field(&b, FIELD_ERROR_NAME, "s", m->error_name);
	put_field(&b, FIELD_DESTINATION, "s", m->destination);
	put_field(&b, FIELD_SENDER, "s", m->sender);
	put_field(&b, FIELD_SIGNATURE, "g", m->signature);
	if (m->reply_serial) {
		dbus_put_struct(&b);
		buf_addc(&b, FIELD_REPLY_SERIAL);
		dbus_put_signature(&b, "u");
		dbus_put_u32(&b, m->reply_serial);
	}
	dbus_array_end(&b, fields, 8);
	align(&b, 8);
	if (m->body_n)
		buf_add(&b, m->body, m->body_n);
	int r = b.error ? b.error : buf_add(out, b.data, b.len);

	buf_fini(&b);
	return r;
}

static int skip_to(struct dbus_reader *r, size_t to)
{
	size_t at = (r->at + to - 1) / to * to;

	if (at > r->n)
		return -EBADMSG;
	r->at = at;
	return 0;
}

int dbus_get_u32(struct dbus_reader *r, uint32_t *v)
{
	uint32_t x;

	if (skip_to(r, 4) || r->n - r->at < 4)
		return -EBADMSG;
	memcpy(&x, r->p + r->at, 4);
	r->at += 4;
	*v = le32toh(x);
	return 0;
}

static int get_text(struct dbus_reader *r, size_t n, const char **s)
{
	if (n >= r->n - r->at || r->p[r->at + n] || memchr(r->p + r->at, 0, n))
		return -EBADMSG;
	*s = (const char *)r->p + r->at;
	r->at += n + 1;
	return 0;
}

int dbus_get_string(struct dbus_reader *r, const char **s)
{
	uint32_t n;

	return dbus_get_u32(r, &n) ? -EBADMSG : get_text(r, n, s);
}

int dbus_get_signature(struct dbus_reader *r, const char **s)
{
	if (r->at >= r->n)
		return -EBADMSG;
	size_t n = r->p[r->at++];

	return get_text(r, n, s);
}

/* Every field that the specification knows is a string, a signature or a number; others (unix_fds is a number too)
 * are read and forgotten. */
static int get_field(struct dbus_reader *r, struct dbus_msg *m)
{
	const char *signature, *s = NULL;
	uint32_t v = 0;

	if (skip_to(r, 8) || r->at >= r->n)
		return -EBADMSG;
	unsigned int code = r->p[r->at++];
	int bad = dbus_get_signature(r, &signature);

	if (!bad && (!strcmp(signature, "s") || !strcmp(signature, "o")))
		bad = dbus_get_string(r, &s);
	else if (!bad && !strcmp(signature, "g"))
		bad = dbus_get_signature(r, &s);
	else if (!bad && !strcmp(signature, "u"))
		bad = dbus_get_u32(r, &v);
	else
		bad = -EBADMSG;
	if (bad)
		return -EBADMSG;
	const char **strings[] = {
		[FIELD_PATH] = &m->path,
		[FIELD_INTERFACE] = &m->interface,
		[FIELD_MEMBER] = &m->member,
		[FIELD_ERROR_NAME] = &m->error_name,
		[FIELD_DESTINATION] = &m->destination,
		[FIELD_SENDER] = &m->sender,
		[FIELD_SIGNATURE] = &m->signature,
	};

	if (code == FIELD_REPLY_SERIAL)
		m->reply_serial = v;
	else if (s && code <= FIELD_SIGNATURE && strings[code])
		*strings[code] = s;
	return 0;
}

int dbus_parse(const void *p, size_t n, struct dbus_msg *m, size_t *used)
{
	const unsigned char *bytes = p;
	struct dbus_reader r = { .p = bytes, .n = n };
	uint32_t body, fields;

	memset(m, 0, sizeof(*m));
	if (n < FIXED)
		return 0;
	if (bytes[0] != 'l' || bytes[1] < DBUS_CALL || bytes[1] > DBUS_SIGNAL || bytes[3] != 1)
		return -EBADMSG;
	m->type = (enum dbus_type)bytes[1];
	r.at = 4;
	dbus_get_u32(&r, &body);
	dbus_get_u32(&r, &m->serial);
	dbus_get_u32(&r, &fields);
	if (body > DBUS_MESSAGE_MAX || fields > DBUS_MESSAGE_MAX)
		return -EMSGSIZE;
	size_t start = FIXED + ((size_t)fields + 7) / 8 * 8;

	if (n < start + body)
		return 0;
	r.n = FIXED + fields;
	while (r.at < r.n)
		if (get_field(&r, m))
			return -EBADMSG;
	m->body = bytes + start;
	m->body_n = body;
	*used = start + body;
	return 1;
}
