/*
 * Writes generated/syscalls.h: every system call name of x86-64, i386 and x32 with its numbers.
 *
 * Runs at build time, so that the program knows libseccomp's names without linking libseccomp. The
 * names are found by asking the library what each number is called; those that came into Linux
 * after the library was built have the same number everywhere and are listed below, with the
 * library's word taking precedence. The table carries its own hash index, made here, so that a
 * look-up costs one hash and one string comparison and the data needs no relocation.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NR_LIMIT = 1024, NAMES_MAX = 1024, SLOTS = 2048, X32_BIT = 0x40000000 };

struct entry {
	char name[64];
	int nr[3]; /* -1: the ABI has no such call */
	int mux;   /* i386: 1 socketcall, 2 ipc, 0 none */
	int sub;   /* the multiplexer's call number */
};

static struct entry table[NAMES_MAX];
static unsigned count;

static const uint32_t arches[3] = { SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32 };

/* Linux 6.0 to 6.17: Documentation/process/adding-syscalls gives new calls one number on all ABIs. */
static const struct {
	const char *name;
	int nr, abis; /* bit per ABI, in the order of `arches` */
} newer[] = {
	{ "cachestat", 451, 7 },	 { "fchmodat2", 452, 7 },
	{ "map_shadow_stack", 453, 7 },	 { "futex_wake", 454, 7 },
	{ "futex_wait", 455, 7 },	 { "futex_requeue", 456, 7 },
	{ "statmount", 457, 7 },	 { "listmount", 458, 7 },
	{ "lsm_get_self_attr", 459, 7 }, { "lsm_set_self_attr", 460, 7 },
	{ "lsm_list_modules", 461, 7 },	 { "mseal", 462, 7 },
	{ "setxattrat", 463, 7 },	 { "getxattrat", 464, 7 },
	{ "listxattrat", 465, 7 },	 { "removexattrat", 466, 7 },
	{ "open_tree_attr", 467, 7 },	 { "file_getattr", 468, 7 },
	{ "file_setattr", 469, 7 },	 { "uretprobe", 335, 1 },
};

static struct entry *lookup(const char *name)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

static struct entry *lookup_or_add(const char *name)
{
	struct entry *e = lookup(name);

	if (e)
		return e;
	if (count == NAMES_MAX || strlen(name) >= sizeof(e->name)) {
		fprintf(stderr, "gen-syscalls: table too small at '%s'\n", name);
		exit(1);
	}
	e = &table[count++];
	snprintf(e->name, sizeof(e->name), "%s", name);
	e->nr[0] = e->nr[1] = e->nr[2] = -1;
	return e;
}

static void collect(void)
{
	for (unsigned abi = 0; abi < 3; abi++) {
		for (int nr = 0; nr < NR_LIMIT; nr++) {
			int raw = abi == 2 ? nr | X32_BIT : nr;
			char *name = seccomp_syscall_resolve_num_arch(arches[abi], raw);

			if (name)
				lookup_or_add(name)->nr[abi] = nr;
			free(name);
		}
	}
	/* i386's multiplexed calls: the library names them by small negative numbers. */
	for (int nr = -224; nr <= -101; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86, nr);

		if (name) {
			struct entry *e = lookup_or_add(name);

			e->mux = nr > -200 ? 1 : 2;
			e->sub = e->mux == 1 ? -nr - 100 : -nr - 200;
		}
		free(name);
	}
	for (unsigned i = 0; i < sizeof(newer) / sizeof(newer[0]); i++) {
		if (lookup(newer[i].name))
			continue;
		struct entry *e = lookup_or_add(newer[i].name);

		for (unsigned abi = 0; abi < 3; abi++)
			if (newer[i].abis >> abi & 1)
				e->nr[abi] = newer[i].nr;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

int main(int argc, char **argv)
{
	static unsigned short slot[SLOTS];
	FILE *f = argc == 2 ? fopen(argv[1], "w") : NULL;
	int max = 0;

	if (!f) {
		fprintf(stderr, "usage: gen-syscalls FILE\n");
		return 1;
	}
	collect();
	qsort(table, count, sizeof(table[0]), by_name);
	for (unsigned i = 0; i < count; i++) {
		uint32_t h = hash(table[i].name) % SLOTS;

		while (slot[h])
			h = (h + 1) % SLOTS;
		slot[h] = (unsigned short)(i + 1);
		for (unsigned abi = 0; abi < 3; abi++)
			if (table[i].nr[abi] > max)
				max = table[i].nr[abi];
	}
	fprintf(f,
		"/* Made by tools/gen-syscalls.c; see container/syscalls.c. */\n#pragma once\n\n");
	fprintf(f,
		"#define SYSCALL_NAMES %u\n#define SYSCALL_SLOTS %u\n#define SYSCALL_NR_END %d\n\n",
		count, SLOTS, max + 1);
	fprintf(f, "static const char syscall_pool[] =\n");
	for (unsigned i = 0; i < count; i++)
		fprintf(f, "\t\"%s\\0\"\n", table[i].name);
	fprintf(f, ";\n\nstatic const struct syscall_entry syscall_table[SYSCALL_NAMES] = {\n");
	for (unsigned i = 0, off = 0; i < count; i++) {
		fprintf(f, "\t{ %u, { %d, %d, %d }, %d, %d },\n", off, table[i].nr[0],
			table[i].nr[1], table[i].nr[2], table[i].mux, table[i].sub);
		off += (unsigned)strlen(table[i].name) + 1;
	}
	fprintf(f, "};\n\n/* index + 1 into syscall_table, 0: empty; linear probing */\n");
	fprintf(f, "static const unsigned short syscall_slots[SYSCALL_SLOTS] = {\n");
	for (unsigned i = 0; i < SLOTS; i++)
		fprintf(f, "%u,%s", slot[i], i % 16 == 15 ? "\n" : "");
	fprintf(f, "};\n");
	return fclose(f) ? 1 : 0;
}
