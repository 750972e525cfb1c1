"""A guest's sockets: programs of the host and of a vm call each other (src/run/guest_vsock.c). Needs a host whose KVM
runs kernels: the bed has one."""
import hashlib
import os
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from instances import Warren

BUILD = Path(os.environ.get("WARREN_BUILD", "build"))


@pytest.fixture
def guest(warren):
    echo = (BUILD / "tests/tools/vsockecho").resolve().parent
    warren("run", "-d", "--vm", "--name", "v", "-v", f"{echo}:/tools:ro", "busybox", "sleep", "1000")
    return warren
