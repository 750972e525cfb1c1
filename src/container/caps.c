/*
 * The five capability sets (capabilities(7)).
 *
 * The bounding set goes first, while CAP_SETPCAP is there; then the user is switched with the permitted set
 * kept; then permitted, effective and inheritable are set at once, and ambient capabilities raised. `keep` leaves
 * CAP_SYS_ADMIN until the exec, because loading a seccomp filter without no_new_privs needs it: the exec
 * computes the command's sets from the bounding, inheritable and ambient sets alone, so the command never has it.
 *
 * Trust: none decided here. Threads: none; runs in init. #syscalls: capget capset prctl
 */
#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "container/process_int.h"
#include "wire/caps.h"

int caps_drop_bounding(uint64_t bounding, struct err *e)
{
	for (int cap = 0; cap < 64; cap++) {
		if (bounding & 1ULL << cap)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0)
			continue;
		if (errno == EINVAL)
			break;
		return err_sys(e, -errno, "drop %s from the bounding set",
			       cap_name(cap) ? cap_name(cap) : "a capability");
	}
	return 0;
}

/* What we may have at all. */
static uint64_t permitted_now(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (syscall(SYS_capget, &head, data) < 0)
		return 0;
	return data[0].permitted | (uint64_t)data[1].permitted << 32;
}

static void warn_missing(uint64_t wanted, uint64_t have)
{
	for (int cap = 0; cap < cap_count(); cap++)
		if (wanted & ~have & 1ULL << cap)
			log_warn("%s cannot be given: Warren itself does not have it",
				 cap_name(cap));
}

int caps_apply(const struct oci_caps *c, uint64_t keep, struct err *e)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };
	uint64_t have = permitted_now();
	uint64_t permitted = (c->permitted | keep) & have;
	uint64_t effective = (c->effective | keep) & have;
	uint64_t inheritable = c->inheritable & have;

	warn_missing(c->permitted | c->effective, have);
	effective &= permitted;
	for (int i = 0; i < 2; i++) {
		data[i].permitted = (uint32_t)(permitted >> 32 * i);
		data[i].effective = (uint32_t)(effective >> 32 * i);
		data[i].inheritable = (uint32_t)(inheritable >> 32 * i);
	}
	if (syscall(SYS_capset, &head, data) < 0)
		return err_sys(e, -errno, "set capabilities");
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return err_sys(e, -errno, "clear the ambient set");
	for (int cap = 0; cap < 64; cap++) {
		if (!(c->ambient & 1ULL << cap))
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			log_warn("ambient %s cannot be given: it needs to be permitted and "
				 "inheritable",
				 cap_name(cap) ? cap_name(cap) : "capability");
	}
	return 0;
}
