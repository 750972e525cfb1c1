/* What this host can do, one finding a check, and whether each wall can stand on it. Changes nothing on the
 * host; works for any user. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum doctor_result { DOCTOR_PASS, DOCTOR_WARN, DOCTOR_FAIL };

struct doctor_finding {
	const char *id; /* "KVM-02" */
	enum doctor_result result;
	char text[320]; /* what was found */
	char mend[200]; /* what to do about it; "" when there is nothing to do */
};

struct doctor_verdict {
	const char *wall;
	bool works;
	char text[600]; /* how, or why not */
};

enum { DOCTOR_WALLS = 3 };

/* Runs every check in the order of the table and calls `report` for each; then fills a verdict a wall. */
void doctor_run(void (*report)(const struct doctor_finding *f, void *arg), void *arg,
		struct doctor_verdict verdicts[DOCTOR_WALLS]);

/* "PASS", "WARN", "FAIL". */
const char *doctor_result_name(enum doctor_result r);
