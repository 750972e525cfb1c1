/* What Warren keeps about an instance for people, beside the runtime's own state: its name, image, wishes
 * and what became of it. Lives in state.json as `keeper_state`. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "run/instance.h"
#include "wire/control.h"

struct record {
	/* fixed at create; strings are owned, NULL when absent */
	char *name, *image, *image_id, *image_data;
	struct strlist command; /* entrypoint and arguments as one list */
	struct strlist labels;	/* "key=value" */
	struct strlist binds;	/* -v as given */
	struct strlist volumes; /* volume_line() of each */
	struct strlist ports;	/* "8080:80/tcp" */
	char *network;		/* "host", "none", "private" */
	char *stop_signal;	/* "SIGTERM" */
	char *disk;		/* the instance's directory below the data directory */
	char *log;		/* path of the log; NULL: none */
	char *rootfs;		/* --rootfs DIR */
	char *hostname, *user, *workdir;
	char *isolation_wish; /* as typed: "vm,pv" */
	bool tty, open_stdin, stdin_once, auto_remove, publish_all, privileged, read_only;
	int64_t stop_timeout_ms; /* -1: never SIGKILL */
	int64_t timeout_ms;	 /* --timeout; 0: none */
	int64_t memory, nano_cpus, pids_limit;
	int64_t log_max_size, log_max_file;

	/* health.c; no test: there is no check */
	struct strlist health_test; /* "CMD", ARG... or "CMD-SHELL", LINE */
	int64_t health_interval_ms, health_timeout_ms, health_start_period_ms;
	int64_t health_start_interval_ms, health_retries;

	/* changed by update */
	int64_t restart_policy, restart_max; /* enum control_policy */

	/* written by the keeper */
	char *started, *finished;  /* RFC 3339; NULL: never */
	char *error;		   /* why the last start failed, or what happened to the keeper */
	char *health_status;	   /* starting, healthy, unhealthy; NULL without a check */
	struct strlist health_log; /* the last answers, a JSON object each */
	int64_t health_streak;	   /* failures in a row */
	int64_t exit_code, restarts;
	bool oom_killed;
	bool restarting;     /* waits for its next start */
	bool manual_stop;    /* by stop or kill: no restart */
	bool remove_volumes; /* rm -v */
	bool removing;	     /* rm is at it, or died while at it */
};

void record_init(struct record *r);
void record_fini(struct record *r);

/* From and to in->keeper_state. A missing one loads as an empty record. 0, or -errno naming the member. */
int record_load(struct record *r, const struct instance *in, struct err *e);
int record_store(const struct record *r, struct instance *in, struct err *e);

/* Replaces an owned string. 0 or -ENOMEM. */
int record_set(char **member, const char *value);

/* "on-failure:3" and back. */
int restart_policy_parse(const char *s, int64_t *policy, int64_t *max, struct err *e);
const char *restart_policy_name(int64_t policy);

/* The time now as RFC 3339 with nine places, to be freed; NULL without memory. */
char *time_now_rfc3339(void);
