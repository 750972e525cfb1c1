/*
 * warren xl: pv guests in the words of Xen's toolstack.
 *
 * Trust: argv is the user's. Threads: none. #syscalls: none of its own
 */
#include "cli/xl.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/util.h"

int xl_each(char *const *words, int n, bool all, xl_each_fn *fn, void *arg, struct err *e)
{
	cleanup_with(strlist_fini) struct strlist ids = { 0 };
	cleanup_free char *root = NULL;
	int r = registry_root(&root, e), status = 0;

	if (!r && !all && !n)
		r = err_set(e, -EINVAL, "which domain?");
	if (!r && all)
		r = instance_list(root, &ids, e);
	if (r)
		return r;
	size_t count = all ? ids.n : (size_t)n;

	for (size_t i = 0; i < count; i++) {
		struct subject s = SUBJECT_INIT;
		struct err one = ERR_INIT;

		r = domain_open(&s, root, all ? ids.v[i] : words[i], &one);
		if (!r && (!all || subject_alive(&s)))
			r = fn(&s, root, arg, &one);
		else if (all)
			r = 0; /* it is none, or has gone */
		subject_fini(&s);
		if (r) {
			fflush(stdout);
			cli_complain(&one);
			status = EXIT_WARREN;
		}
	}
	return status;
}

extern const struct command xl_cmd_console;
extern const struct command xl_cmd_create;
extern const struct command xl_cmd_destroy;
extern const struct command xl_cmd_dmesg;
extern const struct command xl_cmd_domid;
extern const struct command xl_cmd_domname;
extern const struct command xl_cmd_info;
extern const struct command xl_cmd_list;
extern const struct command xl_cmd_pause;
extern const struct command xl_cmd_reboot;
extern const struct command xl_cmd_rename;
extern const struct command xl_cmd_shutdown;
extern const struct command xl_cmd_unpause;

/* One line a command. */
const struct command *const xl_commands[] = {
	&xl_cmd_console, &xl_cmd_create,   &xl_cmd_destroy, &xl_cmd_dmesg, &xl_cmd_domid,
	&xl_cmd_domname, &xl_cmd_info,	   &xl_cmd_list,    &xl_cmd_pause, &xl_cmd_reboot,
	&xl_cmd_rename,	 &xl_cmd_shutdown, &xl_cmd_unpause, NULL,
};

extern const struct command cmd_xl;
const struct command cmd_xl = {
	.name = "xl",
	.summary = "Run pv guests as domains, in the words of Xen's xl",
	.text = "A domain runs the user's own kernel, initramfs and disks, as an xl.cfg file "
		"describes "
		"them. Domains are instances: 'warren ps' shows them too, 'warren logs' is their "
		"console.",
	.subs = xl_commands,
};
