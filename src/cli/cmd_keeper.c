/*
 * warren keeper (hidden): the process that stays beside an instance. keeper_spawn() writes this command
 * line; descriptor 3 is the creator's socket.
 *
 * Trust: argv is our own. Threads: none. #syscalls: those of run/keeper*.c
 */
#include "cli/cli.h"
#include "run/keeper.h"

struct settings {
	struct keeper_settings k;
	int64_t log_max_size, timeout_ms;
};

#define T struct settings

static const struct opt opts[] = {
	OPT_STRING(0, "root", "DIR", T, k.root, "Directory of instances"),
	OPT_STRING(0, "log", "FILE", T, k.log, "Log file"),
	OPT_INT(0, "log-max-size", "BYTES", T, log_max_size, "When to rotate it"),
	OPT_INT(0, "log-max-file", "NUMBER", T, k.log_max_file, "How many files"),
	OPT_INT(0, "policy", "NUMBER", T, k.restart_policy, "Restart policy"),
	OPT_INT(0, "retries", "NUMBER", T, k.restart_max, "Most restarts"),
	OPT_INT(0, "timeout-ms", "MS", T, timeout_ms, "When to end it"),
	OPT_BOOL(0, "tty", T, k.tty, "It has a terminal"),
	OPT_BOOL(0, "stdin", T, k.open_stdin, "Its input is open"),
	OPT_BOOL(0, "stdin-once", T, k.stdin_once, "Close its input when the sender leaves"),
	OPT_BOOL(0, "rm", T, k.auto_remove, "Remove it after its end"),
	OPT_END,
};

static int run(void *settings, int argc, char **argv, struct err *e)
{
	struct settings *set = settings;

	(void)argc, (void)e;
	set->k.id = argv[0];
	set->k.log_max_size = (uint64_t)set->log_max_size;
	set->k.timeout_ns = (uint64_t)set->timeout_ms * 1000000;
	return keeper_main(&set->k, 3);
}

extern const struct command cmd_keeper;
const struct command cmd_keeper = {
	.name = "keeper",
	.args = "ID",
	.summary = "The process beside an instance; started by Warren itself",
	.opts = opts,
	.settings_size = sizeof(struct settings),
	.run = run,
	.hidden = true,
	.min_args = 1,
	.max_args = 1,
};
