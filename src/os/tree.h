/* Whole directory trees. */
#pragma once

/* Removes `name` below `dirfd` and everything in it; symbolic links are removed, never followed, and other
 * file systems are not entered. Harmless when it is gone. 0 or -errno (the first failure; the rest is
 * removed all the same). */
int tree_remove(int dirfd, const char *name);

/* mkdir -p: makes the missing directories of an absolute path, mode 0700. 0 or -errno. */
int tree_make(const char *path);
