/* The read-only mount that the program runs from (os/sealed_start.c), as a descriptor. */
#pragma once

/* Close-on-exec; -1: none. Set before libc starts. */
extern int seal_tree;

/* Closes it: the program goes on running from the mount. The kernel waits for a grace period when it takes the
 * mount from its tree, 0.1 ms, so this wants to be called while there is nothing to do; otherwise that time goes by
 * at the end of the process. */
void seal_release(void);
