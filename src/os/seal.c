/*
 * The descriptor of the read-only mount that the program runs from.
 *
 * Trust: none. Threads: the caller has one. #syscalls: close
 */
#include "os/seal.h"

#include "base/cleanup.h"

int seal_tree = -1;

void seal_release(void)
{
	close_fd(&seal_tree);
}
