"""Cgroup v2 with all its controllers: this host may have them on v1, a guest's own kernel has them on v2. So the
runtime itself is run inside a pv guest, and the guest's files are read."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from containers import BUILD, layer, need, run

need("busybox:busybox-static", "mkfs.erofs:erofs-utils")
if not os.access("/dev/kvm", os.R_OK | os.W_OK):
    pytest.skip("no /dev/kvm", allow_module_level=True)

WARREN = str(BUILD / "warren")
KERNELS = Path(os.environ.get("WARREN_TEST_KERNELS", "/var/lib/warren/kernels"))
SCRIPT = r"""
mkdir /sys/fs/cgroup/init && echo $$ > /sys/fs/cgroup/init/cgroup.procs
O="/bin/warren-oci --root /tmp/state"
say() { echo "$1=$2"; }
cp -r /bundle /tmp/bundle
$O create --bundle /tmp/bundle c1 </dev/null >/tmp/out 2>&1; say create "$? $(cat /tmp/out)"
$O start c1; say start $?
cd /sys/fs/cgroup/warren/c1 || exit 1
for f in memory.max memory.swap.max memory.low memory.high pids.max cpu.max cpu.weight cpuset.cpus; do
	say $f "$(cat $f)"
done
$O update --memory 32m --pids-limit 9 --cpu-quota 20000 --cpu-period 100000 c1; say update $?
say updated "$(cat memory.max) $(cat pids.max) $(cat cpu.max)"
say null "$($O exec c1 sh -c 'echo > /dev/null && echo written')"
say memory "$($O exec c1 sh -c 'mknod /tmp/m c 1 1; head -c 1 /tmp/m' 2>&1)"
$O pause c1; say paused "$(cat cgroup.freeze) $($O state c1 | grep -c paused)"
$O resume c1; say resumed "$(cat cgroup.freeze)"
$O events --interval 200ms c1 > /tmp/events &
sleep 0.5
$O exec c1 dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null; say oom $?
sleep 0.5; say oomevents "$(grep -c '"oom"' /tmp/events)"
$O kill --all c1 KILL; sleep 0.3
$O delete c1; say delete "$? $(ls -d /sys/fs/cgroup/warren/c1 2>/dev/null)"
"""


# Debian's systemd is process 1 of a pid and a cgroup namespace in the guest, alone in its cgroup; the test is its only
# service.
SYSTEMD = r"""
mount -t tmpfs run /run
mkdir /sys/fs/cgroup/sd /sys/fs/cgroup/init && echo $$ > /sys/fs/cgroup/init/cgroup.procs
echo "+cpu +memory +pids +io +cpuset" > /sys/fs/cgroup/cgroup.subtree_control
export container=warren
unshare -fpm --mount-proc sh -c 'echo $$ > /sys/fs/cgroup/sd/cgroup.procs && exec unshare -C sh -c "
	umount /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup &&
	exec /usr/lib/systemd/systemd --system --unit=try.service --show-status=no"'
cat /out
"""
SERVICE = """[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
[Service]
Type=oneshot
StandardOutput=file:/out
StandardError=file:/out
ExecStart=/bin/sh /try
ExecStopPost=/bin/systemctl exit 0 --force
"""
TRY = r"""
O="/oci --root /run/oci --systemd-cgroup"
U=cri-c1.scope
say() { key=$1; shift; echo "$key=$*"; }
show() { systemctl show $U -p "$1" --value; }
say one "$(cat /proc/1/comm) $(systemctl is-active dbus)"
$O create --bundle /bundle c1 </dev/null >/run/text 2>&1; say create "$? $(cat /run/text)"
$O start c1; say start $?
say unit "$(show ActiveState) $(show Slice) $(show Delegate) $(show ControlGroup)"
say limits "$(show MemoryMax) $(show MemoryLow) $(show TasksMax) $(show CPUQuotaPerSecUSec) $(show CPUWeight) $(show AllowedCPUs)"
D=/sys/fs/cgroup$(show ControlGroup)
say files "$(cat $D/memory.max) $(cat $D/memory.swap.max) $(cat $D/pids.max) $(cat $D/cpu.max) $(cat $D/cpuset.cpus) $(cat $D/memory.high)"
say inside "$($O exec c1 sh -c 'cat /proc/self/cgroup; echo > /dev/null && echo written; mknod /tmp/m c 1 1; head -c 1 /tmp/m' 2>&1 | tr '\n' ' ')"
$O update --memory 32m --pids-limit 9 c1; say update $?
systemctl daemon-reload
say reloaded "$(show MemoryMax) $(show TasksMax) $(cat $D/memory.max) $(cat $D/pids.max) $(cat $D/memory.high)" \
	"$(cat $D/memory.low) $(cat $D/cpu.max) $(cat $D/cpu.weight) $(cat $D/cpuset.cpus)"
say events "$($O events --stats c1 | grep -c '"current"')"
$O pause c1; say paused "$(cat $D/cgroup.freeze) $($O state c1 | grep -c paused)"
$O resume c1
$O kill c1 KILL; sleep 0.5
$O delete c1; say delete "$? $(ls -d $D 2>/dev/null) $(show ActiveState) $(show LoadState)"
"""


def install(root, name):
    """The runtime, and what a build for the sanitizers needs beside it: that one is not static."""
    shutil.copy(WARREN, root / name)
    for word in subprocess.run(["ldd", WARREN], capture_output=True, text=True, check=False).stdout.split():
        if word.startswith("/"):
            (root / word.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, root / word.lstrip("/"))


def guest(tmp_path, *options):
    """Runs `sh /script` of tmp_path/root as root with all rights in a pv guest; what it said, line by line."""
    env = {**os.environ, "WARREN_DATA": str(tmp_path / "data"), "WARREN_RUN": str(tmp_path / "run")}
    (tmp_path / "data").mkdir()
    (tmp_path / "run").mkdir()
    shutil.copytree(KERNELS, tmp_path / "data/kernels", symlinks=True, ignore=shutil.ignore_patterns("initramfs-*"))
    try:
        done = subprocess.run([WARREN, "run", "--name", "v2", "--pv", "--privileged", *options, "--rootfs",
                               str(tmp_path / "root"), "sh", "/script"], capture_output=True, text=True, env=env,
                              stdin=subprocess.DEVNULL, timeout=180, check=False)
    finally:
        run(WARREN, "rm", "-f", "v2", check=False, env=env)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line), done


def make_bundle(bundle, resources, path=None):
    (bundle / "rootfs").mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(bundle / "rootfs")], input=layer(), check=True)
    for applet in ("mknod", "cp", "cut"):
        (bundle / "rootfs/bin" / applet).symlink_to("busybox")
    run(WARREN, "oci", "spec", "--bundle", str(bundle))
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["sleep", "1000"])
    config["root"]["readonly"] = False
    for kind in config["process"]["capabilities"].values():
        kind += ["CAP_MKNOD", "CAP_SYS_RAWIO"]
    config["linux"]["resources"].update(resources)
    if path:
        config["linux"]["cgroupsPath"] = path
    (bundle / "config.json").write_text(json.dumps(config))


def need_kernel():
    if not (KERNELS / "default").is_dir():
        pytest.skip("no guest kernel; `warren kernel import` gets one")


def test_every_limit_on_cgroup_v2(tmp_path):
    need_kernel()
    root = tmp_path / "root"
    make_bundle(root / "bundle", {
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20}, "pids": {"limit": 20},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"}, "unified": {"memory.high": "60000256"}})
    subprocess.run(["tar", "-x", "-C", str(root)], input=layer(), check=True)
    for applet in ("mknod", "cp", "cut"):
        (root / "bin" / applet).symlink_to("busybox")
    install(root, "bin/warren-oci")
    (root / "script").write_text(SCRIPT)
    said, done = guest(tmp_path)
    expected = {"create": "0 ", "start": "0", "memory.max": str(64 << 20), "memory.swap.max": str(32 << 20),
                "memory.low": str(16 << 20), "memory.high": str(60000256 // 4096 * 4096), "pids.max": "20", "cpu.max": "50000 100000",
                "cpu.weight": "100", "cpuset.cpus": "0", "update": "0",
                "updated": f"{32 << 20} 9 20000 100000", "null": "written",
                "memory": "head: /tmp/m: Operation not permitted", "paused": "1 1", "resumed": "0", "oom": "137",
                "oomevents": "1", "delete": "0 "}
    assert said == expected, done


@pytest.mark.slow
def test_the_systemd_manager_with_systemd_itself(tmp_path):
    """The scope is one of systemd's, with the limits as its properties; they outlast a daemon-reload."""
    need_kernel()
    need("unshare", "dbus-daemon", "/usr/lib/systemd/systemd:systemd")
    root = tmp_path / "root"
    for name in ("usr", "proc", "sys", "dev", "run", "tmp", "var/log", "var/lib/dbus", "etc/systemd/system"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("passwd", "group", "nsswitch.conf", "ld.so.cache"):
        shutil.copy(f"/etc/{name}", root / "etc" / name)
    (root / "etc/machine-id").touch()
    (root / "etc/systemd/system/try.service").write_text(SERVICE)
    shutil.copy(WARREN, root / "oci")
    make_bundle(root / "bundle", {
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20}, "pids": {"limit": 20},
        "cpu": {"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"},
        "unified": {"memory.high": "60000256"}}, "warrentest.slice:cri:c1")
    (root / "try").write_text(TRY.replace("/oci --root", "/oci oci --root"))
    (root / "script").write_text(SYSTEMD)
    said, done = guest(tmp_path, "-m", "512m", "-v", "/usr:/usr:ro")
    where, high = "/warrentest.slice/cri-c1.scope", 60000256 // 4096 * 4096
    assert said == {
        "one": "systemd active", "create": "0 ", "start": "0",
        "unit": f"active warrentest.slice yes {where}",
        "limits": f"{64 << 20} {16 << 20} 20 500ms 100 0",
        "files": f"{64 << 20} {32 << 20} 20 50000 100000 0 {high}",
        "inside": "0::/ written head: /tmp/m: Operation not permitted ", "update": "0",
        "reloaded": f"{32 << 20} 9 {32 << 20} 9 {high} {16 << 20} 50000 100000 100 0", "events": "1", "paused": "1 1",
        "delete": "0  inactive not-found"}, done
