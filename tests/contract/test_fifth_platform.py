"""A platform is one package, and a module each for its answers and its API: a fifth one needs no edit anywhere else."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from uuid import UUID

import pytest

import schemas.platforms
import workers.poll
import workers.route
from deploy.cli import trace
from ingress.api import patterns
from schemas import consumers, registry, topology
from schemas.asyncapi import document as asyncapi
from schemas.config import Config
from schemas.dialects import get_dialect
from schemas.envelope import RECORD_TYPE, Stamp, from_properties
from tests.contract import checks
from workers.poll import source
from workers.route import answers
from workers.store import announce, prepare
from workers.store.allocations import ManufacturerNotice

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

    from workers.poll.source import Source, Summary

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
        summarize=lambda raw: Summary(),
    )
    '''
)


def _forget() -> None:
    importlib.invalidate_caches()
    for cached in (registry.platforms, answers.answerers, source.sources):
        cached.cache_clear()
    for package in ("schemas.platforms", "workers.route", "workers.poll"):
        sys.modules.pop(f"{package}.parcelbird", None)


@pytest.fixture
def fifth(tmp_path: Path) -> Iterator[str]:
    """A package `parcelbird` beside the four, with modules for its answers and its API, for one test."""
    package, route, poll = tmp_path / "platforms" / "parcelbird", tmp_path / "route", tmp_path / "poll"
    for folder in (package / "examples", route, poll):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    (package / "examples" / "hand_over.json").write_text(
        '{"number": "007", "parcels": [{"code": "A/1", "weight": 1.10}]}'
    )
    (package / "examples" / "expected.json").write_text('{"hand_over": {"type": "parcelbird.hand_over", "key": "007"}}')
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
    yield "parcelbird"
    for path, name in paths:
        path.remove(name)
    _forget()


def test_one_package_is_all_it_takes(fifth: str) -> None:
    assert fifth in registry.platforms()
    cases = checks.cases(fifth)
    assert [str(case) for case in cases] == ["parcelbird-hand_over"]
    for case in cases:
        for check in checks.CHECKS:
            check(case)
        checks.well_formed(case.platform)
    queues = {queue.name for queue in topology.topology().queues}
    assert topology.reply_queue(fifth) in queues


def test_it_is_answered_and_polled_by_a_module_of_its_name(fifth: str) -> None:
    assert list(answers.answerers()) == ["apicbase", fifth, "ustore"]
    assert list(source.sources()) == ["apicbase", fifth]


def test_its_recipients_events_can_be_consumed_subscribed_to_traced_and_looked_up(fifth: str) -> None:
    consumer = consumers.Consumer(name="nest", types=["parcelbird.flight"], accounts=["nest"])
    assert [binding.routing_key for binding in consumers.bindings(consumer)] == ["parcelbird.flight.nest.#"]
    patterns.check_types(["parcelbird.flight.12"], get_dialect("standard"))
    version = {"id": "v", "version": 1, "stored_at": 1}
    record = {"version_id": "v", "announced": ["12"], "received_at": 2}
    document = {"platform": fifth, "type": "parcelbird.hand_over", "account": "nest", "versions": [version]}
    keys = [message["routing_key"] for message in trace.messages({**document, "records": [record]})]
    assert keys == ["parcelbird.hand_over.nest", "parcelbird.flight.nest.12"]
    described = asyncapi.document()
    assert described["channels"]["crossdock.events.birds"]["address"] == "parcelbird.flight.{account}.{bird}"
    assert "event.parcelbird.flight" in described["components"]["messages"]


def test_its_recipients_get_events_of_an_answered_order(fifth: str) -> None:
    (case,) = checks.cases(fifth)
    message_id, trace = (
        "5ca1ab1e-0000-7000-8000-000000000001",
        "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00",
    )
    stamp = Stamp(fifth, "nest", case.event.name, "application/json", None, kind=RECORD_TYPE)
    encoded = stamp(message_id, 1.8e9, trace)
    request = from_properties(encoded)
    record = answers.answerers()[fifth].answer(request, case.raw, case.account).record
    assert record is not None
    message = prepare.prepare(encoded, record, Config())
    notice = ManufacturerNotice(message, UUID(message_id), 1, ("12",), 1)
    (event,) = announce.events([], [notice])
    assert (event.exchange, event.key) == (topology.EVENTS, "parcelbird.flight.nest.12")
    data = json.loads(event.body)
    assert (data["type"], data["subject"], data["data"]) == (
        "parcelbird.flight",
        "007",
        {"bird": "12", "parcels": ["A/1"]},
    )


def test_it_leaves_no_trace() -> None:
    assert "parcelbird" not in registry.platforms()
    assert "parcelbird" not in answers.answerers()
    assert "parcelbird" not in source.sources()
