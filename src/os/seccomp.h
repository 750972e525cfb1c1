/* Loading of seccomp filters. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

/* Installs the filter on the calling thread (on all threads with SECCOMP_FILTER_FLAG_TSYNC). The caller
 * has no_new_privs or CAP_SYS_ADMIN. With SECCOMP_FILTER_FLAG_NEW_LISTENER the result is the listener's
 * descriptor, close-on-exec; otherwise 0. prctl(2) is used where the kernel lacks seccomp(2) and no flag is
 * wanted. -errno; -ESRCH: a thread could not be synchronized. */
int os_seccomp_load(const struct sock_filter *insn, size_t n, unsigned int flags);

/* Whether the kernel knows the action (SECCOMP_RET_*). */
bool os_seccomp_has_action(unsigned int action);

/* The SECCOMP_FILTER_FLAG_* bits among `flags` that the kernel knows. */
unsigned int os_seccomp_known_flags(unsigned int flags);
