/*
 * The table of system calls: data that tools/gen-syscalls.c takes from libseccomp at build time, and the one
 * look-up on it.
 *
 * Trust: names come from a profile and are only compared. Threads: any. #syscalls: none
 */
#include "container/syscalls.h"

#include <stddef.h>
#include <string.h>

#include "generated/syscalls.h"

unsigned int syscall_nr_end(void)
{
	return SYSCALL_NR_END;
}

const char *syscall_name(const struct syscall_entry *e)
{
	return syscall_pool + e->name;
}

const struct syscall_entry *syscall_at(unsigned int i)
{
	return i < SYSCALL_NAMES ? &syscall_table[i] : NULL;
}

const struct syscall_entry *syscall_lookup(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a, as the generator */

	for (const char *s = name; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	for (h %= SYSCALL_SLOTS; syscall_slots[h]; h = (h + 1) % SYSCALL_SLOTS) {
		const struct syscall_entry *e = &syscall_table[syscall_slots[h] - 1];

		if (strcmp(syscall_name(e), name) == 0)
			return e;
	}
	return NULL;
}
