/*
 * Instances in docker's words.
 *
 * Trust: labels and commands are the user's, config.json is our own. Threads: any. #syscalls: clock_gettime
 */
#include "run/describe.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/util.h"
#include "run/describe_int.h"
#include "wire/logline.h"

void human_duration(int64_t s, char *out, size_t size)
{
	const int64_t minute = 60, hour = 3600, day = 86400;

	if (s < 1)
		snprintf(out, size, "Less than a second");
	else if (s == 1)
		snprintf(out, size, "1 second");
	else if (s < minute)
		snprintf(out, size, "%lld seconds", (long long)s);
	else if (s < 2 * minute)
		snprintf(out, size, "About a minute");
	else if (s < hour)
		snprintf(out, size, "%lld minutes", (long long)(s / minute));
	else if (s < 2 * hour)
		snprintf(out, size, "About an hour");
	else if (s < 2 * day)
		snprintf(out, size, "%lld hours", (long long)(s / hour));
	else if (s < 14 * day)
		snprintf(out, size, "%lld days", (long long)(s / day));
	else if (s < 60 * day)
		snprintf(out, size, "%lld weeks", (long long)(s / day / 7));
	else if (s < 730 * day)
		snprintf(out, size, "%lld months", (long long)(s / day / 30));
	else
		snprintf(out, size, "%lld years", (long long)(s / day / 365));
}

void human_size(double v, bool binary, char *out, size_t size)
{
	static const char *const units[2][6] = { { "B", "kB", "MB", "GB", "TB", "PB" },
						 { "B", "KiB", "MiB", "GiB", "TiB", "PiB" } };
	const double step = binary ? 1024 : 1000;
	int i = 0;

	while (v >= step && i < 5) {
		v /= step;
		i++;
	}
	snprintf(out, size, "%.4g%s", v, units[binary][i]);
}

int64_t describe_age(const char *rfc3339)
{
	struct timespec t, now;

	if (!rfc3339 || time_rfc3339_parse(rfc3339, strlen(rfc3339), &t))
		return 0;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec > t.tv_sec ? now.tv_sec - t.tv_sec : 0;
}

/* As docker's ps shows it. */
static const char *health_words(const struct subject *s)
{
	const char *h = s->rec.health_status;

	return !h		       ? ""
	       : streq(h, "healthy")   ? " (healthy)"
	       : streq(h, "unhealthy") ? " (unhealthy)"
				       : " (health: starting)";
}

void describe_status(struct subject *s, char *out, size_t size)
{
	enum subject_status st = subject_status(s);
	char time[32];

	bool up = st == SUBJECT_RUNNING || st == SUBJECT_PAUSED;
	/* A container of the OCI runtime has no record of its start. */
	const char *started = s->rec.started ? s->rec.started : s->in.created;

	human_duration(describe_age(up ? started : s->rec.finished), time, sizeof(time));
	switch (st) {
	case SUBJECT_CREATED:
		snprintf(out, size, "Created");
		break;
	case SUBJECT_RUNNING:
		snprintf(out, size, "Up %s%s%s", time, subject_orphaned(s) ? " (no keeper)" : "",
			 health_words(s));
		break;
	case SUBJECT_PAUSED:
		snprintf(out, size, "Up %s (Paused)", time);
		break;
	case SUBJECT_RESTARTING:
		snprintf(out, size, "Restarting (%d) %s ago", (int)s->rec.exit_code, time);
		break;
	case SUBJECT_REMOVING:
		snprintf(out, size, "Removal In Progress");
		break;
	case SUBJECT_EXITED:
		snprintf(out, size, "Exited (%d) %s ago", (int)s->rec.exit_code, time);
		break;
	case SUBJECT_DEAD:
		snprintf(out, size, "Dead");
		break;
	}
}

static void add(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value ? value : ""));
}

static void add_joined(json_object *o, const char *key, const struct strlist *l)
{
	struct buf b = BUF_INIT(1 << 20);

	for (size_t i = 0; i < l->n; i++) {
		if (i)
			buf_addc(&b, ',');
		buf_adds(&b, l->v[i]);
	}
	add(o, key, buf_str(&b));
	buf_fini(&b);
}

/* In quotes, cut to twenty letters unless `no_trunc`. */
static void add_command(json_object *o, const struct strlist *command, bool no_trunc)
{
	struct buf b = BUF_INIT(1 << 20);

	for (size_t i = 0; i < command->n; i++) {
		if (i)
			buf_addc(&b, ' ');
		buf_adds(&b, command->v[i]);
	}
	if (!no_trunc && b.len > 20) {
		b.len = 19;
		/* Not in the middle of a letter. */
		while (b.len && ((unsigned char)b.data[b.len] & 0xc0) == 0x80)
			b.len--;
		buf_adds(&b, "\u2026");
	}
	struct buf quoted = BUF_INIT(1 << 20);

	buf_addf(&quoted, "\"%s\"", buf_str(&b));
	add(o, "Command", buf_str(&quoted));
	buf_fini(&quoted);
	buf_fini(&b);
}

static void add_created(json_object *o, const char *created)
{
	struct timespec t;
	struct tm tm;
	char s[64] = "", age[40];

	if (created && !time_rfc3339_parse(created, strlen(created), &t) &&
	    localtime_r(&t.tv_sec, &tm))
		strftime(s, sizeof(s), "%Y-%m-%d %H:%M:%S %z %Z", &tm);
	add(o, "CreatedAt", s);
	human_duration(describe_age(created), age, sizeof(age) - 4);
	strcat_bounded(age, sizeof(age), " ago");
	add(o, "RunningFor", age);
}

json_object *describe_row(struct subject *s, bool no_trunc)
{
	json_object *o = json_object_new_object();
	char status[96], id[13];

	describe_status(s, status, sizeof(status));
	snprintf(id, sizeof(id), "%s", s->in.id);
	add(o, "ID", no_trunc ? s->in.id : id);
	add(o, "Image", s->rec.image ? s->rec.image : s->rec.rootfs);
	add_command(o, &s->rec.command, no_trunc);
	add_created(o, s->in.created);
	add_joined(o, "Ports", &s->rec.ports);
	add(o, "State", subject_status_name(subject_status(s)));
	add(o, "Status", status);
	add(o, "Names", s->rec.name);
	add_joined(o, "Labels", &s->rec.labels);
	add_joined(o, "Mounts", &s->rec.binds);
	snprintf(status, sizeof(status), "%zu", s->rec.volumes.n);
	add(o, "LocalVolumes", status);
	add(o, "Networks", s->rec.network);
	add(o, "Size", "0B");
	add(o, "Isolation", s->in.wall ? s->in.wall : "container");
	return o;
}
