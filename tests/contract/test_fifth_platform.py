"""A platform is one package, and a module each for its answers and its API: a fifth one needs no edit anywhere else."""

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

from ingress.api import patterns
from schemas import consumers, registry, topology
from schemas.asyncapi import document as asyncapi
from schemas.config import Config
from schemas.dialects import get_dialect
from schemas.envelope import RECORD_TYPE, Stamp, from_properties
from storage import timeline
from tests.contract import checks
from workers.poll import source
from workers.route import answers
from workers.store import announce, prepare
from workers.store.allocations import ManufacturerNotice


def test_a_package_is_enough_to_add_a_platform(fifth: str) -> None:
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
    assert fifth in answers.answerers()
    assert fifth in source.sources()


def test_events_of_its_recipients_can_be_consumed_subscribed_to_and_traced(fifth: str) -> None:
    consumer = consumers.Consumer(name="nest", types=["parcelbird.flight"], accounts=["nest"])
    assert [binding.routing_key for binding in consumers.bindings(consumer)] == ["parcelbird.flight.nest.#"]
    patterns.check_types(["parcelbird.flight.12"], get_dialect("standard"))
    id_, now = uuid4(), datetime.now(UTC)
    version = timeline.Version(id_, 1, now, 1, [])
    record = timeline.Record(now, uuid4(), id_, [], ["12"])
    document = timeline.Document(fifth, "nest", "parcelbird.hand_over", "007", [], [version], [record], [])
    keys = [message.routing_key for message in timeline.messages(document)]
    assert keys == ["parcelbird.hand_over.nest", "parcelbird.flight.nest.12"]
    described = asyncapi.document()
    assert described["channels"]["crossdock.events.birds"]["address"] == "parcelbird.flight.{account}.{bird}"
    assert "event.parcelbird.flight" in described["components"]["messages"]


def test_its_recipients_receive_events_of_an_answered_order(fifth: str) -> None:
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


def test_removing_the_package_removes_the_platform() -> None:
    assert "parcelbird" not in registry.platforms()
    assert "parcelbird" not in answers.answerers()
    assert "parcelbird" not in source.sources()
