"""make demo: a row for each wall, with the kernel that answered or the reason why none did."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the demo's container row is measured as root")
def test_demo_table(tmp_path):
    env = {**os.environ, "WARREN_DATA": str(tmp_path / "data"), "WARREN_RUN": str(tmp_path / "run")}
    (tmp_path / "run").mkdir()
    if Path("/var/lib/warren/kernels").is_dir():
        (tmp_path / "data").mkdir()
        (tmp_path / "data/kernels").symlink_to("/var/lib/warren/kernels")
    done = subprocess.run([ROOT / "tools/demo", BUILD], capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}
    assert rows["WALL"][1:] == ["KERNEL", "FIRST", "OUTPUT", "MEMORY"]
    assert rows["container"][1] == os.uname().release
    assert float(rows["container"][2]) > 0 and float(rows["container"][4]) > 0
    for wall in ("pv", "vm"):
        if rows[wall][1] == "-":
            assert len(rows[wall]) > 4, "no reason given"
        else:
            assert rows[wall][1] != os.uname().release
    left = subprocess.run([BUILD / "warren", "ps", "-aq"], capture_output=True, text=True, env=env)
    assert left.stdout == ""
