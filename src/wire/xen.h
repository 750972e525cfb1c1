/* The Xen PV interface as x86-64 Linux speaks it: numbers, flags and the layout of shared structures.
 * Names follow Xen's public headers without their macros, so that the specification can be searched
 * for them. Included by the hypervisor (pv/) and by the freestanding shim inside the guest. */
#pragma once

#include <stdint.h>

/* Hypercall numbers; `syscall` with the number in rax, arguments in rdi rsi rdx r10 r8. */
enum xen_hypercall {
	XEN_SET_TRAP_TABLE = 0,
	XEN_MMU_UPDATE = 1,
	XEN_SET_GDT = 2,
	XEN_STACK_SWITCH = 3,
	XEN_SET_CALLBACKS = 4,
	XEN_FPU_TASKSWITCH = 5,
	XEN_SCHED_OP_COMPAT = 6,
	XEN_PLATFORM_OP = 7,
	XEN_SET_DEBUGREG = 8,
	XEN_GET_DEBUGREG = 9,
	XEN_UPDATE_DESCRIPTOR = 10,
	XEN_MEMORY_OP = 12,
	XEN_MULTICALL = 13,
	XEN_UPDATE_VA_MAPPING = 14,
	XEN_SET_TIMER_OP = 15,
	XEN_VERSION = 17,
	XEN_CONSOLE_IO = 18,
	XEN_GRANT_TABLE_OP = 20,
	XEN_VM_ASSIST = 21,
	XEN_UPDATE_VA_MAPPING_OTHERDOMAIN = 22,
	XEN_IRET = 23,
	XEN_VCPU_OP = 24,
	XEN_SET_SEGMENT_BASE = 25,
	XEN_MMUEXT_OP = 26,
	XEN_SCHED_OP = 29,
	XEN_CALLBACK_OP = 30,
	XEN_EVENT_CHANNEL_OP = 32,
	XEN_PHYSDEV_OP = 33,
	XEN_HYPERCALLS = 64,
};

/* Errors as hypercalls return them, negated; Xen's numbers, which are Linux's. */
enum {
	XEN_EPERM = 1,
	XEN_ENOENT = 2,
	XEN_EACCES = 13,
	XEN_EFAULT = 14,
	XEN_EBUSY = 16,
	XEN_EEXIST = 17,
	XEN_EINVAL = 22,
	XEN_ENOSPC = 28,
	XEN_ENOSYS = 38,
};

#define XEN_DOMID_SELF	0x7ff0u
#define XEN_DOMID_FIRST 1u /* the guest's own number, as it sees it */

/* mmu_update: the low two bits of `ptr`. */
enum { XEN_MMU_NORMAL_PT = 0, XEN_MMU_MACHPHYS = 1, XEN_MMU_PT_PRESERVE_AD = 2 };

struct xen_mmu_update {
	uint64_t ptr;
	uint64_t val;
};

enum xen_mmuext {
	XEN_PIN_L1 = 0,
	XEN_PIN_L2 = 1,
	XEN_PIN_L3 = 2,
	XEN_PIN_L4 = 3,
	XEN_UNPIN = 4,
	XEN_NEW_BASEPTR = 5,
	XEN_TLB_FLUSH_LOCAL = 6,
	XEN_INVLPG_LOCAL = 7,
	XEN_TLB_FLUSH_MULTI = 8,
	XEN_INVLPG_MULTI = 9,
	XEN_TLB_FLUSH_ALL = 10,
	XEN_INVLPG_ALL = 11,
	XEN_FLUSH_CACHE = 12,
	XEN_SET_LDT = 13,
	XEN_NEW_USER_BASEPTR = 15,
	XEN_CLEAR_PAGE = 16,
	XEN_COPY_PAGE = 17,
	XEN_FLUSH_CACHE_GLOBAL = 18,
	XEN_MARK_SUPER = 19,
	XEN_UNMARK_SUPER = 20,
};

struct xen_mmuext_op {
	uint32_t cmd;
	uint32_t pad;
	uint64_t arg1; /* mfn or linear address */
	uint64_t arg2; /* number of entries, guest pointer to a vCPU mask, or source mfn */
};

struct xen_multicall_entry {
	uint64_t op;
	int64_t result;
	uint64_t args[6];
};

/* update_va_mapping: flags. The upper bits may be a pointer to a vCPU mask. */
enum { XEN_UVMF_TLB_FLUSH = 1, XEN_UVMF_INVLPG = 2, XEN_UVMF_MASK = 3 };

struct xen_trap_info {
	uint8_t vector;
	uint8_t flags; /* bits 0-1: lowest privilege that may raise it, bit 2: mask events */
	uint16_t cs;
	uint32_t pad;
	uint64_t address;
};

/* set_segment_base */
enum {
	XEN_SEGBASE_FS = 0,
	XEN_SEGBASE_GS_USER = 1,
	XEN_SEGBASE_GS_KERNEL = 2,
	XEN_SEGBASE_GS_USER_SEL = 3
};

/* What iret finds on the guest's stack, and its flag that rcx and r11 need no restoring. */
struct xen_iret_context {
	uint64_t rax, r11, rcx, flags, rip, cs, rflags, rsp, ss;
};
#define XEN_VGCF_IN_SYSCALL (1u << 8)

/* Selectors that a 64-bit guest sees. */
enum {
	XEN_KERNEL_CS = 0xe030,
	XEN_KERNEL_DS = 0xe02b,
	XEN_USER_CS64 = 0xe033,
	XEN_USER_CS32 = 0xe023
};

enum xen_memop {
	XENMEM_DECREASE_RESERVATION = 1,
	XENMEM_MAXIMUM_RAM_PAGE = 2,
	XENMEM_CURRENT_RESERVATION = 3,
	XENMEM_MAXIMUM_RESERVATION = 4,
	XENMEM_MACHPHYS_MFN_LIST = 5,
	XENMEM_POPULATE_PHYSMAP = 6,
	XENMEM_MEMORY_MAP = 9,
	XENMEM_MACHPHYS_MAPPING = 12,
};

struct xen_memory_map {
	uint32_t nr_entries;
	uint32_t pad;
	uint64_t buffer; /* of struct xen_e820 */
};

struct xen_e820 {
	uint64_t addr;
	uint64_t size;
	uint32_t type;
} __attribute__((packed));

struct xen_machphys_mapping {
	uint64_t v_start, v_end;
	uint64_t max_mfn;
};

enum xen_version {
	XENVER_VERSION = 0,
	XENVER_EXTRAVERSION = 1,
	XENVER_COMPILE_INFO = 2,
	XENVER_CAPABILITIES = 3,
	XENVER_CHANGESET = 4,
	XENVER_PLATFORM_PARAMETERS = 5,
	XENVER_GET_FEATURES = 6,
	XENVER_PAGESIZE = 7,
	XENVER_GUEST_HANDLE = 8,
};

struct xen_feature_info {
	uint32_t submap_idx;
	uint32_t submap;
};

/* Bits of submap 0. */
enum {
	XENFEAT_WRITABLE_PAGE_TABLES = 0,
	XENFEAT_WRITABLE_DESCRIPTOR_TABLES = 1,
	XENFEAT_AUTO_TRANSLATED_PHYSMAP = 2,
	XENFEAT_SUPERVISOR_MODE_KERNEL = 3,
	XENFEAT_PAE_PGDIR_ABOVE_4GB = 4,
	XENFEAT_MMU_PT_UPDATE_PRESERVE_AD = 5,
	XENFEAT_GNTTAB_MAP_AVAIL_BITS = 7,
};

enum xen_evtchnop {
	EVTCHNOP_BIND_INTERDOMAIN = 0,
	EVTCHNOP_BIND_VIRQ = 1,
	EVTCHNOP_BIND_PIRQ = 2,
	EVTCHNOP_CLOSE = 3,
	EVTCHNOP_SEND = 4,
	EVTCHNOP_STATUS = 5,
	EVTCHNOP_ALLOC_UNBOUND = 6,
	EVTCHNOP_BIND_IPI = 7,
	EVTCHNOP_BIND_VCPU = 8,
	EVTCHNOP_UNMASK = 9,
	EVTCHNOP_RESET = 10,
};

struct xen_evtchn_bind_virq {
	uint32_t virq, vcpu, port;
};
struct xen_evtchn_bind_ipi {
	uint32_t vcpu, port;
};
struct xen_evtchn_alloc_unbound {
	uint16_t dom, remote_dom;
	uint32_t port;
};
struct xen_evtchn_bind_vcpu {
	uint32_t port, vcpu;
};
struct xen_evtchn_status {
	uint16_t dom, pad;
	uint32_t port;
	uint32_t status, vcpu;
	uint32_t u[2];
};
enum {
	EVTCHNSTAT_CLOSED = 0,
	EVTCHNSTAT_UNBOUND,
	EVTCHNSTAT_INTERDOMAIN,
	EVTCHNSTAT_PIRQ,
	EVTCHNSTAT_VIRQ,
	EVTCHNSTAT_IPI
};

enum { XEN_VIRQ_TIMER = 0, XEN_VIRQS = 24 };

enum xen_schedop {
	SCHEDOP_YIELD = 0,
	SCHEDOP_BLOCK = 1,
	SCHEDOP_SHUTDOWN = 2,
	SCHEDOP_POLL = 3,
	SCHEDOP_WATCHDOG = 6,
	SCHEDOP_PIN_OVERRIDE = 7,
};
struct xen_sched_poll {
	uint64_t ports;
	uint32_t nr_ports;
	uint32_t pad;
	uint64_t timeout; /* system time, ns; 0: none */
};
enum {
	XEN_SHUTDOWN_POWEROFF = 0,
	XEN_SHUTDOWN_REBOOT,
	XEN_SHUTDOWN_SUSPEND,
	XEN_SHUTDOWN_CRASH,
	XEN_SHUTDOWN_WATCHDOG
};

enum xen_vcpuop {
	VCPUOP_INITIALISE = 0,
	VCPUOP_UP = 1,
	VCPUOP_DOWN = 2,
	VCPUOP_IS_UP = 3,
	VCPUOP_GET_RUNSTATE_INFO = 4,
	VCPUOP_REGISTER_RUNSTATE = 5,
	VCPUOP_SET_PERIODIC_TIMER = 6,
	VCPUOP_STOP_PERIODIC_TIMER = 7,
	VCPUOP_SET_SINGLESHOT_TIMER = 8,
	VCPUOP_STOP_SINGLESHOT_TIMER = 9,
	VCPUOP_REGISTER_VCPU_INFO = 10,
	VCPUOP_SEND_NMI = 11,
	VCPUOP_REGISTER_VCPU_TIME = 13,
};
struct xen_singleshot_timer {
	uint64_t timeout; /* system time, ns */
	uint32_t flags;
	uint32_t pad;
};
#define XEN_SSHOTTMR_FUTURE 1u /* -ETIME when already past */

struct xen_register_vcpu_info {
	uint64_t mfn;
	uint32_t offset;
	uint32_t pad;
};
struct xen_runstate_info {
	int32_t state;
	uint32_t pad;
	uint64_t entry_time;
	uint64_t time[4];
};

/* VCPUOP_initialise: the first state of a secondary vCPU. */
struct xen_user_regs {
	uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi;
	uint32_t error_code, entry_vector;
	uint64_t rip;
	uint16_t cs, pad0[1];
	uint8_t saved_upcall_mask, pad1[3];
	uint64_t rflags, rsp;
	uint16_t ss, pad2[3];
	uint16_t es, pad3[3];
	uint16_t ds, pad4[3];
	uint16_t fs, pad5[3];
	uint16_t gs, pad6[3];
};
struct xen_vcpu_context {
	uint8_t fpu[512];
	uint64_t flags;
	struct xen_user_regs regs;
	struct xen_trap_info traps[256];
	uint64_t ldt_base, ldt_ents;
	uint64_t gdt_frames[16], gdt_ents;
	uint64_t kernel_ss, kernel_sp;
	uint64_t ctrlreg[8];
	uint64_t debugreg[8];
	uint64_t event_callback, failsafe_callback, syscall_callback;
	uint64_t vm_assist;
	uint64_t fs_base, gs_base_kernel, gs_base_user;
};
_Static_assert(sizeof(struct xen_user_regs) == 200, "vcpu_guest_context.user_regs");
_Static_assert(sizeof(struct xen_vcpu_context) == 5168, "vcpu_guest_context");

enum {
	XEN_CALLBACK_EVENT = 0,
	XEN_CALLBACK_FAILSAFE,
	XEN_CALLBACK_SYSCALL,
	XEN_CALLBACK_SYSENTER_OLD,
	XEN_CALLBACK_NMI,
	XEN_CALLBACK_SYSENTER,
	XEN_CALLBACK_SYSCALL32 = 7
};
enum { CALLBACKOP_REGISTER = 0, CALLBACKOP_UNREGISTER = 1 };
#define XEN_CALLBACKF_MASK_EVENTS 1u
struct xen_callback_register {
	uint16_t type, flags;
	uint32_t pad;
	uint64_t address;
};

#define XENPF_INTERFACE_VERSION 0x03000000u /* platform.h */

enum { PHYSDEVOP_SET_IOPL = 6, PHYSDEVOP_SET_IOBITMAP = 7 };

enum {
	GNTTABOP_MAP = 0,
	GNTTABOP_UNMAP = 1,
	GNTTABOP_SETUP_TABLE = 2,
	GNTTABOP_QUERY_SIZE = 6,
	GNTTABOP_SET_VERSION = 8,
	GNTTABOP_GET_VERSION = 10
};
struct xen_gnttab_setup_table {
	uint16_t dom, pad;
	uint32_t nr_frames;
	int16_t status;
	uint16_t pad2[3];
	uint64_t frame_list; /* of uint64_t */
};
struct xen_gnttab_query_size {
	uint16_t dom, pad;
	uint32_t nr_frames, max_nr_frames;
	int16_t status;
	uint16_t pad2;
};
struct xen_grant_entry {
	uint16_t flags, domid;
	uint32_t frame;
};
enum {
	XEN_GTF_INVALID = 0,
	XEN_GTF_PERMIT_ACCESS = 1,
	XEN_GTF_TYPE_MASK = 3,
	XEN_GTF_READONLY = 4,
	XEN_GTF_READING = 8,
	XEN_GTF_WRITING = 16
};
#define XEN_GRANTS_PER_FRAME (4096u / sizeof(struct xen_grant_entry))

/* Time: ns = ((tsc - tsc_timestamp) << shift) * mul >> 32, plus system_time. */
struct xen_vcpu_time {
	uint32_t version; /* odd while being written */
	uint32_t pad0;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags;
	uint8_t pad1[2];
};
#define XEN_PVCLOCK_TSC_STABLE 1u

struct xen_vcpu_info {
	uint8_t upcall_pending;
	uint8_t upcall_mask;
	uint8_t pad[6];
	uint64_t pending_sel;
	uint64_t cr2;
	uint64_t pad1;
	struct xen_vcpu_time time;
};
_Static_assert(sizeof(struct xen_vcpu_info) == 64, "vcpu_info");

#define XEN_LEGACY_VCPUS 32u
#define XEN_PORTS	 4096u /* of the two-level event channel interface */

struct xen_shared_info {
	struct xen_vcpu_info vcpu[XEN_LEGACY_VCPUS];
	uint64_t pending[64];
	uint64_t mask[64];
	uint32_t wc_version, wc_sec, wc_nsec, wc_sec_hi;
	uint64_t arch[6];
};

struct xen_start_info {
	char magic[32];
	uint64_t nr_pages;
	uint64_t shared_info; /* machine address */
	uint32_t flags;
	uint32_t pad0;
	uint64_t store_mfn;
	uint32_t store_evtchn;
	uint32_t pad1;
	uint64_t console_mfn;
	uint32_t console_evtchn;
	uint32_t pad2;
	uint64_t pt_base, nr_pt_frames;
	uint64_t mfn_list;
	uint64_t mod_start, mod_len;
	char cmd_line[1024];
	uint64_t first_p2m_pfn, nr_p2m_frames;
};
_Static_assert(sizeof(struct xen_start_info) == 1168, "start_info");
enum { XEN_SIF_MOD_START_PFN = 1u << 3, XEN_SIF_VIRT_P2M_4TOOLS = 1u << 4 };

/* ELF notes of owner "Xen". */
enum {
	XEN_NOTE_ENTRY = 1,
	XEN_NOTE_HYPERCALL_PAGE = 2,
	XEN_NOTE_VIRT_BASE = 3,
	XEN_NOTE_PADDR_OFFSET = 4,
	XEN_NOTE_XEN_VERSION = 5,
	XEN_NOTE_GUEST_OS = 6,
	XEN_NOTE_LOADER = 8,
	XEN_NOTE_FEATURES = 10,
	XEN_NOTE_HV_START_LOW = 12,
	XEN_NOTE_INIT_P2M = 15,
	XEN_NOTE_MOD_START_PFN = 16,
	XEN_NOTE_SUPPORTED_FEATURES = 17,
	XEN_NOTE_PHYS32_ENTRY = 18, /* PVH */
};

/* The console's shared page. */
struct xen_console_ring {
	char in[1024];
	char out[2048];
	uint32_t in_cons, in_prod;
	uint32_t out_cons, out_prod;
};

/* xenstore's shared page and messages. */
struct xen_store_ring {
	uint8_t req[1024];
	uint8_t rsp[1024];
	uint32_t req_cons, req_prod;
	uint32_t rsp_cons, rsp_prod;
	uint32_t features, connection, error;
};
struct xen_store_msg {
	uint32_t type, req_id, tx_id, len;
};
#define XEN_STORE_PAYLOAD_MAX 4096u
enum xen_store_op {
	XS_CONTROL = 0,
	XS_DIRECTORY = 1,
	XS_READ = 2,
	XS_GET_PERMS = 3,
	XS_WATCH = 4,
	XS_UNWATCH = 5,
	XS_TRANSACTION_START = 6,
	XS_TRANSACTION_END = 7,
	XS_INTRODUCE = 8,
	XS_RELEASE = 9,
	XS_GET_DOMAIN_PATH = 10,
	XS_WRITE = 11,
	XS_MKDIR = 12,
	XS_RM = 13,
	XS_SET_PERMS = 14,
	XS_WATCH_EVENT = 15,
	XS_ERROR = 16,
	XS_IS_DOMAIN_INTRODUCED = 17,
	XS_RESET_WATCHES = 20,
	XS_DIRECTORY_PART = 21,
};

/* XenbusState, written as decimal text. */
enum {
	XENBUS_INITIALISING = 1,
	XENBUS_INIT_WAIT,
	XENBUS_INITIALISED,
	XENBUS_CONNECTED,
	XENBUS_CLOSING,
	XENBUS_CLOSED
};

/* The block protocol: a ring of 112-byte slots (64-bit layout) after a 64-byte head. */
struct xen_ring_head {
	uint32_t req_prod, req_event;
	uint32_t rsp_prod, rsp_event;
	uint8_t pad[48];
};
struct xen_blk_segment {
	uint32_t gref;
	uint8_t first, last;
	uint16_t pad;
};
#define XEN_BLK_SEGMENTS	  11u
#define XEN_BLK_INDIRECT_PAGES	  8u
#define XEN_BLK_SEGMENTS_PER_PAGE 512u
struct xen_blk_request {
	uint8_t op, segments;
	uint16_t handle;
	uint32_t pad;
	uint64_t id;
	uint64_t sector;
	struct xen_blk_segment seg[XEN_BLK_SEGMENTS];
};
struct xen_blk_indirect {
	uint8_t op, indirect_op;
	uint16_t segments;
	uint32_t pad;
	uint64_t id;
	uint64_t sector;
	uint16_t handle, pad2;
	uint32_t gref[XEN_BLK_INDIRECT_PAGES];
};
struct xen_blk_discard {
	uint8_t op, flag;
	uint16_t handle;
	uint32_t pad;
	uint64_t id;
	uint64_t sector, sectors;
};
struct xen_blk_response {
	uint64_t id;
	uint8_t op, pad;
	int16_t status;
	uint32_t pad2;
};
union xen_blk_slot {
	struct xen_blk_request rw;
	struct xen_blk_indirect indirect;
	struct xen_blk_discard discard;
	struct xen_blk_response response;
};
_Static_assert(sizeof(union xen_blk_slot) == 112, "block ring slot");
_Static_assert(sizeof(struct xen_blk_response) == 16, "block response");
enum {
	XEN_BLK_READ = 0,
	XEN_BLK_WRITE = 1,
	XEN_BLK_BARRIER = 2,
	XEN_BLK_FLUSH = 3,
	XEN_BLK_DISCARD = 5,
	XEN_BLK_INDIRECT = 6
};
enum { XEN_BLK_OKAY = 0, XEN_BLK_ERROR = -1, XEN_BLK_NOT_SUPPORTED = -2 };
