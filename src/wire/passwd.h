/* passwd(5) and group(5) as found in an image. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct passwd_entry {
	char name[64];
	uint32_t uid, gid;
	char home[256]; /* "" when absent, relative or too long */
};

/* The first line with this name, or, when `name` is NULL, with this number. False: none. Lines that
 * are malformed are passed over. */
bool passwd_find(const char *text, size_t n, const char *name, uint32_t uid,
		 struct passwd_entry *out);

/* The number of a group. */
bool group_find(const char *text, size_t n, const char *name, uint32_t *gid);

/* The groups that list `user` as a member, at most `max`; how many. */
size_t group_memberships(const char *text, size_t n, const char *user, uint32_t *gids, size_t max);

/* Who "USER[:GROUP]" is, by name or number, for a process that joins a container later. */
struct user_ids {
	uint32_t uid, gid;
	uint32_t groups[64]; /* of the user in /etc/group, unless a group was named */
	size_t groups_n;
};

/* Texts may be NULL with length 0. 0, or -ENOENT, -EINVAL with `e` naming what is missing. */
int user_find(const char *wish, const char *passwd, size_t passwd_n, const char *group,
	      size_t group_n, struct user_ids *out, struct err *e);
