"""Commands behind the pv wall (and the container wall beside it: the same cases, the same results)."""
import json
import os
import pty
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
WARREN = str(BUILD / "warren")
KERNELS = Path(os.environ.get("WARREN_TEST_KERNELS", "/var/lib/warren/kernels"))


def pv_missing():
    if os.geteuid() != 0:
        return "needs root"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no /dev/kvm"
    if not shutil.which("mkfs.erofs"):
        return "no mkfs.erofs"
    if not shutil.which("busybox"):
        return "no busybox"
    return None


pytestmark = pytest.mark.skipif(pv_missing() is not None, reason=str(pv_missing()))


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A data directory with a kernel, a run directory, a root file system."""
    base = tmp_path_factory.mktemp("pv")
    env = {**os.environ, "WARREN_DATA": str(base / "data"), "WARREN_RUN": str(base / "run")}
    (base / "run").mkdir()
    (base / "nothing").mkdir()
    if (KERNELS / "default").is_dir():
        (base / "data").mkdir()
        shutil.copytree(KERNELS, base / "data/kernels", symlinks=True,
                        ignore=shutil.ignore_patterns("initramfs-*"))
        # One that another version imported lacks modules: the error is told before anything is made.
        told = subprocess.run([WARREN, "run", "--rm", "--pv", "-m", "64m", "--rootfs", str(base / "nothing"), "true"],
                              env=env, text=True, capture_output=True, timeout=60).stderr
        if "another version of Warren" in told:
            shutil.rmtree(base / "data/kernels")
    if not (base / "data/kernels").exists() and subprocess.run([WARREN, "kernel", "import"], env=env, capture_output=True, timeout=300).returncode:
        pytest.skip("no kernel package to be had")
    root = base / "root"
    for name in ("bin", "proc", "sys", "dev", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), root / "bin/busybox")
    for name in ("sh cat echo sleep head true false tty stty kill ls id uname md5sum dd yes wc grep env "
                 "pwd touch mkdir hostname mount seq").split():
        (root / "bin" / name).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/marker").write_text("from the image\n")
    place.env = env
    place.root = root
    yield place
    for line in subprocess.run([WARREN, "ps", "-aq"], env=env, capture_output=True, text=True).stdout.split():
        subprocess.run([WARREN, "rm", "-f", line], env=env, capture_output=True, timeout=30)


def warren(place, *args, text=True, **more):
    return subprocess.run([WARREN, *args], env=place.env, capture_output=True, text=text, timeout=60, **more)


@pytest.fixture(params=["container", "pv"])
def run(request, place):
    def go(*args, options=(), **more):
        return warren(place, "run", "--rm", "--isolation", request.param, *options,
                      "--rootfs", str(place.root), *args, **more)
    go.wall = request.param
    return go


@pytest.fixture(params=["container", "pv"])
def instance(request, place):
    done = warren(place, "run", "-d", "--isolation", request.param, "--rootfs", str(place.root), "sleep", "300")
    assert done.returncode == 0, done.stderr
    name = done.stdout.strip()
    yield name
    warren(place, "rm", "-f", name)


# ---- the same behind both walls ----

@pytest.mark.parametrize("command,code", [
    (["true"], 0), (["false"], 1), (["sh", "-c", "exit 42"], 42), (["no-such-command"], 127),
    (["/etc"], 126), (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
])
def test_exit_codes(run, command, code):
    assert run(*command).returncode == code


def test_output_streams_stay_apart(run):
    done = run("sh", "-c", "echo one; echo two >&2; echo three")
    assert (done.stdout, done.stderr, done.returncode) == ("one\nthree\n", "two\n", 0)


def test_input_goes_in(run):
    data = os.urandom(200_000)
    done = run("md5sum", options=["-i"], input=data, text=False)
    import hashlib
    assert done.stdout.split()[0].decode() == hashlib.md5(data).hexdigest()


def test_much_output_comes_out(run):
    done = run("sh", "-c", "yes 0123456789abcde | head -c 2000000")
    assert len(done.stdout) == 2_000_000


def test_process_settings(run):
    done = run("sh", "-c", "echo $A; pwd; id -u; id -g; hostname; umask; grep NoNewPrivs /proc/self/status",
               options=["-e", "A=b c", "-w", "/tmp", "-u", "1000:1000", "--hostname", "here",
                        "--security-opt", "no-new-privileges"])
    assert done.stdout.split("\n")[:6] == ["b c", "/tmp", "1000", "1000", "here", "0022"]
    assert done.stdout.rstrip().endswith("1")


def test_capabilities_and_seccomp_are_the_same(run):
    done = run("grep", "-E", "^(Cap|Seccomp:)", "/proc/self/status")
    assert "CapEff:\t00000000a80425fb" in done.stdout and "Seccomp:\t2" in done.stdout
    done = run("grep", "CapEff", "/proc/self/status", options=["--cap-drop", "ALL", "--cap-add", "chown"])
    assert done.stdout.split()[1] == "0000000000000001"


def test_limits_and_mounts(run):
    done = run("sh", "-c", "ulimit -n; grep ' /data ' /proc/mounts; cat /etc/marker; echo x >/tmp/y && cat /tmp/y",
               options=["--ulimit", "nofile=77:99", "--tmpfs", "/data:size=1m"])
    lines = done.stdout.splitlines()
    assert lines[0] == "77" and lines[1].startswith("tmpfs /data") and lines[2:] == ["from the image", "x"]


def test_read_only_root(run):
    done = run("touch", "/file", options=["--read-only"])
    assert done.returncode == 1 and "Read-only file system" in done.stderr


def test_terminal(run, place):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(place.env)
        os.execv(WARREN, [WARREN, "run", "--rm", "-it", "--isolation", run.wall, "--rootfs", str(place.root),
                          "sh", "-c", "stty size; read x; echo got:$x; sleep 60; echo never"])
    import fcntl
    import struct
    import termios
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
    seen, typed, stopped, end = b"", False, False, time.time() + 30
    while time.time() < end:
        if select.select([fd], [], [], 0.2)[0]:
            try:
                seen += os.read(fd, 4096)
            except OSError:
                break
        if not typed and b"\r\n" in seen:
            os.write(fd, b"word\r")
            typed = True
        if typed and not stopped and b"got:word" in seen:
            os.write(fd, b"\x03")
            stopped = True
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert b"got:word" in seen and b"never" not in seen
    assert status == 130


def test_exec(instance, place):
    done = warren(place, "exec", "-e", "V=1", "-w", "/tmp", instance, "sh", "-c", "echo $V; pwd; echo e >&2; exit 9")
    assert (done.stdout, done.stderr, done.returncode) == ("1\n/tmp\n", "e\n", 9)
    assert warren(place, "exec", instance, "nothing-there").returncode == 127
    done = warren(place, "exec", "-i", instance, "cat", input="in and out")
    assert done.stdout == "in and out"


def test_signals_and_stop(instance, place):
    assert warren(place, "kill", "-s", "KILL", instance).returncode == 0
    assert warren(place, "wait", instance).stdout.strip() == "137"
    assert warren(place, "start", instance).returncode == 0
    assert warren(place, "exec", instance, "true").returncode == 0
    assert warren(place, "stop", "-t", "1", instance).returncode == 0
    assert json.loads(warren(place, "inspect", instance).stdout)[0]["State"]["Status"] == "exited"


def test_pause(instance, place):
    assert warren(place, "pause", instance).returncode == 0
    assert "Paused" in warren(place, "ps").stdout
    assert warren(place, "unpause", instance).returncode == 0
    assert warren(place, "exec", instance, "echo", "on").stdout == "on\n"


def test_logs_and_stats(place, run):
    done = warren(place, "run", "-d", "--isolation", run.wall, "--rootfs", str(place.root), "sh", "-c",
                  "echo said; exec sleep 100")
    name = done.stdout.strip()
    try:
        end = time.time() + 10
        while time.time() < end and "said" not in warren(place, "logs", name).stdout:
            time.sleep(0.1)
        assert warren(place, "logs", name).stdout == "said\n"
        assert name[:12] in warren(place, "stats", "--no-stream", name).stdout
    finally:
        warren(place, "rm", "-f", name)


def test_copy_both_ways(instance, place, tmp_path):
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/sub/f").write_text("content\n")
    (tmp_path / "one").write_text("1\n")
    for source, target in (("one", "/tmp"), ("one", "/tmp/renamed"), ("d", "/tmp/fresh")):
        done = warren(place, "cp", str(tmp_path / source), f"{instance}:{target}")
        assert done.returncode == 0, done.stderr
    done = warren(place, "exec", instance, "cat", "/tmp/one", "/tmp/renamed", "/tmp/fresh/sub/f")
    assert done.stdout == "1\n1\ncontent\n"
    (tmp_path / "out").mkdir()
    for source, target in (("/tmp/fresh", "out"), ("/tmp/fresh", "out/other"), ("/tmp/one", "out/file")):
        done = warren(place, "cp", f"{instance}:{source}", str(tmp_path / target))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/fresh/sub/f").read_text() == (tmp_path / "out/other/sub/f").read_text() == "content\n"
    assert (tmp_path / "out/file").read_text() == "1\n"
    assert warren(place, "cp", f"{instance}:/not/there", str(tmp_path)).returncode != 0


# ---- what only a guest has ----

def test_own_kernel(place):
    done = warren(place, "run", "--rm", "--pv", "--rootfs", str(place.root), "uname", "-r")
    assert done.stdout.strip() != os.uname().release and done.returncode == 0


def test_what_is_written_does_not_stay(place):
    for _ in range(2):
        done = warren(place, "run", "--rm", "--pv", "--rootfs", str(place.root), "sh", "-c",
                      "mkdir /new; ls /new; echo x >/new/file; ls /new")
        assert done.stdout == "file\n"
    assert not (place.root / "new").exists()


def test_image_with_a_disk_keeps_what_is_written(place, tmp_path):
    subprocess.run(["tar", "-C", str(place.root), "-cf", str(tmp_path / "root.tar"), "."], check=True)
    assert warren(place, "image", "import", str(tmp_path / "root.tar"), "kept").returncode == 0
    name = warren(place, "run", "-d", "--pv", "kept", "sh", "-c", "cat /kept; sleep 100").stdout.strip()
    try:
        assert warren(place, "exec", name, "sh", "-c", "echo once >/kept").returncode == 0
        assert warren(place, "stop", "-t", "0", name).returncode == 0
        assert warren(place, "start", name).returncode == 0
        assert warren(place, "exec", name, "cat", "/kept").stdout == "once\n"
    finally:
        warren(place, "rm", "-f", name)


def test_vmm_is_jailed(place):
    name = warren(place, "run", "-d", "--pv", "--rootfs", str(place.root), "sleep", "100").stdout.strip()
    try:
        pid = json.loads(warren(place, "inspect", name).stdout)[0]["State"]["Pid"]
        vmm = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{vmm}/status").read_text().splitlines())
        assert int(status["Uid"].split()[0]) >= 0x70000000
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1"
        assert status["NSpid"].split()[-1] == "1"
        for space in ("net", "mnt", "ipc", "uts", "pid", "cgroup"):
            assert os.readlink(f"/proc/{vmm}/ns/{space}") != os.readlink(f"/proc/self/ns/{space}"), space
        assert os.listdir(f"/proc/{vmm}/root") == []
        names = [os.readlink(f"/proc/{vmm}/fd/{fd}") for fd in os.listdir(f"/proc/{vmm}/fd")]
        assert not any(n.endswith((".log", name)) for n in names), names
        # Each thread has a filter of its own on top of the process's two.
        tasks = [t.read_text() for t in Path(f"/proc/{vmm}/task").glob("*/status")]
        # A sanitizer's own calls would not pass the confinement's.
        filters = 1 if b"__asan_init" in (BUILD / "warren").read_bytes() else 3
        assert len(tasks) >= 3 and all(f"\nSeccomp_filters:\t{filters}\n" in t for t in tasks), tasks
    finally:
        warren(place, "rm", "-f", name)


@pytest.mark.parametrize("thread, most, requests", [
    ("vcpu", 12, {"KVM_RUN", "KVM_GET_SREGS", "KVM_SET_SREGS", "KVM_SET_XCRS"}),
    ("disk", 22, {"BLKDISCARD", "BLKZEROOUT"}),
    ("main", 22, {"KVM_IOEVENTFD", "KVM_GET_STATS_FD"}),
])
def test_threads_of_the_vmm_may_do_little(thread, most, requests):
    def listed(name):
        path = Path(WARREN).resolve().parent / "src/generated" / name
        if not path.exists():
            pytest.skip("not a build directory")
        return {line.rstrip(",") for line in path.read_text().splitlines() if line.endswith(",")}
    calls = listed(f"jail_pv_{thread}.h")
    assert 0 < len(calls) <= most, calls
    assert not calls & {"SYS_openat", "SYS_open", "SYS_execve", "SYS_clone3", "SYS_clone", "SYS_connect", "SYS_prctl"}
    assert listed(f"jail_pv_{thread}_ioctls.h") == requests


def test_boot_log_and_hypervisor_figures(place):
    name = warren(place, "run", "-d", "--pv", "--append", "loglevel=7", "--rootfs", str(place.root), "sleep",
                  "100").stdout.strip()
    try:
        assert "erofs: (device xvda): mounted" in warren(place, "logs", "--boot", name).stdout
        figures = dict(line.split() for line in warren(place, "stats", "--hypervisor", name).stdout.splitlines())
        assert int(figures["exits"]) > 0 and int(figures["setup_ns"]) > 0
        for name_ in ("trap.page-fault", "hypercall.mmu_update", "exit.timer"):
            kind, what = name_.split(".")
            assert int(figures[name_]) > 0 and int(figures[f"{kind}-ns.{what}"]) > 0, name_
        assert int(figures["guest_ns"]) > sum(int(v) for n, v in figures.items() if n.startswith("trap-ns."))
        assert "loglevel=7" in warren(place, "exec", name, "cat", "/proc/cmdline").stdout
    finally:
        warren(place, "rm", "-f", name)


def test_killed_vmm_is_told(place):
    name = warren(place, "run", "-d", "--pv", "--rootfs", str(place.root), "sleep", "100").stdout.strip()
    pid = json.loads(warren(place, "inspect", name).stdout)[0]["State"]["Pid"]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(children) == 1
    os.kill(int(children[0]), 9)
    assert warren(place, "wait", name).stdout.strip() == "125"
    assert "VMM was killed by signal 9" in warren(place, "logs", name).stderr
    warren(place, "rm", name)


def test_killed_monitor_takes_the_vmm_along(place):
    name = warren(place, "run", "-d", "--pv", "--rootfs", str(place.root), "sleep", "100").stdout.strip()
    pid = json.loads(warren(place, "inspect", name).stdout)[0]["State"]["Pid"]
    vmm = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(pid, 9)
    assert warren(place, "wait", name).stdout.strip() == "137"
    end = time.time() + 5
    while Path(f"/proc/{vmm}").exists() and time.time() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{vmm}").exists()
    assert warren(place, "rm", name).returncode == 0


def test_guest_that_powers_off(place):
    name = warren(place, "run", "-d", "--pv", "--privileged", "--rootfs", str(place.root), "sh", "-c",
                  "sleep 1; echo c >/proc/sysrq-trigger; sleep 20").stdout.strip()
    assert warren(place, "wait", name).stdout.strip() == "125"
    assert "crash" in warren(place, "logs", name).stderr
    warren(place, "rm", name)


@pytest.mark.parametrize("options,text", [
    (["--kernel", "nosuch"], "no kernel 'nosuch'"),
    (["--vcpus", "9999"], "--vcpus 9999: expected 1 to"),
    (["--pv-memory", "mixed"], "none of auto|merged|isolated"),
])
def test_bad_wishes_are_one_line(place, options, text):
    before = sorted(Path(place.env["WARREN_RUN"]).iterdir())
    done = warren(place, "run", "--rm", "--pv", *options, "--rootfs", str(place.root), "true")
    assert done.returncode == 125 and text in done.stderr
    assert done.stderr.count("\n") == 1 + ("See 'warren run --help'." in done.stderr)
    assert sorted(Path(place.env["WARREN_RUN"]).iterdir()) == before


def test_no_kernel_is_one_line(place, tmp_path):
    env = {**place.env, "WARREN_DATA": str(tmp_path)}
    done = subprocess.run([WARREN, "run", "--rm", "--pv", "--rootfs", str(place.root), "true"], env=env,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 125 and "warren kernel import" in done.stderr
