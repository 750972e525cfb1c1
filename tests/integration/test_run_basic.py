"""run, as docker behaves: output, exit codes, signals, and the options that end up in the command's surroundings."""
import os
import signal
import subprocess
import time

import pytest

from instances import Terminal, eventually, kernels, make_image, plain_user, warren  # noqa: F401


@pytest.mark.parametrize("command, status", [("exit 0", 0), ("exit 3", 3), ("exit 255", 255),
                                             # PID 1 takes no signal from itself for which it has no handler.
                                             ("kill -9 $$; kill -TERM $$", 0)])
def test_exit_code_is_the_commands(warren, command, status):
    assert warren.run("sh", "-c", command).returncode == status


@pytest.mark.parametrize("signal_number", [9, 15, 6])
def test_death_by_signal_under_init(warren, signal_number):
    assert warren.run("sh", "-c", f"kill -{signal_number} $$", options=["--init"]).returncode == 128 + signal_number


def test_kill_minus_nine_by_a_child_counts(warren):
    done = warren.run("sh", "-c", "sh -c 'kill -9 $$'; exit $?")
    assert done.returncode == 137


def test_streams_stay_apart(warren):
    done = warren.run("sh", "-c", "echo out; echo err >&2")
    assert (done.stdout, done.stderr) == ("out\n", "err\n")


def test_order_and_volume_of_output(warren):
    done = warren.run("seq", "1", "100000")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 100001))


def test_binary_output(warren):
    done = subprocess.run(warren.argv(*warren.front("--rm"), "sh", "-c", r"printf '\000\377\012\200'"), env=warren.env,
                          capture_output=True, cwd=warren.work)
    assert done.stdout == b"\0\xff\n\x80"


def test_input_and_its_end(warren):
    done = warren.run("sh", "-c", "cat; echo end", options=["-i"], input="a\nb\n")
    assert done.stdout == "a\nb\nend\n"


def test_without_i_input_is_empty(warren):
    assert warren.run("cat", input="lost\n").stdout == ""


def test_much_input(warren):
    text = "".join(f"line {n}\n" for n in range(200000))
    assert warren.run("cat", options=["-i"], input=text).stdout == text


def test_command_that_never_reads(warren):
    assert warren.run("true", options=["-i"], input="x" * 500000).returncode == 0


@pytest.mark.parametrize("command, status, words", [("nosuch", 127, "nosuch"), ("/etc/passwd", 126, "/etc/passwd"),
                                                    ("/etc", 126, "/etc")])
def test_what_cannot_be_run(warren, command, status, words):
    done = warren.run(command)
    assert done.returncode == status and words in done.stderr
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("args, words", [(["--rootfs", "/nonexistent", "x"], "/nonexistent"),
                                         (["nosuchimage", "x"], "nosuchimage"),
                                         (["--isolation", "hyperv", "--rootfs", "/", "x"], "hyperv"),
                                         (["--isolation", "chroot", "--rootfs", "/", "x"], "chroot"),
                                         (["--restart", "often", "--rootfs", "/", "x"], "often"),
                                         (["--rm", "--restart", "always", "--rootfs", "/", "x"], "--restart"),
                                         (["--name", "-x", "--rootfs", "/", "x"], "-x"),
                                         (["--stop-signal", "SIGNOPE", "--rootfs", "/", "x"], "SIGNOPE"),
                                         (["--log-opt", "max-size=much", "--rootfs", "/", "x"], "max-size=much"),
                                         (["--network", "moon", "--rootfs", "/", "x"], "expected host, private or none"),
                                         (["--security-opt", "seccomp=/nonexistent", "--rootfs", "/", "x"],
                                          "'/nonexistent': No such file"),
                                         (["-it", "--rootfs", "/", "x"], "TTY"),
                                         ([], "image")])
def test_one_error_and_nothing_left(warren, args, words):
    done = warren("run", *args)
    assert done.returncode == 125 and words in done.stderr
    assert [line.startswith("Error: ") for line in done.stderr.splitlines()].count(True) == 1
    assert eventually(lambda: not warren.left()), warren.left()


def test_signal_reaches_the_command(warren):
    p = warren.popen(*warren.front("--rm"), "sh", "-c",
                     "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done")
    assert p.stdout.readline() == "ready\n"
    # With setpriv the program is this very process: it execs.
    p.send_signal(signal.SIGTERM)
    assert p.stdout.readline() == "got\n"
    assert p.wait(20) == 9


def test_sig_proxy_off_leaves_it_alone(warren):
    p = warren.popen(*warren.front("--name", "alone", "--sig-proxy=false"), "sh", "-c", "echo ready; sleep 100")
    assert p.stdout.readline() == "ready\n"
    p.send_signal(signal.SIGTERM)
    assert p.wait(20) == -signal.SIGTERM
    assert warren.state("alone")["Running"]


def test_killed_client_leaves_it_running(warren):
    p = warren.popen(*warren.front("--name", "on"), "sh", "-c", "echo ready; sleep 0.3; echo more; sleep 100")
    assert p.stdout.readline() == "ready\n"
    p.kill()
    p.wait()
    assert eventually(lambda: "more" in warren.ok("logs", "on"))
    assert warren.state("on")["Status"] == "running"


def test_reader_that_goes_away(warren):
    p = warren.popen(*warren.front("--name", "yes"), "yes")
    p.stdout.readline()
    p.stdout.close()
    assert p.wait(20) == 0
    assert warren.state("yes")["Running"]


def test_slow_reader_slows_it_down(warren):
    p = warren.popen(*warren.front("--rm", "--log-driver", "none"), "sh", "-c", "yes | head -n 500000")
    time.sleep(0.5)
    out, _ = p.communicate(timeout=60)
    assert out.count("\n") == 500000


def test_timeout(warren):
    before = time.monotonic()
    done = warren.run("sleep", "100", options=["--timeout", "300ms"])
    assert done.returncode == 124 and time.monotonic() - before < 20


@pytest.mark.parametrize("options, command, want", [
    (["-e", "A=b c"], "echo $A", "b c"),
    (["-e", "HOST_SIDE"], "echo $HOST_SIDE", "seen"),
    (["-w", "/tmp"], "pwd", "/tmp"),
    (["-w", "/not/there/yet"], "pwd", "/not/there/yet"),
    (["-u", "1000"], "id -u; id -g", "1000\n1001"),
    (["-u", "ann"], "id -u; id -g", "1000\n1001"),
    (["-u", "1000:1005"], "id -u; id -g", "1000\n1005"),
    (["--hostname", "burrow"], "hostname", "burrow"),
    (["--entrypoint", "echo"], "via entrypoint", "via entrypoint"),
    (["--read-only"], "touch /x 2>&1 || echo no", "touch: /x: Read-only file system\nno"),
    (["--read-only", "--tmpfs", "/tmp"], "touch /tmp/x && echo yes", "yes"),
    (["--tmpfs", "/scratch:size=1m"], "df -k /scratch | tail -n 1 | awk '{print $2}'", "1024"),
    (["--ulimit", "nofile=77"], "ulimit -n", "77"),
    (["--add-host", "there:10.1.2.3"], "grep there /etc/hosts", "10.1.2.3\tthere"),
    (["--cap-drop", "ALL"], "grep CapEff /proc/self/status | cut -f 2", "0000000000000000"),
    (["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status | cut -f 2", "1"),
    (["--network", "none"], "ls /sys/class/net 2>/dev/null || tail -n +3 /proc/net/dev | cut -d: -f1", "lo"),
    (["--init"], "cat /proc/1/comm | grep -c sh", "0"),
    # It never executes anything that would take from it what the command does not have.
    (["--init"], "for p in 1 self; do grep -E '^(CapPrm|CapEff|Seccomp):' /proc/$p/status; done | sort | uniq -c | "
                 "awk '{print $1}' | tr -d '\\n'", "222"),
    (["--shm-size", "2m"], "df -k /dev/shm | tail -n 1 | awk '{print $2}'", "2048"),
])
def test_options(warren, options, command, want):
    warren.env["HOST_SIDE"] = "seen"
    words = command.split() if "--entrypoint" in options else ["sh", "-c", command]
    done = warren.run(*words, options=options)
    assert done.stdout.strip().replace("     ", "") == want, done.stderr


def test_env_file(warren):
    path = warren.work / "env"
    path.write_text("# comment\nONE=1\nTWO=two words\n")
    done = warren.run("sh", "-c", "echo $ONE $TWO", options=["--env-file", path])
    assert done.stdout == "1 two words\n"


def test_volume_both_ways(warren):
    shared = warren.work / "shared"
    shared.mkdir()
    if warren.user:
        os.chown(shared, warren.user.pw_uid, warren.user.pw_gid)
    (shared / "in").write_text("from the host\n")
    done = warren.run("sh", "-c", "cat /v/in; echo inside > /v/out", options=["-v", f"{shared}:/v"])
    assert done.stdout == "from the host\n" and (shared / "out").read_text() == "inside\n"
    done = warren.run("sh", "-c", "echo no > /v/out", options=["-v", f"{shared}:/v:ro"])
    assert done.returncode == 1 and "Read-only" in done.stderr
    assert (shared / "out").read_text() == "inside\n"


def test_memory_limit(warren):
    done = warren.run("sh", "-c", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max",
                      options=["-m", "64m"])
    if done.returncode == 125:
        assert warren.user and "delegated" in done.stderr
        pytest.skip(done.stderr.strip())
    assert done.stdout.strip() == str(64 << 20)


def test_out_of_memory_is_said(warren):
    done = warren("run", "--isolation", warren.wall, "--name", "big", "-m", "16m", "--memory-swap", "16m", "--rootfs", warren.rootfs,
                  "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1")
    if done.returncode == 125:
        assert warren.user
        pytest.skip(done.stderr.strip())
    assert done.returncode == 137
    assert warren.state("big")["OOMKilled"] is True


def test_cidfile(warren):
    path = warren.work / "cid"
    ident = warren.start("true", options=["--cidfile", path])
    assert path.read_text() == ident
    again = warren(*warren.front("--cidfile", path), "true")
    assert again.returncode == 125 and str(path) in again.stderr


def test_image_and_writable_layer(warren):
    image = make_image(warren)
    done = warren("run", "--isolation", warren.wall, "--name", "im", image, "sh", "-c", "echo new > /made; cat /made")
    assert done.stdout == "new\n", done.stderr
    if warren.wall != "container":
        return  # what a guest writes beside volumes is in its memory, and goes with it
    assert warren.ok("diff", "im") == "A /made\n"
    again = warren("run", "--rm", "--isolation", warren.wall, image, "cat", "/made")
    assert again.returncode == 1
    assert warren("start", "-a", "im").stdout == "new\n"
    assert not (warren.rootfs / "made").exists()


def test_names(warren):
    warren.start("sleep", "100", options=["--name", "one"])
    again = warren(*warren.front("--name", "one"), "true")
    assert again.returncode == 125 and "one" in again.stderr and "in use" in again.stderr
    warren.ok("rename", "one", "two")
    warren.start("true", options=["--name", "one"])
    assert warren("inspect", "three").returncode == 125
    assert warren("rename", "one", "two").returncode == 125
    names = warren.ok("ps", "-a", "--format", "{{.Names}}").split()
    assert sorted(names) == ["one", "two"]
