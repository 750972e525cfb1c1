/*
 * Log lines for what is worth saying but is no failure: a limit that the host cannot set, a mount
 * option that was dropped. Libraries call log_warn(); where the line goes (stderr, the OCI
 * runtime's --log file as text or JSON, nowhere) is the program's business.
 *
 * Trust: lines may quote hostile names; the sink escapes for its own medium. Threads: the sink is
 * set before threads start. #syscalls: none
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_sink_fn *sink;
static void *sink_arg;
static enum log_level sink_max;

void log_set_sink(log_sink_fn *fn, void *arg, enum log_level max)
{
	sink = fn;
	sink_arg = arg;
	sink_max = max;
}

void log_at(enum log_level level, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	if (!sink || level > sink_max)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sink(level, line, sink_arg);
}
