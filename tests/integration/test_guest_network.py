"""The network of guests, against a peer in a network namespace: by an interface of the host, by passt, and none. Each test's
program runs in a namespace of its own, whose default route leads to the peer."""
import os
import shutil
import subprocess
import time

import pytest

from instances import ROOT, Warren, eventually, guest_kernels, kernels, walls  # noqa: F401

WALLS = [w for w in walls() if w == "vm"]
pytestmark = [pytest.mark.skipif(not ROOT, reason="needs root to make network namespaces"),
              pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="no /dev/net/tun")]
HERE, PEER = f"warren-here-{os.getpid()}", f"warren-peer-{os.getpid()}"


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Namespaced(Warren):
    """All that it starts is in the namespace HERE."""

    def argv(self, *args):
        return ["ip", "netns", "exec", HERE, *super().argv(*args)]


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """192.0.2.1 beyond the default route, with a page; the same page on the loopback of HERE."""
    page = tmp_path_factory.mktemp("page")
    (page / "index.html").write_text("hello from the peer\n")
    servers = []
    try:
        for ns in (HERE, PEER):
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
        ip("-n", HERE, "link", "add", "out", "type", "veth", "peer", "name", "in", "netns", PEER)
        ip("-n", HERE, "addr", "add", "192.0.2.2/24", "dev", "out")
        ip("-n", PEER, "addr", "add", "192.0.2.1/24", "dev", "in")
        ip("-n", HERE, "link", "set", "out", "up")
        ip("-n", PEER, "link", "set", "in", "up")
        ip("-n", HERE, "route", "add", "default", "via", "192.0.2.1")
        for ns, address, port in ((PEER, "192.0.2.1", 8000), (HERE, "127.0.0.1", 9000), (HERE, "0.0.0.0", 9001)):
            servers.append(subprocess.Popen(
                ["ip", "netns", "exec", ns, "/usr/bin/python3", "-m", "http.server", str(port), "--bind", address],
                cwd=page, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for ns, port in ((PEER, 8000), (HERE, 9000), (HERE, 9001)):
            assert eventually(lambda n=ns, p=port: f":{p} " in subprocess.run(
                ["ip", "netns", "exec", n, "ss", "-tln"], capture_output=True, text=True).stdout, 30)
        yield
    finally:
        for server in servers:
            server.kill()
            server.wait()
        for ns in (HERE, PEER):
            subprocess.run(["ip", "netns", "del", ns], capture_output=True)


@pytest.fixture(params=WALLS or [pytest.param("vm", marks=pytest.mark.skip("WARREN_TEST_WALLS does not ask for vm"))])
def guest(request, tmp_path, peer):
    found = guest_kernels(request.param, request)
    w = Namespaced(tmp_path, request.param)
    w.data.mkdir(exist_ok=True)
    (w.data / "kernels").symlink_to(found)
    yield w
    left = w.clear()
    assert not left, left


@pytest.fixture
def tap(peer):
    """10.9.0.1 at this end, two queues."""
    ip("-n", HERE, "tuntap", "add", "tap0", "mode", "tap", "multi_queue")
    ip("-n", HERE, "addr", "add", "10.9.0.1/24", "dev", "tap0")
    ip("-n", HERE, "link", "set", "tap0", "up")
    yield "tap0"
    ip("-n", HERE, "link", "del", "tap0")


needs_passt = pytest.mark.skipif(not shutil.which("passt"), reason="passt is not installed")
GET = "wget -q -O - http://{}/index.html"


def test_tap_reaches_a_peer(guest, tap):
    script = f"cat /sys/class/net/eth0/address; ping -c 2 10.9.0.1 >/dev/null && echo pong; {GET.format('10.9.0.1:9001')}"
    done = guest.run("sh", "-c", script, options=["--network", f"tap:{tap},ip=10.9.0.2/24,mac=02:00:00:00:00:07"])
    assert (done.returncode, done.stdout) == (0, "02:00:00:00:00:07\npong\nhello from the peer\n"), done.stderr


def test_tap_carries_much_both_ways_whole(guest, tap):
    """Segments and checksums are left open on both sides; what arrives is what was sent."""
    data = os.urandom(1 << 20) * 8
    server = subprocess.Popen(["ip", "netns", "exec", HERE, "/usr/bin/python3", "-c", """if 1:
        import hashlib, socket, sys
        s = socket.create_server(("10.9.0.1", 7000))
        print("up", flush=True)
        c, _ = s.accept()
        got = hashlib.sha256()
        while piece := c.recv(1 << 16):
            got.update(piece)
        print(got.hexdigest(), flush=True)
        c.sendall(b"x" * (8 << 20))
        c.close()
        """], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout.readline() == "up\n"
        (guest.rootfs / "data").write_bytes(data)
        done = guest.run("sh", "-c", "sha256sum </data; nc 10.9.0.1 7000 </data | wc -c",
                         options=["--vcpus", "2", "--network", f"tap:{tap},ip=10.9.0.2/24,queues=2"], timeout=120)
        mine, got = done.stdout.split()[0], server.stdout.readline().strip()
        assert mine == got and done.stdout.split()[-1] == str(8 << 20), done
    finally:
        server.kill()
        server.wait()


def test_several_queues(guest, tap):
    done = guest.run("sh", "-c", "ls /sys/class/net/eth0/queues | wc -l; ping -c 1 10.9.0.1 >/dev/null && echo pong",
                     options=["--vcpus", "2", "--network", f"tap:{tap},ip=10.9.0.2/24,queues=2"])
    assert done.stdout == "4\npong\n", done


def test_tap_that_is_not_there(guest):
    done = guest.run("true", options=["--network", "tap:nope"])
    assert done.returncode == 125 and "tap 'nope': no such interface. Fix: ip tuntap add nope" in done.stderr


def test_tap_in_use(guest, tap):
    guest.start("sleep", "100", options=["--name", "first", "--network", f"tap:{tap},ip=10.9.0.2/24,queues=1"])
    done = guest.run("true", options=["--network", f"tap:{tap},queues=8"])
    assert done.returncode in (0, 125)  # a multi-queue interface may have two users; it must not hang
    guest.ok("rm", "-f", "first")


@needs_passt
def test_private_reaches_out_but_not_the_hosts_loopback(guest):
    guest.start("sleep", "100", options=["--name", "a"])
    assert guest.ok("exec", "a", *GET.format("192.0.2.1:8000").split()) == "hello from the peer\n"
    reached = guest("exec", "a", "sh", "-c", GET.format("10.0.2.2:9000") + " & sleep 5; kill $!")
    assert "hello" not in reached.stdout
    guest.ok("rm", "-f", "a")


@needs_passt
def test_host_means_its_loopback_too(guest):
    done = guest.run(*GET.format("10.0.2.2:9000").split(), options=["--network", "host"])
    assert (done.returncode, done.stdout) == (0, "hello from the peer\n"), done.stderr


@needs_passt
def test_passt_goes_with_the_guest(guest):
    def count():
        found = subprocess.run(["ip", "netns", "pids", HERE], capture_output=True, text=True).stdout.split()
        return sum(open(f"/proc/{p}/comm").read().startswith("passt") for p in found if os.path.exists(f"/proc/{p}/comm"))

    guest.start("sleep", "100", options=["--name", "a"])
    assert count() == 1
    guest.ok("rm", "-f", "a")
    assert eventually(lambda: count() == 0)


def test_none_is_loopback_alone(guest):
    done = guest.run("sh", "-c", "ls /sys/class/net; ping -c 1 127.0.0.1 >/dev/null && echo pong", options=["--network", "none"])
    assert (done.returncode, done.stdout) == (0, "lo\npong\n"), done.stderr


def test_addresses_names_and_servers(guest, tap):
    done = guest.run("sh", "-c", "hostname; cat /etc/resolv.conf; grep away /etc/hosts; ip route",
                     options=["--network", f"tap:{tap},ip=10.9.0.2/24,gw=10.9.0.1", "--hostname", "box", "--dns", "10.9.0.1",
                              "--add-host", "away:10.9.0.9"])
    assert done.stdout.split("\n")[:3] == ["box", "nameserver 10.9.0.1", "10.9.0.9\taway"], done
    assert "default via 10.9.0.1 dev eth0" in done.stdout


def test_frames_are_counted(guest, tap):
    guest.start("sh", "-c", "ping -c 5 10.9.0.1; sleep 100", options=["--name", "a", "--network", f"tap:{tap},ip=10.9.0.2/24"])

    def counts():
        time.sleep(0.2)
        text = guest.ok("stats", "--hypervisor", "--no-stream", "a")
        return {line.split()[0]: int(line.split()[1]) for line in text.splitlines() if line.startswith("net.")}

    assert eventually(lambda: counts()["net.tx"] >= 5 and counts()["net.rx"] >= 5, 30), counts()
    guest.ok("rm", "-f", "a")
