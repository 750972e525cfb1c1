"""The life of a container by `warren oci`: create, start, state, kill, delete, run, exec, and what callers do besides."""
import json
import os
import signal
import subprocess
import time

import pytest

from bundles import Bundle, time_limit  # noqa: F401

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def box(tmp_path):
    tmp_path.chmod(0o755)
    bundle = Bundle(tmp_path, ["sleep", "1000"])
    yield bundle
    bundle.destroy()


def test_run_gives_output_and_status(box):
    done = box.run("echo out; echo err >&2; exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")
    assert not box.leftovers()


def test_death_by_signal_is_128_plus_its_number(box):
    # Process 1 has no default handlers for itself: a child shows it.
    assert box.run("sh -c 'kill -9 $$'; exit $?", check=False).returncode == 137


def test_create_does_not_run_the_command(box):
    box.config["process"]["args"] = ["touch", "/ran"]
    box.create()
    assert box.status() == "created"
    time.sleep(0.1)
    assert not (box.root / "ran").exists()
    box("start", box.id)
    box.wait("stopped")
    assert (box.root / "ran").exists()


def test_state_has_what_the_specification_asks(box):
    box.config["annotations"] = {"a.b": "c \"d\""}
    box.create("--pid-file", box.path / "pid")
    state = box.state()
    assert state["id"] == box.id and state["bundle"] == str(box.path) and state["ociVersion"].startswith("1.")
    assert state["annotations"] == {"a.b": "c \"d\""}
    assert state["pid"] == int((box.path / "pid").read_text())
    assert os.readlink(f"/proc/{state['pid']}/ns/pid") != os.readlink("/proc/self/ns/pid")
    box("start", box.id)
    assert box.status() == "running"
    box("kill", box.id, "KILL")
    box.wait("stopped")
    assert box.state()["pid"] == 0


def test_second_container_with_the_same_id_is_refused(box):
    box.create()
    done = box("create", box.id, check=False)
    assert done.returncode == 125 and box.id in done.stderr and "exists" in done.stderr
    assert box.status() == "created"


def test_ps_tells_how_long_it_has_run(box):
    box.create()
    box("start", box.id)
    time.sleep(1.1)
    done = subprocess.run([os.environ.get("WARREN_BUILD", "build") + "/warren", "ps", "--format", "{{.Status}}"],
                          env={**os.environ, "WARREN_RUN": str(box.state_root)}, capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("Up ") and "Less than" not in done.stdout, done


def test_start_twice_is_refused(box):
    box.create()
    box("start", box.id)
    done = box("start", box.id, check=False)
    assert done.returncode == 125 and "running" in done.stderr


def test_unknown_container(box):
    for verb in ("state", "start", "kill", "delete"):
        done = box(verb, "nobody", check=False)
        assert done.returncode == 125 and "does not exist" in done.stderr
    assert box("delete", "--force", "nobody").returncode == 0


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a b", "x" * 300])
def test_bad_ids(box, name):
    box.write()
    done = box("create", name, check=False)
    assert done.returncode == 125 and "is not an id" in done.stderr


def test_delete_of_a_running_container_needs_force(box):
    box.create()
    box("start", box.id)
    done = box("delete", box.id, check=False)
    assert done.returncode == 125 and "running" in done.stderr
    box("delete", "--force", box.id)
    assert not box.leftovers()


def test_kill_after_death(box):
    box.create()
    box("start", box.id)
    box("kill", box.id, "9")
    box.wait("stopped")
    done = box("kill", box.id, "9", check=False)
    assert done.returncode == 125 and "not running" in done.stderr
    assert box("kill", "--all", box.id, "9").returncode == 0
    assert box("delete", box.id).returncode == 0
    assert box("delete", "--force", box.id).returncode == 0


def test_kill_all_reaches_every_process(box):
    box.drop("pid")
    box.config["process"]["args"] = ["sh", "-c", "sleep 1000 & sleep 1000 & wait"]
    box.create()
    box("start", box.id)
    time.sleep(0.2)
    box("kill", "--all", box.id, "KILL")
    box.wait("stopped")
    box("delete", box.id)
    assert not box.leftovers()


def test_signals_by_name_and_number(box):
    box.config["process"]["args"] = ["sh", "-c", "trap 'echo usr1' USR1; trap 'echo term; exit 3' TERM; echo ready; "
                                                  "while :; do sleep 0.05; done"]
    box.create()
    box("start", box.id)
    for _ in range(100):
        if "ready" in box.text():
            break
        time.sleep(0.05)
    for name, says in (("SIGUSR1", "usr1"), ("10", "usr1"), ("term", "term")):
        before = box.text().count(says)
        box("kill", box.id, name)
        for _ in range(100):
            if box.text().count(says) > before:
                break
            time.sleep(0.05)
        assert box.text().count(says) > before
    box.wait("stopped")


def test_run_passes_signals_on(box):
    box.config["process"]["args"] = ["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done"]
    box.write()
    p = subprocess.Popen(box.command("run", box.id), stdout=subprocess.PIPE, cwd=box.path)
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(signal.SIGTERM)
    assert p.wait(10) == 9


def test_missing_program_is_an_error_of_create(box):
    box.config["process"]["args"] = ["no-such-thing"]
    box.write()
    done = box("create", box.id, check=False)
    assert done.returncode == 125
    assert f"create '{box.id}': exec 'no-such-thing': executable file not found in $PATH" in done.stderr
    assert not box.leftovers()


@pytest.mark.parametrize("args,status", [(["/nope"], 127), (["/etc/passwd"], 126), (["/etc"], 126), ([""], 127)])
def test_run_of_what_cannot_run(box, args, status):
    box.config["process"]["args"] = args
    assert box.run(check=False).returncode == status
    assert not box.leftovers()


def test_error_in_init_reaches_the_terminal_whole(box):
    box.mount("/data", "/nope", options=["bind"])
    done = box.run("true", check=False)
    assert done.stderr == f"Error: run '{box.id}': mount '/data': source '/nope': No such file or directory\n"


def test_error_is_a_json_line_in_the_log(box):
    log = box.path / "log.json"
    box.config["process"]["args"] = ["nope"]
    box.write()
    box("create", box.id, check=False, globals=("--log", str(log), "--log-format", "json"))
    line = json.loads(log.read_text().splitlines()[-1])
    assert line["level"] == "error" and "executable file not found" in line["msg"] and line["time"].endswith("Z")


def test_exec(box):
    box.create()
    box("start", box.id)
    done = box("exec", box.id, "sh", "-c", "echo $$; cat /proc/1/comm; hostname; exit 5", check=False)
    assert done.returncode == 5
    assert done.stdout.split()[1:] == ["sleep", "box"]


def test_exec_is_in_every_namespace_and_cgroup_of_the_container(box):
    box.create()
    box("start", box.id)
    kinds = "pid mnt net ipc uts cgroup"
    script = f"for n in {kinds}; do readlink /proc/$0/ns/$n; done; cat /proc/$0/cgroup"
    inside = box("exec", box.id, "sh", "-c", script, "self").stdout
    first = box("exec", box.id, "sh", "-c", script, "1").stdout
    assert inside == first and inside.count(":[") == 6


def test_exec_process_file(box):
    box.create()
    box("start", box.id)
    process = {**box.config["process"], "args": ["sh", "-c", "id -u; echo $X; pwd"], "cwd": "/tmp",
               "user": {"uid": 1000, "gid": 1000}, "env": ["X=y", "PATH=/bin"]}
    (box.path / "p.json").write_text(json.dumps(process))
    assert box("exec", "--process", box.path / "p.json", box.id).stdout.split() == ["1000", "y", "/tmp"]


def test_exec_detached_with_pid_file(box):
    box.create()
    box("start", box.id)
    with open(box.path / "o", "w") as out:
        subprocess.run(box.command("exec", "--detach", "--pid-file", box.path / "pid", box.id, "sh", "-c",
                                   "echo hi; sleep 100"), stdout=out, stderr=out, check=True, timeout=10)
    pid = int((box.path / "pid").read_text())
    assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
    time.sleep(0.2)
    assert (box.path / "o").read_text() == "hi\n"


def test_exec_options(box):
    box.create()
    box("start", box.id)
    done = box("exec", "--user", "1000:7", "--cwd", "/tmp", "--env", "A=b", "-g", "33", box.id, "sh", "-c",
               "id -u; id -g; id -G; pwd; echo $A")
    assert done.stdout.split("\n")[:5] == ["1000", "7", "7 33", "/tmp", "b"]


def test_exec_of_what_is_not_there(box):
    box.create()
    box("start", box.id)
    assert box("exec", box.id, "nope", check=False).returncode == 127
    assert box("exec", box.id, "/etc/passwd", check=False).returncode == 126


def test_exec_in_a_stopped_container(box):
    box.config["process"]["args"] = ["true"]
    box.create()
    box("start", box.id)
    box.wait("stopped")
    done = box("exec", box.id, "true", check=False)
    assert done.returncode == 125 and "not running" in done.stderr


def test_detached_run(box):
    box.write()
    with open(box.path / "o", "w") as out:
        subprocess.run(box.command("run", "--detach", "--pid-file", box.path / "pid", box.id), check=True, timeout=10,
                       stdout=out, stderr=out, cwd=box.path)
    assert box.status() == "running"
    assert box.state()["pid"] == int((box.path / "pid").read_text())


def test_preserved_descriptors(box):
    read, write = os.pipe()
    box.config["process"]["args"] = ["sh", "-c", "echo through >&3; ls /proc/self/fd"]
    box.write()
    # 3 is ours; 4 is not to be seen.
    def arrange():
        os.dup2(write, 3)
        os.dup2(write, 4)
        os.set_inheritable(3, True)
        os.set_inheritable(4, True)
    done = subprocess.run(box.command("run", "--preserve-fds", "1", box.id), close_fds=False, preexec_fn=arrange,
                          stdout=subprocess.PIPE, cwd=box.path, timeout=10, text=True)
    assert os.read(read, 100) == b"through\n"
    # 0-3, and one for the directory that ls reads.
    assert done.stdout.split() == ["0", "1", "2", "3", "4"]


def test_listen_fds(box):
    box.config["process"]["args"] = ["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; ls /proc/self/fd | wc -l"]
    box.write()
    def arrange():
        os.dup2(1, 3)
        os.set_inheritable(3, True)
    done = subprocess.run(box.command("run", box.id), close_fds=False, preexec_fn=arrange, cwd=box.path, timeout=10,
                          stdout=subprocess.PIPE, text=True, env={**os.environ, "LISTEN_FDS": "1"})
    assert done.stdout.split() == ["1", "1", "5"]


def test_no_descriptor_of_the_host_is_inherited(box):
    folder = os.open("/", os.O_RDONLY)
    os.set_inheritable(folder, True)
    box.config["process"]["args"] = ["sh", "-c", "ls /proc/self/fd | wc -l"]
    box.write()
    done = subprocess.run(box.command("run", box.id), close_fds=False, capture_output=True, text=True, cwd=box.path)
    os.close(folder)
    assert done.stdout.strip() == "4"


def test_delete_runs_no_other_containers_cleanup(box, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    folder.chmod(0o755)
    other = Bundle(folder, ["sleep", "1000"])
    other.create()
    other("start", other.id)
    box.create()
    box("delete", "--force", box.id)
    assert other.status() == "running"
    other.destroy()


def test_reused_pid_is_not_taken_for_the_container(box):
    box.create()
    box("start", box.id)
    box("kill", box.id, "9")
    box.wait("stopped")
    time.sleep(0.05)  # start times count in hundredths of a second, and no process id comes back within one
    stand_in = subprocess.Popen(["sleep", "100"])
    state = box.state_root / box.id / "state.json"
    text = json.loads(state.read_text())
    text["pid"] = stand_in.pid
    state.write_text(json.dumps(text))
    assert box.status() == "stopped"
    box("kill", "--all", box.id, "9")
    box("delete", "--force", box.id)
    assert stand_in.poll() is None
    stand_in.kill()
    stand_in.wait()


@pytest.mark.parametrize("moment", range(0, 40))
def test_killing_the_runtime_leaves_nothing_that_force_cannot_clear(box, moment):
    box.write()
    with open(box.path / "o", "w") as out:
        p = subprocess.Popen(box.command("create", box.id), stdout=out, stderr=out, cwd=box.path)
        time.sleep(moment * 0.0003)
        p.kill()
        p.wait()
    box("delete", "--force", box.id)
    assert not box.leftovers()
    box.create()
    box("start", box.id)
    assert box.status() == "running"


@pytest.mark.parametrize("moment", range(0, 20))
@pytest.mark.parametrize("verb", ["run", "start", "delete"])
def test_killing_other_verbs_leaves_nothing_either(box, verb, moment):
    if verb == "run":
        box.write()
    else:
        box.create()
    words = {"run": ("run", box.id), "start": ("start", box.id), "delete": ("delete", "--force", box.id)}[verb]
    with open(box.path / "o", "w") as out:
        p = subprocess.Popen(box.command(*words), stdout=out, stderr=out, cwd=box.path)
        time.sleep(moment * 0.0006)
        p.kill()
        p.wait()
    box("delete", "--force", box.id)
    assert not box.leftovers()
