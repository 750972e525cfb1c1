/*
 * workload: the same small measurements on the host, in a container and as PID 1 of a guest.
 *
 * First line: "warren-bench ready", whose arrival at the other end of the console is the boot time. Then one line a
 * figure: name and value. As PID 1 it switches the machine off at the end. No libc start-up beyond what is static, no
 * file read: it measures the kernel and the CPU it finds, not a distribution.
 *
 *	syscall_ns	one getppid
 *	fault_ns	first touch of a page
 *	fork_us		fork, exit, wait
 *	exec_us		vfork, exec of this program, exit, wait
 *	cpu_ms		a fixed piece of work: a sieve and a running sum
 *	read_mb_s	1 MB direct reads of the disk or file that the environment's BENCH_DISK names
 *	iops		4 KB direct reads of it at random places, 32 at a time
 *
 * Trust: none crosses. Threads: none. #syscalls: getppid mmap munmap clone execve wait4 clock_gettime openat read
 * write reboot finit_module io_setup io_submit io_getevents exit_group
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void tell(const char *name, double value)
{
	char line[64];
	int n = snprintf(line, sizeof(line), "%s %.3f\n", name, value);

	if (write(1, line, (size_t)n) != n)
		_exit(1);
}

static void measure_syscall(void)
{
	enum { N = 200000 };
	uint64_t begin = now();

	for (int i = 0; i < N; i++)
		syscall(SYS_getppid);
	tell("syscall_ns", (double)(now() - begin) / N);
}

static void measure_fault(void)
{
	enum { PAGES = 4096 };
	char *p = mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	if (p == MAP_FAILED)
		return;
	madvise(p, PAGES * 4096, MADV_NOHUGEPAGE);
	uint64_t begin = now();

	for (int i = 0; i < PAGES; i++)
		*(volatile char *)(p + (size_t)i * 4096) = 1;
	tell("fault_ns", (double)(now() - begin) / PAGES);
	munmap(p, PAGES * 4096);
}

static void measure_fork(void)
{
	enum { N = 200 };
	uint64_t begin = now();

	for (int i = 0; i < N; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		waitpid(pid, NULL, 0);
	}
	tell("fork_us", (double)(now() - begin) / N / 1000);
}

static void measure_exec(const char *self)
{
	enum { N = 200 };
	uint64_t begin = now();

	for (int i = 0; i < N; i++) {
		pid_t pid = vfork();

		if (!pid) {
			execl(self, self, "leaf", (char *)NULL);
			_exit(1);
		}
		waitpid(pid, NULL, 0);
	}
	tell("exec_us", (double)(now() - begin) / N / 1000);
}

/* Branches, memory and floating point: a sieve and a running sum. */
static void measure_cpu(void)
{
	enum { SIZE = 1 << 20, ROUNDS = 20 };
	static unsigned char composite[SIZE];
	uint64_t primes = 0;
	double sum = 0;

	memset(composite, 1, sizeof(composite)); /* page faults are measured elsewhere */
	uint64_t begin = now();

	for (int round = 0; round < ROUNDS; round++) {
		memset(composite, 0, sizeof(composite));
		for (int i = 2; i < SIZE; i++) {
			if (composite[i])
				continue;
			primes++;
			sum = sum * 0.75 + 1.0 / (double)i;
			for (long k = (long)i * i; k < SIZE; k += i)
				composite[k] = 1;
		}
	}
	tell(primes && sum > 0 ? "cpu_ms" : "cpu", (double)(now() - begin) / 1e6);
}

static void measure_read(const char *disk)
{
	enum { STEP = 1 << 20 };
	int fd = open(disk, O_RDONLY | O_DIRECT);
	uint64_t total = 0;
	void *p;

	if (fd < 0 || posix_memalign(&p, 4096, STEP))
		return;
	uint64_t begin = now();

	for (ssize_t n; (n = read(fd, p, STEP)) > 0 && total < 256u << 20;)
		total += (uint64_t)n;
	if (total)
		tell("read_mb_s", (double)total * 1000 / (double)(now() - begin));
	free(p);
	close(fd);
}

/* Random reads with DEPTH of them under way, for a second. */
static void measure_iops(const char *disk)
{
	enum { DEPTH = 32, SIZE = 4096, PLACES = 32768 /* of 128 MB */ };
	int fd = open(disk, O_RDONLY | O_DIRECT);
	struct iocb cb[DEPTH], *ready[DEPTH];
	struct io_event done[DEPTH];
	aio_context_t ctx = 0;
	uint64_t total = 0, seed = 1;
	char *p;

	if (fd < 0 || posix_memalign((void **)&p, SIZE, DEPTH * SIZE) ||
	    syscall(SYS_io_setup, DEPTH, &ctx) < 0)
		return;
	for (int i = 0; i < DEPTH; i++) {
		cb[i] = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PREAD,
				       .aio_fildes = (uint32_t)fd,
				       .aio_buf = (uintptr_t)(p + i * SIZE),
				       .aio_nbytes = SIZE,
				       .aio_data = (uint64_t)i };
		ready[i] = &cb[i];
	}
	uint64_t begin = now();
	long n = DEPTH;

	while (now() - begin < 1000000000u) {
		for (long i = 0; i < n; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			ready[i]->aio_offset = (int64_t)((seed >> 33) % PLACES * SIZE);
		}
		if (syscall(SYS_io_submit, ctx, n, ready) != n)
			return;
		n = syscall(SYS_io_getevents, ctx, 1, DEPTH, done, NULL);
		if (n <= 0)
			return;
		for (long i = 0; i < n; i++)
			ready[i] = &cb[done[i].data];
		total += (uint64_t)n;
	}
	tell("iops", (double)total * 1e9 / (double)(now() - begin));
}

/* A guest's disk: its driver is a module of the initramfs, and it takes a moment to appear. */
static void wait_for_disk(const char *disk)
{
	int module = open("/disk.ko", O_RDONLY), fd = -1;

	if (module >= 0 && syscall(SYS_finit_module, module, "", 0) < 0)
		tell("finit_module", errno);
	for (int tries = 0; tries < 2000 && fd < 0; tries++) {
		fd = open(disk, O_RDONLY);
		if (fd < 0)
			usleep(1000);
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static const char ready[] = "\nwarren-bench ready\n";
	const char *disk = getenv("BENCH_DISK");

	if (argc > 1 && strcmp(argv[1], "leaf") == 0)
		return 0;
	if (getpid() == 1)
		mount("dev", "/dev", "devtmpfs", 0, NULL);
	if (write(1, ready, sizeof(ready) - 1) < 0)
		return 1;
	if (argc > 1 && strcmp(argv[1], "boot") == 0)
		goto out;
	measure_syscall();
	measure_fault();
	measure_fork();
	measure_exec(getpid() == 1 ? "/init" : argv[0]);
	measure_cpu();
	if (disk && getpid() == 1)
		wait_for_disk(disk);
	if (disk) {
		measure_read(disk);
		measure_iops(disk);
	}
out:
	if (getpid() == 1 && getenv("BENCH_GUEST")) {
		sync();
		reboot(RB_POWER_OFF);
	}
	return 0;
}
