"""Instances on a terminal: size, keys, signals by keys, detaching and coming back."""
import os
import signal

from instances import Terminal, eventually, kernels, plain_user, warren  # noqa: F401

DETACH = b"\x10\x11"


def shell(warren, *options, size=(24, 80)):
    t = Terminal(warren, *warren.front("-it", *options), "sh", size=size)
    t.expect("# ")
    return t


def test_shell(warren):
    t = shell(warren, "--rm")
    t.type("test -t 0 && test -t 1 && echo on a terminal; tty\n")
    t.expect("on a terminal\r\n/dev/")
    t.type("exit 5\n")
    assert t.finish() == 5


def test_size_and_its_change(warren):
    t = Terminal(warren, *warren.front("--rm", "-it"), "sh", "-c",
                 "trap 'stty size' WINCH; sleep 0.3; stty size; while :; do sleep 0.05; done", size=(33, 111))
    t.expect("33 111")
    t.resize(44, 55)
    t.expect("44 55")
    t.type("\x03")
    assert t.finish() == 130


def test_interrupt_key(warren):
    t = Terminal(warren, *warren.front("--rm", "-it"), "sh", "-c",
                 "trap 'echo got it; exit 33' INT; echo ready; while :; do sleep 0.05; done")
    t.expect("ready")
    t.type("\x03")
    t.expect("got it")
    assert t.finish() == 33


def test_detach_and_attach(warren):
    t = shell(warren, "--name", "d")
    t.type("A=kept\n")
    t.expect("# ")
    t.type(DETACH)
    assert t.finish() == 0
    assert warren.state("d")["Running"]
    t = Terminal(warren, "attach", "d")
    t.type("echo $A again\n")
    t.expect("kept again")
    t.type("exit 4\n")
    assert t.finish() == 4
    assert "kept again" in warren.ok("logs", "d")


def test_other_detach_keys(warren):
    t = shell(warren, "--name", "k", "--detach-keys", "ctrl-x,q")
    t.type(b"\x10\x11")
    t.type(b"\x18q")
    assert t.finish() == 0
    assert warren.state("k")["Running"]


def test_hang_up_leaves_it_running(warren):
    t = shell(warren, "--name", "h", "--sig-proxy=false")
    os.close(t.fd)
    os.waitpid(t.pid, 0)
    assert warren.state("h")["Running"]


def test_exec_on_a_terminal(warren):
    warren.start("sleep", "100", options=["--name", "e"])
    t = Terminal(warren, "exec", "-it", "e", "sh", size=(20, 70))
    t.expect("# ")
    t.type("stty size; tty\n")
    t.expect("20 70\r\n/dev/")
    t.resize(21, 71)
    # What is typed may overtake the new size on its way into a guest.
    t.type("until stty size | grep '21 71'; do sleep 0.1; done\n")
    t.expect("21 71\r\n")
    t.type("exit 6\n")
    assert t.finish() == 6


def test_terminal_is_put_back(warren):
    import termios
    t = Terminal(warren, *warren.front("--rm", "-it"), "sleep", "0.3")
    before = None
    while t.read(0.05) and before is None:
        before = termios.tcgetattr(t.fd)[3] & termios.ICANON == 0 or None
    assert t.finish() == 0


def test_d_with_terminal(warren):
    warren.start("sh", options=["--name", "dt", "-it"])
    t = Terminal(warren, "attach", "dt")
    t.type("echo $((6 * 7))\n")
    t.expect("42")
    t.type(DETACH)
    assert t.finish() == 0
    warren.ok("kill", "dt")
    assert eventually(lambda: warren.state("dt")["ExitCode"] == 137)
