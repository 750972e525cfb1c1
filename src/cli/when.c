/*
 * Points in time as docker's users write them.
 *
 * Trust: the text is the user's. Threads: none. #syscalls: clock_gettime
 */
#include "cli/when.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "wire/logline.h"

/* "1700000000.25" */
static int parse_unix(const char *s, struct timespec *t)
{
	char whole[24];
	size_t n = strcspn(s, ".");
	uint64_t sec;

	if (n >= sizeof(whole))
		return -EINVAL;
	memcpy(whole, s, n);
	whole[n] = '\0';
	if (str_to_u64(whole, &sec) || sec > INT64_MAX / 2)
		return -EINVAL;
	*t = (struct timespec){ .tv_sec = (time_t)sec };
	if (!s[n])
		return 0;
	long unit = 100000000;

	for (s += n + 1; *s >= '0' && *s <= '9'; s++, unit /= 10)
		t->tv_nsec += unit * (*s - '0');
	return *s ? -EINVAL : 0;
}

int when_parse(const char *option, const char *s, struct timespec *t, struct err *e)
{
	size_t n = strlen(s);
	uint64_t back;

	if (parse_unix(s, t) == 0)
		return 0;
	if (time_rfc3339_parse(s, n, t) == 0) {
		/* Without a zone it is the user's own time. */
		if (n && s[n - 1] != 'Z' && s[n - 1] != 'z' && !(n > 6 && strchr("+-", s[n - 6]))) {
			struct tm tm;

			if (gmtime_r(&t->tv_sec, &tm)) {
				tm.tm_isdst = -1;
				t->tv_sec = mktime(&tm);
			}
		}
		return 0;
	}
	if (str_to_duration(s, &back) == 0) {
		clock_gettime(CLOCK_REALTIME, t);
		int64_t ns = t->tv_sec * 1000000000 + t->tv_nsec;

		ns = (uint64_t)ns > back ? ns - (int64_t)back : 0;
		*t = (struct timespec){ ns / 1000000000, ns % 1000000000 };
		return 0;
	}
	return err_set(e, -EINVAL, "%s '%s': expected a time or a duration", option, s);
}
