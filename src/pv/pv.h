/* The pv wall's machine: an unmodified distribution kernel as a Xen PV guest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "os/loop.h"
#include "storage/block.h"

#define PV_DISKS_MAX	16
#define PV_CONSOLES_MAX 8

/* A byte pipe to the guest: /dev/hvc<n>. Descriptors are not owned and should not block; -1: none. */
struct pv_console_config {
	int in;	   /* read, and given to the guest as it takes it */
	int out;   /* what the guest writes; while it is full the guest waits */
	bool line; /* not a terminal but a line (wire/line.h), for warren-agent */
};

struct pv_disk_config {
	struct block *block; /* not owned */
	const char *name;    /* "xvda", ... */
};

/* What the threads of a machine are: each asks the kernel for other things. */
enum pv_thread { PV_THREAD_VCPU, PV_THREAD_DISK, PV_THREAD_DEVICES };

enum pv_memory { PV_MEMORY_MERGED, PV_MEMORY_ISOLATED };

/* Everything that the machine uses was opened by the caller. Pointers and descriptors outlive pv_run. */
struct pv_config {
	int kvm;
	int kernel; /* an uncompressed vmlinux, readable at any offset */
	int initrd; /* -1: none */
	const char *cmdline;
	uint64_t memory; /* bytes of RAM, a multiple of 2 MB */
	unsigned vcpus;
	enum pv_memory mode;
	struct pv_console_config console[PV_CONSOLES_MAX]; /* 0 is the kernel's */
	unsigned consoles;				   /* at least 1 */
	struct pv_disk_config disk[PV_DISKS_MAX];
	unsigned disks;
	bool no_patches; /* leave hypercall sites of the kernel as they are */
	/* Called once in the device loop's thread before the guest runs, to watch descriptors of the
	 * caller's there; may be NULL. */
	int (*start)(struct loop *loop, void *arg);
	void *arg;
	/* Called in each thread before it serves the guest, to take from it what it does not need; may be NULL.
	 * 0, or -errno: then the guest does not run. */
	int (*confine)(enum pv_thread thread);
};

enum pv_end {
	PV_END_POWEROFF,
	PV_END_REBOOT,
	PV_END_CRASH,	/* the kernel gave up by itself (panic) */
	PV_END_BROKEN,	/* it broke a rule and was stopped: see `reason` */
	PV_END_STOPPED, /* pv_stop */
};

/* Counters, summed over vCPUs; the guest can falsify all but `exits`. */
struct pv_stats {
	uint64_t hypercalls[64];
	uint64_t traps[33];
	uint64_t user_syscalls, multicalls, mmu_updates, upcalls, flushes, refused;
	uint64_t exits, interrupted, injected, retried, idle_ns;
	uint64_t ops[16]; /* exits by enum pv_op */
	/* Time, of all vCPUs together. In the shim, by kind of trap and hypercall; a hypercall's contains what the
	 * VMM does for it, and sched_op's the sleep. In the guest and the shim; in the VMM by enum pv_op. */
	uint64_t trap_ns[33], hypercall_ns[64], syscall_ns, guest_ns, ops_ns[16];
	uint64_t setup_ns; /* pv_new to the guest's first instruction */
};

struct pv_result {
	enum pv_end end;
	char reason[200]; /* a sentence; "" for poweroff and reboot */
	struct pv_stats stats;
};

struct pv_domain;

/* Builds the guest; nothing runs yet. NULL with `e` set. */
struct pv_domain *pv_new(const struct pv_config *config, struct err *e);
/* Runs it to its end on this thread (devices) and one more a vCPU. 0, or -errno when the host failed. */
int pv_run(struct pv_domain *d, struct pv_result *result, struct err *e);
void pv_free(struct pv_domain *d);

/* From any thread while pv_run runs. */
void pv_stop(struct pv_domain *d);
void pv_pause(struct pv_domain *d, bool paused);
void pv_stats(const struct pv_domain *d, struct pv_stats *stats);
/* Each of them that is not 0 with a name: "trap.page-fault", "trap-ns.page-fault", ... */
void pv_stats_each(const struct pv_stats *stats,
		   void (*fn)(void *arg, const char *name, uint64_t value), void *arg);
/* KVM's own counters of the guest, those of all vCPUs together; zeroes are left out. */
int pv_host_stats(const struct pv_domain *d,
		  void (*fn)(void *arg, const char *name, uint64_t value), void *arg);
/* Asks the guest's kernel through xenstore: "poweroff", "reboot", "halt". Device loop's thread only. */
int pv_ask_shutdown(struct pv_domain *d, const char *how);
