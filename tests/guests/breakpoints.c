/*
 * Counts whether every int3 arrives while timer events interrupt the vCPU, which are due again soon after each other.
 * As PID 1 of a guest it powers off at the end. Prints `N of N arrived`.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/reboot.h>
#include <sys/time.h>
#include <unistd.h>

#define BREAKPOINTS 20000

static volatile unsigned arrived, ticks;

static void on_trap(int signal)
{
	(void)signal;
	arrived++;
}

static void on_tick(int signal)
{
	(void)signal;
	ticks++;
}

int main(void)
{
	const struct itimerval each = { { 0, 1000 }, { 0, 1000 } };

	signal(SIGTRAP, on_trap);
	signal(SIGALRM, on_tick);
	setitimer(ITIMER_REAL, &each, NULL);
	for (unsigned i = 0; i < BREAKPOINTS; i++)
		__asm__ volatile("int3" ::: "memory");
	printf("%u of %u arrived, %s\n", arrived, BREAKPOINTS,
	       ticks > 100 ? "interrupted" : "undisturbed");
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return arrived != BREAKPOINTS;
}
