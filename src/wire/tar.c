/*
 * Tar, as far as packages and `cp` need it: ustar, GNU 'L'/'K' long names, pax 'x' records path,
 * linkpath and size. A push parser: bytes come in pieces of any size, from a pipe or from frames of the
 * agent's protocol, and leave as entries and data. Global pax headers and vendor types are skipped
 * with their data.
 *
 * Trust: every byte is hostile; names are handed on as they are (without NULs) and it is the receiver
 * that keeps them below its root. Threads: none. #syscalls: none
 */
#include "wire/tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

/* Offsets in the ustar header (POSIX.1-2017, pax, "ustar Interchange Format"). */
enum {
	H_NAME = 0,
	H_MODE = 100,
	H_UID = 108,
	H_GID = 116,
	H_SIZE = 124,
	H_MTIME = 136,
	H_SUM = 148,
	H_TYPE = 156,
	H_LINK = 157,
	H_MAGIC = 257,
	H_MAJOR = 329,
	H_MINOR = 337,
	H_PREFIX = 345,
};

void tar_parser_init(struct tar_parser *t)
{
	*t = (struct tar_parser){ .state = TAR_S_HEADER };
	buf_init(&t->meta, TAR_META_MAX);
	buf_init(&t->path, TAR_NAME_MAX);
	buf_init(&t->link, TAR_NAME_MAX);
}

void tar_parser_fini(struct tar_parser *t)
{
	buf_fini(&t->meta);
	buf_fini(&t->path);
	buf_fini(&t->link);
}

/* Octal text, or base 256 when the top bit is set. 0 or -EBADMSG. */
static int number(const uint8_t *p, size_t n, uint64_t *out)
{
	uint64_t v = 0;

	if (p[0] & 0x80) {
		if (p[0] & 0x40)
			return -EBADMSG; /* negative */
		v = p[0] & 0x3f;
		for (size_t i = 1; i < n; i++) {
			if (v >> 55)
				return -EBADMSG;
			v = v << 8 | p[i];
		}
		*out = v;
		return 0;
	}
	size_t i = 0;

	while (i < n && p[i] == ' ')
		i++;
	for (; i < n && p[i] != '\0' && p[i] != ' '; i++) {
		if (p[i] < '0' || p[i] > '7' || v >> 60)
			return -EBADMSG;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	*out = v;
	return 0;
}

static int number32(const uint8_t *p, size_t n, uint32_t *out)
{
	uint64_t v;

	if (number(p, n, &v) < 0 || v > UINT32_MAX)
		return -EBADMSG;
	*out = (uint32_t)v;
	return 0;
}

static bool sum_ok(const uint8_t *h)
{
	uint64_t want;
	uint32_t sum = 0;

	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += i >= H_SUM && i < H_SUM + 8 ? ' ' : h[i];
	return number(h + H_SUM, 8, &want) == 0 && want == sum;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i])
			return false;
	}
	return true;
}

/* A fixed field that may lack its NUL. */
static void add_field(struct buf *b, const uint8_t *p, size_t n)
{
	buf_add(b, p, strnlen((const char *)p, n));
}

/* One record "LEN key=value\n"; `*p` moves behind it. 0 or -EBADMSG. */
static int pax_record(struct tar_parser *t, const char **p, const char *end)
{
	const char *s = *p;
	size_t len = 0;

	while (s < end && *s >= '0' && *s <= '9' && len < TAR_META_MAX)
		len = len * 10 + (size_t)(*s++ - '0');
	if (s == *p || s >= end || *s != ' ' || len > (size_t)(end - *p))
		return -EBADMSG;
	const char *stop = *p + len - 1;

	s++;
	if (stop < s || *stop != '\n')
		return -EBADMSG;
	const char *eq = memchr(s, '=', (size_t)(stop - s));

	if (!eq)
		return -EBADMSG;
	size_t key = (size_t)(eq - s), n = (size_t)(stop - eq - 1);
	struct buf *name = NULL;

	if (key == 4 && memcmp(s, "path", 4) == 0)
		name = &t->path;
	else if (key == 8 && memcmp(s, "linkpath", 8) == 0)
		name = &t->link;
	if (name) {
		buf_clear(name);
		if (memchr(eq + 1, '\0', n) || buf_add(name, eq + 1, n) < 0)
			return -EBADMSG;
	} else if (key == 4 && memcmp(s, "size", 4) == 0) {
		char digits[24] = "";

		if (n >= sizeof(digits))
			return -EBADMSG;
		memcpy(digits, eq + 1, n);
		if (str_to_u64(digits, &t->size) < 0 || t->size > INT64_MAX)
			return -EBADMSG;
		t->has_size = true;
	}
	*p = stop + 1;
	return 0;
}

/* A long name or a pax header is complete. */
static int meta_end(struct tar_parser *t, struct err *e)
{
	const char *p = buf_str(&t->meta), *end = p + t->meta.len;

	if (t->meta_type == 'L' || t->meta_type == 'K') {
		struct buf *name = t->meta_type == 'L' ? &t->path : &t->link;

		buf_clear(name);
		if (buf_add(name, p, strnlen(p, t->meta.len)) < 0)
			return err_set(e, -EBADMSG, "tar: a name longer than %u bytes",
				       TAR_NAME_MAX);
		return 0;
	}
	while (p < end) {
		if (pax_record(t, &p, end) < 0)
			return err_set(e, -EBADMSG, "tar: damaged pax header");
	}
	return 0;
}

/* Fills the names and sizes that a real entry has and forgets what pax said. */
static int emit_entry(struct tar_parser *t, char type, struct err *e)
{
	const uint8_t *h = t->block;
	struct tar_entry en = { .type = (enum tar_type)type };
	uint64_t mtime;
	int bad = 0;

	if (!t->path.len) {
		if (memcmp(h + H_MAGIC, "ustar", 6) == 0 && h[H_PREFIX]) {
			add_field(&t->path, h + H_PREFIX, 155);
			buf_addc(&t->path, '/');
		}
		add_field(&t->path, h + H_NAME, 100);
	}
	if (!t->link.len)
		add_field(&t->link, h + H_LINK, 100);
	en.path = buf_str(&t->path);
	en.link = type == TAR_HARDLINK || type == TAR_SYMLINK ? buf_str(&t->link) : "";
	bad |= number32(h + H_MODE, 8, &en.mode) | number32(h + H_UID, 8, &en.uid);
	bad |= number32(h + H_GID, 8, &en.gid) | number(h + H_MTIME, 12, &mtime);
	if (type == TAR_CHAR || type == TAR_BLOCK_DEVICE)
		bad |= number32(h + H_MAJOR, 8, &en.major) | number32(h + H_MINOR, 8, &en.minor);
	if (bad || !*en.path || (type == TAR_HARDLINK && !*en.link))
		return err_set(e, -EBADMSG, "tar: damaged header of '%s'", en.path);
	en.mode &= 07777;
	en.mtime = (int64_t)mtime;
	en.size = type == TAR_FILE ? t->left : 0;
	int r = t->entry ? t->entry(t->arg, &en, e) : 0;

	buf_clear(&t->path);
	buf_clear(&t->link);
	t->has_size = false;
	return r;
}

static int header(struct tar_parser *t, struct err *e)
{
	const uint8_t *h = t->block;
	char type = (char)h[H_TYPE];
	uint64_t size;

	if (all_zero(h, TAR_BLOCK)) {
		t->ended = true;
		return 0;
	}
	if (!sum_ok(h))
		return err_set(e, -EBADMSG, "tar: wrong checksum in a header");
	if (number(h + H_SIZE, 12, &size) < 0 || size > INT64_MAX)
		return err_set(e, -EBADMSG, "tar: damaged size in a header");
	if (type == '\0' || type == '7')
		type = TAR_FILE;
	bool is_meta = type == 'x' || type == 'L' || type == 'K';

	if (t->has_size && !is_meta)
		size = t->size;
	t->left = size;
	t->padding = tar_pad(size);
	if (is_meta) {
		if (size > TAR_META_MAX)
			return err_set(e, -EBADMSG, "tar: a pax header of %llu bytes",
				       (unsigned long long)size);
		t->meta_type = type;
		buf_clear(&t->meta);
		t->state = TAR_S_META;
		return 0;
	}
	if (type < '0' || type > '6') { /* 'g' and vendors' own */
		t->state = TAR_S_SKIP;
		return 0;
	}
	t->state = TAR_S_DATA;
	if (type != TAR_FILE) {
		/* Links may carry a size that nothing follows. */
		t->left = t->padding = 0;
		t->state = TAR_S_HEADER;
	}
	return emit_entry(t, type, e);
}

static int body(struct tar_parser *t, const uint8_t *p, size_t n, struct err *e)
{
	if (t->state == TAR_S_META)
		return buf_add(&t->meta, p, n) < 0 ? err_set(e, -ENOMEM, "tar: out of memory") : 0;
	if (t->state == TAR_S_DATA && t->data)
		return t->data(t->arg, p, n, e);
	return 0;
}

int tar_parser_feed(struct tar_parser *t, const uint8_t *p, size_t n, struct err *e)
{
	int r = 0;

	while (n && !t->ended && r == 0) {
		if (t->state == TAR_S_HEADER) {
			size_t part = MIN(n, TAR_BLOCK - t->fill);

			memcpy(t->block + t->fill, p, part);
			t->fill += part;
			p += part;
			n -= part;
			if (t->fill < TAR_BLOCK)
				break;
			t->fill = 0;
			r = header(t, e);
		} else if (t->left) {
			size_t part = (size_t)MIN((uint64_t)n, t->left);

			r = body(t, p, part, e);
			t->left -= part;
			p += part;
			n -= part;
		}
		if (r == 0 && t->state != TAR_S_HEADER && !t->left) {
			size_t part = (size_t)MIN((uint64_t)n, t->padding);

			t->padding -= part;
			p += part;
			n -= part;
			if (t->padding)
				break;
			if (t->state == TAR_S_META)
				r = meta_end(t, e);
			t->state = TAR_S_HEADER;
		}
	}
	return r;
}

int tar_parser_end(const struct tar_parser *t, struct err *e)
{
	if (t->state != TAR_S_HEADER || (!t->ended && t->fill))
		return err_set(e, -EBADMSG, "tar: truncated");
	return 0;
}

static void put_octal(uint8_t *p, size_t n, uint64_t v)
{
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		p[i] = (uint8_t)('0' + (v & 7));
	p[n - 1] = '\0';
}

static int put_block(struct buf *out, const struct tar_entry *t, char type, const char *path,
		     const char *link, uint64_t size)
{
	uint8_t h[TAR_BLOCK] = { 0 };
	uint32_t sum = 0;

	memcpy(h + H_NAME, path, MIN(strlen(path), (size_t)100));
	memcpy(h + H_LINK, link, MIN(strlen(link), (size_t)100));
	put_octal(h + H_MODE, 8, t->mode & 07777);
	put_octal(h + H_UID, 8, MIN(t->uid, 07777777u));
	put_octal(h + H_GID, 8, MIN(t->gid, 07777777u));
	put_octal(h + H_SIZE, 12, MIN(size, (uint64_t)077777777777));
	put_octal(h + H_MTIME, 12, t->mtime < 0 ? 0 : (uint64_t)t->mtime & 077777777777);
	put_octal(h + H_MAJOR, 8, t->major & 07777777u);
	put_octal(h + H_MINOR, 8, t->minor & 07777777u);
	h[H_TYPE] = (uint8_t)type;
	memcpy(h + H_MAGIC,
	       "ustar\0"
	       "00",
	       8);
	memset(h + H_SUM, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += h[i];
	put_octal(h + H_SUM, 7, sum);
	return buf_add(out, h, sizeof(h));
}

/* "LEN key=value\n", where LEN counts itself. */
static void pax_add(struct buf *b, const char *key, const char *value)
{
	size_t n = strlen(key) + strlen(value) + 3, digits = 1;

	for (size_t limit = 10; n + digits >= limit; limit *= 10)
		digits++;
	buf_addf(b, "%zu %s=%s\n", n + digits, key, value);
}

int tar_add_header(struct buf *out, const struct tar_entry *t)
{
	static const char zeroes[TAR_BLOCK];
	struct buf pax = BUF_INIT(4 * TAR_NAME_MAX);
	uint64_t size = t->type == TAR_FILE ? t->size : 0;
	char text[24];

	if (strlen(t->path) > 100)
		pax_add(&pax, "path", t->path);
	if (strlen(t->link) > 100)
		pax_add(&pax, "linkpath", t->link);
	if (size > 077777777777) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
		pax_add(&pax, "size", text);
	}
	int r = pax.error;

	if (r == 0 && pax.len) {
		put_block(out, t, 'x', "pax", "", pax.len);
		buf_add(out, pax.data, pax.len);
		buf_add(out, zeroes, tar_pad(pax.len));
	}
	buf_fini(&pax);
	return r < 0 ? r : put_block(out, t, (char)t->type, t->path, t->link, size);
}
