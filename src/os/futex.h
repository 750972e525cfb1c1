/* Waiting for a word to change, between threads of one process. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define FUTEX_FOREVER UINT64_MAX

/* Sleeps while `*word` is `value`, at most `ns` nanoseconds. May return for no reason: look again. */
void futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns);
/* Wakes all who wait there. */
void futex_wake(_Atomic uint32_t *word);
