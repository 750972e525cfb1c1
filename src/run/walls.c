/*
 * The walls, sorted by name. To add one: write run/wall_<name>.c with a `struct wall_ops` and name it here.
 *
 * #syscalls: none
 */
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "run/wall.h"

extern const struct wall_ops wall_container;
extern const struct wall_ops wall_pv;
extern const struct wall_ops wall_vm;

const struct wall_ops *const walls[] = {
	&wall_container,
	&wall_pv,
	&wall_vm,
	NULL,
};

int wall_find(const char *name, const struct wall_ops **out, struct err *e)
{
	cleanup_with(buf_fini) struct buf known = BUF_INIT(128);

	if (!name || streq(name, "default") || streq(name, "process"))
		name = "container";
	for (const struct wall_ops *const *w = walls; *w; w++) {
		if (streq((*w)->name, name)) {
			*out = *w;
			return 0;
		}
		buf_addf(&known, "%s%s", known.len ? ", " : "", (*w)->name);
	}
	if (streq(name, "hyperv"))
		return err_set(e, -EINVAL,
			       "isolation 'hyperv' is for another system: use vm or pv");
	return err_set(e, -EINVAL, "isolation '%s' is none of %s", name, buf_str(&known));
}

int wall_of(const struct instance *in, const struct wall_ops **out, struct err *e)
{
	return wall_find(in->wall, out, e);
}

enum instance_status wall_status(struct instance *in)
{
	enum instance_status s = instance_probe(in);
	const struct wall_ops *w;

	if ((s == INSTANCE_RUNNING || s == INSTANCE_CREATED) && wall_of(in, &w, NULL) == 0 &&
	    w->paused && w->paused(in) == 1)
		return INSTANCE_PAUSED;
	return s;
}

void wall_process_fini(struct wall_process *p)
{
	close_fd(&p->pidfd);
	close_fd(&p->master);
	if (p->live_fini)
		p->live_fini(p->live);
	p->live = NULL;
	p->live_fini = NULL;
}
