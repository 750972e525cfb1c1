"""make tour: every stop once, in order; a missing or doubled number is refused."""
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tour(root, *args):
    return subprocess.run([root / "tools/tour", *args], capture_output=True, text=True)


@pytest.fixture
def copy(tmp_path):
    for room in ("src/machine", "src/pv", "guest/shim", "tools"):
        shutil.copytree(ROOT / room, tmp_path / room)
    return tmp_path


def test_the_tour_has_every_stop_once():
    done = tour(ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    numbers = [int(n) for n in re.findall(r"^(\d+)\. \S+:\d+$", done.stdout, re.M)]
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) >= 12
    for word in ("builder", "shim", "mmu", "trap", "event", "blkring"):
        assert word in done.stdout


def test_doubled_and_missing_stops_are_refused(copy):
    file = copy / "src/pv/builder.c"
    text = file.read_text()
    assert tour(copy, "--check").returncode == 0
    file.write_text(text.replace("Tour stop 1:", "Tour stop 2:"))
    done = tour(copy, "--check")
    assert done.returncode == 1 and "stop 1 is missing" in done.stderr
    assert "stop 2 is at src/pv/builder.c:" in done.stderr and " and at src/pv/domain.c:" in done.stderr
