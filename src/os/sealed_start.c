/*
 * The program's entry point: nobody can write to the file that we run from (CVE-2019-5736).
 *
 * A process inside a container can reach its runtime's program file by /proc/<pid>/exe, and root there can write to it
 * once nobody runs it any more: the next start of the runtime is the attacker's. It gets hold of the file when it
 * shares a pid namespace with a runtime process, or by making us execute "/proc/self/exe", as a command, as a
 * script's interpreter or as an ELF interpreter. No check of the command can exclude that, since its content
 * may change between the check and the exec. So the file itself must be out of reach: we run from a read-only,
 * detached clone of the mount that the program lies on. Opening it for writing gives EROFS; the clone belongs to
 * no mount namespace, so nobody can change its flags. Where such a clone cannot be had (an ordinary user who owns the
 * program), we run from a sealed copy in memory. A program that is read-only already, or that belongs to
 * somebody who is not us, runs as it is.
 *
 * This happens before libc is initialized, since that costs ten times as much as the exec itself where cpuid traps
 * to a hypervisor: about 0.1 ms in all. Hence: no libc, no stack protector, nothing that needs relocation. The
 * path that was executed goes on in WARREN_SELF, because /proc/self/exe no longer tells it (os/paths.c).
 *
 * Trust: nothing is read but our own file. Threads: none yet. #syscalls: geteuid statfs stat open fcntl open_tree mount_setattr
 * execveat memfd_create sendfile readlink mmap madvise prctl close write exit
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "os/seal.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

enum { ST_READ_ONLY = 1, PATH_SIZE = 4096, COPY_MAX = 64 << 20 };

static const char self[] = "/proc/self/exe";

static inline long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = 0;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

static long addr(const void *p)
{
	return (long)(uintptr_t)p;
}

/* Whether writing is out of the question already. */
static bool is_sealed(void)
{
	struct statfs fs;

	if (call(SYS_statfs, addr(self), addr(&fs), 0, 0, 0) == 0 && (fs.f_flags & ST_READ_ONLY))
		return true;
	long fd = call(SYS_open, addr(self), O_RDONLY | O_CLOEXEC, 0, 0, 0);

	if (fd < 0)
		return false;
	long seals = call(SYS_fcntl, fd, F_GET_SEALS, 0, 0, 0);

	call(SYS_close, fd, 0, 0, 0, 0);
	return seals >= 0 && (seals & F_SEAL_WRITE);
}

/* An ordinary user can only hand on the right to write that is his: as the file's owner. */
static bool is_ours(void)
{
	struct stat st;
	long uid = call(SYS_geteuid, 0, 0, 0, 0, 0);

	return uid == 0 || call(SYS_stat, addr(self), addr(&st), 0, 0, 0) < 0 || st.st_uid == uid;
}

/* A read-only clone of the file's mount, or -errno. It stays open over the exec, because closing the last
 * descriptor of a tree costs as much as all else here; os/seal.h says when that happens. */
static long clone_mount(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	long fd = call(SYS_open_tree, AT_FDCWD, addr(self), OPEN_TREE_CLONE, 0, 0);

	if (fd < 0)
		return fd;
	long r = call(SYS_mount_setattr, fd, addr(""), AT_EMPTY_PATH, addr(&attr), sizeof(attr));

	if (r == 0)
		return fd;
	call(SYS_close, fd, 0, 0, 0, 0);
	return r;
}

/* A sealed copy, or -errno. */
static long copy_to_memory(void)
{
	long in = call(SYS_open, addr(self), O_RDONLY | O_CLOEXEC, 0, 0, 0), n;

	if (in < 0)
		return in;
	long out = call(SYS_memfd_create, addr("warren"),
			MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC, 0, 0, 0);

	if (out < 0) /* before Linux 6.3 */
		out = call(SYS_memfd_create, addr("warren"), MFD_CLOEXEC | MFD_ALLOW_SEALING, 0, 0,
			   0);
	if (out < 0)
		return out;
	do
		n = call(SYS_sendfile, out, in, 0, COPY_MAX, 0);
	while (n > 0);
	if (n < 0)
		return n;
	n = call(SYS_fcntl, out, F_ADD_SEALS,
		 F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL, 0, 0);
	call(SYS_close, in, 0, 0, 0, 0);
	return n < 0 ? n : out;
}

static int starts_with(const char *s, const char *what, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] != what[i])
			return 0;
	return 1;
}

static int has_name(char *const *env, const char *name, size_t n)
{
	while (*env && !starts_with(*env, name, n))
		env++;
	return *env != NULL;
}

/* The environment with WARREN_SELF= in front; as it is when there is no memory for that. */
static char **with_path(char **env)
{
	static const char name[] = "WARREN_SELF=";
	size_t n = 0;

	while (env[n])
		n++;
	size_t size = (n + 2) * sizeof(char *) + sizeof(name) + PATH_SIZE;
	long p = call(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1);

	if (p < 0 && p > -4096)
		return env;
	char **out = (char **)(uintptr_t)p, *text = (char *)(out + n + 2);

	for (size_t i = 0; i < sizeof(name) - 1; i++)
		text[i] = name[i];
	if (call(SYS_readlink, addr(self), addr(text + sizeof(name) - 1), PATH_SIZE, 0, 0) <= 0)
		return env;
	/* Sealed already, by a mount of the file alone or in memory: who did that knew the path, we do not. */
	const char *path = text + sizeof(name) - 1;

	if ((!path[1] || starts_with(path, "/memfd:", 7)) && has_name(env, name, sizeof(name) - 1))
		return env;
	out[0] = text;
	for (size_t i = 0; i <= n; i++)
		out[i + 1] = env[i];
	return out;
}

/* After an exec of a descriptor the kernel calls us by its number; ps should not. */
static void restore_name(const char *name)
{
	const char *base = name;

	for (const char *p = name; p && *p; p++)
		if (*p == '/')
			base = p + 1;
	if (base)
		call(SYS_prctl, PR_SET_NAME, addr(base), 0, 0, 0);
}

static const long *aux_vector(char **env)
{
	while (*env)
		env++;
	return (const long *)(env + 1);
}

static long aux_value(const long *aux, long type)
{
	for (; aux[0]; aux += 2)
		if (aux[0] == type)
			return aux[1];
	return 0;
}

/* The descriptor by which we were executed: the kernel names a program without a path by it. -1: by a path. */
static long executed_fd(const long *aux)
{
	static const char prefix[] = "/dev/fd/";
	const char *name = (const char *)(uintptr_t)aux_value(aux, AT_EXECFN);
	long fd = 0;

	for (size_t i = 0; name && i < sizeof(prefix) - 1; i++)
		if (*name++ != prefix[i])
			return -1;
	for (; name && *name >= '0' && *name <= '9' && fd < 100000; name++)
		fd = fd * 10 + *name - '0';
	return name && !*name ? fd : -1;
}

/* Libc is about to write to most pages of our data, one fault each: they come cheaper together. */
static void populate_data(const long *aux)
{
	enum { PAGE = 4096, POPULATE_WRITE = 23 };
	const Elf64_Phdr *ph = (const Elf64_Phdr *)(uintptr_t)aux_value(aux, AT_PHDR);
	long n = aux_value(aux, AT_PHNUM), base = 0;

	for (long i = 0; ph && i < n; i++) {
		if (!i) /* the headers are at the file's start, and so are in the first page */
			base = addr(ph) & ~(long)(PAGE - 1);
		if (ph[i].p_type != PT_LOAD || !(ph[i].p_flags & PF_W))
			continue;
		long from = (base + (long)ph[i].p_vaddr) & ~(long)(PAGE - 1);
		long to = (base + (long)(ph[i].p_vaddr + ph[i].p_filesz) + PAGE - 1) &
			  ~(long)(PAGE - 1);

		call(SYS_madvise, from, to - from, POPULATE_WRITE, 0, 0);
	}
}

/* By the sealed program: what is left to do. */
static void settle(const char *name, long fd, const long *aux)
{
	restore_name(name);
	/* A copy in memory has been closed by the exec. */
	if (fd >= 0 && call(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC, 0, 0) == 0)
		seal_tree = (int)fd;
	populate_data(aux);
}

/* Called by the entry point below with the stack as the kernel made it. Returns when we may run from where we are. */
__attribute__((used)) void sealed_main(long *stack);

void sealed_main(long *stack)
{
	static const char trouble[] =
		"warren: cannot run from a file that is safe from containers: "
		"neither a read-only mount nor memory for a copy\n";
	char **argv = (char **)(stack + 1), **env = argv + stack[0] + 1;
	const long *aux = aux_vector(env);
	long by = executed_fd(aux);

	if (!is_ours())
		return;
	/* Executed by a path we are hardly sealed: not even asked, unless there is no other way. */
	if (by >= 0 && is_sealed()) {
		settle(argv[0], by, aux);
		return;
	}
	char **more = with_path(env);
	long fd = clone_mount();

	if (fd >= 0) {
		call(SYS_execveat, fd, addr(""), addr(argv), addr(more), AT_EMPTY_PATH);
		call(SYS_close, fd, 0, 0, 0, 0);
	}
	if (is_sealed()) {
		settle(argv[0], -1, aux);
		return;
	}
	fd = copy_to_memory();
	if (fd >= 0)
		call(SYS_execveat, fd, addr(""), addr(argv), addr(more), AT_EMPTY_PATH);
	call(SYS_write, 2, addr(trouble), sizeof(trouble) - 1, 0, 0);
	call(SYS_exit, 125, 0, 0, 0, 0);
}

/* The kernel, or the dynamic loader, enters here; %rdx is for _start. */
__asm__(".pushsection .text\n"
	".globl sealed_start\n"
	".type sealed_start, @function\n"
	"sealed_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rdi\n"
	"	push %rdx\n"
	"	sub $8, %rsp\n"
	"	call sealed_main\n"
	"	add $8, %rsp\n"
	"	pop %rdx\n"
	"	jmp _start\n"
	".size sealed_start, . - sealed_start\n"
	".popsection\n");
