/* What only guests have: their kernel's console, and wishes for their machine. */
#pragma once

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "run/instance.h"

/* Annotations of config.json that the pv and vm walls read. */
#define GUEST_KERNEL	"dev.warren.guest.kernel" /* a name of `warren kernel ls` */
#define GUEST_INITRD	"dev.warren.guest.initrd" /* a file: unpacked before the agent's own */
#define GUEST_CPU	"dev.warren.guest.cpu"	  /* vm: a CPU template, machine/cpuid.h */
#define GUEST_APPEND	"dev.warren.guest.append" /* words for the kernel's command line */
#define GUEST_VCPUS	"dev.warren.guest.vcpus"  /* a number */
#define GUEST_PV_MEMORY "dev.warren.guest.memory" /* auto, merged, isolated */
#define GUEST_NETWORK \
	"dev.warren.guest.network"	   /* --network, as wire/network.h reads it; absent: none */
#define GUEST_DISK "dev.warren.guest.disk" /* with ".N": a disk in xl's syntax (wire/xldisk.h) */

/* "true": a domain, made by `xl`: vm.kernel and its initrd are files of the user's, there is no image and no
 * agent. What becomes of it when it ends: "destroy", "restart", "preserve". */
#define GUEST_DOMAIN	  "dev.warren.domain"
#define GUEST_ON_POWEROFF "dev.warren.domain.on_poweroff"
#define GUEST_ON_REBOOT	  "dev.warren.domain.on_reboot"
#define GUEST_ON_CRASH	  "dev.warren.domain.on_crash"

/* A domain's kernel is asked to power off or to reboot. 0 or -errno; -EOPNOTSUPP when it is no domain. */
int guest_shutdown(struct instance *in, bool reboot, struct err *e);

/* For `logs --boot`, `console`, `stats --hypervisor` and `inspect`. */
int guest_boot_log(struct instance *in, int *fd, struct err *e);
/* Connects `in_fd` and `out_fd` to the kernel's console; returns a socket that hangs up with it. */
int guest_console(struct instance *in, int in_fd, int out_fd, struct err *e);
int guest_machine_stats(struct instance *in, struct buf *text, struct err *e);
/* Appends why a guest stopped by fault; nothing when it did not. */
void guest_end_reason(struct instance *in, struct buf *text);
