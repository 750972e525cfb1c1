"""make deb and make install: what is in them runs where it is put."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = Path(os.environ.get("WARREN_BUILD", "build")).resolve()


def sh(*command, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=300, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_debian_package(tmp_path):
    if "sanitize" in BUILD.name or "asan" in BUILD.name:
        pytest.skip("a package is not made of a build with sanitizers")
    package = Path(sh(ROOT / "tools/make-deb", tmp_path).splitlines()[-1])
    control = sh("dpkg-deb", "-f", package)
    assert "Package: warren\n" in control and "libc6 (" in control.split("Depends: ")[1].split("\n")[0]
    tree = tmp_path / "tree"
    sh("dpkg-deb", "-x", package, tree)
    for name in ("usr/bin/warren", "usr/bin/warren-oci", "usr/bin/warren-oci-pv", "usr/bin/warren-oci-vm",
                 "usr/share/man/man1/warren.1.gz", "usr/share/man/man1/warren-doctor.1.gz", "usr/share/doc/warren/copyright",
                 "usr/share/bash-completion/completions/warren", "usr/share/zsh/vendor-completions/_warren",
                 "usr/share/fish/vendor_completions.d/warren.fish"):
        assert (tree / name).exists(), name
    helpers = {path.name for path in (tree / "usr/libexec/warren").iterdir()}
    assert helpers == {path.name for path in (BUILD / "libexec/warren").iterdir() if path.is_file()}
    assert "statically linked" in sh("file", tree / "usr/bin/warren") or "static-pie" in sh("file", tree / "usr/bin/warren")
    assert sh(tree / "usr/bin/warren", "version", "-q") == sh(BUILD / "warren", "version", "-q")


def test_install_into_a_directory(tmp_path):
    sh("meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", env={**os.environ, "DESTDIR": str(tmp_path)})
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert {"usr/local/bin/warren", "usr/local/bin/warren-oci", "usr/local/share/man/man1/warren.1"} <= found
    assert not any(name.endswith((".a", ".h")) for name in found)
