/* What the keeper's files share. */
#pragma once

#include <sys/types.h>

#include "base/list.h"
#include "os/loop.h"
#include "run/keeper.h"
#include "run/log.h"
#include "wire/control.h"

struct keeper;

enum job_kind {
	JOB_START,  /* create and start the instance */
	JOB_END,    /* clean up after its end, and remove it with --rm */
	JOB_SETTLE, /* it will not be restarted after all */
	JOB_KILL,   /* signal it */
	JOB_HEALTH, /* ask how it is */
};

/* What a job says when it is done; one packet. */
struct job_report {
	int32_t result;	    /* 0 or -errno; then `err` is set */
	int32_t pid;	    /* of the instance, after JOB_START */
	uint32_t health_ms; /* after JOB_START and JOB_HEALTH: until the next check; 0: none */
	int32_t status;	    /* exit status that a failed start means: 125..127 */
	struct err err;
};

/* A child of the keeper that does one thing that needs memory or time: it reads and writes state.json,
 * calls the wall. */
struct job {
	struct list link;
	struct keeper *k;
	enum job_kind kind;
	pid_t pid;
	int sock; /* its report comes here, with the terminal's master after JOB_START */
	struct job_report report;
	bool reported;
	int master;
	int sig; /* JOB_KILL */
	bool all;
	void *client; /* who asked, or NULL; only compared, never followed unless still listed */
};

struct client {
	struct list link;
	struct keeper *k;
	struct loop_fd src;
	bool hello, attached, waits, creator;
	uint16_t streams; /* CONTROL_STREAM_* */
	enum control_wait wait;
	bool stdin_held; /* not read from until the instance took what it sent */
	struct buf out;	 /* packets that its socket had no room for */
};

struct output {
	struct keeper *k;
	struct loop_fd src; /* fd -1: closed */
	bool is_stderr;
};

enum phase {
	PHASE_IDLE,
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_ENDING,  /* init is dead, JOB_END runs */
	PHASE_WAITING, /* for its restart */
	PHASE_DONE,    /* the last words are being sent */
};

struct keeper {
	struct settings {
		const char *root, *id;
		bool tty, open_stdin, stdin_once, auto_remove;
		uint32_t restart_policy, restart_max, restarts;
		uint64_t timeout_ns; /* 0: none */
	} set;
	struct loop loop;
	struct loop_fd listener, signals;
	struct list clients, jobs;
	struct output out[2];
	struct loop_fd input;  /* stdin of the instance, or the terminal's master; fd -1: none */
	struct buf input_wait; /* bytes that the instance has not taken yet */
	bool input_end;	       /* close the input once `input_wait` is empty */
	struct logfile log;
	struct loop_timer restart_timer, kill_timer, timeout_timer, health_timer;
	enum phase phase;
	int dir; /* the instance's directory */
	pid_t init;
	bool init_ended;
	int status; /* exit status of the last run */
	bool manual, timed_out, will_restart;
	uint64_t started_at, delay; /* ns */
	uint16_t rows, cols;	    /* of the terminal, as the last client said */
	int child_stdio[3];	    /* the instance's ends until it is started */
};

/* keeper_clients.c */
int clients_listen(struct keeper *k, struct err *e);
struct client *client_add(struct keeper *k, int fd);
void client_drop(struct client *c);
void client_send(struct client *c, const struct control_msg *m);
void client_send_err(struct client *c, const struct err *err, int status);
bool client_listed(struct keeper *k, const void *c);
/* Whether somebody still has to take what was sent. */
bool clients_blocked(struct keeper *k);
/* Tells attached and waiting clients of an exit. */
void clients_exit(struct keeper *k, int status, bool restarts, bool timed_out);

/* keeper_streams.c */
/* Makes pipes; fills k->child_stdio with the instance's ends. 0 or -errno. */
int streams_make(struct keeper *k);
/* After the start: closes the instance's ends, watches ours. `master` is taken over. */
void streams_open(struct keeper *k, int master);
/* Reads what is there, as far as clients take it. */
void streams_drain(struct keeper *k);
void streams_close(struct keeper *k);
/* Reads on, or waits, as clients allow. */
void streams_flow(struct keeper *k);
/* Input for the instance; n == 0 is its end. */
void stream_input(struct keeper *k, struct client *from, const void *p, size_t n);
/* Whether all output has come to its end. */
bool streams_ended(const struct keeper *k);

/* keeper_jobs.c */
/* Forks a job. 0 or -errno. */
int job_run(struct keeper *k, enum job_kind kind, int sig, bool all, struct client *client);
/* Takes its report if it has come. */
void job_collect(struct job *j);
void job_free(struct job *j);

/* keeper.c */
/* The creator's START: takes over its settings and begins. 0, or -errno when it could not even be tried. */
int keeper_begin(struct keeper *k, const struct control_start *start, struct err *e);
void keeper_stop(struct keeper *k, int sig, uint32_t ms);
void keeper_leave_if_idle(struct keeper *k);
