/* Names inside a root directory that somebody hostile filled. Nothing here ever leaves it. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* An O_PATH descriptor for `path` below `root`; symbolic links are followed as if `root` were "/".
 * -errno. */
int root_open(int root, const char *path);

/* The same, and makes what is missing: directories (0755), and at the end a directory or an empty file. */
int root_make(int root, const char *path, bool directory);

/* Makes the parent directories of `path` and opens the last; `*name` points at the last component in
 * `path`. -EINVAL when there is none ("/", "..", "."). */
int root_parent(int root, const char *path, const char **name);
