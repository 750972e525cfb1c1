/*
 * Domains: guests whose kernel, initramfs and disks are all the user's, as xl.cfg describes them. There is no agent
 * in them: their kernel is asked to go down through xenstore, and when it has ended the configuration says whether
 * the machine is made anew, forgotten, or kept to be looked at.
 *
 * The monitor keeps the machine's descriptors for as long as it lives, and with them the locks on the disks.
 *
 * Trust: the guest decides when it ends, not what follows; one that crashes at once is not started for ever.
 * Threads: the monitor's. #syscalls: openat setns
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "os/file.h"
#include "run/guest_int.h"

/* A crash this soon after the start would only come again. */
#define RAN_WELL_NS (10ull * 1000000000)

static void end_with(struct monitor *m, const struct err *why, int status, bool keep)
{
	struct err e = ERR_INIT;

	if (keep && file_replace(m->dir, GUEST_KEPT, "", 0, 0600, 0) < 0)
		err_set(&e, -EIO, "%s; it could not be preserved", why->msg);
	else if (why->code)
		e = *why;
	if (e.code) {
		monitor_failed(m, &e);
		return;
	}
	m->phase = MONITOR_ENDED;
	m->status = status;
	loop_stop(&m->loop, 0);
}

void guest_domain_ended(struct monitor *m, const struct guest_report *rep)
{
	const struct guest_monitor_args *a = m->args;
	struct err why = ERR_INIT;
	enum guest_action action = GUEST_DESTROY;

	if (rep->end < ARRAY_SIZE(a->action))
		action = a->action[rep->end];
	if (rep->end != GUEST_ENDED_POWEROFF && rep->end != GUEST_ENDED_REBOOT)
		err_set(&why, -EFAULT, "the domain ended: %s", rep->err.msg);
	if (action == GUEST_RESTART && rep->end == GUEST_ENDED_CRASH &&
	    now_ns() - m->began < RAN_WELL_NS) {
		err_wrap(&why, "crashed within %llu s of its start, so it is not restarted",
			 RAN_WELL_NS / 1000000000);
		action = GUEST_PRESERVE;
	}
	if (action == GUEST_RESTART)
		m->again = true; /* once its VMM is gone */
	else
		end_with(m, &why, 0, action == GUEST_PRESERVE);
}

/* The process namespace of the last VMM died with it, and nobody can be born there any more. An ordinary user's
 * monitor has made none. */
static void leave_dead_namespace(void)
{
	cleanup_fd int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	if (own >= 0 && setns(own, CLONE_NEWPID) < 0)
		return;
}

bool guest_domain_again(struct monitor *m)
{
	struct err e = ERR_INIT;

	if (!m->again)
		return false;
	m->again = false;
	loop_unwatch(&m->loop, &m->console);
	loop_unwatch(&m->loop, &m->vmm_control);
	close_fd(&m->console.fd);
	close_fd(&m->vmm_control.fd);
	leave_dead_namespace();
	if (monitor_start_vmm(m, &e) < 0) {
		err_wrap(&e, "the domain could not be started again");
		monitor_failed(m, &e);
	}
	return true;
}

int guest_domain_signal(struct monitor *m, int sig, struct err *e)
{
	switch (sig) {
	case SIGTERM:
	case SIGINT:
	case SIGPWR:
		monitor_order(m, GUEST_ORDER_SHUTDOWN, GUEST_DOWN_POWEROFF);
		return 0;
	case SIGHUP:
		monitor_order(m, GUEST_ORDER_SHUTDOWN, GUEST_DOWN_REBOOT);
		return 0;
	default:
		return err_set(e, -EOPNOTSUPP,
			       "a domain knows no signals but TERM (power off), HUP (reboot) and "
			       "KILL");
	}
}
