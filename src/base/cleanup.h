/* Owning locals: released when the scope ends unless handed over with steal_*(). */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_close_(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free_(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_fclose_(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_closedir_(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* cleanup_fd int fd = -1; */
#define cleanup_fd __attribute__((cleanup(cleanup_close_)))
/* cleanup_free char *s = NULL; */
#define cleanup_free	 __attribute__((cleanup(cleanup_free_)))
#define cleanup_fclose	 __attribute__((cleanup(cleanup_fclose_)))
#define cleanup_closedir __attribute__((cleanup(cleanup_closedir_)))
/* cleanup(x_fini) struct x x; where x_fini takes struct x * */
#define cleanup_with(fn) __attribute__((cleanup(fn)))

/* Hands the descriptor over: the local is -1 afterwards. */
static inline int steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

/* Hands the pointer over: the local is NULL afterwards. */
#define steal_ptr(pp)                              \
	({                                         \
		__typeof__(*(pp)) stolen_ = *(pp); \
		*(pp) = NULL;                      \
		stolen_;                           \
	})

/* Closes and forgets. */
static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}
