"""A platform is one folder: a fifth one is found, and holds to the contract, with no edit anywhere else."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import schemas.platforms
from schemas import registry, topology
from tests.contract import checks

PACKAGE = dedent(
    '''
    """Parcelbird: parcels that were handed over. Signs with HMAC-SHA256 in hexadecimal over the body."""

    import hmac

    import msgspec

    from schemas import lenient
    from schemas.platform import Event, Line, Platform, ParsedDocument, Reply, Signed


    class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        secrets: list[str]
        patience: float = 1.0


    class Parcel(msgspec.Struct, frozen=True, kw_only=True):
        code: lenient.Scalar = msgspec.UNSET
        weight: lenient.Scalar = msgspec.UNSET


    class HandOver(msgspec.Struct, frozen=True, kw_only=True):
        number: lenient.Scalar = msgspec.UNSET
        parcels: list[Parcel] | msgspec.UnsetType | None = msgspec.UNSET


    def _hex(raw, secret):
        return hmac.digest(secret.encode(), raw, "sha256").hex()


    def verify(raw, headers, query, account):
        sent = headers.get("X-Bird", "").encode("utf-8", "surrogatepass")
        fitting = [s for s in account.secrets if hmac.compare_digest(_hex(raw, s).encode(), sent)]
        return fitting[0] if fitting else None


    decode = lenient.decoder(HandOver)


    def read(event, raw):
        order = decode(raw)
        lines = tuple(Line(id=lenient.text(parcel.code) or "?") for parcel in lenient.each(order.parcels))
        return ParsedDocument(type="parcelbird.hand_over", key=lenient.key(order.number, "number"), lines=lines)


    PLATFORM = Platform(
        name="parcelbird",
        account=Account,
        demo=("nest", {"secrets": ["tweet"]}),
        events=(
            Event(
                name="hand_over",
                path="hand-overs",
                types=("parcelbird.hand_over",),
                examples=("hand_over",),
                reply=Reply("patience", "accept"),
            ),
        ),
        unauthorized=401,
        verify=verify,
        sign=lambda raw, account: Signed(headers={"X-Bird": _hex(raw, account.secrets[0])}),
        read=read,
        decode=lambda event, raw: decode(raw),
        secrets=lambda account: account.secrets,
    )
    '''
)


@pytest.fixture
def fifth(tmp_path: Path) -> Iterator[str]:
    """A folder `parcelbird` beside the four, for one test."""
    examples = tmp_path / "parcelbird" / "examples"
    examples.mkdir(parents=True)
    (tmp_path / "parcelbird" / "__init__.py").write_text(PACKAGE)
    (examples / "hand_over.json").write_text('{"number": "007", "parcels": [{"code": "A/1", "weight": 1.10}]}')
    (examples / "expected.json").write_text('{"hand_over": {"type": "parcelbird.hand_over", "key": "007"}}')
    schemas.platforms.__path__.append(str(tmp_path))
    importlib.invalidate_caches()
    registry.platforms.cache_clear()
    yield "parcelbird"
    schemas.platforms.__path__.remove(str(tmp_path))
    sys.modules.pop("schemas.platforms.parcelbird", None)
    registry.platforms.cache_clear()


def test_one_folder_is_all_it_takes(fifth: str) -> None:
    assert fifth in registry.platforms()
    cases = checks.cases(fifth)
    assert [str(case) for case in cases] == ["parcelbird-hand_over"]
    for case in cases:
        for check in checks.CHECKS:
            check(case)
        checks.well_formed(case.platform)
    queues = {queue.name for queue in topology.topology().queues}
    assert topology.reply_queue(fifth) in queues


def test_it_leaves_no_trace() -> None:
    assert "parcelbird" not in registry.platforms()
