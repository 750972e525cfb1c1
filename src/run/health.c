/*
 * Health checks, with docker's rules: a command inside the instance, every interval, ended after its timeout; as many
 * failures in a row as `retries` make it unhealthy, one success healthy; failures within the start period do not count
 * until it was healthy once. The keeper has a timer, a job of it asks (keeper_jobs.c), the record keeps the last five answers.
 *
 * Trust: the command's output is the instance's: bounded, and only shown. Threads: one.
 * #syscalls: those of run/execute.c
 */
#include "run/health.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "run/events.h"
#include "run/execute.h"
#include "wire/json.h"
#include "wire/logline.h"

#define MS	       1000000ull
#define INTERVAL       (30000 * MS)
#define TIMEOUT	       (30000 * MS)
#define START_INTERVAL (5000 * MS)
#define TIME_MAX       (1ull << 52) /* ns: 52 days */
#define OUTPUT_MAX     4096
enum { RETRIES = 3, RETRIES_MAX = 100000, ANSWERS_MAX = 5 };

static int add_all(struct strlist *to, const struct image_list *from)
{
	int r = 0;

	for (size_t i = 0; !r && i < from->n; i++)
		r = strlist_add(to, from->v[i]);
	return r;
}

/* `["CMD", ...]`, or a line for the shell. */
static int read_command(const char *cmd, struct record *rec, struct err *e)
{
	struct json_object *o = *cmd == '[' ? json_tokener_parse(cmd) : NULL;
	size_t n = json_object_is_type(o, json_type_array) ? json_object_array_length(o) : 0;
	const char *first = n ? json_object_get_string(json_object_array_get_idx(o, 0)) : "";
	int r = 0;

	if (n && !streq(first, "CMD") && !streq(first, "CMD-SHELL"))
		r = strlist_add(&rec->health_test, "CMD");
	for (size_t i = 0; !r && i < n; i++) {
		const char *s = json_object_get_string(json_object_array_get_idx(o, i));

		r = strlist_add(&rec->health_test, s ? s : "");
	}
	json_object_put(o);
	if (r || n)
		return r;
	if (!*cmd)
		return err_set(e, -EINVAL, "--health-cmd: no command");
	r = strlist_add(&rec->health_test, "CMD-SHELL");
	return r ? r : strlist_add(&rec->health_test, cmd);
}

static int64_t choose_ms(uint64_t wish, uint64_t image, uint64_t otherwise)
{
	uint64_t ns = wish ? wish : image ? image : otherwise;

	return (int64_t)(MIN(MAX(ns, ns ? MS : 0), TIME_MAX) / MS);
}

int health_settle(const struct health_wish *wish, const struct image_health *image,
		  struct record *rec, struct err *e)
{
	static const struct image_health nothing;
	uint64_t retries = 0;
	int r = 0;

	image = image ? image : &nothing;
	if (wish->none && (wish->cmd || wish->interval || wish->timeout || wish->retries))
		return err_set(e, -EINVAL, "--no-healthcheck and --health-* exclude each other");
	if (wish->retries && (str_to_u64(wish->retries, &retries) || retries > RETRIES_MAX))
		return err_set(e, -EINVAL, "--health-retries '%s': expected a number",
			       wish->retries);
	if (wish->none || (wish->cmd && streq(wish->cmd, "none")))
		return 0;
	if (wish->cmd)
		r = read_command(wish->cmd, rec, e);
	else if (image->test.n > 1 && !streq(image->test.v[0], "NONE"))
		r = add_all(&rec->health_test, &image->test);
	if (r || !rec->health_test.n)
		return r;
	if (rec->health_test.n < 2)
		return err_set(e, -EINVAL, "health check: no command");
	rec->health_interval_ms = choose_ms(wish->interval, image->interval, INTERVAL);
	rec->health_timeout_ms = choose_ms(wish->timeout, image->timeout, TIMEOUT);
	rec->health_start_period_ms = choose_ms(wish->start_period, image->start_period, 0);
	rec->health_start_interval_ms = choose_ms(wish->start_interval, image->start_interval,
						  START_INTERVAL);
	rec->health_retries = retries ? (int64_t)retries
			      : image->retries > 0 && image->retries <= RETRIES_MAX ? image->retries
										    : RETRIES;
	return 0;
}

int health_begin(struct record *rec)
{
	strlist_fini(&rec->health_log);
	rec->health_streak = 0;
	return record_set(&rec->health_status, rec->health_test.n ? "starting" : NULL);
}

static bool in_start_period(const struct record *rec)
{
	struct timespec began, now;

	if (!rec->health_start_period_ms || !rec->started ||
	    time_rfc3339_parse(rec->started, strlen(rec->started), &began))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000 <
	       rec->health_start_period_ms;
}

static bool is_starting(const struct record *rec)
{
	return rec->health_status && streq(rec->health_status, "starting");
}

uint32_t health_next_ms(const struct record *rec)
{
	if (!rec->health_test.n)
		return 0;
	int64_t ms = is_starting(rec) && in_start_period(rec)
			     ? MIN(rec->health_start_interval_ms, rec->health_interval_ms)
			     : rec->health_interval_ms;

	return (uint32_t)MAX(MIN(ms, (int64_t)INT32_MAX), (int64_t)1);
}

struct answer {
	char *begun, *ended;
	int status;
	bool timed_out;
	struct buf output;
};

static int note_answer(struct record *rec, const struct answer *a)
{
	cleanup_with(buf_fini) struct buf b = BUF_INIT(64u << 10);

	buf_adds(&b, "{\"Start\":");
	json_put_string(&b, a->begun ? a->begun : "");
	buf_adds(&b, ",\"End\":");
	json_put_string(&b, a->ended ? a->ended : "");
	buf_addf(&b, ",\"ExitCode\":%d,\"Output\":", a->timed_out ? -1 : a->status);
	json_put_string(&b, buf_str(&a->output));
	buf_addc(&b, '}');
	if (b.error)
		return b.error;
	if (rec->health_log.n == ANSWERS_MAX) {
		free(rec->health_log.v[0]);
		memmove(rec->health_log.v, rec->health_log.v + 1,
			ANSWERS_MAX * sizeof(*rec->health_log.v));
		rec->health_log.n--;
	}
	return strlist_add(&rec->health_log, buf_str(&b));
}

/* What the answer makes of the instance. */
static const char *judge(struct record *rec, bool good)
{
	if (good) {
		rec->health_streak = 0;
		return "healthy";
	}
	if (is_starting(rec) && in_start_period(rec))
		return "starting";
	rec->health_streak++;
	return rec->health_streak >= rec->health_retries ? "unhealthy" : rec->health_status;
}

static int write_down(const char *root, const char *id, const struct answer *a, uint32_t *next_ms,
		      struct err *e)
{
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	char action[64];
	int r = subject_open_id(&s, root, id, true, e);

	/* It ended meanwhile: the check says nothing. */
	if (r || !subject_alive(&s))
		return r;
	cleanup_free char *before = s.rec.health_status ? strdup(s.rec.health_status) : NULL;

	r = note_answer(&s.rec, a);
	if (!r)
		r = record_set(&s.rec.health_status, judge(&s.rec, !a->status && !a->timed_out));
	if (!r)
		r = subject_save(&s, e);
	if (!r && (!before || !s.rec.health_status || !streq(before, s.rec.health_status))) {
		snprintf(action, sizeof(action), "health_status: %s", s.rec.health_status);
		event_emit(root, &s, action, NULL);
	}
	*next_ms = health_next_ms(&s.rec);
	return r;
}

int health_ask(const char *root, const char *id, uint32_t *next_ms, struct err *e)
{
	static char shell[] = "/bin/sh", minus_c[] = "-c";
	cleanup_with(subject_fini) struct subject s = SUBJECT_INIT;
	struct answer a = { .output = BUF_INIT(OUTPUT_MAX) };
	int r = subject_open_id(&s, root, id, false, e);

	*next_ms = 0;
	if (r)
		return r;
	*next_ms = health_next_ms(&s.rec);
	if (s.rec.health_test.n < 2 || wall_status(&s.in) != INSTANCE_RUNNING)
		return 0;
	char *line[] = { shell, minus_c, s.rec.health_test.v[1], NULL };
	const struct execute x = {
		.s = &s,
		.root = root,
		.args = streq(s.rec.health_test.v[0], "CMD-SHELL") ? line : s.rec.health_test.v + 1,
		.capture = &a.output,
		.timeout_ns = (uint64_t)s.rec.health_timeout_ms * MS,
		.timed_out = &a.timed_out,
	};
	struct err why = ERR_INIT;

	a.begun = time_now_rfc3339();
	/* A command that cannot be run is a failed check, and says so where its output would be. */
	if (execute_run(&x, &a.status, &why))
		buf_adds(&a.output, why.msg);
	if (a.timed_out) {
		buf_clear(&a.output);
		buf_addf(&a.output, "Health check exceeded timeout (%lld ms)",
			 (long long)s.rec.health_timeout_ms);
	}
	a.ended = time_now_rfc3339();
	r = write_down(root, id, &a, next_ms, e);
	free(a.begun);
	free(a.ended);
	buf_fini(&a.output);
	return r;
}
