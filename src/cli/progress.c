/*
 * Progress bars. All lines are drawn again with each change, from the first one that was drawn: the cursor stands below
 * the last line in between, so that whatever else is printed ends up there too.
 *
 * Trust: ids are digests, states are Warren's own words. Threads: none. #syscalls: write ioctl clock_gettime
 */
#include "cli/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/str.h"
#include "base/util.h"
#include "cli/images.h"
#include "os/loop.h"

enum { LINES_MAX = 64, BAR_MIN = 10, BAR_MAX = 50, TEXT_WIDTH = 64 };

struct line {
	char id[16], state[24];
	uint64_t current, total, began, first;
};

struct progress {
	struct line v[LINES_MAX];
	size_t n, drawn;
};

struct progress *progress_new(void)
{
	const char *term = getenv("TERM");

	return isatty(STDERR_FILENO) && term && *term && !streq(term, "dumb")
		       ? calloc(1, sizeof(struct progress))
		       : NULL;
}

static int bar_width(size_t *rows)
{
	struct winsize w = { .ws_row = 24, .ws_col = 80 };

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &w) < 0 || !w.ws_col || !w.ws_row)
		w = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	*rows = w.ws_row > 1 ? w.ws_row - 1u : 1;
	return MIN(MAX((int)w.ws_col - TEXT_WIDTH, 0), (int)BAR_MAX);
}

static void draw_line(const struct line *l, int width)
{
	char now[32], all[32], rate[32] = "";
	bool moving = l->total && l->current < l->total;

	fprintf(stderr, "\r\033[K%s: %-11s", l->id, l->state);
	if (!l->total) {
		fputc('\n', stderr);
		return;
	}
	images_size(l->current, now, sizeof(now));
	images_size(l->total, all, sizeof(all));
	uint64_t ms = (now_ns() - l->began) / 1000000;

	if (moving && ms > 200)
		images_size((l->current - l->first) * 1000 / ms, rate, sizeof(rate));
	if (moving && width >= BAR_MIN) {
		int full = (int)(l->current * (uint64_t)width / l->total);

		fputs(" [", stderr);
		for (int i = 0; i < width; i++)
			fputc(i < full ? '=' : i == full ? '>' : ' ', stderr);
		fputc(']', stderr);
	}
	if (moving)
		fprintf(stderr, " %9s/%s%s%s%s\n", now, all, *rate ? "  " : "", rate,
			*rate ? "/s" : "");
	else
		fprintf(stderr, " %9s\n", all);
}

static void draw(struct progress *p)
{
	size_t rows;
	int width = bar_width(&rows);
	/* What does not fit on the screen cannot be drawn over: the last ones count. */
	size_t skip = p->n > rows ? p->n - rows : 0;

	if (p->drawn)
		fprintf(stderr, "\033[%zuA", p->drawn);
	for (size_t i = skip; i < p->n; i++)
		draw_line(&p->v[i], width);
	p->drawn = p->n - skip;
	fflush(stderr);
}

void progress_set(struct progress *p, const char *id, const char *state, uint64_t current,
		  uint64_t total)
{
	char name[sizeof(p->v[0].id)];
	struct line *l = NULL;

	snprintf(name, sizeof(name), "%.12s", id);
	for (size_t i = 0; i < p->n; i++)
		if (streq(p->v[i].id, name))
			l = &p->v[i];
	if (!l && p->n == LINES_MAX)
		return;
	if (!l) {
		l = &p->v[p->n++];
		*l = (struct line){ .began = now_ns(), .first = current };
		memcpy(l->id, name, sizeof(name));
	}
	snprintf(l->state, sizeof(l->state), "%s", state);
	l->current = MIN(current, total);
	l->total = total;
	draw(p);
}

void progress_say(struct progress *p, const char *text)
{
	if (p->drawn)
		fprintf(stderr, "\033[%zuA\r\033[J", p->drawn);
	fprintf(stderr, "%s\n", text);
	p->drawn = 0;
	draw(p);
}

void progress_free(struct progress *p)
{
	free(p);
}
