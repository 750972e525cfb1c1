"""podman drives Warren as its runtime: the commands that people type, on a local image, no network."""
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest

from containers import cgroup_value, cgroups_with, layer, need, run, runtime, wait_for

need("podman", "conmon")

CONF = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
netns = "none"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman:
    def __init__(self, folder):
        self.env = {**os.environ, "CONTAINERS_CONF": f"{folder}/containers.conf"}
        (folder / "containers.conf").write_text(CONF)
        self.base = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp",
                     "--runtime", runtime()]
        (folder / "image.tar").write_bytes(layer())
        self("import", str(folder / "image.tar"), "warren-test")

    def __call__(self, *args, check=True, **more):
        return run(*self.base, *args, check=check, env=self.env, **more)

    def pid(self, name):
        return int(self("inspect", "-f", "{{.State.Pid}}", name).stdout)

    def status(self, name):
        return self("inspect", "-f", "{{.State.Status}}", name).stdout.strip()


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    engine = Podman(tmp_path_factory.mktemp("podman"))
    yield engine
    engine("rm", "-fa", "-t", "0", check=False)
    engine("rmi", "-fa", check=False)
    engine("system", "reset", "-f", check=False)


@pytest.fixture
def sleeper(podman):
    """A running container in the background."""
    names = []

    def start(*options, command=("sleep", "1000")):
        names.append(podman("run", "-d", *options, "warren-test", *command).stdout.strip())
        return names[-1]

    yield start
    for name in names:
        podman("rm", "-f", "-t", "0", name, check=False)
        assert not cgroups_with(name)


def test_run_gives_output_and_exit_code(podman):
    done = podman("run", "--rm", "warren-test", "sh", "-c", "echo out; echo err >&2; exit 42", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (42, "out\n", "err\n")


def test_a_command_that_is_not_there_is_127(podman):
    done = podman("run", "--rm", "warren-test", "/no/such", check=False)
    assert done.returncode == 127 and "/no/such" in done.stderr


def test_a_command_that_cannot_run_is_126(podman):
    done = podman("run", "--rm", "warren-test", "/etc/passwd", check=False)
    assert done.returncode == 126, done.stderr


def test_input_goes_in(podman):
    assert podman("run", "--rm", "-i", "warren-test", "cat", input="through\n").stdout == "through\n"


def test_environment_user_and_directory(podman):
    done = podman("run", "--rm", "-e", "A=b c", "-u", "65534:65534", "-w", "/tmp", "warren-test", "sh", "-c",
                  "echo $A; id -u; echo $PWD")
    assert done.stdout == "b c\n65534\n/tmp\n"


def test_volumes(podman, tmp_path):
    (tmp_path / "file").write_text("seen\n")
    assert podman("run", "--rm", "-v", f"{tmp_path}:/mnt:ro", "warren-test", "cat", "/mnt/file").stdout == "seen\n"
    done = podman("run", "--rm", "-v", f"{tmp_path}:/mnt:ro", "warren-test", "touch", "/mnt/new", check=False)
    assert done.returncode == 1 and "Read-only" in done.stderr
    podman("run", "--rm", "-v", f"{tmp_path}:/mnt", "warren-test", "touch", "/mnt/new")
    assert (tmp_path / "new").exists()


def test_read_only_tmpfs_and_capabilities(podman):
    done = podman("run", "--rm", "--read-only", "--tmpfs", "/x", "--cap-drop", "all", "warren-test", "sh", "-c",
                  "touch /x/y && touch /no; grep CapEff /proc/self/status", check=False)
    assert "Read-only" in done.stderr and "0000000000000000" in done.stdout


def test_privileged_sees_the_devices(podman):
    done = podman("run", "--rm", "--privileged", "warren-test", "sh", "-c", "head -c 1 /dev/vda >/dev/null; ls /dev/null",
                  check=False)
    assert "/dev/null" in done.stdout


def test_detached_exec_logs_stop(podman, sleeper):
    name = sleeper(command=("sh", "-c", "echo begun; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done"))
    wait_for(lambda: "begun" in podman("logs", name).stdout)
    done = podman("exec", "-e", "K=v", name, "sh", "-c", "echo $K $$; exit 7", check=False)
    assert done.returncode == 7 and done.stdout.startswith("v ")
    assert podman("exec", "-i", name, "cat", input="in\n").stdout == "in\n"
    podman("stop", "-t", "10", name)
    assert "bye" in podman("logs", name).stdout
    assert podman("inspect", "-f", "{{.State.ExitCode}}", name).stdout == "3\n"


def test_kill_and_restart(podman, sleeper):
    name = sleeper()
    podman("kill", "-s", "KILL", name)
    assert podman("wait", name).stdout == "137\n"
    podman("start", name)
    assert podman.status(name) == "running"
    podman("restart", "-t", "0", name)
    assert podman.status(name) == "running"


def test_pause_and_unpause(podman, sleeper):
    name = sleeper(command=("sh", "-c", "while :; do echo tick; sleep 0.05; done"))
    wait_for(lambda: podman("logs", name).stdout.count("tick") > 2)
    podman("pause", name)
    assert podman.status(name) == "paused"
    before = podman("logs", name).stdout.count("tick")
    time.sleep(0.5)
    assert podman("logs", name).stdout.count("tick") == before
    podman("unpause", name)
    wait_for(lambda: podman("logs", name).stdout.count("tick") > before)


def test_limits_are_set(podman, sleeper):
    name = sleeper("-m", "64m", "--cpus", "0.5", "--pids-limit", "33", "--cpu-shares", "512", "--cpuset-cpus", "0")
    pid = podman.pid(name)
    assert cgroup_value(pid, "memory", "memory.limit_in_bytes", "memory.max") == str(64 << 20)
    assert cgroup_value(pid, "cpu", "cpu.cfs_quota_us", "cpu.max").split()[0] == "50000"
    assert cgroup_value(pid, "pids", "pids.max", "pids.max") == "33"
    assert cgroup_value(pid, "cpuset", "cpuset.cpus", "cpuset.cpus") == "0"
    assert podman("exec", name, "nproc").stdout == "1\n"


def test_out_of_memory_kills(podman):
    done = podman("run", "--rm", "-m", "16m", "--memory-swap", "16m", "warren-test", "dd", "if=/dev/zero",
                  "of=/dev/null", "bs=64M", "count=1", check=False)
    assert done.returncode == 137


def test_stats(podman, sleeper):
    name = sleeper("-m", "64m")
    row = json.loads(podman("stats", "--no-stream", "--format", "json", name).stdout)[0]
    assert row["pids"] == "1" and "67.11MB" in row["mem_usage"]


def test_top_and_ps(podman, sleeper):
    name = sleeper()
    assert "sleep 1000" in podman("top", name).stdout
    assert name[:12] in podman("ps").stdout


def test_update(podman, sleeper):
    name = sleeper("-m", "64m")
    done = podman("update", "-m", "32m", name, check=False)
    if "unrecognized command" in done.stderr:
        pytest.skip("this podman has no update command (4.4 and later have)")
    assert cgroup_value(podman.pid(name), "memory", "memory.limit_in_bytes", "memory.max") == str(32 << 20)


def on_terminal(command, env, typed, until, seconds=30):
    """Runs a command on a terminal of its own, types, and returns what came, and its exit status."""
    master, slave = pty.openpty()
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    text, end, sent = b"", time.monotonic() + seconds, False
    while time.monotonic() < end:
        if select.select([master], [], [], 0.1)[0]:
            try:
                piece = os.read(master, 4096)
            except OSError:
                break
            text += piece
            if not sent and until in text:
                os.write(master, typed)
                sent = True
        elif process.poll() is not None:
            break
    process.poll() is None and time.sleep(1)
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    os.close(master)
    return text.decode(errors="replace"), process.wait()


def test_interactive_terminal(podman):
    text, status = on_terminal([*podman.base, "run", "--rm", "-it", "warren-test", "sh"], podman.env,
                               b"tty; stty size; exit 5\n", b"# ")
    assert "/dev/pts/0" in text and status == 5, text


def test_exec_on_a_terminal(podman, sleeper):
    name = sleeper()
    text, status = on_terminal([*podman.base, "exec", "-it", name, "sh"], podman.env, b"tty && exit 6\n", b"# ")
    assert "/dev/pts/" in text and status == 6, text


def test_init_reaps_and_forwards(podman, sleeper):
    name = sleeper(command=("sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done"))
    podman("kill", "-s", "TERM", name)
    assert podman("wait", name).stdout == "9\n"


def test_pod_shares_the_network_and_pid_namespaces(podman, sleeper):
    name = sleeper()
    done = podman("run", "--rm", "--pid", f"container:{name}", "warren-test", "ps")
    assert "sleep 1000" in done.stdout


def test_hooks_and_annotations_do_not_disturb(podman):
    done = podman("run", "--rm", "--annotation", "a.b/c=d", "--label", "x=y", "--hostname", "box", "warren-test",
                  "uname", "-n")
    assert done.stdout == "box\n"


def test_nothing_is_left(podman):
    podman("rm", "-fa", "-t", "0")
    assert podman("ps", "-aq").stdout == ""
    assert not cgroups_with("libpod-") or all("conmon" in name for name in cgroups_with("libpod-"))
