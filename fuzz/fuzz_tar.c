/* Layer tars: fed whole and in odd pieces, the parser must say the same. */
#include "base/buf.h"
#include "fuzz.h"
#include "wire/tar.h"

struct digest {
	uint64_t hash;
	uint64_t data, expected;
};

static void mix(struct digest *d, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		d->hash = (d->hash ^ ((const uint8_t *)p)[i]) * 1099511628211u;
}

static int on_entry(void *arg, const struct tar_entry *t, struct err *e)
{
	struct digest *d = arg;

	(void)e;
	FUZZ_CHECK(d->data == d->expected);
	FUZZ_CHECK(strlen(t->path) <= TAR_NAME_MAX && strlen(t->link) <= TAR_NAME_MAX);
	FUZZ_CHECK(t->type == TAR_FILE || t->size == 0);
	FUZZ_CHECK((t->mode & ~07777u) == 0);
	mix(d, t->path, strlen(t->path) + 1);
	mix(d, t->link, strlen(t->link) + 1);
	mix(d, &t->size, sizeof(t->size));
	d->data = 0;
	d->expected = t->size;
	return 0;
}

static int on_data(void *arg, const uint8_t *p, size_t n, struct err *e)
{
	struct digest *d = arg;

	(void)e;
	mix(d, p, n);
	d->data += n;
	FUZZ_CHECK(d->data <= d->expected);
	return 0;
}

static int feed(const uint8_t *data, size_t size, size_t step, struct digest *d)
{
	struct tar_parser t;
	struct err e = ERR_INIT;
	int r = 0;

	tar_parser_init(&t);
	t.entry = on_entry;
	t.data = on_data;
	t.arg = d;
	for (size_t at = 0; !r && at < size; at += step)
		r = tar_parser_feed(&t, data + at, size - at < step ? size - at : step, &e);
	if (!r)
		r = tar_parser_end(&t, &e);
	if (r)
		FUZZ_CHECK_ERROR(r, e);
	tar_parser_fini(&t);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct digest whole = { 14695981039346656037u, 0, 0 }, pieces = whole;
	int a = feed(data, size, size ? size : 1, &whole);
	int b = feed(data, size, 61, &pieces);

	FUZZ_CHECK(a == b);
	if (!a)
		FUZZ_CHECK(whole.hash == pieces.hash);
	return 0;
}
