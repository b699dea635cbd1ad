"""Which PostgreSQL `up`, the tests and the benchmarks run."""

from pathlib import Path

import pytest

from deploy.local import postgres
from deploy.local.children import StartError


def test_another_postgresql_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    initdb = tmp_path / "initdb"
    initdb.touch(mode=0o755)
    monkeypatch.setenv("CROSSDOCK_POSTGRES_BIN", str(tmp_path))
    assert postgres.binaries() == tmp_path


def test_a_folder_without_programs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDOCK_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(StartError, match="holds no initdb that can be run"):
        postgres.binaries()
