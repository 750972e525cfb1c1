/* The vm wall's machine: a Linux kernel under hardware virtualization, with virtio devices. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/boot.h"
#include "net/port.h"
#include "os/loop.h"
#include "storage/block.h"

enum {
	VM_DISKS_MAX = 8,
	VM_PORTS_MAX = 8,
	VM_SHARES_MAX = 6,
	VM_VCPUS_MAX = 64,
	VM_REASONS_MAX = 32
};
#define VM_MEMORY_MAX (1ull << 40)

/* A byte pipe to the guest. Descriptors are not owned and do not block; -1: none. */
struct vm_port_config {
	const char *name;
	bool is_console; /* /dev/hvcN, else only /dev/vportNpM */
	int in, out;
};

/* A directory: the server of storage/share.c at the other end of a socket. Descriptors as above, but two. */
struct vm_share_config {
	char tag[36]; /* what the guest mounts */
	int in, out;
};

/* What the threads of a machine are: each asks the kernel for other things. */
enum vm_thread { VM_THREAD_VCPU, VM_THREAD_BLOCK, VM_THREAD_NET, VM_THREAD_DEVICES };

/* Everything that the machine uses was opened by the caller. Pointers and descriptors outlive vm_run. */
struct vm_config {
	int kvm;
	int kernel; /* uncompressed: a vmlinux, another ELF file with a PVH entry, or a Multiboot image */
	enum boot_protocol protocol;
	int initrd; /* -1: none */
	const char *cmdline;
	uint64_t memory; /* bytes, a multiple of 2 MB */
	const char *cpu; /* name of a CPU template; NULL: as the host */
	unsigned vcpus;
	struct vm_port_config port[VM_PORTS_MAX];
	unsigned ports;
	struct vm_share_config share[VM_SHARES_MAX];
	unsigned shares;
	struct block *disk[VM_DISKS_MAX]; /* taken over; /dev/vda, ... */
	unsigned disks;
	/* The guest asks for a port of the host: vm_vsock_answer is owed, later. NULL: no sockets. In the device
	 * loop's thread. */
	void (*vsock_wanted)(uint32_t id, uint32_t port, void *arg);
	struct net_port *net; /* taken over; NULL: no network device */
	uint8_t mac[6];
	uint16_t mtu; /* that the guest is told, 0: none */
	/* Called once in the device loop's thread before the guest runs; may be NULL. */
	int (*start)(struct loop *loop, void *arg);
	void *arg;
	/* Called in each thread before it serves the guest, to take from it what it does not need; may be NULL. 0, or
	 * -errno: then the guest does not run. */
	int (*confine)(enum vm_thread thread);
};

enum vm_end {
	VM_END_POWEROFF,
	VM_END_REBOOT,
	VM_END_BROKEN, /* it broke a rule and was stopped: see `reason` */
	VM_END_STOPPED,
};

struct vm_stats {
	uint64_t exits, io, mmio, unclaimed,
		interrupted;		  /* `unclaimed`: accesses that nobody answers */
	uint64_t balloon_target, balloon; /* bytes that the guest was asked to give back, and has */
	uint64_t reported, deflated;	  /* bytes: found free by it; taken back; ever */
	uint64_t memory_free, memory_available; /* bytes, as the guest said last */
	uint64_t net_tx, net_rx, net_dropped;	/* frames */
	uint64_t setup_ns;			/* vm_new to the guest's first instruction */
	uint64_t inside_ns;			/* of all vCPUs in KVM_RUN ... */
	uint64_t halted_ns; /* ... and of it waiting for an interrupt, 0 where KVM does not tell */
	unsigned msrs_refused;
	bool kernel_silent; /* KVM tells nothing of its own exits */
	/* Exits that the kernel counted, with its names: those that it served by itself too. */
	struct {
		char name[40];
		uint64_t count;
	} reason[VM_REASONS_MAX];
	unsigned reasons;
};

struct vm_result {
	enum vm_end end;
	char reason[200];
	struct vm_stats stats;
};

struct vm;

/* Builds the guest; nothing runs yet. NULL with `e` set; disks and the port are freed then too. */
struct vm *vm_new(const struct vm_config *config, struct err *e);
/* Runs it to its end on this thread (devices) and one more a vCPU. 0, or -errno when the host failed. */
int vm_run(struct vm *v, struct vm_result *result, struct err *e);
void vm_free(struct vm *v);

/* From any thread while vm_run runs. vCPUs stand still while paused; devices finish what they have. */
void vm_stop(struct vm *v);
void vm_pause(struct vm *v, bool paused);
/* Asks the guest to make do with `bytes` of its memory; it does so as fast as it can. */
void vm_set_memory(struct vm *v, uint64_t bytes);
/* From the device loop's thread: a stream socket for what the guest asked for (-1: refused), and one for `port` of the
 * guest. Two descriptors of one socket, taken over. */
void vm_vsock_answer(struct vm *v, uint32_t id, int in, int out);
void vm_vsock_open(struct vm *v, uint32_t port, int in, int out);
void vm_stats(struct vm *v, struct vm_stats *stats);
