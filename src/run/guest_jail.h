/* The VMM's jail. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Closes every descriptor from 3 on but the `n` in `fds` (-1: none; they get sorted): a forked process of ours
 * owns nothing of what its parent had open. */
void guest_keep_only(int *fds, size_t n);

/* Before the VMM is forked: its process namespace. Failing is no error: an ordinary user gets it with the
 * rest. */
void guest_jail_prepare(void);

/* In the VMM, before it builds the machine: namespaces of its own, an empty root, a user of its own, no
 * capabilities, and only the `n` system calls (numbers) from here on; of ioctls only KVM's and those of
 * block devices. 0 or -errno. */
int guest_jail_enter(const int *calls, size_t n, struct err *e);

/* What one kind of thread may still do: system calls by number, ioctls by request. */
struct guest_jail_list {
	const int *calls;
	size_t calls_n;
	const uint32_t *requests;
	size_t requests_n;
};

/* The calling thread, and those that it starts, do nothing else from here on. 0 or -errno. */
int guest_jail_thread(const struct guest_jail_list *l);
