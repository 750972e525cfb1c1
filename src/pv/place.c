/*
 * The hypervisor's area: the shim, its page tables and each vCPU's descriptor tables.
 *
 * Tour stop 3: where a hypervisor lives. All of it lies in guest memory behind the RAM. Three L4 entries, made
 * here once, are shared by every address space of the guest: the area itself, a linear map of all memory, and
 * the machine-to-physical table. A second, small version of the first entry is for user page tables in isolated
 * memory: stubs, descriptor tables and the page that SYSCALL reaches, nothing else.
 *
 * Ring 3 kernels on a host that runs guests deprivileged need the shim's pages open to ring 3; on ordinary KVM
 * they are the supervisor's.
 *
 * Trust: all of this is ours until the guest runs; nothing is read back afterwards. The shim's image was built
 * with us. Threads: the builder's. #syscalls: none
 */
#include <errno.h>
#include <string.h>

#include "pv/domain.h"
#include "pv/shim_image.h"
#include "wire/elf.h"

#define PTE_P	 1ull
#define PTE_W	 2ull
#define PTE_U	 4ull
#define PTE_AD	 0x60ull /* accessed and dirty: the host's shadow walker then maps neighbours too */
#define PTE_PS	 0x80ull
#define PTE_ADDR 0x000ffffffffff000ull

#define SELECTOR_CODE0 0x10
#define SELECTOR_DATA0 0x18
#define SELECTOR_DATA3 0x2b
#define SELECTOR_CODE3 0x33

int pv_map(struct pv_domain *d, uint64_t root, uint64_t va, uint64_t entry, uint64_t *next,
	   uint64_t end)
{
	int last = entry & PTE_PS ? 21 : 12;
	uint64_t *t = memory_at(&d->mem, GPA(root), PAGE);

	for (int shift = 39; t && shift > last; shift -= 9) {
		uint64_t *slot = &t[va >> shift & 511];

		if (!(*slot & PTE_P)) {
			if (*next + PAGE > end)
				return -ENOSPC;
			*slot = *next | PTE_P | PTE_W | PTE_U | PTE_AD;
			*next += PAGE;
		}
		t = memory_at(&d->mem, GPA(*slot & PTE_ADDR), PAGE);
	}
	if (!t)
		return -ENOSPC;
	t[va >> last & 511] = entry;
	return 0;
}

static void *area_at(struct pv_domain *d, unsigned vcpu, uint64_t offset)
{
	return memory_at(&d->mem, GPA(d->ram + vcpu * (uint64_t)PV_AREA_SIZE + offset), 1);
}

static int load_image(struct pv_domain *d, struct err *e)
{
	struct elf_image image;
	int r = elf_parse(shim_image, shim_image_size, &image, e);

	if (r)
		return err_wrap(e, "the shim");
	for (unsigned i = 0; i < image.segments; i++) {
		const struct elf_segment *s = &image.segment[i];
		void *to = memory_at(&d->mem, GPA(d->ram + (s->vaddr - PV_HV)), s->mem_size);

		if (s->vaddr < PV_HV || !to)
			return err_set(e, -EINVAL, "the shim does not fit its area");
		memcpy(to, shim_image + s->offset, s->file_size);
	}
	memcpy(&d->shim, memory_at(&d->mem, GPA(d->ram + HV_SHIM), sizeof(d->shim)),
	       sizeof(d->shim));
	return d->shim.magic == SHIM_MAGIC ? 0 : err_set(e, -EINVAL, "the shim has no header");
}

/* Everything that ring 3 may see follows `open`: U where the shim runs in ring 3. */
static int map_slots(struct pv_domain *d, struct err *e)
{
	uint64_t next = d->ram + HV_TABLES, end = next + HV_TABLES_SIZE;
	uint64_t kernel = next, user = next + PAGE;
	uint64_t open = PTE_P | PTE_W | PTE_AD | (d->ring0 ? 0 : PTE_U);
	uint64_t closed = PTE_P | PTE_W | PTE_AD, code = PTE_P | PTE_AD | PTE_U;
	int r = 0;

	next += 2 * PAGE;
	for (unsigned v = 0; v < d->vcpus; v++) {
		uint64_t at = (uint64_t)v * PV_AREA_SIZE;

		for (uint64_t o = 0; o < AREA_USER_PAGES * PAGE && !r; o += PAGE) {
			r = pv_map(d, user, PV_HV + at + o, (d->ram + at + o) | closed, &next, end);
			if (!r)
				r = pv_map(d, kernel, PV_HV + at + o,
					   (d->ram + at + o) | (o >= AREA_GATE ? open : closed),
					   &next, end);
		}
		if (!r)
			r = pv_map(d, user, PV_HV + at + AREA_ENTRY,
				   (d->ram + at + AREA_ENTRY_USER) | code, &next, end);
		for (uint64_t o = AREA_ENTRY; o < PV_AREA_SIZE && !r; o += PAGE)
			if (o != AREA_ENTRY_USER)
				r = pv_map(d, kernel, PV_HV + at + o, (d->ram + at + o) | open,
					   &next, end);
	}
	for (uint64_t o = HV_SHIM; o < HV_TABLES && !r; o += PAGE)
		r = pv_map(d, kernel, PV_HV + o, (d->ram + o) | open, &next, end);
	if (!r)
		r = pv_map(d, kernel, PV_HV + HV_MMIO, PV_MMIO_GPA | open, &next, end);
	for (uint64_t a = 0; a < d->mem.size && !r; a += PAGE_2M)
		r = pv_map(d, kernel, PV_LINEAR + a, a | open | PTE_PS, &next, end);
	for (uint64_t a = d->ram + HV_M2P; a < d->mem.size && !r; a += PAGE_2M)
		r = pv_map(d, kernel, PV_M2P + (a - d->ram - HV_M2P), a | closed | PTE_U | PTE_PS,
			   &next, end);
	if (r)
		return err_set(e, -EINVAL, "%llu MB of guest memory need more page tables than fit",
			       (unsigned long long)(d->ram >> 20));
	const uint64_t *k = memory_at(&d->mem, GPA(kernel), PAGE);
	const uint64_t *u = memory_at(&d->mem, GPA(user), PAGE);

	d->shared->l4_kernel = k[PV_SLOT_HV];
	d->shared->l4_user = u[PV_SLOT_HV];
	d->shared->l4_linear = k[PV_SLOT_LINEAR];
	d->shared->l4_m2p = k[PV_SLOT_M2P];
	return 0;
}

int pv_place_shim(struct pv_domain *d, struct err *e)
{
	int r = load_image(d, e);

	if (r)
		return r;
	d->shared = memory_at(&d->mem, GPA(d->ram + HV_SHARED), sizeof(*d->shared));
	d->info = memory_at(&d->mem, GPA(d->ram + HV_SHARED_INFO), sizeof(*d->info));
	d->ports = memory_at(&d->mem, GPA(d->ram + HV_PORTS), XEN_PORTS * sizeof(struct pv_port));
	if (!d->shared || !d->info || !d->ports)
		return err_set(e, -EINVAL, "the hypervisor's area does not fit");
	d->shared->hv_gpa = d->ram;
	d->shared->ram_pages = d->ram / PAGE;
	d->shared->total_pages = d->mem.size / PAGE;
	d->shared->merged = d->config.mode == PV_MEMORY_MERGED;
	d->shared->ring0 = d->ring0;
	d->shared->vcpus = d->vcpus;
	memset(d->shared->kernel_gs, 0xff, sizeof(d->shared->kernel_gs));
	d->ports[PV_PORT_STORE] = (struct pv_port){ PV_PORT_BACKEND, 0, 0 };
	d->ports[PV_PORT_CONSOLE] = (struct pv_port){ PV_PORT_BACKEND, 0, 0 };
	uint64_t *m2p = memory_at(&d->mem, GPA(d->ram + HV_M2P), d->mem.size / PAGE * 8);

	if (!m2p)
		return err_set(e, -EINVAL, "the machine-to-physical table does not fit");
	for (uint64_t i = 0; i < d->mem.size / PAGE; i++)
		m2p[i] = i < d->ram / PAGE ? i : ~0ull;
	return map_slots(d, e);
}

/* A 64-bit interrupt gate. The stubs run in ring 0 always. */
static void set_gate(uint64_t *idt, unsigned vector, uint64_t handler, unsigned dpl, bool ist)
{
	idt[vector * 2] = (handler & 0xffff) | (uint64_t)SELECTOR_CODE0 << 16 |
			  (uint64_t)(0x8e00 | dpl << 13 | (ist ? 1 : 0)) << 32 |
			  (handler >> 16 & 0xffff) << 48;
	idt[vector * 2 + 1] = handler >> 32;
}

static void fill_gdt(uint8_t *gdt_page, uint64_t tss)
{
	uint64_t *gdt = (uint64_t *)(void *)gdt_page;

	gdt[SELECTOR_CODE0 >> 3] = 0x00af9b000000ffffull;
	gdt[SELECTOR_DATA0 >> 3] = 0x00cf93000000ffffull;
	gdt[4] = 0x00cffb000000ffffull; /* 0x23: 32-bit user code */
	gdt[SELECTOR_DATA3 >> 3] = 0x00cff3000000ffffull;
	gdt[SELECTOR_CODE3 >> 3] = 0x00affb000000ffffull;
	gdt[8] = 0x0000890000000067ull | (tss & 0xffffff) << 16 | (tss >> 24 & 0xff) << 56;
	gdt[9] = tss >> 32;
}

/* Vectors enter a stub; each stub leaves through a frame into the entry code. */
static void fill_vectors(struct pv_domain *d, unsigned vcpu)
{
	uint64_t base = PV_HV + vcpu * (uint64_t)PV_AREA_SIZE;
	bool merged = d->shared->merged;
	uint64_t *idt = area_at(d, vcpu, AREA_IDT);
	struct pv_gate *gate = area_at(d, vcpu, AREA_GATE);

	for (unsigned i = 0; i < GATE_FRAMES; i++) {
		uint64_t stub = base + (merged ? AREA_STUBS_MERGED : AREA_STUBS) + i * STUB_SIZE;

		if (i == 1 && !merged && !d->ring0)
			stub = base + d->shim.stub_debug;
		set_gate(idt, i, stub, i == 3 || i == 4 || i == 1 ? 3 : 0, d->ring0);
		gate->frame[i] = (struct pv_frame){
			.rip = base + d->shim.entry_vectors + i * ENTRY_SIZE,
			.cs = d->ring0 ? SELECTOR_CODE0 : SELECTOR_CODE3,
			.rflags = d->ring0 ? 2 : 0x202,
			.rsp = base + AREA_TRAP_TOP - 48,
			.ss = d->ring0 ? SELECTOR_DATA0 : SELECTOR_DATA3,
		};
	}
}

int pv_place_area(struct pv_domain *d, unsigned vcpu, uint64_t cr3, struct err *e)
{
	uint64_t base = PV_HV + vcpu * (uint64_t)PV_AREA_SIZE;
	uint8_t *area = memory_at(&d->mem, GPA(d->ram + vcpu * (uint64_t)PV_AREA_SIZE),
				  PV_AREA_SIZE);
	const uint8_t *first = memory_at(&d->mem, GPA(d->ram), PV_AREA_SIZE);

	if (!area || !first)
		return err_set(e, -EINVAL, "no room for vCPU %u", vcpu);
	if (vcpu) {
		memcpy(area + AREA_STUBS, first + AREA_STUBS, 2 * PAGE);
		memcpy(area + AREA_ENTRY, first + AREA_ENTRY, PAGE);
	}
	memset(area + AREA_ENTRY_USER, 0xcc, PAGE);
	fill_gdt(area + AREA_GDT, base + AREA_TSS);
	uint64_t top = base + AREA_HW_TOP;
	uint16_t no_iomap = 0xffff;

	memcpy(area + AREA_TSS + 0x04, &top, 8); /* RSP0 */
	memcpy(area + AREA_TSS + 0x24, &top, 8); /* IST1 */
	memcpy(area + AREA_TSS + 0x66, &no_iomap, 2);
	fill_vectors(d, vcpu);
	((struct pv_gate *)(void *)(area + AREA_GATE))->kernel_cr3 = cr3;
	uint64_t *fn = (uint64_t *)(void *)(area + AREA_VCPU);

	fn[VCPU_FN_TRAP / 8] = d->shim.trap;
	fn[VCPU_FN_NESTED / 8] = d->shim.nested;
	fn[VCPU_FN_SYSCALL / 8] = d->shim.syscall;
	fn[VCPU_FN_BOOT / 8] = d->shim.boot;
	fn[4] = vcpu;
	return 0;
}
