/*
 * A virtual machine, from descriptors to its end.
 *
 * The order that everybody knows: open (the caller did), create the VM, memory, interrupt controllers, vCPUs,
 * devices, kernel; then one thread a vCPU enters the guest and serves its exits, and the thread of vm_run
 * serves the devices. There is no firmware and no bus: registers of virtio devices, three power ports, and
 * nothing else answers.
 *
 * Trust: exits carry the guest's addresses and values; the buses judge them. What KVM cannot go on from (a
 * triple fault, an instruction it does not know) ends this guest with a written reason. A vCPU's thread does little
 * itself: what makes a device act is left to the device's thread, so that it needs few system calls.
 * Threads: vm_run's, one a vCPU, and those of vm_worker.c.
 * #syscalls(start): eventfd2 mmap munmap fstat clone3 ioctl close
 * #syscalls(vcpu): futex write
 * #syscalls(main): futex read write tgkill pread64
 */
#include "run/vm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "machine/acpi.h"
#include "machine/x86.h"
#include "os/thread.h"
#include "run/vm_int.h"

void vm_end(struct vm *v, enum vm_end end, const char *fmt, ...)
{
	uint64_t one = 1;
	va_list ap;

	pthread_mutex_lock(&v->end_lock);
	if (!v->ended) {
		v->ended = true;
		v->result.end = end;
		va_start(ap, fmt);
		vsnprintf(v->result.reason, sizeof(v->result.reason), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&v->end_lock);
	atomic_store(&v->stopping, true);
	vm_pause(v, false);
	if (write(v->stop_fd, &one, sizeof(one)) < 0)
		return; /* full: the loop is awake already */
}

void vm_pause(struct vm *v, bool paused)
{
	pthread_mutex_lock(&v->pause_lock);
	v->paused = paused && !atomic_load(&v->stopping);
	pthread_cond_broadcast(&v->resumed);
	pthread_mutex_unlock(&v->pause_lock);
	for (unsigned i = 0; paused && i < v->cpus; i++)
		vcpu_kick(&v->cpu[i].cpu);
}

static void wait_while_paused(struct vm *v)
{
	pthread_mutex_lock(&v->pause_lock);
	while (v->paused)
		pthread_cond_wait(&v->resumed, &v->pause_lock);
	pthread_mutex_unlock(&v->pause_lock);
}

void vm_stop(struct vm *v)
{
	vm_end(v, VM_END_STOPPED, "stopped");
}

/* ACPI 6.5, 4.8.3.7: sleep control, sleep status, and the reset register. */
static void power_access(struct bus_range *r, uint64_t offset, void *data, uint32_t len,
			 bool is_write)
{
	struct vm *v = container_of(r, struct vm, power);
	const uint8_t *value = data;

	if (!is_write) {
		memset(data, 0, len);
		return;
	}
	if (offset == ACPI_PORT_SLEEP_CONTROL - ACPI_PORT_SLEEP_CONTROL &&
	    *value == (ACPI_SLEEP_ENABLE | ACPI_SLEEP_TYPE_S5 << 2))
		vm_end(v, VM_END_POWEROFF, "%s", "");
	else if (offset == ACPI_PORT_RESET - ACPI_PORT_SLEEP_CONTROL && *value == ACPI_RESET_VALUE)
		vm_end(v, VM_END_REBOOT, "%s", "");
}

static int access_register(struct vm_cpu *c, uint64_t address, void *data, uint32_t len,
			   bool is_write)
{
	struct vm *v = c->vm;
	uint64_t index = (address - (uint32_t)VM_MMIO_BASE) / VIRTIO_MMIO_SIZE;

	if (is_write && index < v->devices && virtio_mmio_acts(address % VIRTIO_MMIO_SIZE))
		return vm_call(c, v->device[index].worker, &v->registers, address, data, len, true);
	return bus_access(&v->registers, address, data, len, is_write);
}

static void serve_io(struct vm_cpu *c)
{
	struct kvm_run *run = c->cpu.run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	c->io++;
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size)
		if (bus_access(&c->vm->ports, run->io.port, data, run->io.size,
			       run->io.direction == KVM_EXIT_IO_OUT))
			c->unclaimed++;
}

static void serve_mmio(struct vm_cpu *c)
{
	struct kvm_run *run = c->cpu.run;

	c->mmio++;
	if (access_register(c, run->mmio.phys_addr, run->mmio.data, run->mmio.len,
			    run->mmio.is_write))
		c->unclaimed++;
}

static void serve_exit(struct vm_cpu *c)
{
	struct vm *v = c->vm;
	struct kvm_run *run = c->cpu.run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		serve_io(c);
		break;
	case KVM_EXIT_MMIO:
		serve_mmio(c);
		break;
	case KVM_EXIT_SHUTDOWN:
		vm_end(v, VM_END_BROKEN, "vCPU %u: triple fault", c->cpu.index);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		vm_end(v,
		       run->system_event.type == KVM_SYSTEM_EVENT_RESET ? VM_END_REBOOT
									: VM_END_POWEROFF,
		       "%s", "");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		vm_end(v, VM_END_BROKEN,
		       "vCPU %u: KVM cannot go on (suberror %u): the guest ran an instruction that "
		       "the "
		       "host does not know",
		       c->cpu.index, run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		vm_end(v, VM_END_BROKEN, "vCPU %u: the processor refused its state (0x%llx)",
		       c->cpu.index,
		       (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	default:
		vm_end(v, VM_END_BROKEN, "vCPU %u: unexpected exit %u", c->cpu.index,
		       run->exit_reason);
	}
}

static void *cpu_main(void *arg)
{
	struct vm_cpu *c = arg;
	struct vm *v = c->vm;

	vcpu_adopt(&c->cpu);
	int r = v->config.confine ? v->config.confine(VM_THREAD_VCPU) : 0;

	if (r)
		vm_end(v, VM_END_BROKEN, "jail of vCPU %u: %s", c->cpu.index, strerror(-r));
	while (!atomic_load(&v->stopping)) {
		uint64_t begin = now_ns();
		r = vcpu_enter(&c->cpu);
		c->inside_ns += now_ns() - begin;
		if (r == -EINTR) {
			c->interrupted++;
			wait_while_paused(v);
		} else if (r) {
			vm_end(v, VM_END_BROKEN, "vCPU %u: KVM: %s", c->cpu.index, strerror(-r));
		} else {
			serve_exit(c);
		}
	}
	vcpu_leave(&c->cpu);
	return NULL;
}

static int load_kernel(struct vm *v, struct boot_entry *entry, struct err *e)
{
	struct stat kernel, initrd = { 0 };

	if (fstat(v->config.kernel, &kernel) < 0 ||
	    (v->config.initrd >= 0 && fstat(v->config.initrd, &initrd) < 0))
		return err_sys(e, -errno, "kernel or initramfs");
	if (!kernel.st_size)
		return err_set(e, -ENOEXEC, "kernel: empty file");
	void *file = mmap(NULL, (size_t)kernel.st_size, PROT_READ, MAP_PRIVATE, v->config.kernel,
			  0);

	if (file == MAP_FAILED)
		return err_sys(e, -errno, "kernel: cannot be mapped");
	struct boot_image image = {
		.file = file,
		.size = (size_t)kernel.st_size,
		.fd = v->config.kernel,
		.initrd = v->config.initrd,
		.initrd_size = (uint64_t)initrd.st_size,
		.cmdline = v->config.cmdline,
		.protocol = v->config.protocol,
	};
	int r = boot_load(&v->mem, &image, entry, e);

	munmap(file, (size_t)kernel.st_size);
	return r;
}

static int write_acpi(struct vm *v, struct err *e)
{
	struct acpi_virtio virtio[VM_DEVICES_MAX];

	for (unsigned i = 0; i < v->devices; i++)
		virtio[i] = (struct acpi_virtio){
			.base = v->device[i].mmio.range.base,
			.size = VIRTIO_MMIO_SIZE,
			.gsi = VM_GSI_FIRST + i,
		};
	return acpi_write(&v->mem,
			  &(struct acpi_machine){ .vcpus = v->config.vcpus,
						  .virtio = virtio,
						  .virtio_n = v->devices },
			  e);
}

static int add_cpus(struct vm *v, const struct boot_entry *entry, struct err *e)
{
	const struct cpu_template *template = cpu_template_find(v->config.cpu);
	int r = template ? 0
			 : err_set(e, -EINVAL, "CPU template '%s': host, x86-64-v2 or x86-64-v3",
				   v->config.cpu);

	for (unsigned i = 0; !r && i < v->config.vcpus; i++) {
		struct vm_cpu *c = &v->cpu[i];

		c->vm = v;
		c->stats = -1;
		r = vcpu_init(&c->cpu, &v->machine, i, e);
		if (r)
			break;
		v->cpus++;
		c->stats = kvm_stats_open(c->cpu.fd);
		r = x86_vcpu_init(&v->machine, &c->cpu, template, v->config.vcpus, e);
	}
	return r ? r : x86_vcpu_start(&v->cpu[0].cpu, &v->mem, entry, e);
}

static void on_stop(struct loop_fd *s, uint32_t events)
{
	struct vm *v = container_of(s, struct vm, stop_event);

	(void)events;
	loop_stop(&v->worker[VM_WORKER_MAIN].loop, 0);
}

static int check(const struct vm_config *c, struct err *e)
{
	if (!c->vcpus || c->vcpus > VM_VCPUS_MAX)
		return err_set(e, -EINVAL, "%u vCPUs: from 1 to %d", c->vcpus, VM_VCPUS_MAX);
	if (c->memory > VM_MEMORY_MAX)
		return err_set(e, -EINVAL, "%llu MB of memory: at most %llu",
			       (unsigned long long)(c->memory >> 20), VM_MEMORY_MAX >> 20);
	if (c->disks > VM_DISKS_MAX || c->ports > VM_PORTS_MAX || c->shares > VM_SHARES_MAX)
		return err_set(e, -EINVAL, "%u disks, %u ports, %u directories: at most %d, %d, %d",
			       c->disks, c->ports, c->shares, VM_DISKS_MAX, VM_PORTS_MAX,
			       VM_SHARES_MAX);
	int most = kvm_check(c->kvm, KVM_CAP_NR_VCPUS);

	if (most > 0 && c->vcpus > (unsigned)most)
		return err_set(e, -EINVAL, "%u vCPUs: this host allows %d", c->vcpus, most);
	return 0;
}

/* Guest memory with its hole, and the slots by which KVM finds it. */
static int add_memory(struct vm *v, struct err *e)
{
	struct memory *m = &v->mem;
	int r = memory_init(m, v->config.memory, false, e);

	if (r)
		return r;
	memory_make_hole(m, VM_HOLE);
	r = kvm_memory_region(v->machine.vm, 0, 0, m->low, m->base, 0);
	if (!r && m->size > m->low)
		r = kvm_memory_region(v->machine.vm, 1, MEMORY_HIGH, m->size - m->low,
				      m->base + m->low, 0);
	return r ? err_sys(e, r, "KVM: guest memory was refused") : 0;
}

static int build(struct vm *v, struct err *e)
{
	struct boot_entry entry;
	int r = check(&v->config, e);

	if (!r)
		r = vm_workers_init(v);
	if (!r)
		r = machine_init(&v->machine, v->config.kvm, e);
	if (!r)
		v->stats = kvm_stats_open(v->machine.vm);
	if (!r)
		r = add_memory(v, e);
	if (!r)
		r = x86_machine_init(&v->machine, e);
	if (!r)
		r = vm_add_devices(v, e);
	v->power = (struct bus_range){ .base = ACPI_PORT_SLEEP_CONTROL,
				       .size = 3,
				       .access = power_access };
	if (!r)
		r = bus_add(&v->ports, &v->power);
	if (!r)
		r = vm_add_serial(v);
	if (!r)
		r = write_acpi(v, e);
	if (!r)
		r = load_kernel(v, &entry, e);
	return r ? r : add_cpus(v, &entry, e);
}

struct vm *vm_new(const struct vm_config *config, struct err *e)
{
	struct vm *v = calloc(1, sizeof(*v));

	if (!v) {
		err_sys(e, -ENOMEM, "virtual machine");
		for (unsigned i = 0; i < config->disks; i++)
			block_free(config->disk[i]);
		net_port_free(config->net);
		return NULL;
	}
	v->config = *config;
	v->created_ns = now_ns();
	v->machine.vm = -1;
	v->stats = -1;
	v->mem.fd = -1;
	vm_workers_clear(v);
	pthread_mutex_init(&v->end_lock, NULL);
	pthread_mutex_init(&v->pause_lock, NULL);
	pthread_cond_init(&v->resumed, NULL);
	v->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->stop_fd < 0 || build(v, e)) {
		vm_free(v);
		return NULL;
	}
	return v;
}

/* KVM's own counters, summed over the vCPUs. Those that are not exits and not time are of no use here. */
static void add_stat(void *arg, const char *name, uint64_t value)
{
	struct vm_stats *s = arg;
	size_t n = strlen(name);
	bool is_wait = streq(name, "halt_wait_ns");

	if (is_wait)
		s->halted_ns += value;
	if (!value || (!streq(name, "exits") && !streq(name, "hypercalls") &&
		       !streq(name, "insn_emulation") && !streq(name, "irq_injections") &&
		       (n < 6 || !streq(name + n - 6, "_exits"))))
		return;
	for (unsigned i = 0; i < s->reasons; i++) {
		if (streq(s->reason[i].name, name)) {
			s->reason[i].count += value;
			return;
		}
	}
	if (s->reasons == VM_REASONS_MAX || n >= sizeof(s->reason[0].name))
		return;
	memcpy(s->reason[s->reasons].name, name, n + 1);
	s->reason[s->reasons++].count = value;
}

void vm_stats(struct vm *v, struct vm_stats *stats)
{
	*stats = (struct vm_stats){ .setup_ns = v->result.stats.setup_ns,
				    .msrs_refused = v->machine.msrs_refused };
	for (unsigned i = 0; i < v->cpus; i++) {
		const struct vm_cpu *c = &v->cpu[i];

		stats->exits += c->cpu.exits;
		stats->io += c->io;
		stats->mmio += c->mmio;
		stats->unclaimed += c->unclaimed;
		stats->interrupted += c->interrupted;
		stats->inside_ns += c->inside_ns;
		if (kvm_stats_read(c->stats, add_stat, stats))
			stats->kernel_silent = true;
	}
	kvm_stats_read(v->stats, add_stat, stats);
	vm_device_stats(v, stats);
}

static int start_cpus(struct vm *v, struct err *e)
{
	for (unsigned i = 0; i < v->cpus; i++) {
		int r = thread_start(&v->cpu[i].thread, cpu_main, &v->cpu[i]);

		if (r)
			return err_sys(e, r, "vCPU %u: no thread", i);
		v->cpu[i].has_thread = true;
	}
	return 0;
}

static void join_cpus(struct vm *v)
{
	atomic_store(&v->stopping, true);
	vm_calls_cancel(v);
	vm_pause(v, false);
	for (unsigned i = 0; i < v->cpus; i++) {
		struct vm_cpu *c = &v->cpu[i];

		if (!c->has_thread)
			continue;
		vcpu_kick(&c->cpu);
		pthread_join(c->thread, NULL);
		c->has_thread = false;
	}
}

int vm_run(struct vm *v, struct vm_result *result, struct err *e)
{
	struct loop *loop = &v->worker[VM_WORKER_MAIN].loop;

	v->stop_event = (struct loop_fd){ .fd = v->stop_fd, .fn = on_stop };
	int r = loop_watch(loop, &v->stop_event, EPOLLIN);

	if (!r && v->config.start)
		r = v->config.start(loop, v->config.arg);
	v->result.stats.setup_ns = now_ns() - v->created_ns;
	if (!r)
		r = vm_workers_start(v, e);
	if (!r)
		r = start_cpus(v, e);
	if (!r && v->config.confine)
		r = v->config.confine(VM_THREAD_DEVICES);
	if (!r)
		r = loop_run(loop);
	join_cpus(v);
	vm_workers_stop(v);
	vm_stats(v, &v->result.stats);
	*result = v->result;
	return r ? err_wrap(e, "virtual machine") : 0;
}

void vm_free(struct vm *v)
{
	if (!v)
		return;
	for (unsigned i = 0; i < v->cpus; i++) {
		close_fd(&v->cpu[i].stats);
		vcpu_fini(&v->cpu[i].cpu);
	}
	close_fd(&v->stats);
	vm_free_devices(v);
	memory_fini(&v->mem);
	machine_fini(&v->machine);
	vm_workers_fini(v);
	close_fd(&v->stop_fd);
	pthread_mutex_destroy(&v->end_lock);
	pthread_mutex_destroy(&v->pause_lock);
	pthread_cond_destroy(&v->resumed);
	free(v);
}
