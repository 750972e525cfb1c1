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


def install(root):
    """The runtime, and what a build for the sanitizers needs beside it: that one is not static."""
    shutil.copy(WARREN, root / "bin/warren-oci")
    for word in subprocess.run(["ldd", WARREN], capture_output=True, text=True, check=False).stdout.split():
        if word.startswith("/"):
            (root / word.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(word, root / word.lstrip("/"))


def test_every_limit_on_cgroup_v2(tmp_path):
    env = {**os.environ, "WARREN_DATA": str(tmp_path / "data"), "WARREN_RUN": str(tmp_path / "run")}
    if not (KERNELS / "default").is_dir():
        pytest.skip("no guest kernel; `warren kernel import` gets one")
    (tmp_path / "data").mkdir()
    (tmp_path / "run").mkdir()
    shutil.copytree(KERNELS, tmp_path / "data/kernels", symlinks=True, ignore=shutil.ignore_patterns("initramfs-*"))
    bundle = tmp_path / "root/bundle"
    (bundle / "rootfs").mkdir(parents=True)
    for folder in (tmp_path / "root", bundle / "rootfs"):
        subprocess.run(["tar", "-x", "-C", str(folder)], input=layer(), check=True)
        for applet in ("mknod", "cp", "cut"):
            (folder / "bin" / applet).symlink_to("busybox")
    install(tmp_path / "root")
    (tmp_path / "root/script").write_text(SCRIPT)
    run(WARREN, "oci", "spec", "--bundle", str(bundle))
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["sleep", "1000"])
    config["root"]["readonly"] = False
    for kind in config["process"]["capabilities"].values():
        kind += ["CAP_MKNOD", "CAP_SYS_RAWIO"]
    config["linux"]["resources"].update(
        memory={"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20}, pids={"limit": 20},
        cpu={"shares": 1024, "quota": 50000, "period": 100000, "cpus": "0"}, unified={"memory.high": "60000256"})
    (bundle / "config.json").write_text(json.dumps(config))
    try:
        done = subprocess.run([WARREN, "run", "--name", "v2", "--pv", "--privileged", "--rootfs",
                               str(tmp_path / "root"), "sh", "/script"], capture_output=True, text=True, env=env,
                              stdin=subprocess.DEVNULL, timeout=120, check=False)
    finally:
        run(WARREN, "rm", "-f", "v2", check=False, env=env)
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    expected = {"create": "0 ", "start": "0", "memory.max": str(64 << 20), "memory.swap.max": str(32 << 20),
                "memory.low": str(16 << 20), "memory.high": str(60000256 // 4096 * 4096), "pids.max": "20", "cpu.max": "50000 100000",
                "cpu.weight": "100", "cpuset.cpus": "0", "update": "0",
                "updated": f"{32 << 20} 9 20000 100000", "null": "written",
                "memory": "head: /tmp/m: Operation not permitted", "paused": "1 1", "resumed": "0", "oom": "137",
                "oomevents": "1", "delete": "0 "}
    assert said == expected, done
