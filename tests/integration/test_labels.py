"""AppArmor profiles, in the bed: its kernel has AppArmor, whatever this host has."""
import shutil
import subprocess
from pathlib import Path

import pytest

from containers import BUILD, need

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = r"""
mount -t securityfs none /sys/kernel/security
grep -q apparmor /sys/kernel/security/lsm || exit 77
mkdir /run/aa
cat > /run/aa/profile <<'END'
profile warren-try flags=(attach_disconnected,mediate_deleted) {
  capability, network, file, signal, ptrace,
  deny /secret w,
}
END
apparmor_parser -Ka /run/aa/profile || exit 1
say() { key=$1; shift; echo "$key=$("$@" 2>&1 | tr '\n' ' ')"; }
TRY='cat /proc/self/attr/current; echo x 2>/dev/null > /secret; echo $?; echo y > /other; echo $?'
WITH='--security-opt apparmor=warren-try'
say plain warren run --rm busybox sh -c "$TRY"
say confined warren run --rm $WITH busybox sh -c "$TRY"
say init warren run --rm --init $WITH busybox sh -c "$TRY"
say unloaded warren run --rm --security-opt apparmor=warren-none busybox true
warren run -d --name c $WITH busybox sleep 1000 >/dev/null
say exec warren exec c sh -c "$TRY"
warren rm -f c >/dev/null
say doctor warren doctor
"""


@pytest.mark.slow
def test_apparmor_profile_is_enforced():
    need("qemu-system-x86_64:qemu-system-x86", "apparmor_parser:apparmor", "cpio", "depmod:kmod")
    if not shutil.which("busybox"):
        pytest.skip("busybox is not installed (Debian package busybox-static)")
    done = subprocess.run([ROOT / "tools/bed", "--build", BUILD, "--timeout", "400", SCRIPT], capture_output=True,
                          text=True, timeout=500, cwd=ROOT, check=False)
    if done.returncode == 77:
        pytest.skip("the bed's kernel has no AppArmor")
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert "AppArmor yes" in said.pop("doctor", ""), done
    assert said == {
        "plain": "unconfined 0 0 ", "confined": "warren-try (enforce) 1 0 ", "init": "warren-try (enforce) 1 0 ",
        "exec": "warren-try (enforce) 1 0 ",
        "unloaded": "Error: apparmorProfile 'warren-none': no such profile is loaded "}, done
