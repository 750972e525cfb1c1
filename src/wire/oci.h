/* The runtime-spec's config.json (1.3) as C structs: what every wall is created from.
 *
 * All memory belongs to the spec (an arena and the JSON document, whose strings are pointed into)
 * and goes with oci_spec_free(). An absent string is NULL, an absent list has n == 0, an absent
 * object is NULL, an absent number has set == false. Names and units are those of the
 * specification. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct oci_num {
	bool set;
	int64_t v; /* unsigned 64-bit members of the specification are stored bit for bit */
};

struct oci_bool {
	bool set, v;
};

struct oci_strings {
	const char **v; /* NULL-terminated */
	size_t n;
};

/* A JSON object of strings, or of small integers for `unified`-like maps: in document order. */
struct oci_pair {
	const char *key, *value;
};

struct oci_map {
	struct oci_pair *v;
	size_t n;
};

/* config.md, "Mounts" */
struct oci_id_mapping {
	uint32_t container_id, host_id, size;
};

struct oci_id_mappings {
	struct oci_id_mapping *v;
	size_t n;
};

struct oci_mount {
	const char *destination, *source, *type;
	struct oci_strings options;
	struct oci_id_mappings uid_mappings, gid_mappings;
};

/* config.md, "Process" */
struct oci_rlimit {
	int resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

/* Bit n is capability n of linux/capability.h. */
struct oci_caps {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

struct oci_scheduler {
	int policy; /* SCHED_* */
	int32_t nice, priority;
	uint64_t flags; /* SCHED_FLAG_* */
	uint64_t runtime, deadline, period;
};

struct oci_process {
	bool terminal;
	uint16_t rows, cols; /* consoleSize; 0: not given */
	uint32_t uid, gid;
	struct oci_num umask;
	uint32_t *additional_gids;
	size_t additional_gids_n;
	const char *username; /* not used on Linux */
	struct oci_strings args, env;
	const char *cwd;
	struct oci_caps *caps; /* NULL: the specification's default, all sets empty */
	struct oci_rlimit *rlimits;
	size_t rlimits_n;
	bool no_new_privileges;
	const char *apparmor_profile, *selinux_label;
	struct oci_num oom_score_adj;
	struct oci_scheduler *scheduler;
	struct {
		bool set;
		int class; /* IOPRIO_CLASS_* */
		int priority;
	} io_priority;
	const char *cpu_affinity_initial,
		*cpu_affinity_final; /* execCPUAffinity; lists like "0-3,7" */
};

/* config.md, "POSIX-platform Hooks"; order of the array is the order of the run */
enum oci_hook_stage {
	OCI_HOOK_PRESTART,
	OCI_HOOK_CREATE_RUNTIME,
	OCI_HOOK_CREATE_CONTAINER,
	OCI_HOOK_START_CONTAINER,
	OCI_HOOK_POSTSTART,
	OCI_HOOK_POSTSTOP,
	OCI_HOOK_STAGES,
};

struct oci_hook {
	const char *path;
	struct oci_strings args, env;
	int timeout; /* seconds, 0: none */
};

struct oci_hooks {
	struct oci_hook *v;
	size_t n;
};

/* config-linux.md, "Namespaces" */
enum oci_ns {
	OCI_NS_PID,
	OCI_NS_NETWORK,
	OCI_NS_MOUNT,
	OCI_NS_IPC,
	OCI_NS_UTS,
	OCI_NS_USER,
	OCI_NS_CGROUP,
	OCI_NS_TIME,
	OCI_NS_COUNT,
};

struct oci_namespace {
	bool present;
	const char *path; /* NULL: make a new one */
};

struct oci_device {
	const char *path;
	char type; /* 'c', 'b', 'u' or 'p' */
	int64_t major, minor;
	struct oci_num file_mode, uid, gid;
};

/* config-linux.md, "Control groups" */
struct oci_device_rule {
	bool allow;
	char type;	      /* 'a', 'b' or 'c' */
	int64_t major, minor; /* -1: any */
	bool read, write, mknod;
};

struct oci_weight_device {
	int64_t major, minor;
	struct oci_num weight, leaf_weight;
};

struct oci_throttle {
	int64_t major, minor;
	uint64_t rate;
};

struct oci_throttles {
	struct oci_throttle *v;
	size_t n;
};

struct oci_hugepage_limit {
	const char *page_size; /* "2MB" */
	uint64_t limit;
};

struct oci_ifprio {
	const char *name;
	uint32_t priority;
};

struct oci_rdma {
	const char *device;
	struct oci_num hca_handles, hca_objects;
};

struct oci_resources {
	struct oci_device_rule *devices;
	size_t devices_n;
	struct {
		struct oci_num limit, reservation, swap, kernel, kernel_tcp, swappiness;
		struct oci_bool disable_oom_killer, use_hierarchy, check_before_update;
	} memory;
	struct {
		struct oci_num shares, quota, burst, period, realtime_runtime, realtime_period,
			idle;
		const char *cpus, *mems;
	} cpu;
	struct {
		struct oci_num weight, leaf_weight;
		struct oci_weight_device *weight_device;
		size_t weight_device_n;
		struct oci_throttles read_bps, write_bps, read_iops, write_iops;
	} blkio;
	struct oci_num pids_limit;
	struct oci_hugepage_limit *hugepages;
	size_t hugepages_n;
	struct {
		struct oci_num class_id;
		struct oci_ifprio *priorities;
		size_t priorities_n;
	} network;
	struct oci_rdma *rdma;
	size_t rdma_n;
	struct oci_map unified;
};

/* config-linux.md, "Seccomp" */
enum oci_seccomp_action {
	OCI_SECCOMP_KILL_THREAD, /* also SCMP_ACT_KILL */
	OCI_SECCOMP_KILL_PROCESS,
	OCI_SECCOMP_TRAP,
	OCI_SECCOMP_ERRNO,
	OCI_SECCOMP_TRACE,
	OCI_SECCOMP_ALLOW,
	OCI_SECCOMP_LOG,
	OCI_SECCOMP_NOTIFY,
};

enum oci_seccomp_op {
	OCI_CMP_NE,
	OCI_CMP_LT,
	OCI_CMP_LE,
	OCI_CMP_EQ,
	OCI_CMP_GE,
	OCI_CMP_GT,
	OCI_CMP_MASKED_EQ, /* (arg & value) == value_two */
};

struct oci_seccomp_arg {
	uint32_t index; /* 0..5, checked */
	uint64_t value, value_two;
	enum oci_seccomp_op op;
};

struct oci_seccomp_rule {
	struct oci_strings names;
	enum oci_seccomp_action action;
	struct oci_num errno_ret;
	struct oci_seccomp_arg *args;
	size_t args_n;
};

struct oci_seccomp {
	enum oci_seccomp_action default_action;
	struct oci_num default_errno_ret;
	struct oci_strings architectures; /* "SCMP_ARCH_X86_64" */
	struct oci_strings flags;	  /* "SECCOMP_FILTER_FLAG_LOG" */
	const char *listener_path, *listener_metadata;
	struct oci_seccomp_rule *rules;
	size_t rules_n;
};

/* config-linux.md: intelRdt, memoryPolicy, netDevices, timeOffsets */
struct oci_time_offset {
	bool set;
	int64_t secs;
	uint32_t nanosecs;
};

struct oci_net_device {
	const char *host_name, *name; /* `name`: in the container; NULL keeps host_name */
};

struct oci_linux {
	struct oci_namespace ns[OCI_NS_COUNT];
	struct oci_id_mappings uid_mappings, gid_mappings;
	struct oci_time_offset monotonic, boottime;
	struct oci_device *devices;
	size_t devices_n;
	struct oci_net_device *net_devices;
	size_t net_devices_n;
	const char *cgroups_path;
	struct oci_resources *resources;
	const char *rootfs_propagation; /* "private", "rslave", ... checked */
	struct oci_map sysctl;
	struct oci_seccomp *seccomp;
	struct oci_strings masked_paths, readonly_paths;
	const char *mount_label;
	struct oci_num personality; /* PER_LINUX or PER_LINUX32 */
	struct {
		bool present;
		const char *clos_id, *l3_cache_schema, *mem_bw_schema;
		struct oci_strings schemata;
		bool enable_monitoring;
	} intel_rdt;
	struct {
		bool present;
		int mode; /* MPOL_* */
		const char *nodes;
		uint32_t flags; /* MPOL_F_* */
	} memory_policy;
};

/* config-vm.md */
struct oci_vm {
	const char *hypervisor_path;
	struct oci_strings hypervisor_parameters;
	const char *kernel_path, *kernel_initrd;
	struct oci_strings kernel_parameters;
	const char *image_path, *image_format; /* format: "raw", "qcow2", ... */
	struct oci_num vcpus, memory;	       /* hwConfig; memory in bytes */
};

struct oci_spec {
	const char *oci_version;
	const char *root_path; /* NULL: the specification allows it for vm only */
	bool root_readonly;
	const char *hostname, *domainname;
	struct oci_mount *mounts;
	size_t mounts_n;
	struct oci_process *process; /* NULL is fine until start */
	struct oci_hooks hooks[OCI_HOOK_STAGES];
	struct oci_map annotations;
	struct oci_linux *linux_;
	struct oci_vm *vm;
	void *memory; /* private to wire/oci.c */
};

/* Parses `n` bytes of JSON (at most 8 MiB). On failure returns -errno and names the member:
 * "config.json: process.user.uid: expected an integer between 0 and 4294967295". `name` is what to
 * call the document in errors. On success `*out` is to be freed. */
int oci_spec_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
		   struct err *e);

/* The same for a lone process object (`exec --process`) and a lone resources object (`update
 * --resources`); the struct is owned by the returned spec, in which all else is empty
 * (spec->process, spec->linux_->resources). */
int oci_process_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
		      struct err *e);
int oci_resources_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
			struct err *e);
/* A lone seccomp profile in runtime-spec form (spec->linux_->seccomp). */
int oci_seccomp_parse(const char *json, size_t n, const char *name, struct oci_spec **out,
		      struct err *e);

void oci_spec_free(struct oci_spec *s);

/* Adds a process object, as oci_process_parse() reads it. 0 or the buffer's error. */
struct buf;
int oci_process_print(const struct oci_process *p, struct buf *out);
/* A resources object with the limits that a running guest can change: memory, cpu, pids, unified. */
int oci_resources_print(const struct oci_resources *r, struct buf *out);

/* The value of an annotation, or NULL. */
const char *oci_annotation(const struct oci_spec *s, const char *key);
