"""An instance's life: create, start, stop, restart policies, wait, ps, inspect, logs, events, stats, top, exec, cp."""
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import time
from pathlib import Path

import pytest

from instances import eventually, make_image, kernels, plain_user, warren  # noqa: F401

LOOP = ["sh", "-c", "while :; do sleep 0.05; done"]


def test_create_then_start(warren):
    ident = warren.ok("create", "--isolation", warren.wall, "--name", "c", "--rootfs", warren.rootfs, "echo", "hi").strip()
    assert re.fullmatch("[0-9a-f]{64}", ident)
    assert warren.state("c")["Status"] == "created"
    assert warren.ok("ps", "-q") == "" and warren.ok("ps", "-aq").strip() == ident[:12]
    assert warren.ok("start", "-a", "c") == "hi\n"
    assert warren.state("c")["Status"] == "exited"
    assert warren.ok("start", "-a", ident[:6]) == "hi\n"
    assert warren.ok("logs", "c") == "hi\nhi\n"
    assert warren.ok("rm", "c") == "c\n"
    assert eventually(lambda: not warren.left()), warren.left()


def test_start_of_what_runs_is_fine(warren):
    warren.start(*LOOP, options=["--name", "l"])
    assert warren.ok("start", "l") == "l\n"


def test_stop_is_polite_first(warren):
    warren.start("sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.05; done", options=["--name", "p"])
    assert eventually(lambda: "up" in warren.ok("logs", "p"))
    assert warren.ok("stop", "p") == "p\n"
    state = warren.state("p")
    assert (state["Status"], state["ExitCode"]) == ("exited", 5)
    assert "bye" in warren.ok("logs", "p")
    assert warren.ok("stop", "p") == "p\n"


def test_stop_signal_and_time(warren):
    warren.start("sh", "-c", "trap 'exit 6' USR1; trap '' TERM; echo up; while :; do sleep 0.05; done",
                 options=["--name", "u", "--stop-signal", "SIGUSR1"])
    assert eventually(lambda: "up" in warren.ok("logs", "u"))
    warren.ok("stop", "u")
    assert warren.state("u")["ExitCode"] == 6
    warren.ok("start", "u")
    before = time.monotonic()
    warren.ok("stop", "-t", "1", "-s", "TERM", "u")
    assert 0.9 < time.monotonic() - before < 10
    assert warren.state("u")["ExitCode"] == 137


def test_restart_command(warren):
    warren.start(*LOOP, options=["--name", "r"])
    pid = warren.state("r")["Pid"]
    warren.ok("restart", "-t", "0", "r")
    state = warren.state("r")
    assert state["Running"] and state["Pid"] != pid


def test_kill(warren):
    warren.start("sh", "-c", "trap 'echo usr1' USR1; while :; do sleep 0.05; done", options=["--name", "k"])
    time.sleep(0.2)
    warren.ok("kill", "-s", "USR1", "k")
    assert eventually(lambda: "usr1" in warren.ok("logs", "k"))
    warren.ok("kill", "k")
    assert eventually(lambda: warren.state("k")["Status"] == "exited")
    assert warren.state("k")["ExitCode"] == 137
    assert warren("kill", "k").returncode == 125


def test_pause(warren):
    warren.start("sh", "-c", "while :; do date +%s%N; sleep 0.02; done", options=["--name", "f"])
    done = warren("pause", "f")
    if done.returncode:
        assert warren.user and "cgroup" in done.stderr
        pytest.skip(done.stderr.strip())
    assert warren.state("f")["Status"] == "paused"
    assert "(Paused)" in warren.ok("ps")
    before = warren.ok("logs", "f")
    time.sleep(0.2)
    assert warren.ok("logs", "f") == before
    assert warren("exec", "f", "true").returncode == 125
    warren.ok("unpause", "f")
    assert eventually(lambda: warren.ok("logs", "f") != before)
    warren.ok("pause", "f")
    assert warren.ok("rm", "-f", "f") == "f\n"


def test_wait_and_exit_codes(warren):
    warren.start("sh", "-c", "sleep 0.3; exit 42", options=["--name", "w"])
    assert warren.ok("wait", "w") == "42\n"
    assert warren.ok("wait", "w") == "42\n"


def test_restart_on_failure_counts(warren):
    warren.start("sh", "-c", "echo run; exit 3", options=["--name", "of", "--restart", "on-failure:2"])
    assert eventually(lambda: warren.state("of")["Status"] == "exited")
    assert warren.ok("logs", "of") == "run\n" * 3
    assert warren.inspect("of", "{{.RestartCount}} {{.State.ExitCode}}") == "2 3"


def test_restart_always_until_stopped(warren):
    warren.start("sh", "-c", "echo run; exit 0", options=["--name", "al", "--restart", "always"])
    assert eventually(lambda: warren.ok("logs", "al").count("run") >= 2)
    warren.ok("stop", "al")
    count = warren.ok("logs", "al").count("run")
    time.sleep(0.6)
    assert warren.state("al")["Status"] == "exited" and warren.ok("logs", "al").count("run") == count


def test_kill_is_no_reason_to_restart(warren):
    warren.start(*LOOP, options=["--name", "kr", "--restart", "always"])
    warren.ok("kill", "kr")
    assert eventually(lambda: warren.state("kr")["Status"] == "exited")


def test_update_of_the_policy(warren):
    warren.start("sh", "-c", "sleep 0.4; echo run", options=["--name", "up"])
    warren.ok("update", "--restart", "on-failure:1", "up")
    warren.ok("update", "--restart", "always", "up")
    assert eventually(lambda: warren.ok("logs", "up").count("run") >= 2)
    assert warren.inspect("up", "{{.HostConfig.RestartPolicy.Name}}") == "always"


def test_rm(warren):
    warren.start(*LOOP, options=["--name", "x"])
    done = warren("rm", "x")
    assert done.returncode == 125 and "--force" in done.stderr
    assert warren.ok("rm", "-f", "x") == "x\n"
    assert warren("rm", "x").returncode == 125
    assert warren("rm", "-f", "x").returncode == 0


def test_ps_table(warren):
    ident = warren.start(*LOOP, options=["--name", "tab", "--label", "a=b"])
    lines = warren.ok("ps").splitlines()
    assert re.split(r"\s{2,}", lines[0]) == ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES", "ISOLATION"]
    assert lines[1].startswith(ident[:12]) and lines[1].split()[-2:] == ["tab", warren.wall]
    row = json.loads(warren.ok("ps", "--format", "json", "--no-trunc"))
    assert row["ID"] == ident and row["Names"] == "tab" and row["State"] == "running" and row["Labels"] == "a=b"
    assert warren.ok("ps", "--format", "table {{.Names}}\t{{.Isolation}}").split() == ["NAMES", "ISOLATION", "tab", warren.wall]


@pytest.mark.parametrize("given, want", [(["name=^a$"], ["a"]), (["name=a"], ["a", "ab"]), (["label=k"], ["a", "ab"]),
                                         (["label=k=2"], ["ab"]), (["status=exited"], ["z"]), (["exited=4"], ["z"]),
                                         (["exited=5"], []), (["name=^a$", "name=^z$"], ["a", "z"]),
                                         (["isolation=pv"], []), (["network=none"], ["a"])])
def test_ps_filters(warren, given, want):
    warren.start(*LOOP, options=["--name", "a", "-l", "k=1", "--network", "none"])
    warren.start(*LOOP, options=["--name", "ab", "-l", "k=2"])
    warren.start("sh", "-c", "exit 4", options=["--name", "z"])
    eventually(lambda: warren.state("z")["Status"] == "exited")
    words = [w for f in given for w in ("-f", f)]
    if given == ["isolation=pv"] and warren.wall == "pv":
        want = ["a", "ab", "z"]
    assert sorted(warren.ok("ps", "-a", "--format", "{{.Names}}", *words).split()) == want


@pytest.mark.parametrize("given, says", [("colour=red", "colour=red"), ("status=foo", "expected created|"), ("exited=x", "a number"),
                                         ("health=good", "expected starting|"), ("isolation=chroot", "expected container|")])
def test_ps_filter_unknown(warren, given, says):
    done = warren("ps", "-f", given)
    assert done.returncode == 125 and "invalid filter" in done.stderr and says in done.stderr


@pytest.mark.parametrize("command", [["ps"], ["stats", "--no-stream"]])
def test_a_template_is_judged_without_rows_too(warren, command):
    done = warren(*command, "--format", "{{.Foo}}")
    assert done.returncode == 125 and "no such member" in done.stderr
    assert warren.ok(*command, "--format", "{{.ID}}") == ""


def test_limits_that_cannot_be(warren):
    warren.ok("create", "--isolation", warren.wall, "--name", "lim", "--cpus", "0.5", "--rootfs", warren.rootfs, "true")
    done = warren("update", "lim")
    assert done.returncode == 125 and "nothing to change" in done.stderr
    most = f"range of CPUs is from 0.01 to {os.cpu_count()}.00"
    for n in ("999", "0.001"):
        for done in (warren("update", "--cpus", n, "lim"), warren.run("true", options=["--name", "more", "--cpus", n])):
            assert done.returncode == 125 and most in done.stderr
    assert "more" not in warren.ok("ps", "-a", "--format", "{{.Names}}").split()


def test_what_cannot_be_run_leaves_no_instance(warren):
    file = warren.work / "file"
    file.write_text("")
    done = warren("run", "--isolation", warren.wall, "--rootfs", file, "true")
    assert done.returncode == 125 and "--rootfs" in done.stderr and "Not a directory" in done.stderr
    if warren.guest:
        for kernel in ("nope", "/etc/passwd"):
            done = warren(*warren.front("--kernel", kernel), "true")
            assert done.returncode == 125 and "--kernel" in done.stderr and kernel in done.stderr
    assert warren.ok("ps", "-aq") == ""


def test_inspect_shape(warren):
    warren.start(*LOOP, options=["--name", "i", "-e", "A=1", "-l", "x=y", "-w", "/tmp"])
    one = json.loads(warren.ok("inspect", "i"))[0]
    assert one["Name"] == "/i" and one["State"]["Running"] is True and one["State"]["Pid"] > 0
    assert one["Config"]["Labels"] == {"x": "y"} and "A=1" in one["Config"]["Env"] and one["Config"]["WorkingDir"] == "/tmp"
    assert one["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert one["Isolation"] == warren.wall and one["Path"] == "sh" and one["Args"] == LOOP[1:]
    assert warren("inspect", "-f", "{{.Nope}}", "i").returncode == 125


def test_inspect_finds_images_too(warren):
    image = make_image(warren)
    assert warren.inspect(image, "{{index .RepoTags 0}}").startswith("small")
    warren.start(*LOOP, options=["--name", image])
    assert warren.inspect(image, "{{.Name}}") == "/small"
    assert warren.ok("inspect", "--type", "image", "-f", "{{.Os}}", image) == "linux\n"
    done = warren("inspect", "--type", "container", image, "neither")
    assert done.returncode == 125 and "neither" in done.stderr and json.loads(done.stdout)[0]["Name"] == "/small"


def test_logs_options(warren):
    warren.start("sh", "-c", "for i in 1 2 3 4; do echo $i; done; echo e >&2; printf tail", options=["--name", "lg"])
    warren.ok("wait", "lg")
    done = warren("logs", "lg")
    assert done.stdout == "1\n2\n3\n4\ntail" and done.stderr == "e\n"
    assert warren.ok("logs", "--tail", "1", "lg") == "tail"
    stamped = warren.ok("logs", "-t", "lg").splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 1", stamped[0])
    assert warren.ok("logs", "--since", "1h", "lg").startswith("1\n") and warren.ok("logs", "--until", "1h", "lg") == ""
    assert warren("logs", "--tail", "x", "lg").returncode == 125


def test_log_file_is_dockers(warren):
    warren.start("echo", "line", options=["--name", "jf"])
    warren.ok("wait", "jf")
    with open(warren.inspect("jf", "{{.LogPath}}")) as f:
        entry = json.loads(f.readline())
    assert entry["log"] == "line\n" and entry["stream"] == "stdout" and set(entry) == {"log", "stream", "time"}


def test_log_rotation(warren):
    warren.start("seq", "1", "3000", options=["--name", "ro", "--log-opt", "max-size=10k", "--log-opt", "max-file=3"])
    warren.ok("wait", "ro")
    path = warren.inspect("ro", "{{.LogPath}}")
    sizes = [os.path.getsize(p) for p in (path, path + ".1", path + ".2")]
    assert not os.path.exists(path + ".3") and all(0 < s <= 10240 for s in sizes)
    assert warren.ok("logs", "ro").endswith("2999\n3000\n")
    assert warren.ok("logs", "--tail", "200", "ro") == "".join(f"{n}\n" for n in range(2801, 3001))


def test_logs_follow_until_the_end(warren):
    warren.start("sh", "-c", "for i in 1 2 3 4 5; do echo $i; sleep 0.1; done", options=["--name", "fo"])
    assert warren.ok("logs", "-f", "fo", timeout=20) == "1\n2\n3\n4\n5\n"


def test_log_driver_none(warren):
    warren.start("echo", "x", options=["--name", "no", "--log-driver", "none"])
    assert warren("logs", "no").returncode == 125


def test_exec(warren):
    warren.start(*LOOP, options=["--name", "ex", "-e", "KEPT=1", "-w", "/tmp"])
    assert warren.ok("exec", "ex", "sh", "-c", "echo $KEPT; pwd") == "1\n/tmp\n"
    assert warren("exec", "ex", "sh", "-c", "echo o; echo e >&2; exit 7").returncode == 7
    assert warren.ok("exec", "-i", "ex", "cat", input="in\n") == "in\n"
    assert warren.ok("exec", "-u", "ann", "-w", "/", "-e", "B=2", "ex", "sh", "-c", "id -u; pwd; echo $B") == "1000\n/\n2\n"
    for who, ids in (("ann", "1000 1001 1001 1005"), ("ann:crew", "1000 1005 1005"), ("1000", "1000 1001 1001 1005"),
                     ("77", "77 0 0"), ("77:crew", "77 1005 1005"), ("ann:88", "1000 88 88")):
        assert warren.ok("exec", "-u", who, "ex", "sh", "-c", "echo $(id -u) $(id -g) $(id -G)") == ids + "\n", who
    # Names are the instance's own, as it is now.
    warren.ok("exec", "ex", "sh", "-c", "echo zoe:x:1234:1235:::/bin/sh >>/etc/passwd; echo zoes:x:1236: >>/etc/group")
    assert warren.ok("exec", "-u", "zoe:zoes", "ex", "sh", "-c", "echo $(id -u) $(id -g)") == "1234 1236\n"
    for who in ("zoo", "zoe:zoos", "zoo:zoes"):
        done = warren("exec", "-u", who, "ex", "true")
        assert done.returncode == 125 and "not in the instance's /etc/" in done.stderr
    assert warren("exec", "ex", "nosuch").returncode == 127
    assert warren("exec", "ex", "/etc/passwd").returncode == 126
    assert warren("exec", "-u", "nobodyhere", "ex", "true").returncode == 125
    warren.ok("exec", "-d", "ex", "sh", "-c", "echo done > /tmp/detached")
    assert eventually(lambda: warren("exec", "ex", "cat", "/tmp/detached").stdout == "done\n")
    warren.ok("exec", "ex", "rm", "/tmp/detached")
    text = "y" * 300000
    assert warren.ok("exec", "-i", "ex", "cat", input=text) == text
    warren.ok("kill", "ex")
    eventually(lambda: not warren.state("ex")["Running"])
    assert warren("exec", "ex", "true").returncode == 125


def read(path):
    """Of a process that may be gone: then nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""


def test_a_detached_command_is_waited_for(warren):
    if warren.guest:
        pytest.skip("its processes are the guest's kernel's")
    warren.start(*LOOP, options=["--name", "ex"])
    since = str(time.time())
    assert warren("exec", "-d", "ex", "nosuch").returncode == 127
    words = ["exec", "-d", "ex", "sleep", str(100000 + os.getpid())]
    warren.ok(*words)
    minder = next(p for p in Path("/proc").glob("[0-9]*") if read(p / "comm") == "warren-exec\n"
                  and read(p / "cmdline").split("\0")[1:6] == words)
    child = (minder / "task" / minder.name / "children").read_text().strip()
    assert Path(f"/proc/{child}/comm").read_text() == "sleep\n"
    warren.ok("exec", "-d", "ex", "sh", "-c", "exit 7")
    warren.ok("exec", "-dt", "ex", "sh", "-c", "yes | head -c 300000; exit 8")
    ended = lambda: warren.ok("events", "--since", since, "--until", "0s", "--filter", "event=exec_die")
    assert eventually(lambda: "exitCode=7" in ended() and "exitCode=8" in ended())
    warren.ok("rm", "-f", "ex")
    assert eventually(lambda: not (minder / "exe").exists())


def test_attach_many(warren):
    warren.start("sh", "-c", "read x; echo got $x", options=["--name", "at", "-i"])
    watchers = [warren.popen("attach", "--no-stdin", "at") for _ in range(3)]
    time.sleep(0.3)
    assert warren("attach", "at", input="word\n").stdout == "got word\n"
    for w in watchers:
        assert w.communicate(timeout=20)[0] == "got word\n" and w.returncode == 0


def test_stats_and_top(warren):
    ident = warren.start("sh", "-c", "while :; do :; done", options=["--name", "st"])
    row = json.loads(warren.ok("stats", "--no-stream", "--format", "json", "st"))
    assert row["Name"] == "st" and row["ID"] == ident[:12] and row["PIDs"] == "1"
    if not warren.user:
        assert float(row["CPUPerc"].rstrip("%")) > 1
    lines = warren.ok("top", "st").splitlines()
    assert lines[0].split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    if warren.guest:  # numbers are those of the guest's kernel
        assert len(lines) == 2 and lines[1].startswith("root ") and lines[1].endswith("while :; do :; done")
        assert "leave its options out" in warren("top", "st", "-o", "pid,comm").stderr
        return
    assert lines[1].split()[1] == str(warren.state("st")["Pid"]) and lines[1].endswith("while :; do :; done")
    lines = warren.ok("top", "st", "-o", "pid,comm").splitlines()
    assert len(lines) == 2 and lines[1].split() == [str(warren.state("st")["Pid"]), "sh"]


def test_events(warren):
    seen = []
    p = warren.popen("events", "--format", "json")
    reader = threading.Thread(target=lambda: seen.extend(json.loads(line) for line in p.stdout))
    reader.start()
    time.sleep(0.2)
    warren.run("true", options=["--name", "ev", "-l", "k=v"])
    eventually(lambda: any(e["Action"] == "destroy" for e in seen))
    p.terminate()
    p.wait()
    reader.join()
    assert [e["Action"] for e in seen] == ["create", "start", "die", "destroy"]
    die = seen[2]
    assert die["Type"] == "container" and die["Actor"]["Attributes"]["exitCode"] == "0" and die["Actor"]["Attributes"]["k"] == "v"
    past = warren.ok("events", "--since", "1m", "--until", "0s", "-f", "event=die").splitlines()
    assert len(past) == 1 and " container die " in past[0]


def test_cp(warren):
    warren.start(*LOOP, options=["--name", "cp", "--tmpfs", "/mnt"])
    work = warren.work
    (work / "f").write_text("file\n")
    (work / "d/e").mkdir(parents=True)
    (work / "d/e/x").write_text("x\n")
    (work / "d/l").symlink_to("../../../../../etc/passwd")
    warren.ok("cp", "f", "cp:/mnt/")
    warren.ok("cp", "f", "cp:/mnt/g")
    warren.ok("cp", "d", "cp:/mnt")
    warren.ok("cp", "d/.", "cp:/mnt/dd")
    assert warren.ok("exec", "cp", "sh", "-c", "cd /mnt; find . | sort") == "\n".join(
        [".", "./d", "./d/e", "./d/e/x", "./d/l", "./dd", "./dd/e", "./dd/e/x", "./dd/l", "./f", "./g"]) + "\n"
    if warren.user:
        os.chown(work, warren.user.pw_uid, warren.user.pw_gid)
    warren.ok("cp", "cp:/mnt/dd", "back")
    assert (work / "back/e/x").read_text() == "x\n" and os.readlink(work / "back/l") == "../../../../../etc/passwd"
    warren.ok("cp", "-L", "cp:/mnt/d/l", "followed")
    assert "ann" in (work / "followed").read_text()
    (work / "toward").symlink_to("d/e")
    warren.ok("cp", "-L", "toward", "cp:/mnt")
    warren.ok("cp", "-L", "toward", "cp:/mnt/renamed")
    warren.ok("cp", "toward", "cp:/mnt/link")
    assert warren.ok("exec", "cp", "sh", "-c", "cd /mnt; cat toward/x renamed/x; readlink link; test -L toward || echo d") == (
        "x\nx\nd/e\nd\n")
    for args, words in ((("nothere", "cp:/mnt"), "nothere"), (("cp:/nothere", "."), "/nothere"), (("d", "cp:/mnt/f"), "/mnt/f"),
                        (("f", "cp:/no/dir/"), "/no/dir"), (("f", "g"), "INSTANCE:PATH")):
        done = warren("cp", *args)
        assert done.returncode == 125 and (warren.guest or words in done.stderr)


def test_diff(warren):
    image = make_image(warren)
    warren.ok("run", "-d", "--isolation", warren.wall, "--name", "df", image, "sh", "-c",
              "echo new >/home/made; rm /bin/vi; mkdir /tmp/dir; echo more >>/etc/passwd; while :; do sleep 0.1; done")
    want = ["A /home/made", "A /tmp/dir", "C /bin", "C /etc", "C /etc/passwd", "C /home", "C /tmp", "D /bin/vi"]
    assert eventually(lambda: sorted(warren.ok("diff", "df").splitlines()) == want), warren.ok("diff", "df")


def test_exec_beside_delegated_controllers(warren):
    """A workload that hands its controllers on to groups of its own leaves no room above them."""
    script = ("cd /sys/fs/cgroup && mkdir inner && echo 1 >inner/cgroup.procs && echo +pids >cgroup.subtree_control && "
              "echo delegated; while :; do sleep 0.1; done")
    warren.start("sh", "-c", script, options=["--name", "dg", "--privileged"])
    if not eventually(lambda: "delegated" in warren("logs", "dg").stdout, 3):
        pytest.skip("no control group of version 2 to hand on: " + warren("logs", "dg").stderr.strip())
    for _ in range(2):
        assert warren.ok("exec", "dg", "echo", "in") == "in\n"
    warren.ok("rm", "-f", "dg")


def test_cp_tar(warren):
    warren.start(*LOOP, options=["--name", "ct", "--tmpfs", "/mnt"])
    done = warren("cp", "-", "ct:/mnt", input="this is no archive\n" * 100)
    assert done.returncode == 125 and "standard input: expected a tar stream" in done.stderr
    done = warren("cp", "ct:/no/such", "-")
    assert done.returncode == 125 and done.stderr.startswith("Error: '/no/such': ")
    pack = io.BytesIO()
    with tarfile.open(fileobj=pack, mode="w") as tar:
        for name, text in (("a/b/c", b"deep"), ("top", b"")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))
    subprocess.run(warren.argv("cp", "-", "ct:/mnt"), input=pack.getvalue(), env=warren.env, check=True)
    assert warren.ok("exec", "ct", "cat", "/mnt/a/b/c") == "deep"
    out = subprocess.run(warren.argv("cp", "ct:/mnt/a", "-"), capture_output=True, env=warren.env, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(out)) as tar:
        assert sorted(tar.getnames()) == ["a", "a/b", "a/b/c"] and tar.extractfile("a/b/c").read() == b"deep"


def test_cp_cannot_be_led_outside(warren):
    """Links in the instance, and names in a tar stream, stay below its root."""
    warren.start(*LOOP, options=["--name", "ev", "--tmpfs", "/mnt"])
    mark = f"warren-mark-{os.getpid()}"
    warren.ok("exec", "ev", "sh", "-c", f"ln -s / /mnt/up; ln -s /proc/1/root /mnt/magic; ln -s ../../../../../../tmp/{mark} /mnt/file")
    (warren.work / "f").write_text("mine\n")
    warren.ok("cp", "f", f"ev:/mnt/up/tmp/{mark}")
    assert warren("exec", "ev", "cat", f"/tmp/{mark}").stdout == "mine\n" and not os.path.exists(f"/tmp/{mark}")
    warren.ok("cp", "f", "ev:/mnt/file")
    assert not os.path.exists(f"/tmp/{mark}")
    pack = io.BytesIO()
    with tarfile.open(fileobj=pack, mode="w") as tar:
        for name in (f"../../../../../../../../tmp/{mark}", f"/tmp/{mark}", f"up2/tmp/{mark}"):
            if name.startswith("up2"):
                link = tarfile.TarInfo("up2")
                link.type, link.linkname = tarfile.SYMTYPE, "/"
                tar.addfile(link)
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"bad"))
    subprocess.run(warren.argv("cp", "-", "ev:/mnt"), input=pack.getvalue(), env=warren.env, capture_output=True)
    assert not os.path.exists(f"/tmp/{mark}")
