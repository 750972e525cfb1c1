/*
 * The `info` file beside an imported kernel: lines of a word and its value (docs/FORMATS.md).
 *
 * Trust: our own file, still checked. Threads: none. #syscalls: none
 */
#include "wire/kernelinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

void kernelinfo_fini(struct kernelinfo *k)
{
	strlist_fini(&k->pv);
	strlist_fini(&k->vm);
	*k = (struct kernelinfo){ 0 };
}

static void print_list(struct buf *out, const char *key, const struct strlist *l)
{
	buf_adds(out, key);
	for (size_t i = 0; i < l->n; i++)
		buf_addf(out, " %s", l->v[i]);
	buf_addc(out, '\n');
}

int kernelinfo_print(struct buf *out, const struct kernelinfo *k)
{
	buf_addf(out, "warren-kernel %d\nrelease %s\nsource %s\nxen-pv %s\nwishes %08x\n",
		 KERNELINFO_VERSION, k->release, k->source, k->xen_pv ? "yes" : "no", k->wishes);
	print_list(out, "pv", &k->pv);
	print_list(out, "vm", &k->vm);
	return out->error;
}

static int parse_list(const char *s, size_t n, struct strlist *l)
{
	char word[64];

	while (n) {
		size_t k = 0;

		while (k < n && s[k] != ' ')
			k++;
		if (k) {
			if (k >= sizeof(word))
				return -EBADMSG;
			memcpy(word, s, k);
			word[k] = '\0';
			if (strlist_add(l, word) < 0)
				return -ENOMEM;
		}
		k += k < n;
		s += k;
		n -= k;
	}
	return 0;
}

static int parse_text(const char *s, size_t n, char *out, size_t size)
{
	if (n >= size)
		return -EBADMSG;
	memcpy(out, s, n);
	out[n] = '\0';
	return 0;
}

/* One line without its newline. */
static int parse_line(const char *s, size_t n, struct kernelinfo *k)
{
	const char *sp = memchr(s, ' ', n);
	size_t key = sp ? (size_t)(sp - s) : n;
	const char *v = sp ? sp + 1 : s + n;
	size_t vn = (size_t)(s + n - v);
	bool yes = vn == 3 && memcmp(v, "yes", 3) == 0;

#define KEY(word) (key == sizeof(word) - 1 && memcmp(s, word, key) == 0)
	if (KEY("release"))
		return parse_text(v, vn, k->release, sizeof(k->release));
	if (KEY("source"))
		return parse_text(v, vn, k->source, sizeof(k->source));
	if (KEY("wishes"))
		k->wishes = (uint32_t)strtoul(v, NULL, 16);
	else if (KEY("xen-pv"))
		k->xen_pv = yes;
	else if (KEY("pv"))
		return parse_list(v, vn, &k->pv);
	else if (KEY("vm"))
		return parse_list(v, vn, &k->vm);
#undef KEY
	return 0; /* words of later versions */
}

int kernelinfo_parse(const char *text, struct kernelinfo *out, struct err *e)
{
	const char *first = str_after(text, "warren-kernel ");

	*out = (struct kernelinfo){ 0 };
	if (!first || strtol(first, NULL, 10) != KERNELINFO_VERSION)
		return err_set(e, -EBADMSG, "kernel info: not version %d of the format",
			       KERNELINFO_VERSION);
	for (const char *s = text; *s;) {
		size_t n = strcspn(s, "\n");

		if (parse_line(s, n, out) < 0) {
			kernelinfo_fini(out);
			return err_set(e, -EBADMSG, "kernel info: bad line '%.*s'",
				       (int)MIN(n, (size_t)80), s);
		}
		s += n + (s[n] == '\n');
	}
	if (!out->release[0]) {
		kernelinfo_fini(out);
		return err_set(e, -EBADMSG, "kernel info: no release");
	}
	return 0;
}
