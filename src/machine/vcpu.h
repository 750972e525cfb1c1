/* A vCPU: its descriptor, its shared page with KVM, and how to get it out of the guest. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "os/kvm.h"

struct machine {
	int kvm; /* not owned */
	int vm;
	unsigned msrs_refused; /* by the host, while vCPUs were set up */
};

/* Makes the VM; `kvm` stays the caller's. 0 or -errno. */
int machine_init(struct machine *m, int kvm, struct err *e);
void machine_fini(struct machine *m);

struct vcpu {
	int fd;
	unsigned index;
	struct kvm_run *run;
	size_t run_size;
	pid_t pid;
	_Atomic(pid_t) tid; /* of the thread inside vcpu_adopt..vcpu_leave, 0: none */
	atomic_uint exits;
};

/* 0 or -errno. */
int vcpu_init(struct vcpu *v, struct machine *m, unsigned index, struct err *e);
void vcpu_fini(struct vcpu *v);

/* Ties the calling thread to the vCPU: kicks reach it from now on. vcpu_leave unties it. */
void vcpu_adopt(struct vcpu *v);
void vcpu_leave(struct vcpu *v);

/* Runs guest code until an exit: 0 with `run->exit_reason`, -EINTR when kicked, else -errno. */
int vcpu_enter(struct vcpu *v);

/* Makes the current or the next vcpu_enter return -EINTR. Any thread, and signal handlers. */
void vcpu_kick(struct vcpu *v);

/* The signal that kicks use; timers of a vCPU thread may send it as well. */
int vcpu_signal(void);
