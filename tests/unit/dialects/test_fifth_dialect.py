"""A dialect is one file: a fifth one is found, and says events, with no edit anywhere else."""

import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent

import pytest

import schemas.dialects
from schemas.dialects import dialects, get_dialect
from schemas.outbound import Credentials, Event

MODULE = dedent(
    '''
    """Pigeon: the key on a slip of paper."""

    from schemas.outbound import Dialect, Request


    def request(event, credentials, now):
        return Request(body=event.key.encode(), headers={"X-Pigeon": str(now)})


    DIALECT = Dialect(name="pigeon", types=frozenset({"a.b"}), request=request)
    '''
)


@pytest.fixture
def fifth(tmp_path: Path) -> Iterator[str]:
    """A file `pigeon.py` beside the four, for one test."""
    (tmp_path / "pigeon.py").write_text(MODULE)
    schemas.dialects.__path__.append(str(tmp_path))
    importlib.invalidate_caches()
    dialects.cache_clear()
    yield "pigeon"
    schemas.dialects.__path__.remove(str(tmp_path))
    sys.modules.pop("schemas.dialects.pigeon", None)
    dialects.cache_clear()


def test_a_dialect_is_added_by_one_file(fifth: str) -> None:
    assert fifth == "pigeon"
    assert set(dialects()) > {"pigeon", "standard"}
    dialect = get_dialect(fifth)
    assert (dialect.supports("a.b"), dialect.supports("a.c")) == (True, False)
    sample = Event(
        id="1",
        platform="a",
        account="b",
        type="a.b",
        key="k",
        version=1,
        received_at=datetime(2026, 11, 21, tzinfo=UTC),
        raw=b"",
        data=None,
    )
    request = dialect.request(sample, Credentials(), 7)
    assert (request.body, request.headers, request.query) == (b"k", {"X-Pigeon": "7"}, ())


def test_the_fifth_dialect_is_gone_after_its_test() -> None:
    assert "pigeon" not in dialects()
    assert dialects() is dialects()
