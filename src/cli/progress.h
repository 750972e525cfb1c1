/* Bars of what is under way, a line each, on a terminal. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress;

/* NULL when standard error is no terminal that can move its cursor: then lines are for the caller to print. */
struct progress *progress_new(void);
/* Ends what is drawn; the lines stay. Harmless with NULL. */
void progress_free(struct progress *p);
/* One line's state; `id` names the line. */
void progress_set(struct progress *p, const char *id, const char *state, uint64_t current,
		  uint64_t total);
/* Prints a line above the bars. */
void progress_say(struct progress *p, const char *text);
