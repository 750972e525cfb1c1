"""An OCI bundle with busybox and what docker and podman ask for by default: all namespaces but user and time, docker's
capabilities, masked and read-only paths, and the default seccomp profile as containers-common ships it."""
import json
import os
import platform
import shutil
from pathlib import Path

CAPABILITIES = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
                "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
                "CAP_AUDIT_WRITE"]
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]
PROFILE = Path("/usr/share/containers/seccomp.json")


def seccomp():
    """The profile with the rules that hold for these capabilities, in the runtime-spec's form."""
    if not PROFILE.exists():
        return None
    profile = json.loads(PROFILE.read_text())
    kernel = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])

    def holds(rule):
        include, exclude = rule.get("includes") or {}, rule.get("excludes") or {}
        if "arches" in include and not {"amd64", "x86", "x32"} & set(include["arches"]):
            return False
        if {"amd64", "x86", "x32"} & set(exclude.get("arches", [])):
            return False
        if any(cap not in CAPABILITIES for cap in include.get("caps", [])):
            return False
        if any(cap in CAPABILITIES for cap in exclude.get("caps", [])):
            return False
        least = include.get("minKernel")
        return not least or kernel >= tuple(int(part) for part in least.split(".")[:2])

    rules = [{key: rule[key] for key in ("names", "action", "args", "errnoRet") if rule.get(key) not in (None, [])}
             for rule in profile["syscalls"] if holds(rule)]
    return {"defaultAction": profile["defaultAction"], "defaultErrnoRet": profile.get("defaultErrnoRet", 1),
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": rules}


def config(args, cgroups_path=None):
    mounts = [("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
              ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
              ("/dev/pts", "devpts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
              ("/dev/shm", "tmpfs", "shm", ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
              ("/dev/mqueue", "mqueue", "mqueue", ["nosuid", "noexec", "nodev"]),
              ("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", "ro"])]
    kinds = ["pid", "network", "ipc", "uts", "mount", "cgroup"]
    sets = ("bounding", "effective", "permitted")
    linux = {"namespaces": [{"type": kind} for kind in kinds], "maskedPaths": MASKED, "readonlyPaths": READONLY,
             "resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    if seccomp():
        linux["seccomp"] = seccomp()
    if cgroups_path:
        linux["cgroupsPath"] = cgroups_path
    return {"ociVersion": "1.0.2", "hostname": "bench", "root": {"path": "rootfs", "readonly": True},
            "process": {"user": {"uid": 0, "gid": 0}, "args": args, "cwd": "/", "env": ["PATH=/bin"],
                        "noNewPrivileges": True, "capabilities": {name: CAPABILITIES for name in sets}},
            "mounts": [dict(zip(("destination", "type", "source", "options"), mount)) for mount in mounts],
            "linux": linux}


def make(path, args):
    """A bundle in the new directory `path` that runs busybox's `args`."""
    root = Path(path) / "rootfs"
    for name in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (root / name).mkdir(parents=True, exist_ok=True)
    busybox = shutil.which("busybox")
    shutil.copy(busybox, root / "bin" / "busybox")
    for name in ("true", "sh", "sleep", "uname", "cat"):
        if not os.path.lexists(root / "bin" / name):
            os.symlink("busybox", root / "bin" / name)
    (Path(path) / "config.json").write_text(json.dumps(config(args)))
    return Path(path)
