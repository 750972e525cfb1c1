"""containerd drives Warren by its shim: by `ctr`, and by the CRI plugin as a kubelet would. The daemon is the test's
own, on private folders and sockets; pods use the host's network, since no CNI plugin is needed for that."""
import json
import os
import shutil
import subprocess
import time

import pytest

from containers import cgroup_value, cgroups_with, need, oci_archive, run, runtime, wait_for

need("containerd", "ctr:containerd")
grpc = pytest.importorskip("grpc", reason="python3-grpcio is not installed (Debian package python3-grpcio)")

IMAGE = "docker.io/library/warren-test:latest"
CONF = """version = 2
root = "{top}/root"
state = "{top}/state"
[grpc]
  address = "{top}/containerd.sock"
[ttrpc]
  address = "{top}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "warren"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.warren]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.warren.options]
        BinaryName = "{runtime}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{top}/cni/bin"
    conf_dir = "{top}/cni/conf"
[plugins."io.containerd.internal.v1.opt"]
  path = "{top}/opt"
"""


def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def message(fields):
    """Protocol buffers from {number: value}: numbers, text, nested dictionaries, and lists of these."""
    out = b""
    for number, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, int):
                out += varint(number << 3) + varint(item)
                continue
            data = message(item) if isinstance(item, dict) else item.encode() if isinstance(item, str) else item
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def parse(data):
    """{number: last value}, nested messages left as bytes."""
    fields, at = {}, 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            fields[key >> 3] = number()
        elif key & 7 == 2:
            size = number()
            fields[key >> 3] = data[at:at + size]
            at += size
        else:
            size = 8 if key & 7 == 1 else 4
            fields[key >> 3] = data[at:at + size]
            at += size
    return fields


def field(data, *path):
    for number in path:
        data = parse(data).get(number, b"")
    return data


class Daemon:
    def __init__(self, folder):
        self.folder, self.sock = folder, f"{folder}/containerd.sock"
        (folder / "config.toml").write_text(CONF.format(top=folder, image=IMAGE, runtime=shutil.which(runtime())))
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(["containerd", "--config", str(folder / "config.toml")], stdout=self.log,
                                        stderr=self.log, start_new_session=True)
        wait_for(lambda: run("ctr", "-a", self.sock, "version", check=False).returncode == 0, 30)
        oci_archive(folder / "image.tar", IMAGE, ["sleep", "100000"])
        for space in ("default", "k8s.io"):
            self.ctr("-n", space, "images", "import", str(folder / "image.tar"))
        self.channel = grpc.insecure_channel(f"unix://{self.sock}")
        wait_for(lambda: self.cri("Version", {1: "v1"}), 20)

    def ctr(self, *args, check=True, **more):
        return run("ctr", "-a", self.sock, *args, check=check, **more)

    def cri(self, name, fields):
        call = self.channel.unary_unary(f"/runtime.v1.RuntimeService/{name}", request_serializer=message,
                                        response_deserializer=bytes)
        try:
            return call(fields, timeout=60)
        except grpc.RpcError as error:
            if name == "Version":
                return None
            raise AssertionError(f"{name}: {error.details()}\n{(self.folder / 'log').read_text()[-2000:]}") from None

    def stop(self):
        self.channel.close()
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        for line in reversed(open("/proc/self/mountinfo").read().splitlines()):
            if line.split()[4].startswith(str(self.folder)):
                subprocess.run(["umount", "-l", line.split()[4]], check=False)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    # A socket's path has at most 107 bytes; pytest's folders may be longer.
    folder = tmp_path_factory.mktemp("cd")
    server = Daemon(folder)
    yield server
    server.stop()
    for space in ("default", "k8s.io"):
        assert not [name for name in cgroups_with("warren-cd-") if f"/{space}/" in name]
    subprocess.run("rmdir /sys/fs/cgroup/*/default /sys/fs/cgroup/*/k8s.io 2>/dev/null", shell=True, check=False)


@pytest.fixture
def ctr(daemon):
    names = []

    def start(*options, command=("sleep", "1000")):
        name = f"warren-cd-{os.getpid()}-{len(names)}-{time.monotonic_ns()}"
        names.append(name)
        daemon.ctr("run", "-d", "--runc-binary", shutil.which(runtime()), *options, IMAGE, name, *command)
        return name

    yield start
    for name in names:
        daemon.ctr("task", "kill", "-s", "9", name, check=False)
        wait_for(lambda: name not in daemon.ctr("task", "ls", "-q").stdout.split()
                 or daemon.ctr("task", "rm", "-f", name, check=False).returncode == 0)
        daemon.ctr("container", "rm", name)
        assert not cgroups_with(name)


def test_ctr_run(daemon):
    done = daemon.ctr("run", "--rm", "--runc-binary", shutil.which(runtime()), IMAGE, "warren-cd-run", "sh", "-c",
                      "echo out; exit 4", check=False)
    assert (done.returncode, done.stdout) == (4, "out\n"), done.stderr


def test_ctr_reports_the_reason(daemon):
    done = daemon.ctr("run", "--rm", "--runc-binary", shutil.which(runtime()), IMAGE, "warren-cd-bad", "/no/such",
                      check=False)
    assert done.returncode and "/no/such" in done.stderr, done.stderr


def test_ctr_exec_pause_metrics(daemon, ctr):
    name = ctr("--memory-limit", str(64 << 20))
    done = daemon.ctr("task", "exec", "--exec-id", "e1", name, "sh", "-c", "echo in; exit 5", check=False)
    assert (done.returncode, done.stdout) == (5, "in\n"), done.stderr
    daemon.ctr("task", "pause", name)
    assert "PAUSED" in daemon.ctr("task", "ls").stdout
    daemon.ctr("task", "resume", name)
    assert "RUNNING" in daemon.ctr("task", "ls").stdout
    assert "sleep" in daemon.ctr("task", "ps", name).stdout or "PID" in daemon.ctr("task", "ps", name).stdout
    assert str(64 << 20) in daemon.ctr("task", "metrics", name).stdout


class Pod:
    def __init__(self, daemon, name):
        self.daemon = daemon
        self.config = {1: {1: name, 2: f"uid-{name}", 3: "default", 4: 0}, 4: {}, 3: str(daemon.folder / "logs"),
                       8: {1: f"/warren-cri-{os.getpid()}", 2: {1: {1: 2, 2: 1, 3: 0}}}}
        self.id = field(daemon.cri("RunPodSandbox", {1: self.config}), 1).decode()

    def create(self, name, command, limits=None, **more):
        linux = {1: limits or {}, 2: {3: {1: 2, 2: 1, 3: 0}}}
        config = {1: {1: name, 2: 0}, 2: {1: IMAGE}, 3: list(command), 11: f"{name}.log", 15: linux, **more}
        answer = self.daemon.cri("CreateContainer", {1: self.id, 2: config, 3: self.config})
        return field(answer, 1).decode()

    def remove(self):
        self.daemon.cri("StopPodSandbox", {1: self.id})
        self.daemon.cri("RemovePodSandbox", {1: self.id})


@pytest.fixture(scope="module")
def pod(daemon):
    made = Pod(daemon, f"pod-{os.getpid()}")
    yield made
    made.remove()
    assert not cgroups_with(made.id)
    subprocess.run(f"rmdir /sys/fs/cgroup/*/warren-cri-{os.getpid()} 2>/dev/null", shell=True, check=False)


@pytest.fixture
def container(daemon, pod):
    ids = []

    def start(name, command, limits=None, **more):
        ids.append(pod.create(name, command, limits, **more))
        daemon.cri("StartContainer", {1: ids[-1]})
        return ids[-1]

    yield start
    for one in ids:
        daemon.cri("StopContainer", {1: one, 2: 0})
        daemon.cri("RemoveContainer", {1: one})
        assert not cgroups_with(one)


def state(daemon, container_id):
    """(state, exit code, pid); 1 is running, 2 exited."""
    answer = daemon.cri("ContainerStatus", {1: container_id, 2: 1})
    status = parse(field(answer, 1))
    info = answer[answer.find(b'{"sandboxID"'):]
    pid = json.JSONDecoder().raw_decode(info.decode(errors="replace"))[0]["pid"] if info[:1] == b"{" else 0
    return status.get(3, 0), status.get(7, 0), pid


def execute(daemon, container_id, *command, timeout=10):
    answer = parse(daemon.cri("ExecSync", {1: container_id, 2: list(command), 3: timeout}))
    return answer.get(3, 0), answer.get(1, b"").decode(), answer.get(2, b"").decode()


def test_cri_pod_container_exec(daemon, container):
    one = container("c1", ["sh", "-c", "echo logged; sleep 1000"])
    assert state(daemon, one)[0] == 1
    assert execute(daemon, one, "sh", "-c", "echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    wait_for(lambda: "logged" in (daemon.folder / "logs/c1.log").read_text())


def test_cri_many_execs_at_once(daemon, container):
    one = container("c2", ["sleep", "1000"])
    calls = [daemon.channel.unary_unary("/runtime.v1.RuntimeService/ExecSync", request_serializer=message,
                                        response_deserializer=bytes).future({1: one, 2: ["echo", str(i)], 3: 20})
             for i in range(10)]
    assert [field(call.result(), 1).decode() for call in calls] == [f"{i}\n" for i in range(10)]


def test_cri_exec_timeout(daemon, container):
    one = container("c3", ["sleep", "1000"])
    with pytest.raises(AssertionError, match="timeout"):
        execute(daemon, one, "sleep", "60", timeout=1)
    assert execute(daemon, one, "true")[0] == 0


def test_cri_limits_stats_update(daemon, container):
    one = container("c4", ["sleep", "1000"], {1: 100000, 2: 50000, 3: 512, 4: 64 << 20})
    pid = state(daemon, one)[2]
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    answer = daemon.cri("ContainerStats", {1: one})
    assert field(answer, 1, 2, 2, 1) > 0, "no CPU time"
    assert field(answer, 1, 3, 2, 1) > 0, "no memory"
    daemon.cri("UpdateContainerResources", {1: one, 2: {4: 32 << 20, 2: 25000, 1: 100000}})
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)
    assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "25000"


def test_cri_exit_code_and_signal(daemon, container):
    one = container("c5", ["sh", "-c", "exit 17"])
    wait_for(lambda: state(daemon, one)[0] == 2)
    assert state(daemon, one)[1] == 17
    two = container("c6", ["sh", "-c", "trap 'exit 21' TERM; while :; do sleep 0.05; done"])
    time.sleep(0.3)
    daemon.cri("StopContainer", {1: two, 2: 10})
    assert state(daemon, two)[1] == 21


def test_cri_failed_start_is_told(daemon, pod):
    one = pod.create("c7", ["/no/such"])
    with pytest.raises(AssertionError, match="/no/such"):
        daemon.cri("StartContainer", {1: one})
    daemon.cri("RemoveContainer", {1: one})


def test_cri_survives_a_restart_of_the_daemon(daemon, container):
    one = container("c8", ["sleep", "1000"])
    daemon.process.terminate()
    daemon.process.wait(30)
    daemon.process = subprocess.Popen(["containerd", "--config", str(daemon.folder / "config.toml")],
                                      stdout=daemon.log, stderr=daemon.log, start_new_session=True)
    wait_for(lambda: daemon.cri("Version", {1: "v1"}), 30)
    wait_for(lambda: state(daemon, one)[0] == 1)
    assert execute(daemon, one, "echo", "still here")[1] == "still here\n"
