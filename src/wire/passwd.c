/*
 * passwd(5) and group(5), which an image brings along. Lines are split into fields in place of the text;
 * nothing is allocated. A line that does not parse is as if it were not there, as getpwnam(3) has it.
 *
 * Trust: every byte is hostile. Threads: any. #syscalls: none
 */
#include "wire/passwd.h"

#include <errno.h>
#include <string.h>

#include "base/str.h"
#include "base/util.h"

#define FIELDS_MAX 7

struct field {
	const char *p;
	size_t n;
};

struct lines {
	const char *p, *end;
};

/* The next line's fields; their number, 0 at the end of the text. */
static size_t next_line(struct lines *l, struct field *f)
{
	while (l->p < l->end) {
		const char *end = memchr(l->p, '\n', (size_t)(l->end - l->p));
		const char *p = l->p;
		size_t n = 0;

		if (!end)
			end = l->end;
		l->p = end < l->end ? end + 1 : end;
		if (p == end || *p == '#' || memchr(p, '\0', (size_t)(end - p)))
			continue;
		for (; n < FIELDS_MAX; n++) {
			const char *colon = memchr(p, ':', (size_t)(end - p));
			bool last = n == FIELDS_MAX - 1 || !colon;

			f[n] = (struct field){ p, (size_t)((last ? end : colon) - p) };
			if (last)
				return n + 1;
			p = colon + 1;
		}
	}
	return 0;
}

static bool number(const struct field *f, uint32_t *out)
{
	uint64_t v = 0;

	if (f->n == 0 || f->n > 10)
		return false;
	for (size_t i = 0; i < f->n; i++) {
		if (f->p[i] < '0' || f->p[i] > '9')
			return false;
		v = v * 10 + (uint64_t)(f->p[i] - '0');
	}
	/* The highest number means "no change" to the kernel. */
	if (v >= UINT32_MAX)
		return false;
	*out = (uint32_t)v;
	return true;
}

static bool field_is(const struct field *f, const char *s)
{
	return strlen(s) == f->n && memcmp(f->p, s, f->n) == 0;
}

bool passwd_find(const char *text, size_t n, const char *name, uint32_t uid,
		 struct passwd_entry *out)
{
	struct lines l = { text, text + n };
	struct field f[FIELDS_MAX];

	for (size_t have; (have = next_line(&l, f));) {
		*out = (struct passwd_entry){ .uid = 0 };
		if (have < 4 || f[0].n == 0 || f[0].n >= sizeof(out->name) ||
		    !number(&f[2], &out->uid) || !number(&f[3], &out->gid))
			continue;
		if (name ? !field_is(&f[0], name) : out->uid != uid)
			continue;
		memcpy(out->name, f[0].p, f[0].n);
		if (have > 5 && f[5].n && f[5].p[0] == '/' && f[5].n < sizeof(out->home))
			memcpy(out->home, f[5].p, f[5].n);
		return true;
	}
	return false;
}

bool group_find(const char *text, size_t n, const char *name, uint32_t *gid)
{
	struct lines l = { text, text + n };
	struct field f[FIELDS_MAX];

	for (size_t have; (have = next_line(&l, f));)
		if (have >= 3 && field_is(&f[0], name) && number(&f[2], gid))
			return true;
	return false;
}

static bool is_member(const struct field *list, const char *user)
{
	struct field f = { list->p, 0 };
	const char *end = list->p + list->n;

	while (f.p <= end) {
		const char *comma = memchr(f.p, ',', (size_t)(end - f.p));

		f.n = (size_t)((comma ? comma : end) - f.p);
		if (f.n && field_is(&f, user))
			return true;
		if (!comma)
			return false;
		f.p = comma + 1;
	}
	return false;
}

size_t group_memberships(const char *text, size_t n, const char *user, uint32_t *gids, size_t max)
{
	struct lines l = { text, text + n };
	struct field f[FIELDS_MAX];
	size_t found = 0;
	uint32_t gid;

	for (size_t have; found < max && (have = next_line(&l, f));)
		if (have >= 4 && number(&f[2], &gid) && is_member(&f[3], user))
			gids[found++] = gid;
	return found;
}

int user_find(const char *wish, const char *passwd, size_t passwd_n, const char *group,
	      size_t group_n, struct user_ids *out, struct err *e)
{
	size_t len = strcspn(wish, ":");
	const char *group_wish = wish[len] ? wish + len + 1 : NULL;
	struct passwd_entry entry;
	char name[256];
	uint64_t n;

	*out = (struct user_ids){ 0 };
	if (len >= sizeof(name))
		return err_set(e, -EINVAL, "user '%.40s...': name too long", wish);
	memcpy(name, wish, len);
	name[len] = '\0';
	bool by_number = str_to_u64(name, &n) == 0 && n <= UINT32_MAX;
	bool found = passwd_n && passwd_find(passwd, passwd_n, by_number ? NULL : name,
					     by_number ? (uint32_t)n : 0, &entry);

	if (!found && !by_number)
		return err_set(e, -ENOENT, "user '%s': not in the instance's /etc/passwd", name);
	out->uid = found ? entry.uid : (uint32_t)n;
	out->gid = found ? entry.gid : 0;
	if (!group_wish) {
		if (found && group_n)
			out->groups_n = group_memberships(group, group_n, entry.name, out->groups,
							  ARRAY_SIZE(out->groups));
		return 0;
	}
	if (str_to_u64(group_wish, &n) == 0 && n <= UINT32_MAX)
		out->gid = (uint32_t)n;
	else if (!group_n || !group_find(group, group_n, group_wish, &out->gid))
		return err_set(e, -ENOENT, "group '%s': not in the instance's /etc/group",
			       group_wish);
	return 0;
}
