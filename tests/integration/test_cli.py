"""The front door: help, hints, manual pages and completion in the three shells, all from one table."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()
WARREN = str(BUILD / "warren")


def warren(*args, **more):
    return subprocess.run([WARREN, *args], capture_output=True, text=True, timeout=30, **more)


def listed_commands():
    lines = warren("--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    return [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]


def test_overview_names_every_command_once():
    names = listed_commands()
    assert "version" in names and "completion" in names
    assert names == sorted(names)
    assert "complete" not in names and "manual" not in names


def test_each_command_answers_help_within_80_columns():
    for name in listed_commands():
        done = warren(name, "--help", env={**os.environ, "COLUMNS": "80"})
        assert done.returncode == 0 and done.stdout.startswith(f"Usage: warren {name}"), name
        assert done.stderr == ""
        for line in done.stdout.splitlines()[1:]:
            assert len(line) <= 80 or " " not in line.strip(), (name, line)


def test_help_word_equals_the_option():
    assert warren("help", "version").stdout == warren("version", "--help").stdout


def test_version_as_an_option():
    assert warren("--version").stdout == warren("version").stdout != ""


@pytest.mark.parametrize("args, message", [
    (["verzion"], "Error: unknown command 'verzion'; did you mean 'warren version'?\n"),
    (["xyzzy"], "Error: unknown command 'xyzzy'. See 'warren --help'.\n"),
    (["version", "--quite"], "Error: unknown option --quite; did you mean --quiet?\nSee 'warren version --help'.\n"),
    (["help", "verzion"], "Error: unknown command 'verzion'; did you mean 'warren version'?\n"),
    (["completion"], "Error: completion: too few arguments: usage: warren completion bash|zsh|fish\n"
                     "See 'warren completion --help'.\n"),
    (["completion", "tcsh"], "Error: completion: 'tcsh' is none of bash, zsh, fish\n"),
])
def test_wrong_words_get_one_line_and_125(args, message):
    done = warren(*args)
    assert (done.returncode, done.stdout, done.stderr) == (125, "", message)


def test_no_word_shows_the_overview_and_fails():
    done = warren()
    assert done.returncode == 125 and "Commands:" in done.stderr


def test_oci_without_a_word_shows_its_help():
    done = warren("oci")
    assert done.returncode == 125 and done.stderr == warren("oci", "--help").stdout


def test_a_full_disk_is_an_error():
    with open("/dev/full", "w") as full:
        done = subprocess.run([WARREN, "version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 125 and "No space left on device" in done.stderr


def test_manual_has_a_page_a_command_and_roff_accepts_it(tmp_path):
    assert warren("manual", str(tmp_path)).returncode == 0
    pages = {page.name for page in tmp_path.iterdir()}
    assert pages >= {"warren.1"} | {f"warren-{name}.1" for name in listed_commands()}
    assert "WARREN_DATA" in (tmp_path / "warren.1").read_text() and "WARREN_DATA" not in (tmp_path / "warren-run.1").read_text()
    if not shutil.which("groff"):
        pytest.skip("groff is not installed (tools/install-deps test)")
    for page in tmp_path.iterdir():
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True)
        assert done.stderr == "", page.name


def bash_offers(line):
    script = (f"PATH={BUILD}:$PATH; source <(warren completion bash); COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}; "
              "compopt() { :; }; _warren; printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, cwd="/")
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completion():
    assert bash_offers("warren versi") == ["version"]
    assert bash_offers("warren version --qu") == ["--quiet"]
    assert set(bash_offers("warren ")) == set(listed_commands())
    assert bash_offers("warren nothing ") == []


def test_fish_completion(tmp_path):
    if not shutil.which("fish"):
        pytest.skip("fish is not installed (tools/install-deps test)")
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{BUILD}:{os.environ['PATH']}"}
    done = subprocess.run(["fish", "-c", "warren completion fish | source; complete -C 'warren versi'; "
                           "complete -C 'warren version --qu'"], capture_output=True, text=True, env=env, timeout=60)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["version", "--quiet"], done.stderr


def test_zsh_completion(tmp_path):
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed (tools/install-deps test)")
    script = ("autoload -Uz compinit; compinit -u -d $HOME/dump; source <(warren completion zsh); "
              "_describe() { print -l -- \"${(@P)2}\" }; words=(warren versi); CURRENT=2; _warren; "
              "words=(warren version --qu); CURRENT=3; _warren; print ${_comps[warren]}")
    env = {**os.environ, "HOME": str(tmp_path), "PATH": f"{BUILD}:{os.environ['PATH']}"}
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, env=env, timeout=60)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["version", "--quiet", "_warren"], done.stderr
