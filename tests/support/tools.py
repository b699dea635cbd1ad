"""Finds and runs programs for tests that not every machine has: on PATH, or where `.ci/run` puts them."""

import os
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossdock" / "bin"
TIMEOUT = 60.0


class MissingToolError(Exception):
    """A program or its packages are missing; the text says how to get them."""


def find(name: str) -> str:
    """Return the path of a program. Raises MissingToolError."""
    path = shutil.which(name) or shutil.which(name, path=str(FOLDER))
    if path is None:
        raise MissingToolError(f"no `{name}` on PATH or in {FOLDER}: `.ci/run` gets it")
    return path


def run(name: str, *args: str, cwd: Path) -> tuple[int, str]:
    """Run a program; return its exit code and all that it printed. Raises MissingToolError."""
    done = subprocess.run([find(name), *args], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT)
    return done.returncode, done.stdout + done.stderr
