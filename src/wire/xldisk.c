/*
 * Disks as Xen's xl writes them. Parts without "=" are taken in the order target, format, vdev, access; parts
 * with it by their key. "target=" takes everything that follows, commas too, as in Xen.
 *
 * Trust: any text. Threads: any. #syscalls: none
 */
#include "wire/xldisk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

static int copy(char *out, size_t size, const char *p, size_t n, const char *what, struct err *e)
{
	if (n >= size)
		return err_set(e, -EINVAL, "%s: longer than %zu bytes", what, size - 1);
	memcpy(out, p, n);
	out[n] = '\0';
	return 0;
}

static int take_format(struct xl_disk *d, const char *v, struct err *e)
{
	if (streq(v, "raw") || streq(v, ""))
		d->format = XL_DISK_RAW;
	else if (streq(v, "qcow2"))
		d->format = XL_DISK_QCOW2;
	else
		return err_set(e, -EINVAL, "format '%s' is none of raw, qcow2", v);
	return 0;
}

static bool is_vdev(const char *v)
{
	return strlen(v) == 4 && memcmp(v, "xvd", 3) == 0 && v[3] >= 'a' && v[3] <= 'p';
}

static int take_vdev(struct xl_disk *d, const char *v, struct err *e)
{
	if (!is_vdev(v))
		return err_set(e, -EINVAL, "vdev '%s': a pv guest has xvda to xvdp", v);
	return copy(d->vdev, sizeof(d->vdev), v, strlen(v), "vdev", e);
}

static const struct access {
	const char *word;
	bool read_only;
} accesses[] = { { "", false },	 { "w", false }, { "rw", false },      { "read-write", false },
		 { "ro", true }, { "r", true },	 { "read-only", true } };

static const struct access *find_access(const char *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(accesses); i++)
		if (streq(v, accesses[i].word))
			return &accesses[i];
	return NULL;
}

static int take_access(struct xl_disk *d, const char *v, struct err *e)
{
	const struct access *a = find_access(v);

	if (a) {
		d->read_only = a->read_only;
		return 0;
	}
	return err_set(e, -EINVAL, "access '%s' is none of rw, ro", v);
}

static int take_target(struct xl_disk *d, const char *v, struct err *e)
{
	static const struct {
		const char *prefix;
		enum xl_disk_format format;
	} old[] = { { "phy:", XL_DISK_RAW },	{ "file:", XL_DISK_RAW },
		    { "tap:", XL_DISK_UNSAID }, { "tap2:", XL_DISK_UNSAID },
		    { "aio:", XL_DISK_RAW },	{ "raw:", XL_DISK_RAW },
		    { "qcow2:", XL_DISK_QCOW2 } };

	/* "tap:aio:/file": one after the other. */
	for (size_t i = 0; i < ARRAY_SIZE(old); i++) {
		const char *rest = str_after(v, old[i].prefix);

		if (!rest)
			continue;
		if (old[i].format != XL_DISK_UNSAID)
			d->format = old[i].format;
		v = rest;
	}
	if (!*v)
		return err_set(e, -EINVAL, "target: no path");
	return copy(d->path, sizeof(d->path), v, strlen(v), "target", e);
}

static int take_device_type(struct xl_disk *d, const char *v, struct err *e)
{
	(void)d;
	return streq(v, "disk") ? 0
				: err_set(e, -EOPNOTSUPP, "devtype '%s': only disks are there", v);
}

static int take_backing(struct xl_disk *d, const char *v, struct err *e)
{
	return copy(d->backing, sizeof(d->backing), v, strlen(v), "backing", e);
}

static int take_rate(uint64_t *rate, const char *what, const char *v, struct err *e)
{
	if (str_to_size(v, rate) < 0)
		return err_set(e, -EINVAL, "%s '%s': a number a second, such as 500 or 10M", what,
			       v);
	return 0;
}

static int take_iops(struct xl_disk *d, const char *v, struct err *e)
{
	return take_rate(&d->iops, "iops", v, e);
}

static int take_bps(struct xl_disk *d, const char *v, struct err *e)
{
	return take_rate(&d->bps, "bps", v, e);
}

/* How Xen would reach it: here there is one way. */
static int ignore(struct xl_disk *d, const char *v, struct err *e)
{
	(void)d, (void)v, (void)e;
	return 0;
}

static const struct part {
	const char *key;
	int (*take)(struct xl_disk *d, const char *v, struct err *e);
} parts[] = {
	{ "target", take_target }, { "format", take_format },	{ "vdev", take_vdev },
	{ "access", take_access }, { "backing", take_backing }, { "devtype", take_device_type },
	{ "backendtype", ignore }, { "iops", take_iops },	{ "bps", take_bps },
};

/* Words that stand alone and change nothing here. */
static bool is_flag(const char *v)
{
	static const char *const flags[] = { "direct-io-safe", "discard", "no-discard" };

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		if (streq(v, flags[i]))
			return true;
	return false;
}

static int take_named(struct xl_disk *d, const char *word, const char *equals, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strlen(parts[i].key) == (size_t)(equals - word) &&
		    memcmp(parts[i].key, word, (size_t)(equals - word)) == 0)
			return parts[i].take(d, equals + 1, e);
	}
	return err_set(e, -EINVAL, "'%.*s': no such part of a disk", (int)(equals - word), word);
}

/* The part at position `*at`. What can only be a later one is that: "PATH,xvda,w" without a format is how it was
 * written long ago. */
static int take_placed(struct xl_disk *d, unsigned *at, const char *word, struct err *e)
{
	if (*at == 1 && is_vdev(word))
		*at = 2;
	if ((*at == 1 || *at == 2) && *word && find_access(word))
		*at = 3;
	if (*at > 3)
		return err_set(e, -EINVAL, "'%s': more than target, format, vdev and access", word);
	/* A format that an old prefix named is not unsaid by an empty part. */
	if ((*at == 1 || *at == 2) && !*word) {
		(*at)++;
		return 0;
	}
	return parts[(*at)++].take(d, word, e);
}

int xl_disk_parse(const char *spec, struct xl_disk *out, struct err *e)
{
	char word[sizeof(out->path)];
	unsigned at = 0;
	int r = 0;

	memset(out, 0, sizeof(*out));
	for (const char *p = spec; r == 0 && p;) {
		p += strspn(p, " \t");
		bool last = str_after(p, "target=") != NULL;
		size_t n = last ? strlen(p) : strcspn(p, ",");
		const char *next = p[n] ? p + n + 1 : NULL;

		while (n && (p[n - 1] == ' ' || p[n - 1] == '\t'))
			n--;
		r = copy(word, sizeof(word), p, n, "disk", e);
		if (r < 0)
			return r;
		const char *equals = strchr(word, '=');

		/* A path may hold one too. */
		if (equals && !(at == 0 && strchr(word, '/') && strchr(word, '/') < equals))
			r = take_named(out, word, equals, e);
		else if (!is_flag(word))
			r = take_placed(out, &at, word, e);
		p = next;
	}
	if (r == 0 && !out->path[0])
		r = err_set(e, -EINVAL, "no target: which file or device?");
	return r;
}

char *xl_disk_format(const struct xl_disk *d, const char *path)
{
	static const char *const formats[] = { "", "format=raw,", "format=qcow2," };
	char *text;

	return asprintf(&text, "%s%s%s%saccess=%s,iops=%llu,bps=%llu,%s%s%starget=%s",
			formats[d->format], d->vdev[0] ? "vdev=" : "", d->vdev,
			d->vdev[0] ? "," : "", d->read_only ? "ro" : "rw",
			(unsigned long long)d->iops, (unsigned long long)d->bps,
			d->backing[0] ? "backing=" : "", d->backing, d->backing[0] ? "," : "",
			path) < 0
		       ? NULL
		       : text;
}
