/* The ids that an ordinary user may use in a user namespace (/etc/subuid, /etc/subgid). */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { SUBID_RANGES_MAX = 8 };

struct subid_range {
	uint32_t inside, outside, size;
};

/* 0 inside is the user; 1 and up are the user's subordinate ids, in the order of the file. */
struct subid_map {
	struct subid_range uids[SUBID_RANGES_MAX], gids[SUBID_RANGES_MAX];
	size_t uids_n, gids_n;
};

/* The map of the calling user. Without subordinate ids, or without newuidmap, it has one range of one id. 0
 * or -errno. */
int subid_load(struct subid_map *m, struct err *e);

/* Writes the map of a process that has just made its user namespace; newuidmap and newgidmap do it when
 * there is more than one id. 0 or -errno. */
int subid_apply(pid_t pid, const struct subid_map *m, struct err *e);

/* Starts `path` as root of a new user namespace with the calling user's map, with descriptors 0 to 2 as
 * given (not -1) and further ones that are not close-on-exec. 0 or -errno. */
int subid_spawn(pid_t *pid, const char *path, const char *const *argv, const int stdio[3],
		struct err *e);
