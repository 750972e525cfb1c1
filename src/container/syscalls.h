/* Names and numbers of system calls on the three ABIs that an x86-64 kernel serves. */
#pragma once

#include <stdint.h>

enum abi { ABI_X86_64, ABI_I386, ABI_X32, ABI_COUNT };

enum syscall_mux { MUX_NONE, MUX_SOCKETCALL, MUX_IPC };

struct syscall_entry {
	uint16_t name;	       /* offset in the pool of names */
	int16_t nr[ABI_COUNT]; /* -1: the ABI has no such call of its own. x32: without bit 30 */
	uint8_t mux,
		sub; /* enum syscall_mux: i386 also reaches it through that call, by this number */
};

/* No number is as large as this. */
unsigned int syscall_nr_end(void);

/* NULL: no such name on any of the ABIs. */
const struct syscall_entry *syscall_lookup(const char *name);

const char *syscall_name(const struct syscall_entry *e);

/* All entries, by index from 0; NULL after the last. */
const struct syscall_entry *syscall_at(unsigned int i);
