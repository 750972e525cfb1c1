"""Cgroups through `warren oci`: limits, freezer, statistics, OOM, removal; on this host's own layout, on a v2-only and
a v1-only view of it, as an ordinary user, and with a systemd that a small service on a private bus plays."""
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from containers import BUILD, cgroup_value, cgroups_with, layer, need, run, wait_for

need("busybox:busybox-static")

OCI = str(BUILD / "warren-oci")
HERE = Path(__file__).resolve().parent


class Runtime:
    def __init__(self, folder, *options, prefix=(), env=None):
        self.folder, self.env = folder, {**os.environ, **(env or {})}
        self.base = [*prefix, OCI, "--root", str(folder / "state"), *options]
        self.ids = []
        rootfs = folder / "bundle/rootfs"
        rootfs.mkdir(parents=True)
        subprocess.run(["tar", "-x", "-C", str(rootfs)], input=layer(), check=True)

    def __call__(self, *args, check=True, **more):
        return run(*self.base, *args, check=check, env=self.env, **more)

    def bundle(self, command, resources=None, path=None, change=None):
        file = self.folder / "bundle/config.json"
        file.unlink(missing_ok=True)
        run(OCI, "spec", "--bundle", str(file.parent))
        config = json.loads(file.read_text())
        config["process"].update(args=list(command), terminal=False)
        config["process"].pop("rlimits")
        config["linux"].setdefault("resources", {}).update(resources or {})
        if path:
            config["linux"]["cgroupsPath"] = path
        if change:
            change(config)
        file.write_text(json.dumps(config))
        return str(file.parent)

    def create(self, command, resources=None, check=True, **more):
        name = f"warren-cg-{os.getpid()}-{len(self.ids)}"
        self.ids.append(name)
        with open(self.folder / "out", "w") as out:
            done = subprocess.run([*self.base, "create", "--bundle", self.bundle(command, resources, **more), name],
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.env, timeout=60,
                                  check=False)
        text = (self.folder / "out").read_text()
        assert not check or done.returncode == 0, text
        return name if check else (done.returncode, text)

    def start(self, command=("sleep", "1000"), resources=None, **more):
        name = self.create(command, resources, **more)
        self("start", name)
        return name

    def state(self, name):
        return json.loads(self("state", name).stdout)

    def clean(self):
        for name in self.ids:
            self("delete", "--force", name, check=False)
            assert not cgroups_with(name), name


@pytest.fixture
def oci(tmp_path):
    one = Runtime(tmp_path)
    yield one
    one.clean()


def limit(oci, name, controller, v1, v2):
    return cgroup_value(oci.state(name)["pid"], controller, v1, v2)


def test_limits_reach_the_kernel(oci):
    name = oci.start(resources={"memory": {"limit": 64 << 20, "swap": 128 << 20, "swappiness": 10},
                                "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
                                "pids": {"limit": 20},
                                "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]})
    assert limit(oci, name, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert limit(oci, name, "pids", "pids.max", "pids.max") == "20"
    assert limit(oci, name, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert limit(oci, name, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert limit(oci, name, "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max") == str(4 << 20)


def test_update_by_options_and_by_an_object(oci):
    name = oci.start(resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})
    oci("update", "--memory", "32m", "--pids-limit", "-1", name)
    assert limit(oci, name, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert limit(oci, name, "pids", "pids.max", "pids.max") == "max"
    oci("update", "--resources", "-", name, input='{"pids":{"limit":7}}')
    assert limit(oci, name, "pids", "pids.max", "pids.max") == "7"
    assert limit(oci, name, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    bad = oci("update", "--resources", "-", name, input='{"pids":{"limit":"x"}}', check=False)
    assert bad.returncode and "pids.limit" in bad.stderr
    assert oci("update", "--memory", "lots", name, check=False).returncode


def test_update_keeps_the_devices(oci):
    name = oci.start()
    oci("update", "--pids-limit", "9", name)
    assert oci("exec", name, "sh", "-c", "echo x > /dev/null && echo fine").stdout == "fine\n"


def test_devices_are_denied_unless_allowed(oci):
    make = "mknod /tmp/m c 1 1 && head -c 1 /tmp/m >/dev/null"

    def with_mknod(config):
        config["root"]["readonly"] = False
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] = ["CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_SYS_RAWIO"]

    (oci.folder / "bundle/rootfs/bin/mknod").symlink_to("busybox")
    name = oci.start(change=with_mknod)
    done = oci("exec", "--cap", "CAP_MKNOD", "--cap", "CAP_SYS_RAWIO", name, "sh", "-c", make, check=False)
    assert done.returncode and "not permitted" in done.stderr, done.stderr
    assert oci("exec", name, "sh", "-c", "head -c 4 /dev/urandom >/dev/null && echo ok > /dev/null").returncode == 0


def test_pause_resume_and_states(oci):
    name = oci.start(["sh", "-c", "while :; do echo; sleep 0.02; done"])
    oci("pause", name)
    assert oci.state(name)["status"] == "paused"
    assert json.loads(oci("list", "--format", "json").stdout)[0]["status"] == "paused"
    size = (oci.folder / "out").stat().st_size
    time.sleep(0.3)
    assert (oci.folder / "out").stat().st_size == size
    again = oci("pause", name, check=False)
    assert again.returncode and "paused" in again.stderr
    oci("resume", name)
    assert oci.state(name)["status"] == "running"
    wait_for(lambda: (oci.folder / "out").stat().st_size > size)
    assert oci("resume", name, check=False).returncode


def test_a_paused_container_can_be_killed(oci):
    name = oci.start()
    oci("pause", name)
    oci("kill", name, "KILL")
    oci("resume", name, check=False)
    wait_for(lambda: oci.state(name)["status"] == "stopped")


def test_kill_all_reaches_every_process(oci):
    name = oci.start(["sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000 & wait"])
    wait_for(lambda: len(json.loads(oci("ps", "--format", "json", name).stdout)) == 4)
    pids = json.loads(oci("ps", "--format", "json", name).stdout)
    oci("kill", "--all", name, "KILL")
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    oci("kill", "--all", name, "KILL")


def test_ps_table(oci):
    if not shutil.which("ps"):
        pytest.skip("ps is not installed (Debian package procps)")
    name = oci.start()
    lines = oci("ps", name).stdout.splitlines()
    assert "PID" in lines[0] and len(lines) == 2 and "sleep 1000" in lines[1]
    assert "sleep" in oci("ps", name, "-o", "comm,pid").stdout


def test_statistics(oci):
    name = oci.start(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000"],
                     {"memory": {"limit": 64 << 20}, "pids": {"limit": 20}})
    wait_for(lambda: json.loads(oci("events", "--stats", name).stdout)["data"]["cpu"]["usage"]["total"] > 5000000)
    line = json.loads(oci("events", "--stats", name).stdout)
    assert (line["type"], line["id"]) == ("stats", name)
    assert line["data"]["memory"]["usage"]["limit"] == 64 << 20 and line["data"]["memory"]["usage"]["usage"] > 0
    assert line["data"]["pids"]["limit"] == 20 and line["data"]["pids"]["current"] >= 1


def test_events_tell_of_oom_and_end_with_the_container(oci):
    if not cgroup_available("memory"):
        pytest.skip("this host has no memory controller")
    name = oci.start(["sh", "-c", "sleep 1; dd if=/dev/zero of=/dev/null bs=64M count=1; sleep 0.2; exit 0"],
                     {"memory": {"limit": 16 << 20, "swap": 16 << 20}})
    events = subprocess.run([*oci.base, "events", "--interval", "200ms", name], capture_output=True, text=True,
                            timeout=30, check=True)
    kinds = [json.loads(line)["type"] for line in events.stdout.splitlines()]
    assert "oom" in kinds and "stats" in kinds, events


def cgroup_available(controller):
    for line in Path("/proc/cgroups").read_text().splitlines():
        if line.split()[0] == controller:
            return line.split()[3] == "1"
    return False


def test_an_impossible_limit_is_an_error_and_leaves_nothing(oci):
    status, text = oci.create(["true"], {"cpu": {"cpus": "4000"}}, check=False)
    assert status and "linux.resources.cpu.cpus" in text, text
    assert not cgroups_with(oci.ids[-1])
    assert oci("state", oci.ids[-1], check=False).returncode


@pytest.mark.parametrize("path", ["/warren-test-top/a/{}", "rel/{}", "/../../warren-test-top/{}"])
def test_paths(oci, path):
    path = path.format(f"p{os.getpid()}")
    name = oci.start(path=path)
    found = cgroups_with(f"p{os.getpid()}")
    assert found and all(one.startswith("/sys/fs/cgroup/") for one in found)
    pid = oci.state(name)["pid"]
    assert f"p{os.getpid()}" in Path(f"/proc/{pid}/cgroup").read_text()
    oci("delete", "--force", name)
    assert not cgroups_with(f"p{os.getpid()}") and not cgroups_with("warren-test-top"), "directories that it made stay"


def test_a_cgroup_of_somebody_else_is_left_alone(oci):
    root = next(top for top in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup") if Path(top, "cgroup.procs").exists())
    other = Path(root, f"warren-others-{os.getpid()}")
    other.mkdir()
    tenant = subprocess.Popen(["sleep", "1000"])
    try:
        (other / "cgroup.procs").write_text(str(tenant.pid))
        name = oci.start(path=f"/{other.name}")
        oci("kill", "--all", name, "KILL", check=False)
        oci("delete", "--force", name)
        assert tenant.poll() is None and other.exists()
    finally:
        tenant.kill()
        tenant.wait()
        wait_for(lambda: subprocess.run(f"rmdir /sys/fs/cgroup/*/{other.name} {other} 2>/dev/null", shell=True,
                                        check=False) and not other.exists())


V2_VIEW = "mount -t cgroup2 none /sys/fs/cgroup"
V1_VIEW = ("mkdir -p /tmp/wv1 && mount -t tmpfs none /tmp/wv1 && for c in memory pids cpu cpuset freezer devices; do "
           "mkdir /tmp/wv1/$c && mount -t cgroup -o $c none /tmp/wv1/$c || exit 77; done && "
           "mount --move /tmp/wv1 /sys/fs/cgroup")


@pytest.mark.parametrize("view", [V2_VIEW, V1_VIEW], ids=["v2", "v1"])
def test_other_layouts(tmp_path, view):
    """In a mount namespace of its own the host looks like a pure v2 or a pure v1 one."""
    prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", f"{view} || exit 77; exec \"$@\"", "-"]
    if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("this host cannot show its cgroups that way")
    oci = Runtime(tmp_path, prefix=prefix)
    try:
        name = oci.start(["sh", "-c", "sleep 1000 & wait"])
        assert name in Path(f"/proc/{oci.state(name)['pid']}/cgroup").read_text()
        oci("pause", name)
        assert oci.state(name)["status"] == "paused"
        oci("resume", name)
        assert oci("exec", name, "sh", "-c", "echo > /dev/null && echo in").stdout == "in\n"
        assert json.loads(oci("events", "--stats", name).stdout)["data"]["cpu"]["usage"]["total"] > 0 or view == V1_VIEW
        oci("kill", "--all", name, "KILL")
        wait_for(lambda: oci.state(name)["status"] == "stopped")
    finally:
        oci.clean()


def test_devices_by_bpf_on_v2(tmp_path):
    prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", f"{V2_VIEW} || exit 77; exec \"$@\"", "-"]
    if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("this host cannot mount cgroup2")
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this host has no /dev/fuse to try")
    oci = Runtime(tmp_path, prefix=prefix)
    (tmp_path / "bundle/rootfs/bin/mknod").symlink_to("busybox")

    def rights(config):
        config["root"]["readonly"] = False
        for kind in ("bounding", "effective", "permitted"):
            config["process"]["capabilities"][kind] = ["CAP_MKNOD", "CAP_SYS_RAWIO", "CAP_DAC_OVERRIDE"]

    # /dev/fuse: opening it does nothing.
    script = "mknod /tmp/m c 10 229 && (: </tmp/m) && echo READ; echo > /dev/null && echo NULL"
    try:
        denied = [{"allow": False, "access": "rwm"}]
        for rules, expected in ((denied, "NULL\n"),
                                ([*denied, {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}],
                                 "READ\nNULL\n")):
            (tmp_path / "bundle/rootfs/tmp/m").unlink(missing_ok=True)
            name = oci.create(["sh", "-c", script], {"devices": rules}, change=rights)
            oci("start", name)
            wait_for(lambda: oci.state(name)["status"] == "stopped")
            text = (tmp_path / "out").read_text()
            assert "".join(line + "\n" for line in text.splitlines() if line in ("READ", "NULL")) == expected, text
    finally:
        oci.clean()


NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


@pytest.fixture
def ordinary(tmp_path_factory):
    """A runtime that an ordinary user calls, with a bundle that is his."""
    import tempfile
    with tempfile.TemporaryDirectory(prefix="warren-cg-") as folder:
        program = shutil.copy(OCI, folder)

        def make(*prefix):
            one = Runtime(Path(folder), prefix=[*prefix, *NOBODY], env={"XDG_RUNTIME_DIR": folder})
            one.base = [*prefix, *NOBODY, program, "--root", f"{folder}/state"]
            subprocess.run(["chown", "-R", "65534:65534", folder], check=True)
            return one

        os.chmod(folder, 0o755)
        yield make


def own(config):
    """As `spec --rootless` writes it, for the user nobody."""
    config["linux"].pop("resources")
    config["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "user")]
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind] = [{"containerID": 0, "hostID": 65534, "size": 1}]
    config["mounts"] = [mount for mount in config["mounts"] if mount["type"] in ("proc", "tmpfs")]


def test_an_ordinary_user_goes_without_and_is_told(ordinary):
    oci = ordinary()
    name = oci.start(change=own)
    assert "runs without limits" in (oci.folder / "out").read_text()
    assert len(json.loads(oci("ps", "--format", "json", name).stdout)) == 1
    paused = oci("pause", name, check=False)
    assert paused.returncode and "no freezer" in paused.stderr
    oci("kill", "--all", name, "KILL")
    oci.clean()

    def limited(config):
        own(config)
        config["linux"]["resources"] = {"memory": {"limit": 64 << 20}}

    status, text = oci.create(["true"], change=limited, check=False)
    assert status and "memory.limit" in text and "delegated" in text and "without limits" not in text, text


def test_an_ordinary_user_uses_what_is_delegated(ordinary):
    top = next((top for top in ("/sys/fs/cgroup/unified", "/sys/fs/cgroup") if Path(top, "cgroup.procs").exists()
                and Path(top, "cgroup.controllers").exists()), None)
    if not top:
        pytest.skip("this host has no cgroup v2")
    place = Path(top, f"warren-deleg-{os.getpid()}")
    (place / "me").mkdir(parents=True)
    try:
        for file in (place, place / "cgroup.procs", place / "cgroup.subtree_control", place / "me",
                     place / "me/cgroup.procs"):
            os.chown(file, 65534, 65534)
        oci = ordinary("sh", "-c", f"echo $$ > {place}/me/cgroup.procs && exec \"$@\"", "-")
        name = oci.start(change=own)
        assert (place / name).is_dir() and "without limits" not in (oci.folder / "out").read_text()
        oci("pause", name)
        assert oci.state(name)["status"] == "paused"
        oci("resume", name)
        oci("kill", "--all", name, "KILL")
        oci.clean()
        assert not (place / name).exists()
    finally:
        wait_for(lambda: subprocess.run(f"rmdir {place}/* {place} 2>/dev/null", shell=True, check=False)
                 and not place.exists())


class Systemd:
    def __init__(self, folder, mode=""):
        self.address = f"unix:path={folder}/bus"
        self.daemon = subprocess.Popen(["dbus-daemon", "--session", "--nofork", "--nopidfile",
                                        f"--address={self.address}"], stderr=subprocess.DEVNULL)
        wait_for(lambda: Path(folder, "bus").exists())
        self.log = folder / "calls"
        self.service = subprocess.Popen([sys.executable, str(HERE / "fake_systemd.py"), self.address, mode],
                                        stdout=open(self.log, "w"))
        wait_for(lambda: self.calls("ready"))

    def calls(self, name):
        return [call for call in map(json.loads, self.log.read_text().splitlines()) if call["call"] == name]

    def stop(self):
        for process in (self.service, self.daemon):
            process.kill()
            process.wait()
        subprocess.run("rmdir /sys/fs/cgroup/*/warrentest.slice 2>/dev/null", shell=True, check=False)


@pytest.fixture
def systemd(tmp_path):
    need("dbus-daemon")
    pytest.importorskip("dbus", reason="python3-dbus is not installed")
    pytest.importorskip("gi", reason="python3-gi is not installed")
    started = []

    def start(mode=""):
        started.append(Systemd(tmp_path, mode))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.mark.parametrize("mode", ["", "exists-once"])
def test_systemd_makes_the_scope(tmp_path, systemd, mode):
    bus = systemd(mode)
    oci = Runtime(tmp_path, "--systemd-cgroup", env={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    try:
        unit = f"cri-sd{os.getpid()}.scope"
        name = oci.start(path=f"warrentest.slice:cri:sd{os.getpid()}",
                         resources={"memory": {"limit": 64 << 20}, "pids": {"limit": 30},
                                    "cpu": {"quota": 50000, "period": 100000}})
        call = bus.calls("StartTransientUnit")[-1]
        assert call["unit"] == unit and call["mode"] == "replace" and call["subscribed"]
        wanted = call["properties"]
        assert wanted["Slice"] == "warrentest.slice" and wanted["Delegate"] is True
        assert wanted["TasksMax"] == 30 and wanted["CPUQuotaPerSecUSec"] == 500000
        assert wanted.get("MemoryMax", wanted.get("MemoryLimit")) == 64 << 20
        pid = oci.state(name)["pid"]
        places = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        assert all(place.endswith(f"/warrentest.slice/{unit}") for place in places), places
        assert cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
        oci("update", "--pids-limit", "11", name)
        assert bus.calls("SetUnitProperties")[-1]["properties"] == {"TasksMax": 11}
        assert cgroup_value(pid, "pids", "pids.max", "pids.max") == "11"
        oci("delete", "--force", name)
        assert bus.calls("StopUnit")[-1]["unit"] == unit
        assert not cgroups_with(unit)
        assert bool(bus.calls("ResetFailedUnit")) == (mode == "exists-once")
    finally:
        oci.clean()


def test_systemd_refuses(tmp_path, systemd):
    bus = systemd("fail")
    oci = Runtime(tmp_path, "--systemd-cgroup", env={"DBUS_SYSTEM_BUS_ADDRESS": bus.address})
    status, text = oci.create(["true"], path="warrentest.slice:cri:bad", check=False)
    assert status and "cri-bad.scope" in text and "failed" in text, text
    status, text = oci.create(["true"], path="/not/like/that", check=False)
    assert status and "slice:prefix:name" in text, text
    oci.clean()


def test_no_systemd_is_told(tmp_path):
    oci = Runtime(tmp_path, "--systemd-cgroup", env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/none"})
    status, text = oci.create(["true"], path="a.slice:b:c", check=False)
    assert status and "systemd cgroup manager" in text and "D-Bus" in text, text
    oci.clean()


def test_features(oci):
    doc = json.loads(oci("features").stdout)
    assert doc["ociVersionMax"] == "1.3.0" and "createRuntime" in doc["hooks"]
    assert {"bind", "rro", "rslave", "noexec"} <= set(doc["mountOptions"])
    assert doc["linux"]["cgroup"] == {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True}
    assert "CAP_SYS_ADMIN" in doc["linux"]["capabilities"] and "time" in doc["linux"]["namespaces"]
    assert "SCMP_ACT_NOTIFY" in doc["linux"]["seccomp"]["actions"]


def test_list(oci):
    assert json.loads(oci("list", "--format", "json").stdout) == []
    name = oci.start(change=lambda config: config.update(annotations={"a.b": "c"}))
    row = json.loads(oci("list", "--format", "json").stdout)[0]
    assert row["id"] == name and row["status"] == "running" and row["annotations"] == {"a.b": "c"}
    assert row["bundle"] == str(oci.folder / "bundle") and row["owner"] == "root"
    assert oci("list", "-q").stdout == name + "\n"
    assert oci("list").stdout.splitlines()[1].split()[0] == name


def test_spec_is_not_overwritten(tmp_path):
    run(OCI, "spec", "--bundle", str(tmp_path))
    again = run(OCI, "spec", "--bundle", str(tmp_path), check=False)
    assert again.returncode and "exists" in again.stderr
    (tmp_path / "config.json").unlink()
    run(OCI, "spec", "--rootless", "--bundle", str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} in config["linux"]["namespaces"]


def test_unknown_containers_are_told(oci):
    for verb in ("pause", "resume", "update", "events", "ps"):
        done = oci(verb, "nobody", check=False)
        assert done.returncode and "does not exist" in done.stderr, verb
