/*
 * Starting threads.
 *
 * Trust: none crosses here. Threads: any. #syscalls(start): clone3 mmap mprotect
 */
#include "os/thread.h"

enum { STACK = 256 << 10 };

int thread_start(pthread_t *t, void *(*fn)(void *), void *arg)
{
	pthread_attr_t a;

	pthread_attr_init(&a);
	pthread_attr_setstacksize(&a, STACK);
	int r = pthread_create(t, &a, fn, arg);

	pthread_attr_destroy(&a);
	return -r;
}
