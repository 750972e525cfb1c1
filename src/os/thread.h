/* Threads that serve a guest. */
#pragma once

#include <pthread.h>

/* With a stack of 256 KB: the usual 8 MB would become a huge page at its first touch where the host gives those to
 * everybody, which is 2 MB of memory for each thread. 0 or -errno. */
int thread_start(pthread_t *t, void *(*fn)(void *), void *arg);
