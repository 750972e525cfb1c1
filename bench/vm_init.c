/* /init of the vm bench's guest: says "R" by the serial port's register, so that no driver is measured; then, when the
 * initramfs has modules and there is a disk, reads it and says how fast: "S megabytes-a-second I reads-a-second;". */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 0x3f8, PIECE = 1 << 20, SMALL = 4096 };

static void say(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (const char *p = text; *p; p++)
		outb((unsigned char)*p, PORT);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Names in the order of their dependencies, in /modules/order. */
static void load_modules(void)
{
	FILE *f = fopen("/modules/order", "r");
	char name[100], path[200];

	while (f && fscanf(f, "%99s", name) == 1) {
		snprintf(path, sizeof(path), "/modules/%s", name);
		int fd = open(path, O_RDONLY);

		if (fd >= 0)
			syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
}

static void read_disk(int fd)
{
	off_t size = lseek(fd, 0, SEEK_END);
	char *buffer = aligned_alloc(SMALL, PIECE);
	double begin = seconds(), end = begin;
	long n = 0;

	if (!buffer)
		return;
	for (off_t at = 0; end - begin < 2; at = (at + PIECE) % size, end = seconds())
		n += pread(fd, buffer, PIECE, at) == PIECE;
	say("S %.1f ", (double)n / (end - begin));
	n = 0;
	begin = end = seconds();
	for (unsigned at = 1; end - begin < 2; at = at * 1103515245u + 12345, end = seconds())
		n += pread(fd, buffer, SMALL, (off_t)(at % (unsigned)(size / SMALL)) * SMALL) ==
		     SMALL;
	say("I %.0f", (double)n / (end - begin));
}

int main(void)
{
	if (ioperm(PORT, 8, 1))
		return 1;
	say("R");
	mkdir("/dev", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	load_modules();
	int fd = -1;

	for (int i = 0; i < 300 && (fd = open("/dev/vda", O_RDONLY | O_DIRECT)) < 0; i++)
		usleep(10000);
	if (fd >= 0)
		read_disk(fd);
	say(";");
	for (;;)
		pause();
}
