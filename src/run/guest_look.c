/*
 * What of a guest only its agent sees: who a user's name is, which processes run, which files changed.
 *
 * Trust: answers come from a hostile guest: numbers are parsed strictly, texts are only shown. Threads: none.
 * #syscalls: those of guest_client.c
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "run/guest_wall.h"

int guest_user(struct instance *in, const char *wish, struct user_ids *out, struct err *e)
{
	cleanup_with(buf_fini) struct buf text = BUF_INIT(AGENT_PAYLOAD_MAX);
	uint32_t ids[2] = { 0 };
	size_t n = 0;

	*out = (struct user_ids){ 0 };
	if (strlen(wish) > 512)
		return err_set(e, -EINVAL, "user '%.40s...': name too long", wish);
	int r = guest_agent_ask(in, AGENT_USER, wish, strlen(wish), &text, e);

	for (char *save, *word = r < 0 || !text.len ? NULL : strtok_r(text.data, " ", &save); word;
	     word = strtok_r(NULL, " ", &save), n++) {
		uint64_t v;

		if (str_to_u64(word, &v) < 0 || v > UINT32_MAX || n == 2 + ARRAY_SIZE(out->groups))
			return err_set(e, -EPROTO, "user '%s': the guest's agent gave no numbers",
				       wish);
		if (n < 2)
			ids[n] = (uint32_t)v;
		else
			out->groups[out->groups_n++] = (uint32_t)v;
	}
	if (r >= 0 && n < 2)
		return err_set(e, -EPROTO, "user '%s': the guest's agent gave no numbers", wish);
	out->uid = ids[0];
	out->gid = ids[1];
	return r < 0 ? r : 0;
}

int guest_top(struct instance *in, struct buf *rows, struct err *e)
{
	int r = guest_agent_ask(in, AGENT_TOP, NULL, 0, rows, e);

	return r < 0 ? r : 0;
}

int guest_changes(struct instance *in, struct buf *lines, struct err *e)
{
	int r = guest_agent_ask(in, AGENT_DIFF, NULL, 0, lines, e);

	return r < 0 ? r : 0;
}
