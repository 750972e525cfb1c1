/*
 * vCPUs over KVM.
 *
 * A vCPU is run by one thread, which alternates between vcpu_enter and whatever its owner does about the exit.
 * Other threads get it out with a signal: the handler sets `immediate_exit` in the page shared with KVM, so that
 * a kick between the owner's last look and KVM_RUN is not lost.
 *
 * Trust: `run` is written by KVM only. Threads: as above; vcpu_kick from anywhere.
 * #syscalls(start): mmap munmap close rt_sigaction gettid getpid ioctl
 * #syscalls(vcpu): ioctl rt_sigreturn tgkill
 * #syscalls(disk,main): tgkill
 * #ioctls(vcpu): KVM_RUN
 */
#include "machine/vcpu.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

static __thread struct vcpu *mine;

static void on_kick(int signal)
{
	(void)signal;
	if (mine)
		__atomic_store_n(&mine->run->immediate_exit, 1, __ATOMIC_RELAXED);
}

int vcpu_signal(void)
{
	return SIGUSR1;
}

int machine_init(struct machine *m, int kvm, struct err *e)
{
	*m = (struct machine){ .kvm = kvm, .vm = -1 };
	int version = kvm_api_version(kvm);

	if (version < 0)
		return err_sys(e, version, "/dev/kvm does not answer");
	if (version != KVM_API_VERSION)
		return err_set(e, -ENOTSUP, "/dev/kvm speaks version %d, not %d", version,
			       KVM_API_VERSION);
	m->vm = kvm_vm_create(kvm);
	if (m->vm < 0)
		return err_sys(e, m->vm, "/dev/kvm: cannot create a virtual machine");
	struct sigaction action = { .sa_handler = on_kick };

	if (sigaction(vcpu_signal(), &action, NULL) < 0)
		return err_sys(e, -errno, "cannot install the kick signal");
	return 0;
}

void machine_fini(struct machine *m)
{
	close_fd(&m->vm);
}

int vcpu_init(struct vcpu *v, struct machine *m, unsigned index, struct err *e)
{
	*v = (struct vcpu){ .fd = -1, .index = index };
	int size = kvm_vcpu_mmap_size(m->kvm);

	if (size < (int)sizeof(struct kvm_run))
		return err_sys(e, size < 0 ? size : -EINVAL, "KVM: size of the vCPU page");
	v->fd = kvm_vcpu_create(m->vm, index);
	if (v->fd < 0)
		return err_sys(e, v->fd, "KVM: cannot create vCPU %u", index);
	v->run_size = (size_t)size;
	v->run = mmap(NULL, v->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		return err_sys(e, -errno, "KVM: cannot map the page of vCPU %u", index);
	}
	return 0;
}

void vcpu_fini(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->run_size);
	v->run = NULL;
	close_fd(&v->fd);
}

void vcpu_adopt(struct vcpu *v)
{
	mine = v;
	v->pid = getpid();
	atomic_store_explicit(&v->tid, (pid_t)syscall(SYS_gettid), memory_order_release);
}

void vcpu_leave(struct vcpu *v)
{
	atomic_store_explicit(&v->tid, 0, memory_order_release);
	mine = NULL;
}

int vcpu_enter(struct vcpu *v)
{
	int r = kvm_run(v->fd);

	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELAXED);
	if (r < 0)
		return r == -EAGAIN ? -EINTR : r;
	atomic_fetch_add_explicit(&v->exits, 1, memory_order_relaxed);
	return 0;
}

void vcpu_kick(struct vcpu *v)
{
	pid_t tid = atomic_load_explicit(&v->tid, memory_order_acquire);

	if (tid)
		syscall(SYS_tgkill, v->pid, tid, vcpu_signal());
}
