/* A helper program gives up what it does not need before it looks at hostile bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct confine {
	/* Directories below which files may be made, written and removed; everything else of the file
	 * system becomes unreachable by name where the kernel has landlock. */
	const int *writable;
	size_t writable_n;
	const int *readable; /* directories below which files may be read */
	size_t readable_n;
	uint64_t keep_caps; /* capabilities to keep, bit n is capability n */
	const int *calls;   /* the only system calls, numbers of x86-64; NULL: all */
	size_t calls_n;
	uint64_t memory;    /* bytes of address space, 0: as it is */
	uint64_t file_size; /* bytes a file may have, 0: as it is */
};

/* Sets no_new_privs, limits, landlock, capabilities and seccomp, in this order. Kernels without landlock
 * go without it. 0 or -errno. */
int confine_self(const struct confine *c, struct err *e);

/* The calling thread, which has no_new_privs, makes only these system calls from here on, and where `requests` is given
 * of ioctls only these; anything else ends the process. Threads that it starts inherit that. 0 or -errno. */
int confine_thread(const int *calls, size_t calls_n, const uint32_t *requests, size_t requests_n);

/* A helper's last word, as one line on stderr, which its parent makes an error of; exits with 1. */
void helper_die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
