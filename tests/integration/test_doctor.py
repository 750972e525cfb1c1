"""warren doctor: what it says, that it tells the truth where a test can make a thing fail, that it changes nothing."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
WARREN = str(BUILD / "warren")
LINE = re.compile(r"^(PASS|WARN|FAIL)  ([A-Z]+-\d\d) +\S.*$")
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make namespaces")


def doctor(*prefix):
    done = subprocess.run([*prefix, WARREN, "doctor", "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    return {check["id"]: check for check in told["checks"]}, {wall["wall"]: wall for wall in told["walls"]}


def in_namespaces(script, *flags):
    return doctor("unshare", *flags, "sh", "-c", script + '; exec "$@"', "sh")


def test_lines_and_json_agree():
    done = subprocess.run([WARREN, "doctor"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""
    lines, verdicts = done.stdout.rstrip("\n").split("\n\n")
    parts = [LINE.match(line) for line in lines.splitlines()]
    assert all(parts), lines
    checks, walls = doctor()
    assert [part.group(2) for part in parts] == list(checks)
    assert [part.group(1) for part in parts] == [check["result"] for check in checks.values()]
    assert [line.split()[0] for line in verdicts.splitlines()] == list(walls) == ["container", "pv", "vm"]


def test_what_is_wrong_has_a_mend():
    checks, _ = doctor()
    for check in checks.values():
        if check["result"] == "FAIL":
            assert check["mend"], check
        if check["result"] == "PASS":
            assert check["mend"] == "", check


@root
def test_changes_nothing():
    look = "cat /proc/self/mountinfo /proc/net/dev /proc/sys/net/ipv4/ip_forward; nft list ruleset; ls /dev /tmp"
    done = subprocess.run(["unshare", "-mn", "sh", "-c", f"mount -t tmpfs none /tmp; touch /tmp/a /tmp/b; "
                           f"({look}) >/tmp/a 2>&1; {WARREN} doctor >/tmp/b; ({look}) >/tmp/b 2>&1; diff /tmp/a /tmp/b"],
                          capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@root
def test_ordinary_user():
    checks, walls = doctor("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    assert checks["CAP-01"]["text"].startswith("ordinary user")
    assert checks["USERNS-03"]["result"] == "WARN"
    assert walls["container"]["works"] == (checks["USERNS-01"]["result"] == "PASS")


@root
def test_no_kvm():
    checks, walls = in_namespaces("mount -t tmpfs none /dev", "-m")
    assert (checks["KVM-02"]["result"], checks["KVM-02"]["text"]) == ("FAIL", "/dev/kvm: No such file or directory")
    assert not walls["vm"]["works"] and "KVM-02" in walls["vm"]["text"]
    assert not walls["pv"]["works"]
    assert checks["TUN-01"]["result"] == "WARN"


@root
@pytest.mark.parametrize("make, mend", [("chmod 600 /dev/kvm", "chmod 666 /dev/kvm, as root"),
                                        ("chgrp 77 /dev/kvm; chmod 660 /dev/kvm", "usermod -aG kvm $USER, and log in again")])
def test_the_mend_of_a_closed_kvm_is_one_that_helps(make, mend):
    script = f"mount -t tmpfs none /dev; mknod /dev/kvm c 10 232; {make}; exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\""
    checks, _ = in_namespaces(script, "-m")
    assert (checks["KVM-02"]["text"], checks["KVM-02"]["mend"]) == ("/dev/kvm: Permission denied", mend)


@root
def test_no_cgroups():
    checks, walls = in_namespaces("umount -R /sys/fs/cgroup", "-m")
    assert checks["CG-01"]["result"] == "WARN" and "no control groups" in checks["CG-01"]["text"]
    assert checks["CG-02"]["result"] == "WARN" and "memory" in checks["CG-02"]["text"]
    assert walls["container"]["works"]


@root
def test_forward_policy_drop():
    if not shutil.which("nft"):
        pytest.skip("nft is not installed (tools/install-deps test)")
    rules = "nft 'add table ip t; add chain ip t f { type filter hook forward priority 0; policy %s; }'"
    checks, _ = in_namespaces(rules % "drop", "-n")
    assert checks["NET-02"]["result"] == "WARN" and "DROP" in checks["NET-02"]["text"]
    checks, _ = in_namespaces(rules % "accept", "-n")
    assert checks["NET-02"]["result"] == "PASS"
    checks, _ = in_namespaces("echo 1 > /proc/sys/net/ipv4/ip_forward", "-n")
    assert checks["NET-03"]["text"] == "IPv4 forwarding is on"


@root
@pytest.mark.parametrize("address,says", [("172.17.3.1/24", "172.17.0.0/16"), ("10.1.2.3/8", "10.88.0.0/16"),
                                          ("192.168.9.1/24", None)])
def test_subnet_clash(address, says):
    checks, _ = in_namespaces(f"ip link add v type veth && ip link set v up && ip link set veth0 up && "
                              f"ip address add {address} dev v", "-n")
    assert checks["NET-05"]["result"] == ("WARN" if says else "PASS")
    assert not says or ("by v " in checks["NET-05"]["text"] and says in checks["NET-05"]["text"])


@root
def test_no_user_namespaces():
    checks, _ = in_namespaces("echo 0 > /proc/sys/user/max_user_namespaces", "-Ur")
    assert checks["USERNS-01"]["result"] == "WARN"
    assert checks["USERNS-01"]["mend"] == "sysctl user.max_user_namespaces=15000"
    assert checks["OVL-02"]["result"] == "WARN"
