/*
 * What a guest asks its hypervisor, and the few things that it registers.
 *
 * Trust: pointers, lengths and counts are the kernel's. Threads: each vCPU. #syscalls: none
 */
#include "shim.h"

#define VERSION_MAJOR 4u
#define VERSION_MINOR 17u

/* XENFEAT_* of submap 0. Without the last two Linux panics before it has a console. */
#define FEATURES                                                                       \
	(1u << XENFEAT_PAE_PGDIR_ABOVE_4GB | 1u << XENFEAT_MMU_PT_UPDATE_PRESERVE_AD | \
	 1u << XENFEAT_GNTTAB_MAP_AVAIL_BITS)

static int64_t give_text(uint64_t to, const char *text, size_t size)
{
	char b[64] = { 0 };

	for (size_t i = 0; i < size - 1 && text[i]; i++)
		b[i] = text[i];
	return copy_out(to, b, size) ? 0 : -XEN_EFAULT;
}

int64_t hc_xen_version(struct vcpu *v, const uint64_t *a)
{
	struct xen_feature_info f;
	uint64_t start = 0xffff800000000000ull;

	(void)v;
	switch (a[0]) {
	case XENVER_VERSION:
		return VERSION_MAJOR << 16 | VERSION_MINOR;
	case XENVER_EXTRAVERSION:
		return give_text(a[1], ".warren", 16);
	case XENVER_CAPABILITIES:
		return give_text(a[1], "xen-3.0-x86_64", 64);
	case XENVER_CHANGESET:
		return give_text(a[1], "none", 64);
	case XENVER_PLATFORM_PARAMETERS:
		return copy_out(a[1], &start, sizeof(start)) ? 0 : -XEN_EFAULT;
	case XENVER_GET_FEATURES:
		if (!copy_in(&f, a[1], sizeof(f)))
			return -XEN_EFAULT;
		f.submap = f.submap_idx == 0 ? FEATURES : 0;
		return copy_out(a[1], &f, sizeof(f)) ? 0 : -XEN_EFAULT;
	case XENVER_PAGESIZE:
		return PAGE_BYTES;
	case XENVER_GUEST_HANDLE:
		return give_text(a[1], "", 16);
	}
	return -XEN_ENOSYS;
}

static int64_t memory_map(uint64_t arg)
{
	struct xen_memory_map m;
	const struct xen_e820 ram = { .addr = 0,
				      .size = shared()->ram_pages << PAGE_SHIFT,
				      .type = 1 };

	if (!copy_in(&m, arg, sizeof(m)))
		return -XEN_EFAULT;
	if (m.nr_entries < 1)
		return -XEN_EINVAL;
	m.nr_entries = 1;
	return copy_out(m.buffer, &ram, sizeof(ram)) && copy_out(arg, &m, sizeof(m)) ? 0
										     : -XEN_EFAULT;
}

int64_t hc_memory_op(struct vcpu *v, const uint64_t *a)
{
	struct xen_machphys_mapping m = { .v_start = PV_M2P,
					  .v_end = PV_M2P + shared()->total_pages * 8,
					  .max_mfn = shared()->total_pages - 1 };

	(void)v;
	switch (a[0] & 63) {
	case XENMEM_MAXIMUM_RAM_PAGE:
		return (int64_t)shared()->total_pages;
	case XENMEM_CURRENT_RESERVATION:
	case XENMEM_MAXIMUM_RESERVATION:
		return (int64_t)shared()->ram_pages;
	case XENMEM_MEMORY_MAP:
		return memory_map(a[1]);
	case XENMEM_MACHPHYS_MAPPING:
		return copy_out(a[1], &m, sizeof(m)) ? 0 : -XEN_EFAULT;
	}
	return -XEN_ENOSYS;
}

/* The table's frames are fixed; entries are the guest's to write and the back ends' to check. */
int64_t hc_grant_table_op(struct vcpu *v, const uint64_t *a)
{
	struct xen_gnttab_setup_table setup;
	struct xen_gnttab_query_size query;
	uint32_t version = 1;

	(void)v;
	switch (a[0]) {
	case GNTTABOP_QUERY_SIZE:
		if (!copy_in(&query, a[1], sizeof(query)))
			return -XEN_EFAULT;
		query.nr_frames = HV_GRANT_FRAMES;
		query.max_nr_frames = HV_GRANT_FRAMES;
		query.status = 0;
		return copy_out(a[1], &query, sizeof(query)) ? 0 : -XEN_EFAULT;
	case GNTTABOP_SETUP_TABLE:
		if (!copy_in(&setup, a[1], sizeof(setup)))
			return -XEN_EFAULT;
		setup.status = setup.nr_frames > HV_GRANT_FRAMES ? -1 : 0;
		for (uint64_t i = 0; i < setup.nr_frames && !setup.status; i++) {
			uint64_t mfn = ((shared()->hv_gpa + HV_GRANTS) >> PAGE_SHIFT) + i;

			if (!copy_out(setup.frame_list + i * 8, &mfn, 8))
				return -XEN_EFAULT;
		}
		return copy_out(a[1], &setup, sizeof(setup)) ? 0 : -XEN_EFAULT;
	case GNTTABOP_SET_VERSION:
		return copy_out(a[1], &version, sizeof(version)) ? 0 : -XEN_EFAULT;
	}
	return -XEN_ENOSYS;
}

/* (0 write / 1 read, count, buffer) */
int64_t hc_console_io(struct vcpu *v, const uint64_t *a)
{
	uint64_t done = 0;

	if (a[0] != 0)
		return 0;
	while (done < a[1]) {
		uint64_t n = a[1] - done;

		if (n > sizeof(v->page->text))
			n = sizeof(v->page->text);
		if (!copy_in(v->page->text, a[2] + done, n))
			return -XEN_EFAULT;
		v->page->arg[0] = n;
		leave_guest(v, PV_OP_CONSOLE);
		done += n;
	}
	return (int64_t)done;
}

int64_t hc_physdev_op(struct vcpu *v, const uint64_t *a)
{
	(void)v;
	return a[0] == PHYSDEVOP_SET_IOPL || a[0] == PHYSDEVOP_SET_IOBITMAP ? 0 : -XEN_ENOSYS;
}

/* Only domain 0 may ask the platform; a guest hears so, as under Xen, once its words are understood. */
int64_t hc_platform_op(struct vcpu *v, const uint64_t *a)
{
	uint32_t head[2]; /* cmd, interface_version */

	(void)v;
	if (!copy_in(head, a[0], sizeof(head)))
		return -XEN_EFAULT;
	return head[1] == XENPF_INTERFACE_VERSION ? -XEN_EPERM : -XEN_EACCES;
}
