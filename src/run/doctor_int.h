/* The checks of `warren doctor`, private to run/. */
#pragma once

#include "run/doctor.h"

/* Which walls cannot stand when a check fails. */
enum { NEEDS_NOTHING = 0, NEEDS_CONTAINER = 1, NEEDS_PV = 2, NEEDS_VM = 4 };

/* Set the finding; `mend` may be NULL. */
void doctor_pass(struct doctor_finding *f, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void doctor_warn(struct doctor_finding *f, const char *mend, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void doctor_fail(struct doctor_finding *f, const char *mend, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Runs `fn` in a child, so that namespaces and mounts that it makes go with it; the child's value (0 to 255)
 * comes back, -EIO when it died or took more than two seconds. */
int doctor_in_child(int (*fn)(void *arg), void *arg);

/* In a child only: a new user namespace in which we are root. 0 or -errno. */
int doctor_enter_userns(int more_flags);

/* The whole small file as a string without its last newline; NULL when it cannot be read. To be freed. */
char *doctor_read(const char *path);

/* Whether a word stands in a text of words cut at blanks, newlines and commas. */
bool doctor_has_word(const char *text, const char *word);

/* doctor_host.c */
void check_namespaces(struct doctor_finding *f);
void check_userns(struct doctor_finding *f);
void check_userns_lsm(struct doctor_finding *f);
void check_subids(struct doctor_finding *f);
void check_lsm(struct doctor_finding *f);
void check_seccomp(struct doctor_finding *f);
void check_capabilities(struct doctor_finding *f);
void check_runtimes(struct doctor_finding *f);

/* doctor_storage.c */
void check_mount_api(struct doctor_finding *f);
void check_overlay(struct doctor_finding *f);
void check_overlay_userns(struct doctor_finding *f);

/* doctor_cgroup.c */
void check_cgroup_layout(struct doctor_finding *f);
void check_cgroup_controllers(struct doctor_finding *f);
void check_cgroup_delegation(struct doctor_finding *f);

/* doctor_net.c */
void check_links(struct doctor_finding *f);
void check_forward_policy(struct doctor_finding *f);
void check_ip_forward(struct doctor_finding *f);
void check_low_ports(struct doctor_finding *f);
void check_subnet(struct doctor_finding *f);
void check_passt(struct doctor_finding *f);
void check_tun(struct doctor_finding *f);
void check_vhost(struct doctor_finding *f);

/* doctor_kvm.c */
void check_cpu(struct doctor_finding *f);
void check_kvm_opens(struct doctor_finding *f);
void check_kvm_speed(struct doctor_finding *f);
void check_kvm_capabilities(struct doctor_finding *f);
void check_kvm_paging(struct doctor_finding *f);
void check_pv_mode(struct doctor_finding *f);
void check_hypervisor(struct doctor_finding *f);
