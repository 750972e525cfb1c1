/* What the parts of a pv guest share with each other. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/buf.h"
#include "machine/memory.h"
#include "machine/vcpu.h"
#include "pv/pv.h"
#include "pv/shared.h"
#include "pv/store.h"
#include "wire/line.h"

struct pv_domain;

enum vcpu_state { VCPU_OUT, VCPU_GUEST, VCPU_BLOCKED };

struct pv_vcpu {
	struct vcpu cpu;
	struct pv_domain *d;
	struct pv_vcpu_page *page;
	pthread_t thread;
	bool has_thread, has_timer;
	timer_t timer;
	uint64_t deadline; /* system time of the next timer event, 0: none; own thread */
	uint64_t retry_at; /* CLOCK_MONOTONIC: try again to deliver, 0: no need; own thread */
	uint64_t int3_rip, int3_arrived; /* the last int3 that was waited for; own thread */
	unsigned int3_tries;
	uint64_t tsc_khz;
	_Atomic enum vcpu_state state;
	_Atomic uint32_t wake; /* futex: something happened */
	_Atomic uint32_t up;   /* futex: may run */
	_Atomic bool flushing; /* waits for others to drop translations */
	uint64_t interrupted, injected, retried, idle_ns;
	uint64_t ops[16], ops_ns[16];
	uint64_t guest_ns; /* in KVM_RUN */
};

/* A notification of the guest that costs it no exit. */
struct pv_bell {
	int index; /* -1: none */
	int fd;	   /* eventfd; -1: none */
	uint32_t port;
};

/* One direction of a byte ring in the guest's RAM: equal pieces at addresses that were checked. */
struct pv_ring {
	uint32_t *prod, *cons;
	uint32_t size, piece; /* powers of two */
	uint8_t *at[LINE_PAGES];
};

struct pv_console {
	struct pv_domain *d;
	unsigned index;
	bool connected;
	struct pv_ring from, to; /* the guest */
	uint32_t *guest_waits,
		*host_waits; /* of a line; NULL: a console, which always sends events */
	uint32_t port;
	struct pv_bell bell;
	struct loop_fd in, out, ring_event;
	bool in_watched, out_watched, in_ended;
	const char *broken; /* NULL, or which rule the guest broke */
};

struct pv_blk;

struct pv_domain {
	struct pv_config config;
	struct machine machine;
	struct memory mem; /* RAM, then the hypervisor's area */
	uint64_t ram;	   /* bytes; also where the hypervisor's area begins */
	bool ring0;
	uint64_t created_ns, started_ns; /* CLOCK_MONOTONIC; the second is system time 0 */
	_Atomic uint64_t setup_ns;

	struct pv_shared *shared;
	struct xen_shared_info *info;
	struct pv_port *ports;
	struct shim_header shim;

	struct pv_vcpu vcpu[PV_VCPUS_MAX];
	unsigned vcpus;

	struct loop loop; /* devices; pv_run's thread */
	int stop_fd;
	struct loop_fd stop_event;
	_Atomic bool stopping, paused;
	pthread_mutex_t end_lock;
	bool ended;
	struct pv_result result;
	struct err host_error;

	gpa_t console_ring, store_ring;
	struct store *store;
	struct pv_bell store_bell;
	struct loop_fd store_event;
	struct loop_timer store_recheck;
	uint64_t store_recheck_ns; /* until the next one */
	struct buf store_in, store_out;
	struct pv_console console[PV_CONSOLES_MAX];
	struct pv_blk *blk[PV_DISKS_MAX];
	uint64_t bells; /* bitmap of doorbells in use */
};

/* Fixed ports of the first console and of xenstore. */
enum { PV_PORT_STORE = 1, PV_PORT_CONSOLE = 2 };

/* builder.c: fills memory; 0 or -errno. `cr3` is where the first page tables begin. */
int pv_build(struct pv_domain *d, uint64_t *cr3, struct err *e);

/* place.c: the hypervisor's area. */
struct pv_tables; /* opaque to others */
int pv_place_shim(struct pv_domain *d, struct err *e);
int pv_place_area(struct pv_domain *d, unsigned vcpu, uint64_t cr3, struct err *e);
/* Maps one page in tables rooted at `root` whose new pages come from [*next, end). 0 or -ENOSPC. */
int pv_map(struct pv_domain *d, uint64_t root, uint64_t va, uint64_t entry, uint64_t *next,
	   uint64_t end);

/* patch.c: saves time at boot and in hypercalls. */
struct elf_xen;
void pv_patch_kernel(struct pv_domain *d, const struct elf_xen *xen);

/* cpuid.c */
int pv_cpuid_init(struct pv_domain *d, struct pv_vcpu *v, struct err *e);

/* vcpu.c */
int pv_vcpu_init(struct pv_domain *d, unsigned index, uint64_t cr3, struct err *e);
void pv_vcpu_fini(struct pv_vcpu *v);
int pv_vcpu_start(struct pv_vcpu *v, struct err *e);
void pv_vcpu_wake(struct pv_vcpu *v);
uint64_t pv_system_time(const struct pv_domain *d);

/* deliver.c: the vCPU's own thread, between an exit and the next entry */
void pv_deliver(struct pv_vcpu *v);
struct xen_vcpu_info *pv_vcpu_info(struct pv_vcpu *v);

/* event.c: any thread */
void pv_event_raise(struct pv_domain *d, uint32_t port);
/* Gives a port a doorbell; falls back to exits when none is left. */
void pv_bell_open(struct pv_domain *d, struct pv_bell *b, uint32_t port);
void pv_bell_close(struct pv_domain *d, struct pv_bell *b);
/* An exit that says the guest notified `port`. */
void pv_event_sent(struct pv_domain *d, uint32_t port);

/* grant.c: the page behind a grant reference, or NULL when the guest did not grant it so. */
int pv_grant_gpa(struct pv_domain *d, uint32_t ref, bool write, gpa_t *gpa);
void *pv_grant_page(struct pv_domain *d, uint32_t ref, bool write);

/* domain.c: the first reason wins. */
void pv_end(struct pv_domain *d, enum pv_end end, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void pv_host_failed(struct pv_domain *d, const struct err *e);

/* The guest broke a rule of a device, which goes on without it: one line on the kernel's console. Any thread. */
void pv_complain(struct pv_domain *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* console.c */
int pv_console_init(struct pv_domain *d, unsigned index, struct err *e);
void pv_console_fini(struct pv_console *c);
void pv_console_connect(struct pv_console *c, gpa_t ring, uint32_t port);
/* The same for a line (wire/line.h), whose header page is `header`. 0, or -EACCES when pages are not granted. */
int pv_line_connect(struct pv_console *c, gpa_t header, uint32_t port);
void pv_console_write(struct pv_domain *d, const char *text, size_t n); /* console_io; any thread */
void pv_console_drain(struct pv_console *c);

/* xenbus.c */
int pv_xenbus_init(struct pv_domain *d, struct err *e);
void pv_xenbus_fini(struct pv_domain *d);

/* blkback.c */
int pv_blk_new(struct pv_domain *d, unsigned index, struct err *e);
/* Its thread, before the guest runs. 0 or -errno. */
int pv_blk_start(struct pv_blk *b, struct err *e);
void pv_blk_free(struct pv_blk *b);
/* The guest's driver is ready, or went away. 0 or -errno. */
int pv_blk_connect(struct pv_blk *b, uint32_t ring_ref, uint32_t port);
void pv_blk_disconnect(struct pv_blk *b);
