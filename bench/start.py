"""How long a container takes from the command to its end, and how much memory the largest process needs.

One bundle, one config.json, one seccomp profile for all OCI runtimes. crun refuses hybrid control groups, so where the
host has them everybody gets a view of v1 or of v2 alone in a private mount namespace: without the v2 tree, or with that
tree mounted over /sys/fs/cgroup. In the v1 view the floor still makes its cgroup in the v2 tree, by a descriptor opened
before."""
import ctypes
import os
import shutil
import tempfile
from pathlib import Path

from bundle import make
from harness import Contender, cgroup_layout, interleave, quantile, start_rows, table, version_of

CLONE_NEWNS, MNT_DETACH, MS_REC, MS_PRIVATE = 0x20000, 2, 0x4000, 1 << 18
V1, V2 = "v1", "v2"


def enter_view(view):
    """Enters a private mount namespace that shows one kind of control groups. The host's layout, and a descriptor of the v2
    tree or -1. None for the layout when the host cannot give this view."""
    libc = ctypes.CDLL(None, use_errno=True)
    layout, floor = cgroup_layout(), -1
    v2 = {"hybrid": "/sys/fs/cgroup/unified", V2: "/sys/fs/cgroup"}.get(layout)
    if layout != "hybrid" and layout != view:
        return None, -1
    if v2 and os.path.isdir(v2):
        floor = os.open(v2, os.O_PATH | os.O_DIRECTORY)
    if libc.unshare(CLONE_NEWNS) or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError(ctypes.get_errno(), "private mount namespace")
    if layout == "hybrid":
        if libc.umount2(v2.encode() if view == V1 else b"/sys/fs/cgroup", MNT_DETACH):
            raise OSError(ctypes.get_errno(), f"unmount {v2}")
        if view == V2 and libc.mount(b"none", b"/sys/fs/cgroup", b"cgroup2", 0, None):
            raise OSError(ctypes.get_errno(), "mount cgroup2 over /sys/fs/cgroup")
    return layout, floor


def mount_state(place):
    """Runtimes keep their state below /run, which is memory on a host with an init system. The same here for all of them."""
    state = place / "state"
    state.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(state), b"tmpfs", 0, b"mode=755"):
        raise OSError(ctypes.get_errno(), "mount a tmpfs for the runtimes' state")
    return state


def oci(name, program, place, bundle, global_flags=()):
    """`run`, and `create` + `start` + `delete` of one runtime."""
    base = [*program, "--root", str(place / name.replace(" ", "-")), *global_flags]
    whole = Contender(f"{name} run", lambda n: [[*base, "run", "--bundle", bundle, f"{name.split()[0]}-r{n}"]])
    steps = Contender(f"{name} create+start+delete", lambda n: [
        [*base, "create", "--bundle", bundle, f"{name.split()[0]}-c{n}"],
        [*base, "start", f"{name.split()[0]}-c{n}"],
        [*base, "delete", "--force", f"{name.split()[0]}-c{n}"]])
    return [whole, steps]


def contenders(build, place, bundle):
    root = bundle / "rootfs"
    every = [Contender("floor", [[build / "bench" / "bench-floor", root, "/bin/true"]])]
    if shutil.which("bwrap"):
        every.append(Contender("bubblewrap", [["bwrap", "--unshare-all", "--ro-bind", root, "/", "--proc", "/proc",
                                               "--dev", "/dev", "/bin/true"]], version_of("bwrap", "--version")))
    every += oci("warren oci", [str(build / "warren"), "oci"], place, bundle)
    for name in ("crun", "runc"):
        if shutil.which(name):
            found = oci(name, [name], place, bundle)
            for c in found:
                c.version = version_of(name, "--version")
            every += found
    return every


def middle(every, name):
    found = next((c for c in every if c.name == name and c.runs), None)
    return quantile([run[0] for run in found.runs], 0.5) if found else None


def verdicts(every):
    """The figures that the project promises itself, each with what was measured."""
    wanted = [("warren oci run", "crun run", 0.4), ("warren oci run", "floor", 1.4),
              ("warren oci create+start+delete", "crun create+start+delete", 0.4)]
    for ours, theirs, most in wanted:
        a, b = middle(every, ours), middle(every, theirs)
        if a and b:
            yield f"{ours} / {theirs}: {a / b:.2f} (at most {most}): {'holds' if a / b <= most else 'MISSED'}"
        else:
            yield f"{ours} / {theirs}: not compared ({'no ' + ours if not a else 'no ' + theirs})"
    for c in every:
        if c.name.startswith("warren") and c.runs:
            peak = max(run[1] for run in c.runs) / 1024
            yield f"{c.name}: peak {peak:.1f} MB (at most 2.0): {'holds' if peak <= 2 else 'MISSED'}"


def bench(build, runs, view):
    layout, floor = enter_view(view)
    if not layout:
        print(f"### Start, control groups {view}: not measured, this host has only the other kind")
        return []
    with tempfile.TemporaryDirectory(prefix="warren-bench-") as name:
        place = Path(name)
        bundle = make(place / "bundle", ["/bin/true"])
        state = mount_state(place)
        every = contenders(build, state, bundle)
        interleave(build, every, runs, env={"FLOOR_CGROUP_FD": str(floor)} if floor >= 0 else {},
                   fds=(floor,) if floor >= 0 else ())
        ctypes.CDLL(None).umount2(bytes(state), MNT_DETACH)
    print(f"### Start, control groups {view}: namespaces, new network namespace, default seccomp profile, `true`\n")
    print(table(["", "n", "min ms", "median ms", "p95 ms", "peak MB", "to warren oci run"],
                start_rows(every, "warren oci run")))
    if layout == "hybrid":
        print("\nThe host is hybrid, which crun refuses: a private mount namespace shows one kind alone" +
              ("; the floor uses the v2 tree." if view == V1 else "."))
    print("\nAll runtimes keep their state on a tmpfs, as in /run.")
    print("The floor and bubblewrap load no seccomp filter; bubblewrap makes no control group.")
    missing = [tool for tool in ("bwrap", "crun", "runc") if not shutil.which(tool)]
    if missing:
        print(f"\nNot compared, not installed: {', '.join(missing)}.")
    print()
    for line in verdicts(every):
        print(f"- {line}")
    return every


