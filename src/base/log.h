/* Messages that are no result: warnings and debug lines, sent to whatever sink the program chose.
 */
#pragma once

enum log_level { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };

/* Receives one line without newline. */
typedef void log_sink_fn(enum log_level level, const char *line, void *arg);

/* Without a sink nothing is said. Only `main` sets it; messages above `max` are not formatted. */
void log_set_sink(log_sink_fn *fn, void *arg, enum log_level max);

void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_warn(...)  log_at(LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LEVEL_DEBUG, __VA_ARGS__)
