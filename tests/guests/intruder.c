/*
 * /init of a Linux guest that tries, as user code, to gain what only its kernel or the hypervisor may have.
 *
 * Each attempt runs in a child. A line says what became of it: the signal that ended it, or "went on". In
 * isolated memory nothing of the kernel's or the shim's may be read, written or entered; in both modes nothing that
 * user code does may end the guest.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "pv/layout.h"

static void load(uint64_t at)
{
	(void)*(volatile uint64_t *)at;
}

static void store(uint64_t at)
{
	*(volatile uint32_t *)at = 6; /* PV_OP_SHUTDOWN, where it is the shim's door */
}

static void enter(uint64_t at)
{
	((void (*)(void))at)();
}

/* Comes back from a signal with these registers. */
static uint64_t wanted_rip, wanted_rsp;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *c = context;

	(void)signal, (void)info;
	if (wanted_rip)
		c->uc_mcontext.gregs[REG_RIP] = (long)wanted_rip;
	if (wanted_rsp)
		c->uc_mcontext.gregs[REG_RSP] = (long)wanted_rsp;
}

static void return_to(uint64_t rip, uint64_t rsp)
{
	struct sigaction a = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	wanted_rip = rip;
	wanted_rsp = rsp;
	sigaction(SIGUSR1, &a, NULL);
	raise(SIGUSR1);
}

static void rip_not_canonical(uint64_t x)
{
	return_to(0x1234567812345678ull, x);
}

static void rip_in_shim(uint64_t x)
{
	return_to(PV_HV + HV_SHIM + 0x1000, x);
}

static void rip_in_stubs(uint64_t x)
{
	return_to(PV_HV + STUB_SIZE * 3, x);
}

static void rsp_not_canonical(uint64_t x)
{
	return_to(x, 0x1234567812345678ull);
}

static void rsp_in_shim(uint64_t x)
{
	return_to(x, PV_HV + AREA_STACK_TOP);
}

/* System calls with a stack that is none: they must work, since the kernel uses its own. */
static void call_without_stack(uint64_t rsp)
{
	__asm__ volatile(
		"mov %%rsp, %%rbx; mov %0, %%rsp; mov $39, %%eax; syscall; mov %%rbx, %%rsp" ::"r"(
			rsp)
		: "rax", "rbx", "rcx", "r11", "memory");
}

static void call_with_flags(uint64_t flags)
{
	__asm__ volatile("pushf; or %0, (%%rsp); popf; mov $39, %%eax; syscall; pushf; andq "
			 "$~0x44100, (%%rsp); popf;"
			 "cld" ::"r"(flags)
			 : "rax", "rcx", "r11", "memory");
}

#define INSTRUCTION(name, text)                                                      \
	static void name(uint64_t x)                                                 \
	{                                                                            \
		__asm__ volatile(text ::"a"(x), "c"(0xc0000082), "d"(0) : "memory"); \
	}

INSTRUCTION(do_hlt, "hlt")
INSTRUCTION(do_cli, "cli")
INSTRUCTION(do_in, "in %%dx, %%al")
INSTRUCTION(do_rdmsr, "rdmsr")
INSTRUCTION(do_wrmsr, "wrmsr")
INSTRUCTION(do_mov_cr3, "mov %%rax, %%cr3")
INSTRUCTION(do_invlpg, "invlpg (%%rax)")
INSTRUCTION(do_int_80, "mov $20, %%eax; int $0x80")
INSTRUCTION(do_int_82, "int $0x82")
INSTRUCTION(do_int_20, "int $0x20")
INSTRUCTION(do_int1, ".byte 0xf1")
INSTRUCTION(do_int3, "int3")
INSTRUCTION(do_ud2, "ud2")
INSTRUCTION(do_xsetbv, "xor %%ecx, %%ecx; mov $1, %%eax; xsetbv")
INSTRUCTION(do_sysret, "sysretq")
INSTRUCTION(do_iret_kernel,
	    "mov %%rsp, %%rcx; push $0xe02b; push %%rcx; push $0x202; push $0xe030; push $0; iretq")

static const struct {
	const char *name;
	void (*run)(uint64_t);
	uint64_t x;
} attempts[] = {
	{ "read kernel text", load, 0xffffffff81000000ull },
	{ "write kernel text", store, 0xffffffff81000000ull },
	{ "read kernel memory", load, 0xffff888001000000ull },
	{ "read shim", load, PV_HV + HV_SHIM },
	{ "read stubs", load, PV_HV },
	{ "read gate", load, PV_HV + AREA_GATE },
	{ "write gate", store, PV_HV + AREA_GATE },
	{ "write hardware stack", store, PV_HV + AREA_HW_TOP - 8 },
	{ "write shared page", store, PV_HV + AREA_SHARED },
	{ "write entry page", store, PV_HV + AREA_ENTRY },
	{ "read linear map", load, PV_LINEAR + 0x1000000 },
	{ "write linear map", store, PV_LINEAR + 0x1000000 },
	{ "read m2p", load, PV_M2P },
	{ "leave the guest", store, PV_HV + HV_MMIO },
	{ "ring a doorbell", store, PV_HV + HV_MMIO + PV_MMIO_BELL },
	{ "enter shim", enter, PV_HV + HV_SHIM + 0x1000 },
	{ "enter stub", enter, PV_HV },
	{ "enter kernel", enter, 0xffffffff81000000ull },
	{ "rip not canonical", rip_not_canonical, 0 },
	{ "rip in shim", rip_in_shim, 0 },
	{ "rip in stubs", rip_in_stubs, 0 },
	{ "rsp not canonical", rsp_not_canonical, 0 },
	{ "rsp in shim", rsp_in_shim, 0 },
	{ "call with rsp 0", call_without_stack, 0 },
	{ "call with rsp not canonical", call_without_stack, 0x1234567812345678ull },
	{ "call with rsp in shim", call_without_stack, PV_HV + AREA_STACK_TOP },
	{ "call with DF", call_with_flags, 0x400 },
	{ "call with AC", call_with_flags, 0x40000 },
	{ "call with NT", call_with_flags, 0x4000 },
	{ "call with TF", call_with_flags, 0x100 },
	{ "hlt", do_hlt, 0 },
	{ "cli", do_cli, 0 },
	{ "in", do_in, 0 },
	{ "rdmsr", do_rdmsr, 0 },
	{ "wrmsr", do_wrmsr, 0 },
	{ "mov cr3", do_mov_cr3, 0 },
	{ "invlpg", do_invlpg, 0 },
	{ "int 0x80", do_int_80, 0 },
	{ "int 0x82", do_int_82, 0 },
	{ "int 0x20", do_int_20, 0 },
	{ "int1", do_int1, 0 },
	{ "int3", do_int3, 0 },
	{ "ud2", do_ud2, 0 },
	{ "xsetbv", do_xsetbv, 0 },
	{ "sysret", do_sysret, 0 },
	{ "iret to the kernel", do_iret_kernel, 0 },
};

static void attempt(unsigned i)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(3);
		attempts[i].run(attempts[i].x);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (WIFSIGNALED(status))
		printf("%s: SIG%s\n", attempts[i].name, sigabbrev_np(WTERMSIG(status)));
	else
		printf("%s: went on\n", attempts[i].name);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	bool isolated = false;

	(void)argc;
	for (char **a = argv + 1; *a; a++)
		isolated |= !strcmp(*a, "isolated");
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (unsigned i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
		/* Merged memory does not keep user code from the kernel's: only what must not end the guest. */
		bool on_memory = attempts[i].run == load || attempts[i].run == store ||
				 attempts[i].run == enter || attempts[i].run == rip_in_shim ||
				 attempts[i].run == rip_in_stubs || attempts[i].run == rsp_in_shim;

		if (isolated || !on_memory)
			attempt(i);
	}
	printf("the guest lives\n");
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
