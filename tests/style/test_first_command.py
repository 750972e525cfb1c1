"""docs/FIRST_COMMAND.md tells the truth: its file compiles without a warning against the real headers."""
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
code = re.search(r"```c\n(.*?)```", (ROOT / "docs/FIRST_COMMAND.md").read_text(), re.S).group(1)
done = subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-Wshadow",
                       "-fsyntax-only", f"-I{ROOT}/src", "-x", "c", "-"], input=code, text=True)
sys.exit(done.returncode)
