/*
 * libc's start of the program, without its questions to the CPU.
 *
 * A static glibc asks cpuid about 80 times before main: which vector registers there are, how large each cache is, one
 * leaf at a time. In a virtual machine each answer is an exit to the hypervisor; on the hosts that we measured that is
 * 0.6 ms, as much as a network namespace and four times the rest of the start. It wants to know that for the choice of
 * string functions only. We move few bytes, and those who move many (guests' disks) are served well by the
 * variants that every x86-64 has. So this file stands in for libc's object of the same purpose: it takes the same steps
 * in the same order, and leaves the CPU's description as it is in the file, empty, which chooses the baseline.
 *
 * The thresholds below belong to that object too and are what glibc takes for a CPU that it does not know, but
 * for the size from which copies go around the caches, which is that of today's machines.
 *
 * The names are glibc's own and may change with its version: meson.build takes this file for the version that it was
 * written for and libc's own start for all others. A name that went or came would show as an error of the
 * linker.
 *
 * Trust: none; everything is our own process. Threads: none yet. #syscalls: none of its own
 */
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#pragma GCC visibility push(hidden)

extern char **__environ;
extern void *__libc_stack_end;
extern void *_dl_random;
extern int __libc_enable_secure;

void _dl_aux_init(ElfW(auxv_t) * auxv);
void __tunables_init(char **env);
void _dl_relocate_static_pie(void);
void __libc_setup_tls(void);
void __libc_early_init(_Bool initial);
void __libc_init_first(int argc, char **argv, char **env);
void __libc_check_standard_fds(void);
void *_dl_debug_initialize(ElfW(Addr) base);
int __cxa_atexit(void (*fn)(void *), void *arg, void *dso);

void _init(void);
void _fini(void);

typedef void start_hook(int argc, char **argv, char **env);
typedef void end_hook(void);

extern start_hook *__preinit_array_start[], *__preinit_array_end[];
extern start_hook *__init_array_start[], *__init_array_end[];
extern end_hook *__fini_array_start[], *__fini_array_end[];
extern const ElfW(Rela) __rela_iplt_start[] __attribute__((weak));
extern const ElfW(Rela) __rela_iplt_end[] __attribute__((weak));

enum { DATA_CACHE = 32 << 10, SHARED_CACHE = 1 << 20, REP_FROM = 2048, AROUND_CACHES = 3 << 20 };

long __x86_data_cache_size_half = DATA_CACHE / 2, __x86_data_cache_size = DATA_CACHE;
long __x86_shared_cache_size_half = SHARED_CACHE / 2, __x86_shared_cache_size = SHARED_CACHE;
long __x86_shared_non_temporal_threshold = AROUND_CACHES;
long __x86_rep_movsb_threshold = REP_FROM, __x86_rep_stosb_threshold = REP_FROM;
long __x86_rep_movsb_stop_threshold = AROUND_CACHES;
int __x86_string_control;

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void *init,
		      void *fini, void (*rtld_fini)(void), void *stack_end);

#pragma GCC visibility pop

/* Functions in variants: each has a resolver, which names the one to use. */
static void choose_variants(void)
{
	for (const ElfW(Rela) *r = __rela_iplt_start; r < __rela_iplt_end; r++) {
		ElfW(Addr) *at = (ElfW(Addr) *)r->r_offset;

		if (ELF64_R_TYPE(r->r_info) != R_X86_64_IRELATIVE)
			__builtin_trap();
		*at = ((ElfW(Addr)(*)(void))r->r_addend)();
	}
}

/* The stack protector's canary and the key of stored pointers, where the compiler and libc look for them. */
static void set_guards(void)
{
	uintptr_t canary = ((const uintptr_t *)_dl_random)[0] & ~(uintptr_t)0xff;
	uintptr_t key = ((const uintptr_t *)_dl_random)[1];

	__asm__ volatile("mov %0, %%fs:0x28\n\tmov %1, %%fs:0x30" : : "r"(canary), "r"(key));
}

static void run_end_hooks(void *arg)
{
	(void)arg;
	for (size_t n = (size_t)(__fini_array_end - __fini_array_start); n; n--)
		__fini_array_start[n - 1]();
	_fini();
}

static void run_start_hooks(int argc, char **argv)
{
	for (start_hook **p = __preinit_array_start; p < __preinit_array_end; p++)
		(*p)(argc, argv, __environ);
	_init();
	for (start_hook **p = __init_array_start; p < __init_array_end; p++)
		(*p)(argc, argv, __environ);
}

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void *init,
		      void *fini, void (*rtld_fini)(void), void *stack_end)
{
	char **p = argv + argc + 1;

	__environ = p;
	__libc_stack_end = stack_end;
	while (*p)
		p++;
	_dl_aux_init((ElfW(auxv_t) *)(p + 1));
	__tunables_init(__environ);
	_dl_relocate_static_pie();
	choose_variants();
	__libc_setup_tls();
	set_guards();
	if (rtld_fini)
		__cxa_atexit((void (*)(void *))rtld_fini, NULL, NULL);
	__libc_early_init(1);
	__libc_init_first(argc, argv, __environ);
	__cxa_atexit(run_end_hooks, NULL, NULL);
	if (__libc_enable_secure)
		__libc_check_standard_fds();
	run_start_hooks(argc, argv);
	_dl_debug_initialize(0);
	exit(main(argc, argv, __environ));
}
