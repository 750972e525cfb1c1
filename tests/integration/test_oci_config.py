"""config.json, point by point: what the config says is what the command sees."""
import array
import ctypes
import json
import os
import socket
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from bundles import Bundle, time_limit  # noqa: F401

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def box(tmp_path):
    tmp_path.chmod(0o755)
    bundle = Bundle(tmp_path, ["true"])
    yield bundle
    bundle.destroy()


@pytest.fixture
def first(tmp_path_factory):
    """Another container, whose namespaces are joined."""
    folder = tmp_path_factory.mktemp("first")
    folder.chmod(0o755)
    bundle = Bundle(folder, ["sleep", "1000"])
    yield bundle
    bundle.destroy()


def namespace_of(kind):
    return os.readlink(f"/proc/self/ns/{kind}")


def test_exec_cpu_affinity(box):
    """`final` binds the process; a list that names no CPU is refused."""
    box.config["process"]["args"] = ["sleep", "1000"]
    box.create()
    box("start", box.id)
    last = str(max(os.sched_getaffinity(0)))
    process = {**box.config["process"], "args": ["grep", "Cpus_allowed_list", "/proc/self/status"]}
    for affinity, cpus in (({"initial": "0"}, "0"), ({"initial": "0", "final": last}, last), ({"final": "0"}, "0")):
        (box.path / "process.json").write_text(json.dumps({**process, "execCPUAffinity": affinity}))
        assert box("exec", "--process", box.path / "process.json", box.id).stdout.split()[1] == cpus
    (box.path / "process.json").write_text(json.dumps({**process, "execCPUAffinity": {"final": "1-x"}}))
    done = box("exec", "--process", str(box.path / "process.json"), box.id, check=False)
    assert done.returncode and "execCPUAffinity" in done.stderr


# Namespaces

@pytest.mark.parametrize("kind,file", [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts"),
                                       ("mount", "mnt"), ("cgroup", "cgroup"), ("time", "time"), ("user", "user")])
def test_new_namespace(box, kind, file):
    linux = box.config["linux"]
    if kind in ("time", "user"):
        linux["namespaces"].append({"type": kind})
    if kind == "user":
        linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        box.path.chmod(0o755)
        subprocess.run(["chown", "-R", "100000:100000", box.root], check=True)
    inside = box.out(f"readlink /proc/self/ns/{file}")
    assert inside.startswith(f"{file}:[") and inside != namespace_of(file)


@pytest.mark.parametrize("kind,file", [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"),
                                       ("cgroup", "cgroup")])
def test_joined_namespace(box, first, kind, file):
    first.create()
    first("start", first.id)
    box.drop(kind)
    path = f"/proc/{first.state()['pid']}/ns/{file}"
    box.config["linux"]["namespaces"].append({"type": kind, "path": path})
    if kind == "uts":
        del box.config["hostname"]
    assert box.out(f"readlink /proc/self/ns/{file}") == os.readlink(path)


def test_joined_user_namespace(box, first):
    ids = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    first.config["linux"]["namespaces"].append({"type": "user"})
    first.config["linux"].update(uidMappings=ids, gidMappings=ids)
    for bundle in (first, box):
        subprocess.run(["chown", "-R", "100000:100000", bundle.root], check=True)
    first.create()
    first("start", first.id)
    pid = first.state()["pid"]
    box.config["linux"]["namespaces"].append({"type": "user", "path": f"/proc/{pid}/ns/user"})
    assert box.out("readlink /proc/self/ns/user; id -u") == os.readlink(f"/proc/{pid}/ns/user") + "\n0"


@pytest.fixture
def holder(box):
    """Makes namespaces with unshare(1) and holds them; `script` runs inside."""
    made = []

    def hold(flags, script):
        made.append(subprocess.Popen(["unshare", *flags, "sh", "-c", f"{script}; echo ready; exec sleep 1000"],
                                     stdout=subprocess.PIPE, text=True))
        assert made[-1].stdout.readline() == "ready\n"
        return made[-1].pid
    yield hold
    for process in made:
        process.kill()
        process.wait()


def test_joined_mount_namespace(box, holder):
    """Its mounts are what there is: none of ours is made in it, and masks cannot be."""
    pid = holder(["-m"], f"mount -t tmpfs held {box.root}/data && mount -t proc proc {box.root}/proc && "
                         f"echo there > {box.root}/data/file")
    box.drop("mount")
    box.config["linux"]["namespaces"].append({"type": "mount", "path": f"/proc/{pid}/ns/mnt"})
    box.fails("linux.maskedPaths", "no new mount namespace")
    for member in ("maskedPaths", "readonlyPaths"):
        del box.config["linux"][member]
    done = box.run("cat /data/file; readlink /proc/self/ns/mnt")
    assert done.stdout.split() == ["there", os.readlink(f"/proc/{pid}/ns/mnt")]
    assert "mounts: left out" in done.stderr
    mounts = Path(f"/proc/{pid}/mountinfo").read_text()
    assert f"{box.root}/dev " not in mounts and f"{box.root}/data " in mounts


@pytest.mark.parametrize("member,value", [("maskedPaths", ["/proc/kcore"]), ("readonlyPaths", ["/proc/sys"])])
def test_masks_need_a_mount_namespace(box, member, value):
    box.drop("mount")
    for name in ("maskedPaths", "readonlyPaths"):
        box.config["linux"].pop(name, None)
    box.config["mounts"] = []
    assert box.out("echo here") == "here"
    box.config["linux"][member] = value
    box.fails(f"linux.{member}", "no new mount namespace")


def test_joined_time_namespace(box, holder):
    pid = holder(["--time", "--boottime", "5000000", "--fork"], ":")
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    box.config["linux"]["namespaces"].append({"type": "time", "path": f"/proc/{child}/ns/time"})
    inside = box.out("readlink /proc/self/ns/time; cat /proc/uptime").split()
    assert inside[0] == os.readlink(f"/proc/{child}/ns/time") != namespace_of("time")
    assert float(inside[1]) > 5000000


@pytest.mark.parametrize("kind,file", [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")])
def test_absent_namespace_is_the_hosts(box, kind, file):
    box.drop(kind)
    if kind == "uts":
        del box.config["hostname"]
    if kind == "network":
        box.config["mounts"] = [m for m in box.config["mounts"] if m["type"] != "sysfs"]
        box.config["linux"]["maskedPaths"] = []
    assert box.out(f"readlink /proc/self/ns/{file}") == namespace_of(file)


def test_namespace_path_that_is_not_there(box):
    box.drop("network")
    box.config["linux"]["namespaces"].append({"type": "network", "path": "/nope/net"})
    box.fails("namespace '/nope/net'", "No such file")


def test_wrong_kind_of_namespace(box):
    box.drop("network")
    box.config["linux"]["namespaces"].append({"type": "network", "path": "/proc/self/ns/uts"})
    box.fails("join the network namespace", "Invalid argument")


def test_time_offsets(box):
    box.config["linux"]["namespaces"].append({"type": "time"})
    box.config["linux"]["timeOffsets"] = {"boottime": {"secs": 1000000, "nanosecs": 5}, "monotonic": {"secs": 77}}
    uptime = float(open("/proc/uptime").read().split()[0])
    inside = box.out("cat /proc/uptime; cat /proc/self/timens_offsets").split()
    assert 1000000 <= float(inside[0]) - uptime < 1000100
    assert inside[2:5] == ["monotonic", "77", "0"] and inside[5:] == ["boottime", "1000000", "5"]


def test_user_namespace_maps(box):
    linux = box.config["linux"]
    linux["namespaces"].append({"type": "user"})
    linux["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 1000},
                            {"containerID": 1000, "hostID": 200000, "size": 10}]
    linux["gidMappings"] = [{"containerID": 0, "hostID": 300000, "size": 5000}]
    subprocess.run(["chown", "-R", "100000:300000", box.root], check=True)
    out = box.out("cat /proc/self/uid_map /proc/self/gid_map; touch /f; id -u; ls -l /dev/null; echo x > /dev/null")
    assert out.split()[:9] == ["0", "100000", "1000", "1000", "200000", "10", "0", "300000", "5000"]
    assert out.split("\n")[3] == "0" and "1,   3" in out
    found = (box.root / "f").stat()
    assert (found.st_uid, found.st_gid) == (100000, 300000)


def test_user_namespace_without_maps(box):
    box.config["linux"]["namespaces"].append({"type": "user"})
    box.fails("uidMappings", "needs them")


def test_hostname_and_domainname(box):
    box.config["domainname"] = "example"
    assert box.out("hostname; cat /proc/sys/kernel/domainname") == "box\nexample"
    assert os.uname().nodename != "box"


def test_hostname_without_a_uts_namespace(box):
    box.drop("uts")
    box.fails("hostname", "no uts namespace")
    assert os.uname().nodename != "box"


def test_loopback_is_up(box):
    assert "UP" in box.out("cat /sys/class/net/lo/flags; ls /sys/class/net; busybox ifconfig lo")


@pytest.fixture
def veth():
    """A device of the host with an address; its other end, and with it the pair, goes with the test."""
    def ip(*words, check=True):
        return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)
    ip("link", "add", "wtest0", "type", "veth", "peer", "name", "wtest1")
    ip("addr", "add", "192.0.2.7/24", "dev", "wtest0")
    ip("link", "set", "wtest0", "mtu", "1400")
    yield "wtest0"
    ip("link", "del", "wtest1", check=False)


def test_network_device_moves_with_its_address(box, veth):
    box.config["linux"]["netDevices"] = {veth: {"name": "eth9"}}
    out = box.out("ls /sys/class/net; busybox ifconfig eth9; ")
    assert "eth9" in out.split() and "inet addr:192.0.2.7" in out and "MTU:1400" in out and "UP" in out
    assert not os.path.exists(f"/sys/class/net/{veth}")


def test_network_device_that_is_not_there(box):
    box.config["linux"]["netDevices"] = {"nope7": {}}
    box.fails("netDevices 'nope7'", "No such device")


def test_network_device_needs_a_namespace(box, veth):
    box.drop("network")
    box.config["linux"]["netDevices"] = {veth: {}}
    box.fails("netDevices", "no network namespace")
    assert os.path.exists(f"/sys/class/net/{veth}")


# Root file system

def test_root_is_the_only_tree(box):
    outside = box.path / "secret"
    outside.write_text("x")
    assert box.run(f"cat {outside}", check=False).returncode == 1
    assert box.out("ls /").split() == sorted(["bin", "data", "dev", "etc", "home", "proc", "root", "sys", "tmp"])


@pytest.mark.parametrize("flags", [[], ["--no-pivot"]])
def test_no_mount_of_the_host_is_left(box, flags):
    box.config["process"]["args"] = ["cat", "/proc/self/mounts"]
    box.write()
    targets = [line.split()[1] for line in box("run", *flags, box.id).stdout.splitlines()]
    assert targets[0] == "/" or flags
    assert "/dev/pts" in targets
    assert flags or not [t for t in targets if t.startswith("/run") or t.startswith("/home") or t == "/mnt"]


def test_no_mount_appears_on_the_host(box):
    box.mount("/data", options=["size=1m"])
    box.create()
    assert str(box.path) not in open("/proc/self/mountinfo").read()


def test_started_in_a_chroot(box):
    """A container's root is the root of its mount namespace, also where that is not so for the runtime: otherwise an
    exec, which enters the namespace, would be outside."""
    place = box.path / "chroot"
    place.mkdir()
    box.config["process"]["args"] = ["sleep", "1000"]
    box.write()

    def inside(verb, *args):
        script = f'mount --rbind / {place} && exec chroot {place} "$@"'
        return subprocess.run(["unshare", "-m", "sh", "-c", script, "sh", *box.command(verb, *args)], text=True,
                              cwd=box.path, stdin=subprocess.DEVNULL, timeout=30, capture_output=verb != "create",
                              stdout=None if verb != "create" else subprocess.DEVNULL)
    assert inside("create", "--bundle", box.path, box.id).returncode == 0
    assert inside("start", box.id).returncode == 0
    done = inside("exec", box.id, "sh", "-c", "ls -d /home/u; ls -d /usr; awk '$5 == \"/\"' /proc/self/mountinfo | wc -l")
    assert done.stdout.split() == ["/home/u", "1"] and "/usr" in done.stderr, done


def test_read_only_root(box):
    box.config["root"]["readonly"] = True
    assert box.out("touch /f 2>&1; touch /dev/shm/x && echo shm").endswith("Read-only file system\nshm")


def test_missing_root(box):
    box.config["root"]["path"] = "nope"
    box.fails("root", "nope", "No such file")


@pytest.mark.parametrize("options,script,says", [
    (["bind"], "cat /data/f; echo new > /data/g && echo wrote", "host\nwrote"),
    (["bind", "ro"], "cat /data/f; echo new > /data/g 2>/dev/null || echo no", "host\nno"),
    (["bind", "nosuid", "nodev", "noexec"], "grep ' /data ' /proc/self/mounts | grep -c nosuid,nodev,noexec", "1"),
    (["bind", "noatime"], "grep ' /data ' /proc/self/mounts | grep -c noatime", "1"),
])
def test_bind_mount(box, options, script, says):
    source = box.path / "source"
    source.mkdir()
    (source / "f").write_text("host\n")
    box.mount("/data", source, options=options)
    assert box.out(script) == says


def test_bind_of_a_file_makes_its_target(box):
    (box.path / "f").write_text("content\n")
    box.mount("/new/deep/file", box.path / "f", "bind", ["rbind", "ro"])
    assert box.out("cat /new/deep/file") == "content"


def test_relative_bind_source_is_below_the_bundle(box):
    (box.path / "rel").write_text("relative\n")
    box.mount("/data/x", "rel", options=["bind"])
    assert box.out("cat /data/x") == "relative"


def nested(box):
    """A directory with a tmpfs mounted in it; ends with the test."""
    source = box.path / "nest"
    (source / "sub").mkdir(parents=True)
    return source


@pytest.mark.parametrize("options,sub_writable", [(["rbind", "ro"], True), (["rbind", "rro"], False),
                                                  (["rbind", "rro", "rnosuid"], False)])
def test_recursive_attributes(box, options, sub_writable):
    source = nested(box)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "sub"], check=True)
    try:
        box.mount("/data", source, options=options)
        out = box.out("touch /data/f 2>/dev/null && echo top; touch /data/sub/f 2>/dev/null && echo sub; true")
    finally:
        subprocess.run(["umount", source / "sub"], check=True)
    assert out == ("sub" if sub_writable else "")


def test_plain_bind_leaves_mounts_below_out(box):
    source = nested(box)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", source / "sub"], check=True)
    try:
        (source / "sub/f").write_text("x")
        box.mount("/data", source, options=["bind"])
        assert box.out("ls /data/sub") == ""
        box.config["mounts"][-1]["options"] = ["rbind"]
        assert box.out("ls /data/sub") == "f"
    finally:
        subprocess.run(["umount", source / "sub"], check=True)


def test_tmpfs_options(box):
    box.mount("/data", "tmpfs", "tmpfs", ["size=64k", "mode=0700", "noexec"])
    out = box.out("stat -c %a /data; grep ' /data ' /proc/self/mounts")
    assert out.startswith("700\n") and "size=64k" in out and "noexec" in out


def test_tmpcopyup(box):
    (box.root / "data/d").mkdir()
    (box.root / "data/d/f").write_text("kept\n")
    (box.root / "data/d/f").chmod(0o640)
    os.chown(box.root / "data/d/f", 3, 4)
    (box.root / "data/link").symlink_to("d/f")
    box.mount("/data", "tmpfs", "tmpfs", ["tmpcopyup"])
    assert box.out("cat /data/link; stat -c '%a %u %g' /data/d/f; echo changed > /data/d/f") == "kept\n640 3 4"
    assert (box.root / "data/d/f").read_text() == "kept\n"


def test_propagation_of_a_mount(box):
    source = box.path / "source"
    source.mkdir()
    box.mount("/data", source, options=["bind", "rshared"])
    assert "shared:" in box.out("grep ' /data ' /proc/self/mountinfo")
    box.config["mounts"][-1]["options"] = ["bind", "rprivate"]
    assert "shared:" not in box.out("grep ' /data ' /proc/self/mountinfo")


@pytest.mark.parametrize("word,has", [("private", ""), ("rslave", ""), ("shared", "shared:"),
                                      ("unbindable", "unbindable")])
def test_rootfs_propagation(box, word, has):
    box.config["linux"]["rootfsPropagation"] = word
    line = box.out("grep ' / / ' /proc/self/mountinfo || head -1 /proc/self/mountinfo")
    assert has in line and (has or "shared:" not in line)
    assert str(box.path) not in open("/proc/self/mountinfo").read()


def test_idmapped_mount(box):
    source = box.path / "source"
    source.mkdir()
    (source / "f").write_text("x")
    os.chown(source / "f", 0, 0)
    box.mount("/data", source, options=["bind"])
    box.config["mounts"][-1]["uidMappings"] = [{"containerID": 0, "hostID": 5000, "size": 1000}]
    box.config["mounts"][-1]["gidMappings"] = [{"containerID": 0, "hostID": 6000, "size": 1000}]
    assert box.out("stat -c '%u %g' /data/f") == "5000 6000"


def test_masked_and_read_only_paths(box):
    (box.root / "data/file").write_text("secret")
    (box.root / "data/dir").mkdir()
    (box.root / "data/dir/x").write_text("secret")
    (box.root / "data/keep").mkdir()
    box.config["linux"]["maskedPaths"] += ["/data/file", "/data/dir", "/not/there"]
    box.config["linux"]["readonlyPaths"] += ["/data/keep", "/not/there"]
    out = box.out("cat /data/file; ls /data/dir; touch /data/dir/y 2>/dev/null || echo ro1; "
                  "touch /data/keep/y 2>/dev/null || echo ro2; echo 1 > /proc/sys/kernel/domainname || echo ro3")
    assert out == "ro1\nro2\nro3"


def test_default_devices(box):
    out = box.out("for d in null zero full random urandom tty; do stat -c '%n %F %t:%T %a' /dev/$d; done; "
                  "readlink /dev/fd; readlink /dev/stdin; readlink /dev/stdout; readlink /dev/stderr; readlink /dev/ptmx")
    numbers = {"null": "1:3", "zero": "1:5", "full": "1:7", "random": "1:8", "urandom": "1:9", "tty": "5:0"}
    for name, number in numbers.items():
        assert f"/dev/{name} character special file {number} 666" in out
    assert out.split("\n")[6:] == ["/proc/self/fd", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2", "pts/ptmx"]


def test_devices_of_the_config(box):
    box.config["linux"]["devices"] = [
        {"path": "/dev/mine", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640, "uid": 7, "gid": 8},
        {"path": "/data/sub/fifo", "type": "p", "fileMode": 0o600},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 0}]
    assert box.out("stat -c '%F %a %u:%g %t:%T' /dev/mine /data/sub/fifo /dev/block").split("\n") == [
        "character special file 640 7:8 1:5", "fifo 600 0:0 0:0", "block special file 666 0:0 7:0"]


def test_cgroup_mount(box):
    box.mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"])
    out = box.out("cat /proc/self/cgroup; find /sys/fs/cgroup -maxdepth 2 -name 'cgroup.procs' | head -3; "
                  "cat $(busybox find /sys/fs/cgroup -maxdepth 2 -name cgroup.procs | head -1); "
                  "mkdir /sys/fs/cgroup/x 2>/dev/null || echo ro" .replace("find", "busybox find", 1))
    assert out.endswith("ro") and box.id not in out
    assert "\n1\n" in out


def test_working_directory(box):
    box.config["process"]["cwd"] = "/made/for/it"
    assert box.out("pwd") == "/made/for/it"


# Hostile roots

def test_symlinks_in_the_root_lead_nowhere_outside(box):
    victim = box.path / "victim"
    victim.mkdir()
    (box.root / "data/out").symlink_to(victim)
    (box.root / "data/up").symlink_to("../../../../../.." + str(victim))
    for name in ("out", "up"):
        box.mount(f"/data/{name}/sub", options=["size=1m"])
        box.mount(f"/data/{name}/file", "/etc/hostname", options=["bind"])
    assert box.out("ls /data/out/ /data/up/") != ""
    assert list(victim.iterdir()) == []


def test_dev_is_a_symlink_to_the_host(box):
    victim = box.path / "victim"
    victim.mkdir()
    box.config["mounts"] = [m for m in box.config["mounts"] if not m["destination"].startswith("/dev")]
    (box.root / "dev").rmdir()
    (box.root / "dev").symlink_to(victim)
    box.run("true")
    assert list(victim.iterdir()) == []
    assert (box.root / str(victim)[1:] / "null").exists()


def test_device_where_a_directory_should_be(box):
    os.mknod(box.root / "data/odd", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    box.mount("/data/odd", options=["size=1m"])
    box.fails("mount '/data/odd'", "Not a directory")


def test_target_that_is_a_dangling_symlink_is_made_inside(box):
    (box.root / "etc/resolv.conf").symlink_to("../run/systemd/resolv.conf")
    (box.path / "r").write_text("nameserver 1\n")
    box.mount("/etc/resolv.conf", box.path / "r", options=["bind"])
    assert box.out("cat /etc/resolv.conf; ls /run/systemd") == "nameserver 1\nresolv.conf"


def test_symlink_loop(box):
    (box.root / "data/a").symlink_to("b")
    (box.root / "data/b").symlink_to("a")
    box.mount("/data/a/x", options=["size=1m"])
    box.fails("mount '/data/a/x'", "symbolic links")


# The process

def field(text, name):
    return next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith(name + ":"))


def test_capability_sets(box):
    box.config["process"]["capabilities"] = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"], "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_CHOWN"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]}
    box.config["process"]["user"] = {"uid": 1000, "gid": 1000}
    out = box.out("cat /proc/self/status")
    assert [int(field(out, f"Cap{name}"), 16) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb")] == [
        1 << 0 | 1 << 5 | 1 << 13, 1 << 5, 1 << 5, 1 << 5, 1 << 5]


def test_no_capabilities_by_default(box):
    del box.config["process"]["capabilities"]
    out = box.out("cat /proc/self/status")
    assert {int(field(out, f"Cap{name}"), 16) for name in ("Bnd", "Prm", "Eff", "Inh", "Amb")} == {0}


def test_unknown_capability_is_a_warning(box):
    box.config["process"]["capabilities"]["bounding"].append("CAP_FLY")
    done = box.run("true")
    assert "CAP_FLY" in done.stderr


def test_user_and_groups(box):
    box.config["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 0o027}
    assert box.out("id -u; id -g; id -G; umask; echo $HOME").split("\n") == [
        "1000", "1001", "1001 5 6", "0027", "/home/u"]


def test_home_of_the_config_counts(box):
    box.config["process"]["env"].append("HOME=/x")
    assert box.out("echo $HOME") == "/x"


def test_environment_is_only_the_configs(box):
    box.config["process"]["env"] = ["A=1", "PATH=/bin", "E="]
    os.environ["LEAK"] = "1"
    assert sorted(box.out("env").split("\n")) == ["A=1", "E=", "HOME=/root", "PATH=/bin", "PWD=/", "SHLVL=1"]


def test_rlimits(box):
    box.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                                        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]
    assert box.out("ulimit -n; ulimit -Hn; ulimit -c") == "100\n200\n0"


@pytest.mark.parametrize("wish", [True, False])
def test_no_new_privileges(box, wish):
    box.config["process"]["noNewPrivileges"] = wish
    assert field(box.out("cat /proc/self/status"), "NoNewPrivs") == str(int(wish))


def test_oom_score(box):
    box.config["process"]["oomScoreAdj"] = 321
    assert box.out("cat /proc/self/oom_score_adj") == "321"


def test_scheduler(box):
    box.config["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 7}
    out = box.out("cat /proc/self/sched | grep policy; awk '{print $19}' /proc/self/stat")
    assert out.split()[-1] == "7" and out.split()[2] == "3"


def test_io_priority(box):
    box.config["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    assert box.out("busybox ionice -p $$").startswith("idle")


def test_personality(box):
    box.config["linux"]["personality"] = {"domain": "LINUX32"}
    assert box.out("uname -m") == "i686"


@pytest.mark.parametrize("name,value", [("net.ipv4.ip_forward", "1"), ("kernel.shmmax", "1234567"),
                                        ("net/ipv4/ip_forward", "1"), ("fs.mqueue.msg_max", "11")])
def test_sysctl(box, name, value):
    box.config["linux"]["sysctl"] = {name: value}
    box.config["linux"]["readonlyPaths"] = []
    assert box.out(f"cat /proc/sys/{name.replace('.', '/')}") == value


@pytest.mark.parametrize("name,drop", [("kernel.panic", None), ("vm.overcommit_memory", None),
                                       ("net.ipv4.ip_forward", "network"), ("kernel.shmmax", "ipc"),
                                       ("net.../../kernel/panic", None)])
def test_sysctl_of_the_host_is_refused(box, name, drop):
    if drop:
        box.drop(drop)
    box.config["linux"]["sysctl"] = {name: "1"}
    box.fails(f"sysctl '{name}'")


@pytest.mark.parametrize("member,text", [("apparmorProfile", "AppArmor"), ("selinuxLabel", "SELinux")])
def test_label_without_the_module(box, member, text):
    if os.path.exists("/sys/module/apparmor" if text == "AppArmor" else "/sys/fs/selinux"):
        pytest.skip("this host has it")
    box.config["process"][member] = "some_label"
    box.fails(member, text)


def test_init_of_rdt_is_refused(box):
    box.config["linux"]["intelRdt"] = {"closID": "x"}
    box.fails("intelRdt")


def test_memory_policy(box):
    box.config["linux"]["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}
    assert "interleave:0" in box.out("cat /proc/self/numa_maps | head -3")


def test_session_keyring(box):
    box.config["linux"]["maskedPaths"] = []
    box.config["process"]["args"] = ["cat", "/proc/keys"]
    box.write()
    assert f"_ses.{box.id}" not in box("run", "--no-new-keyring", box.id).stdout
    assert f"_ses.{box.id}" in box("run", box.id).stdout


def test_seccomp(box):
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    for no_new_privs in (True, False):
        box.config["process"]["noNewPrivileges"] = no_new_privs
        done = box.run("mkdir /data/x; grep Seccomp: /proc/self/status", check=False)
        assert "not supported" in done.stderr and done.stdout.split() == ["Seccomp:", "2"]


def test_seccomp_also_binds_exec(box):
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    box.config["process"]["args"] = ["sleep", "100"]
    box.create()
    box("start", box.id)
    assert "not supported" in box("exec", box.id, "mkdir", "/data/x", check=False).stderr


def test_seccomp_filter_that_allows_nothing_else_still_starts(box):
    """The last steps before the command need no call of their own."""
    names = ["execve", "exit_group", "exit", "write", "brk", "arch_prctl", "mmap", "munmap", "mprotect", "rseq",
             "set_tid_address", "set_robust_list", "prlimit64", "readlink", "readlinkat", "getrandom", "uname", "fstat",
             "newfstatat", "getuid", "prctl", "rt_sigaction", "rt_sigprocmask", "access"]
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": names, "action": "SCMP_ACT_ALLOW"}]}
    box.config["process"]["args"] = ["echo", "there"]
    for no_new_privs in (True, False):
        box.config["process"]["noNewPrivileges"] = no_new_privs
        assert box.out(None) == "there"


def test_seccomp_notify_hands_the_listener_over(box):
    path = box.path / "listener"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    server.settimeout(10)
    # Every sendmsg waits for the listener: who sends it by one waits for himself.
    box.config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path),
                                      "listenerMetadata": "meta", "syscalls": [
        {"names": ["sendmsg", "mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    box.config["process"]["args"] = ["echo", "started"]
    box.write()
    p = subprocess.Popen(box.command("run", box.id), stdout=subprocess.PIPE, text=True, cwd=box.path)
    connection, _ = server.accept()
    data, fds, _, _ = socket.recv_fds(connection, 65536, 4)
    state = json.loads(data)
    assert len(fds) == len(state["fds"]) and "seccompFd" in state["fds"] and state["metadata"] == "meta"
    assert state["state"]["id"] == box.id
    assert p.communicate(timeout=10)[0] == "started\n"


# Hooks

def hook(box, name, text):
    path = box.path / f"{name}.sh"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return {"path": str(path), "env": [f"PATH={os.environ['PATH']}", f"LOG={box.path}/log"]}


def test_hooks_run_in_order_with_the_state(box):
    stages = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    box.config["hooks"] = {stage: [hook(box, stage, f'echo {stage} $(cat) >> "$LOG"\n')] for stage in stages}
    # This one is looked up in the container.
    (box.root / "bin/hook").write_text("#!/bin/sh\ncat > /data/start\n")
    (box.root / "bin/hook").chmod(0o755)
    box.config["hooks"]["startContainer"] = [{"path": "/bin/hook", "env": ["PATH=/bin"]}]
    box.config["annotations"] = {"k": "v"}
    box.run("cat /data/start > /data/seen")
    lines = (box.path / "log").read_text().splitlines()
    assert [line.split()[0] for line in lines] == stages
    statuses = []
    for line in lines:
        state = json.loads(line.split(None, 1)[1])
        assert state["id"] == box.id and state["bundle"] == str(box.path) and state["annotations"] == {"k": "v"}
        statuses.append(state["status"])
    assert statuses == ["created", "created", "created", "running", "stopped"]
    assert json.loads((box.root / "data/seen").read_text())["status"] == "created"


def test_runtime_hooks_see_the_host_and_the_containers_pid(box):
    box.config["hooks"] = {"createRuntime": [hook(box, "h", textwrap.dedent("""
        pid=$(sed 's/.*"pid":\\([0-9]*\\).*/\\1/'); readlink /proc/$pid/ns/net >> "$LOG"; readlink /proc/self/ns/net >> "$LOG"
        """))]}
    inside = box.out("readlink /proc/self/ns/net")
    assert (box.path / "log").read_text().split() == [inside, namespace_of("net")]


@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer"])
def test_hook_that_fails_ends_the_start(box, stage):
    box.config["hooks"] = {stage: [hook(box, "h", "echo because >&2; exit 3")]}
    box.fails(f"hook {stage}[0]", "ended with status 3: because")


@pytest.mark.parametrize("stage", ["poststart", "poststop"])
def test_hook_that_fails_late_is_a_warning(box, stage):
    box.config["hooks"] = {stage: [hook(box, "h", "exit 3"), hook(box, "g", 'echo second >> "$LOG"')]}
    done = box.run("echo ran")
    assert done.stdout == "ran\n" and f"hook {stage}[0]" in done.stderr
    assert (box.path / "log").read_text() == "second\n"


def test_hook_timeout(box):
    box.config["hooks"] = {"createRuntime": [{**hook(box, "h", "exec sleep 30"), "timeout": 1}]}
    begin = time.monotonic()
    box.fails("hook createRuntime[0]", "took longer than 1 s")
    assert time.monotonic() - begin < 5


def test_hook_that_is_not_there(box):
    box.config["hooks"] = {"prestart": [{"path": "/nope"}]}
    box.fails("hook prestart[0] '/nope'", "No such file")


# Terminals

def test_terminal_by_console_socket(box):
    box.config["process"].update(terminal=True, consoleSize={"height": 33, "width": 99},
                                 args=["sh", "-c", "tty; stty size; test -c /dev/console && echo console; cat"])
    path = box.path / "console"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen(1)
    box.create("--console-socket", path)
    connection, _ = server.accept()
    _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    box("start", box.id)
    text = b""
    while b"console" not in text:
        text += os.read(fds[0], 4096)
    assert text.split(b"\r\n")[:3] == [b"/dev/pts/0", b"33 99", b"console"]
    os.write(fds[0], b"\x04")
    box.wait("stopped")


def test_terminal_needs_a_console_socket(box):
    box.config["process"]["terminal"] = True
    box.write()
    done = box("create", box.id, check=False)
    assert done.returncode == 125 and "--console-socket" in done.stderr


def test_run_with_a_terminal(box):
    import pty
    box.config["process"].update(terminal=True, args=["sh", "-c", "tty; read x; echo got $x; exit 4"])
    box.write()
    pid, master = pty.fork()
    if not pid:
        os.chdir(box.path)
        os.execv(box.command("run")[0], box.command("run", box.id))
    text = b""
    while b"/dev/pts" not in text:
        text += os.read(master, 1000)
    os.write(master, b"word\r")
    try:
        while True:
            text += os.read(master, 1000)
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 4
    assert b"got word\r\n" in text


def test_exec_with_a_terminal(box):
    import pty
    box.config["process"]["args"] = ["sleep", "100"]
    box.create()
    box("start", box.id)
    pid, master = pty.fork()
    if not pid:
        os.execv(box.command("exec")[0], box.command("exec", "-t", box.id, "sh", "-c", "tty; exit 6"))
    text = b""
    try:
        while True:
            text += os.read(master, 1000)
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6
    assert b"/dev/pts/0" in text


# Bad input

@pytest.mark.parametrize("text,says", [
    ("", "ends in the middle"), ("{", "ends in the middle"), ("[]", "expected an object"), ("{}", "ociVersion: missing"),
    ('{"ociVersion":"1.0.0","root":{"path":"rootfs"}}', "linux: missing"),
])
def test_bad_config(box, text, says):
    (box.path / "config.json").write_text(text)
    done = box("run", box.id, check=False)
    assert done.returncode == 125 and says in done.stderr and "config.json" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not box.leftovers()


def test_config_that_is_a_fifo(box):
    os.mkfifo(box.path / "config.json")
    done = box("run", box.id, check=False, timeout=20)
    assert done.returncode == 125 and "config.json: ends in the middle" in done.stderr


def test_missing_bundle(box):
    done = box("create", "--bundle", "/nope", box.id, check=False)
    assert done.returncode == 125 and "bundle '/nope'" in done.stderr


def test_unknown_wall(box):
    box.config["annotations"] = {"dev.warren.isolation": "brick"}
    box.fails("isolation 'brick' is none of container")
