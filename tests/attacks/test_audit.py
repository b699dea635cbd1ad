"""How the audit reads what pip-audit says; asking is `make audit`'s, which needs the network."""

import json
import subprocess
from typing import Any

import pytest

from tests.attacks import audit

FINE = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
BAD = {"name": "aiohttp", "version": "3.9.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["3.9.2"], "aliases": []}]}
UNKNOWN = {"name": "other", "skip_reason": "not found"}


def answered(*packages: dict[str, Any], code: int = 0) -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], code, json.dumps({"dependencies": packages, "fixes": []}), "")


def test_a_known_vulnerability_is_named_with_its_remedy() -> None:
    audited = audit.read(answered(FINE, BAD, UNKNOWN, code=1))
    assert audited == audit.Found(["aiohttp 3.9.0: GHSA-1, fixed in 3.9.2"], None, 2)


def test_a_lock_without_vulnerabilities_has_no_findings() -> None:
    assert audit.read(answered(FINE)) == audit.Found([], None, 1)


@pytest.mark.parametrize(
    "ran",
    [None, subprocess.CompletedProcess([], 1, "", "ConnectionError: no route\n"), answered(UNKNOWN), answered()],
    ids=["never ended", "no network", "nothing known", "nothing there"],
)
def test_an_audit_that_could_not_run_is_reported_and_does_not_fail(
    ran: "subprocess.CompletedProcess[str] | None",
) -> None:
    audited = audit.read(ran)
    assert audited.vulnerable == []
    assert audited.skipped


@pytest.mark.parametrize(
    ("result", "code"), [(audit.Found(["x"], None, 1), 1), (audit.Found([], None, 1), 0), (audit.Found([], "away"), 0)]
)
def test_only_a_vulnerability_fails(result: audit.Found, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "audit", lambda: result)
    assert audit.main() == code
