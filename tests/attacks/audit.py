"""`python -m tests.attacks.audit`: known vulnerabilities of the packages that are locked in requirements/run.txt.

By pip-audit, in an environment of its own: it brings two dozen packages that nothing else here needs. Exit code 1 when
there is a vulnerability; where the tool or the database of advisories can't be had, that is said, and the code is 0.
"""

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path(__file__).parents[2] / "requirements" / "run.txt"
TOOL = "pip-audit>=2.10,<3"
TIMEOUT = 300.0
"""Seconds for installing the tool, and again for the query about every package."""


class Found(NamedTuple):
    """The result of an audit."""

    vulnerable: list[str]
    skipped: str | None
    """Why no package was audited; None: packages were."""
    looked_at: int = 0


def audit(lock: Path = LOCK) -> Found:
    """Audit the packages of a lock file with hashes."""
    with tempfile.TemporaryDirectory(prefix="crossdock-audit-") as folder:
        venv.create(folder, with_pip=True)
        tool = Path(folder) / "bin"
        installed = _run([str(tool / "python"), "-m", "pip", "install", "--quiet", TOOL])
        if installed is None or installed.returncode != 0:
            return Found([], "pip-audit can't be installed: no package index can be reached")
        options = ["--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        return read(_run([str(tool / "pip-audit"), "--requirement", str(lock), *options]))


def read(ran: "subprocess.CompletedProcess[str] | None") -> Found:
    """Return the result in the output of pip-audit; None: it did not end in time."""
    if ran is None:
        return Found([], f"the advisories took more than {TIMEOUT:.0f} s")
    try:
        packages: list[dict[str, Any]] = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (ran.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return Found([], f"the database of advisories can't be asked: {last[:200]}")
    looked_at = [package for package in packages if "skip_reason" not in package]
    if not looked_at:
        why = packages[0]["skip_reason"] if packages else "no package is locked"
        return Found([], f"the database of advisories answered for none of {len(packages)} packages: {why}")
    vulnerable = [
        f"{package['name']} {package['version']}: {flaw['id']}, "
        f"fixed in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for package in looked_at
        for flaw in package["vulns"]
    ]
    return Found(vulnerable, None, len(looked_at))


def _run(command: list[str]) -> "subprocess.CompletedProcess[str] | None":
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return None


def main() -> int:
    audited = audit()
    if audited.skipped is not None:
        sys.stdout.write(f"audit skipped: {audited.skipped}\n")
        return 0
    for line in audited.vulnerable:
        sys.stdout.write(f"VULNERABLE {line}\n")
    sys.stdout.write(f"audit: {audited.looked_at} packages, {len(audited.vulnerable)} known vulnerabilities\n")
    return 1 if audited.vulnerable else 0


if __name__ == "__main__":
    raise SystemExit(main())
