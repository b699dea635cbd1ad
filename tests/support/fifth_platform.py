"""An invented fifth platform, which exists as long as a test runs."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import schemas.platforms
import workers.poll
import workers.route
from schemas import registry
from workers.poll import source
from workers.route import answers

PACKAGE = dedent(
    '''
    """Parcelbird: parcels that were handed over. Signs with HMAC-SHA256 in hexadecimal over the body."""

    import hmac

    import msgspec

    from schemas import lenient
    from schemas.platform import Announcement, Event, Line, Platform, ParsedDocument, Reply, Signed


    class Account(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        secrets: list[str]
        patience: float = 1.0


    class Parcel(msgspec.Struct, frozen=True, kw_only=True):
        code: lenient.Scalar = msgspec.UNSET
        contents: lenient.Scalar = msgspec.UNSET
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
        lines = tuple(
            Line(id=lenient.text(parcel.code) or "?", article=lenient.identifier(parcel.contents))
            for parcel in lenient.or_empty_list(order.parcels)
        )
        return ParsedDocument(
            type="parcelbird.hand_over",
            key=lenient.key(order.number, "number"),
            lines=lines,
            numbers=tuple(line.id for line in lines),
        )


    class Flight(msgspec.Struct, frozen=True):
        """The parcels that one bird carries."""

        bird: str
        parcels: list[str]


    def split(raw, allocations):
        codes = {}
        for allocation in allocations:
            codes.setdefault(allocation.manufacturer, []).append(allocation.item)
        return {bird: msgspec.json.encode(Flight(bird, parcels)) for bird, parcels in codes.items()}


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
        announcement=Announcement(
            event_type="parcelbird.flight",
            recipient="bird",
            recipient_id="The ring number of the bird.",
            payload=Flight,
            split=split,
        ),
    )
    '''
)

ANSWERER = dedent(
    '''
    """Which bird carries each parcel."""

    import msgspec

    from schemas import allocation
    from schemas.platforms import parcelbird
    from workers.route.answers import Answer, Answerer


    def answer(request, raw, account):
        parcels = parcelbird.read(request.event, raw).lines
        carried = [allocation.ItemAllocation(parcel.id, "12", "the only bird") for parcel in parcels]
        body = msgspec.json.encode({entry.item: entry.manufacturer for entry in carried})
        record = allocation.encode(allocation.AllocationRecord(raw, carried))
        return Answer(status=200, content_type="application/json", body=body, record=record)


    ANSWERER = Answerer(answer=answer)
    '''
)

SOURCE = dedent(
    '''
    """Hand-overs, fetched from the nest."""

    from datetime import timedelta

    from workers.poll.source import Source, OrderSummary

    SOURCE = Source(
        platform="parcelbird",
        event="hand_over",
        settings=lambda account: None,
        token_path="token",
        scope="nest",
        orders_path="hand-overs",
        filters=lambda after: {},
        overlap=timedelta(days=1),
        status="FLOWN",
        summarize=lambda raw: OrderSummary(),
    )
    '''
)


@contextmanager
def fifth_platform(folder: Path) -> Iterator[str]:
    """Create a package `parcelbird` beside the four, with modules for its answers and its API, and yield its name."""
    package, route, poll = folder / "platforms" / "parcelbird", folder / "route", folder / "poll"
    for directory in (package / "examples", route, poll):
        directory.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "examples" / "hand_over.json").write_text(
        '{"number": "007", "parcels": [{"code": "A/1", "contents": "SEED-1", "weight": 1.10}]}'
    )
    (package / "examples" / "expected.json").write_text(
        '{"hand_over": {"type": "parcelbird.hand_over", "key": "007", "numbers": ["A/1"], "articles": ["SEED-1"]}}'
    )
    (route / "parcelbird.py").write_text(ANSWERER)
    (poll / "parcelbird.py").write_text(SOURCE)
    paths = [
        (schemas.platforms.__path__, str(package.parent)),
        (workers.route.__path__, str(route)),
        (workers.poll.__path__, str(poll)),
    ]
    for path, name in paths:
        path.append(name)
    _forget()
    try:
        yield "parcelbird"
    finally:
        for path, name in paths:
            path.remove(name)
        _forget()


def _forget() -> None:
    importlib.invalidate_caches()
    for cached in (registry.platforms, answers.answerers, source.sources):
        cached.cache_clear()
    for package in ("schemas.platforms", "workers.route", "workers.poll"):
        sys.modules.pop(f"{package}.parcelbird", None)
