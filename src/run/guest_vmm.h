/* The VMM process of a guest: what is the same whatever machine it runs. */
#pragma once

#include "base/buf.h"
#include "run/guest_int.h"

/* The machine as orders reach it. */
struct guest_vmm_ops {
	void (*stop)(void *machine);
	void (*pause)(void *machine, bool paused);
	void (*stats)(void *machine, struct buf *text); /* lines "name value" */
	/* The guest should make do with so many bytes; NULL: it has no balloon. */
	void (*memory)(void *machine, uint64_t bytes);
	/* Sockets, as vm_vsock_open and vm_vsock_answer; NULL: it has none. */
	void (*vsock)(void *machine, bool answer, uint32_t port_or_id, int in, int out);
	void (*shutdown)(void *machine, enum guest_down how); /* NULL: only its agent can */
};

struct guest_vmm {
	struct guest_machine *g;
	const struct guest_vmm_ops *ops;
	void *machine; /* set before its loop runs */
	struct loop_fd orders;
	struct guest_report report; /* `report.err` gathers errors */
};

/* The process is one VMM. */
extern struct guest_vmm guest_vmm;

/* One line of statistics. */
void guest_vmm_stat(struct buf *text, const char *name, uint64_t value);

void guest_vmm_init(struct guest_machine *g, const struct guest_vmm_ops *ops);
/* Watches for orders; fits as `start` of a machine's configuration. */
int guest_vmm_watch(struct loop *loop, void *arg);
/* Tells the monitor that the guest wants a port of the host. */
void guest_vmm_vsock(uint32_t id, uint32_t port, void *arg);
/* Reports `report.err` and ends the process. */
void guest_vmm_fail(void) __attribute__((noreturn));
/* Reports the guest's end and ends the process. `reason` may be "". */
void guest_vmm_end(enum guest_end end, const char *how, const char *reason)
	__attribute__((noreturn));
