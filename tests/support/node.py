"""Finds Node.js, and installs the packages of `tests/node` once, outside the repository."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.support.tools import MissingToolError

HERE = Path(__file__).parents[1] / "node"
OLDEST = 18
INSTALL_TIMEOUT = 200.0
"""Seconds for `npm ci`."""
OURS = ("EUSAGE", "EINTEGRITY", "ENOLOCK", "EJSONPARSE")
"""Codes of npm's errors if `package.json` or the lock is wrong. Other errors mean that the packages are unreachable."""


@cache
def node() -> str:
    """Return the path of a Node.js that is new enough. Raises MissingToolError."""
    path = shutil.which("node")
    if path is None:
        raise MissingToolError(f"no `node` on PATH: install Node.js >= {OLDEST}")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30).stdout.strip()
    major = version.removeprefix("v").partition(".")[0]
    if not major.isdecimal() or int(major) < OLDEST:
        raise MissingToolError(f"{path} is {version or 'of unknown version'}: install Node.js >= {OLDEST}")
    return path


@cache
def packages() -> Path:
    """Return the folder in which the packages are installed, and install them first if necessary.

    Raises MissingToolError, and RuntimeError if the lock itself is wrong.
    """
    runs = node()
    npm = shutil.which("npm")
    if npm is None:
        raise MissingToolError("no `npm` on PATH: it comes with Node.js")
    files = [HERE / "package.json", HERE / "package-lock.json"]
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]
    cached = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossdock"
    folder = cached / f"node-{digest}"
    if folder.is_dir():
        return folder
    try:
        cached.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="installing-", dir=cached))
    except OSError as error:
        raise MissingToolError(f"nowhere to install packages to: {error}") from None
    try:
        for file in files:
            shutil.copy(file, new)
        _install(npm, runs, new)
        try:
            new.rename(folder)
        except OSError:
            if not folder.is_dir():  # another run may have been faster
                raise
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _install(npm: str, runs: str, folder: Path) -> None:
    """Install exactly what the lock names; no package's own scripts are run."""
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1")
    try:
        done = subprocess.run(
            [npm, "ci", *options],
            cwd=folder,
            env=os.environ | {"PATH": f"{Path(runs).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise MissingToolError(f"`npm ci` was not done in {INSTALL_TIMEOUT:.0f} s") from None
    if done.returncode == 0:
        return
    if any(code in done.stderr for code in OURS):
        raise RuntimeError(f"`npm ci` in {HERE.name}/ failed:\n{done.stderr}")
    raise MissingToolError(f"`npm ci` gets no packages: {' '.join(done.stderr.split())[:300]}")


def run(script: str, *args: str, stdin: str = "", timeout: float = 120.0) -> str:
    """Run a script of `tests/node`, and return what it prints.

    It runs in the folder of the packages, where it finds them. Raises MissingToolError, and RuntimeError if the script
    fails.
    """
    folder = packages()
    done = subprocess.run(
        [node(), str(HERE / script), *args], cwd=folder, input=stdin, capture_output=True, text=True, timeout=timeout
    )
    if done.returncode != 0:
        raise RuntimeError(f"{script} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout
