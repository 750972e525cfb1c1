/*
 * Grant references: which pages the guest lets its back ends touch.
 *
 * The table (version 1) lies in the hypervisor's area and is the guest's to write. An entry is read whole, once,
 * and judged: its number, that it permits access, to whom, how, and that the frame is RAM of the guest.
 *
 * Trust: every bit of an entry. Threads: device threads. #syscalls: none
 */
#include <errno.h>

#include "pv/domain.h"

int pv_grant_gpa(struct pv_domain *d, uint32_t ref, bool write, gpa_t *gpa)
{
	union {
		struct xen_grant_entry entry;
		uint64_t word;
	} g;

	if (ref >= HV_GRANT_FRAMES * XEN_GRANTS_PER_FRAME)
		return -EINVAL;
	const uint64_t *at = memory_at(&d->mem, GPA(d->ram + HV_GRANTS + 8ull * ref), 8);

	if (!at)
		return -EINVAL;
	g.word = __atomic_load_n(at, __ATOMIC_SEQ_CST);
	if ((g.entry.flags & XEN_GTF_TYPE_MASK) != XEN_GTF_PERMIT_ACCESS || g.entry.domid != 0)
		return -EACCES;
	if (write && (g.entry.flags & XEN_GTF_READONLY))
		return -EACCES;
	if (g.entry.frame >= d->ram / PAGE)
		return -EACCES;
	*gpa = GPA((uint64_t)g.entry.frame * PAGE);
	return 0;
}

void *pv_grant_page(struct pv_domain *d, uint32_t ref, bool write)
{
	gpa_t gpa;

	return pv_grant_gpa(d, ref, write, &gpa) ? NULL : memory_at(&d->mem, gpa, PAGE);
}
