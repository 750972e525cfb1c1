"""The vm wall's part of the suite, where guests have a real ring 0: on this host when it has one, else in the bed
(tools/bed), which boots once for all of it, when WARREN_TEST_BED asks for it: on some machines the emulated one stops
for good in the middle, which says nothing of what is tested. Each case here is one of those that ran there.
WARREN_TEST_BED=all takes those too that a few minutes have no room for; all there are run with
`tools/bed 'WARREN_TEST_WALLS=vm pytest tests/integration'`."""
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as xml

import pytest

from instances import BUILD, ROOT, kernels  # noqa: F401

CASES = """
test_run_basic.py::test_exit_code_is_the_commands[vm-root-exit 3-3]
test_run_basic.py::test_signal_reaches_the_command[vm-root]
test_run_basic.py::test_volume_both_ways[vm-root]
test_run_basic.py::test_memory_limit[vm-root]
test_run_basic.py::test_image_and_writable_layer[vm-root]
test_run_life.py::test_pause[vm-root]
test_run_life.py::test_exec[vm-root]
test_run_terminal.py::test_shell[vm-root]
test_guest_machine.py::test_disks_are_mounted_and_written[vm]
test_guest_callers.py::test_podman_runs_an_image[vm]
test_vm_machine.py::test_linux_by_every_protocol[pvh]
""".strip().split("\n")
MORE = """
test_run_basic.py::test_what_cannot_be_run[vm-root-nosuch-127-nosuch]
test_run_basic.py::test_much_input[vm-root]
test_run_life.py::test_create_then_start[vm-root]
test_run_life.py::test_cp[vm-root]
test_run_life.py::test_stats_and_top[vm-root]
test_run_terminal.py::test_size_and_its_change[vm-root]
test_run_killed.py::test_killed_keeper_and_instance[vm-root]
test_guest_machine.py::test_overlay_leaves_its_base_alone[vm]
test_guest_machine.py::test_in_use[vm]
test_guest_callers.py::test_the_vm_object_tells_of_the_machine[vm]
test_guest_callers.py::test_the_vm_object_chooses_alone[vm]
test_guest_callers.py::test_containerd_runs_an_image[vm]
test_vm_machine.py::test_processors_and_memory
""".strip().split("\n")
SECONDS, CASE_SECONDS = 420, 90
if os.environ.get("WARREN_TEST_BED") == "all":
    CASES, SECONDS, CASE_SECONDS = CASES + MORE, 1500, 300
MARK = "<?xml"


def works_here():
    verdict = subprocess.run([BUILD / "warren", "doctor"], capture_output=True, text=True).stdout
    return any(line.startswith("vm ") and "works" in line for line in verdict.splitlines())


def command(report, kernels):
    cases = " ".join(f"'tests/integration/{case}'" for case in CASES)
    return (f"WARREN_TEST_WALLS=vm WARREN_TEST_KERNELS={kernels} PYTHONDONTWRITEBYTECODE=1 "
            f"PYTHONPATH=tests/integration WARREN_TEST_CASE_SECONDS={CASE_SECONDS} timeout -s INT {SECONDS - 100} "
            f"/usr/bin/python3 -m pytest -q -p no:cacheprovider -p caselimit --tb=short --junitxml={report} -o junit_family=xunit2 {cases}")


@pytest.fixture(scope="module")
def outcomes(request, tmp_path_factory):
    """{case: None, or what went wrong, or ("skip", why)}"""
    if not ROOT:
        pytest.skip("needs root")
    direct = works_here()
    if not direct and not os.environ.get("WARREN_TEST_BED"):
        pytest.skip("no hardware virtualization here, and WARREN_TEST_BED=1 did not ask for the emulated machine")
    if not direct:
        for program, package in (("qemu-system-x86_64", "qemu-system-x86"), ("cpio", "cpio"), ("depmod", "kmod")):
            if not shutil.which(program) and not os.path.exists(f"/sbin/{program}"):
                pytest.skip(f"no hardware virtualization here, and for the bed {package} is not installed")
    found = request.getfixturevalue("kernels")
    if isinstance(found, str):
        pytest.skip("no guest kernel: " + found.strip())
    if direct:
        report = tmp_path_factory.mktemp("vm") / "report.xml"
        done = subprocess.run(["bash", "-c", command(report, found)], capture_output=True, text=True, timeout=SECONDS)
        text = report.read_text() if report.exists() else ""
    else:
        # The bed has a /tmp of its own.
        there = BUILD / "bed/kernels"
        shutil.rmtree(there, ignore_errors=True)
        shutil.copytree(found, there, symlinks=True)
        done = subprocess.run(["tools/bed", "--build", BUILD, "--timeout", str(SECONDS),
                               command("/tmp/report.xml", there) + "; cat /tmp/report.xml"],
                              capture_output=True, text=True, timeout=SECONDS + 60)
        text = done.stdout[done.stdout.find(MARK):] if MARK in done.stdout else ""
    if not text and "missing packages" in done.stderr + done.stdout:
        pytest.skip(done.stderr.strip())
    assert text, f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    outcome = {}
    for case in xml.fromstring(text).iter("testcase"):
        if not case.get("classname"):
            continue  # the one that ran when the time was up
        problem = case.find("failure") if case.find("failure") is not None else case.find("error")
        skip = case.find("skipped")
        name = f"{case.get('classname').split('.')[-1]}.py::{case.get('name')}"
        if problem is not None:
            outcome[name] = problem.get("message", "") + "\n" + (problem.text or "")
        elif skip is not None:
            outcome[name] = ("skip", skip.get("message", ""))
        else:
            outcome.setdefault(name, None)
        print(f"{name}: {case.get('time')} s", file=sys.stderr)
    return outcome


@pytest.mark.parametrize("case", CASES)
def test_vm(outcomes, case):
    failed = [o for o in outcomes.values() if isinstance(o, str)]
    if case not in outcomes and not failed and len(outcomes) >= 5:
        pytest.skip(f"the bed's time was up ({SECONDS} s) after {len(outcomes)} cases")
    assert case in outcomes, "it did not run"
    if isinstance(outcomes[case], tuple):
        pytest.skip(outcomes[case][1])
    assert outcomes[case] is None, outcomes[case]
