"""What `crossdock trace` and `crossdock status` show of what they are given."""

import dataclasses
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from deploy.cli import status
from storage import timeline
from storage.overview import TransferCounts

START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
MESSAGES = [UUID(int=n) for n in range(1, 5)]
VERSIONS = [UUID(int=n) for n in range(11, 15)]


def later(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def item(id_: str, manufacturer: str, rule: str = "fallback: product", detail: str | None = None) -> dict[str, Any]:
    return {"item": id_, "manufacturer": manufacturer, "rule": rule, "detail": detail}


def version(number: int, seconds: float, times: int = 1, flags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "id": VERSIONS[number - 1],
        "version": number,
        "stored_at": later(seconds),
        "times_received": times,
        "flags": list(flags),
    }


def receipt(number: int, seconds: float) -> dict[str, Any]:
    return {"message_id": MESSAGES[number - 1], "received_at": later(seconds), "bytes": 100 + number}


def document(**parts: Any) -> timeline.Document:
    fields = {"platform": "ustore", "type": "ustore.manufacturer_allocation", "account": "printshop", "key": "5295"}
    rows: dict[str, Any] = {"receipts": [], "versions": [], "records": [], "deliveries": [], **parts}
    return msgspec.convert(fields | rows, timeline.Document)


def test_a_trace_is_shown_in_chronological_order() -> None:
    records = [
        {
            "received_at": later(0),
            "message_id": MESSAGES[0],
            "version_id": VERSIONS[0],
            "items": [item("3087", "2"), item("3088", "1", "annex", "12 km")],
            "announced": ["1", "2"],
        },
        {
            "received_at": later(60),
            "message_id": MESSAGES[1],
            "version_id": VERSIONS[0],
            "items": [item("3087", "2"), item("3088", "1", "annex", "12 km")],
            "announced": [],
        },
    ]
    history = document(
        receipts=[receipt(1, 0), receipt(2, 60), receipt(3, 120)],
        versions=[version(1, 0.01, times=2), version(2, 120.01, flags=("revised",))],
        records=records,
    )
    assert [(step.what, step.detail) for step in timeline.timeline(history)] == [
        ("received", f"101 bytes, message {MESSAGES[0]}"),
        ("allocated", "item 3087 to manufacturer 2 by fallback: product"),
        ("allocated", "item 3088 to manufacturer 1 by annex (12 km)"),
        ("stored", f"version 1, received 2 times, event {VERSIONS[0]}"),
        ("queued", "ustore.manufacturer_allocation.printshop on crossdock.events"),
        ("queued", "ustore.manufacturer_order.printshop.1 on crossdock.events"),
        ("queued", "ustore.manufacturer_order.printshop.2 on crossdock.events"),
        ("received", f"102 bytes, message {MESSAGES[1]}"),
        ("allocated", f"as before, for message {MESSAGES[1]}"),
        ("received", f"103 bytes, message {MESSAGES[2]}"),
        ("stored", f"version 2 [revised], event {VERSIONS[1]}"),
        ("queued", "ustore.manufacturer_allocation.printshop on crossdock.events"),
    ]


def test_a_record_without_notified_manufacturers_queued_nothing() -> None:
    record = {
        "received_at": START,
        "message_id": MESSAGES[0],
        "version_id": VERSIONS[0],
        "items": [],
        "announced": None,
    }
    history = document(receipts=[receipt(1, 0)], versions=[version(1, 1)], records=[record])
    assert [step.routing_key for step in timeline.messages(history)] == ["ustore.manufacturer_allocation.printshop"]


def test_the_failures_of_a_message_are_shown_in_order() -> None:
    event = "receipt_confirmation"
    message = timeline.QuarantinedMessage(MESSAGES[0], "channelape", "rothys", event, "no id", START, None, later(9))
    assert [step.what for step in timeline.setbacks(message)] == ["quarantined", "discarded"]
    message = dataclasses.replace(message, replayed_at=later(12))
    assert [step.what for step in timeline.setbacks(message)] == ["quarantined", "discarded", "replayed"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.000 s"), (0.0412, "0.041 s"), (59.9, "59.900 s"), (90, "1.5 min"), (5400, "1.5 h"), (216_000, "2.5 d")],
)
def test_a_duration_is_shown_in_a_unit_that_suits_it(seconds: float, shown: str) -> None:
    assert timeline.since(later(seconds), START) == shown


def samples(*counts: float, name: str = "crossdock_requests_total") -> status.Samples:
    return [(name, {"status": str(n)}, count) for n, count in enumerate(counts)]


def test_a_rate_is_computed_from_two_samples() -> None:
    assert status.rate_between(samples(10, 5), samples(20, 15, 5), 2.0) == 12.5


def test_a_process_that_has_counted_nothing_yet_has_rate_0() -> None:
    assert status.rate_between([], samples(7, name="crossdock_connections"), 1.0) == 0.0


def test_a_restart_between_two_samples_gives_no_negative_rate() -> None:
    assert status.rate_between(samples(100), samples(3), 1.0) == 0.0


def test_ages_are_grouped_by_queue() -> None:
    sampled = [(status.OLDEST, {"queue": "crossdock.store"}, 1.23456), ("other", {"queue": "x"}, 9.0)]
    assert status.oldest(sampled) == {"crossdock.store": 1.235}


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        (TransferCounts({}, 0.0, 2.0, 1.0), "transfers  0 late"),
        (
            TransferCounts({"acme": 2, "rothys": 3}, 180_000.0, 0.0, 1.0),
            "transfers  5 late (acme 2, rothys 3), for up to 2 d: view crossdock.transfers, column late",
        ),
        (
            TransferCounts({}, 0.0, 300.0, 0.25),
            "transfers  0 late; 5 min behind; 25% of the stored documents counted",
        ),
    ],
)
def test_late_transfers_are_a_line(counts: TransferCounts, line: str) -> None:
    assert status._transfers_line(counts) == line


def test_a_process_that_has_ended_is_not_alive() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert status.alive(os.getpid())
    assert not status.alive(ended.pid)


def test_every_attempt_is_part_of_a_life() -> None:
    whom = {"id": MESSAGES[3], "dialect": "standard", "url": "https://a.example/in", "created_at": later(1)}
    none = {"at": None, "status_code": None, "error": None, "status": "pending"}
    first = {
        "status": "pending",
        "at": later(2),
        "attempt": 1,
        "outcome": "refused",
        "status_code": 500,
        "duration_ms": 3.21,
    }
    history = document(
        deliveries=[{**whom, **none}, {**whom, **first, "error": "answered 500"}],
    )
    assert [(step.what, step.detail) for step in timeline.timeline(history)] == [
        ("pending", f"standard https://a.example/in, delivery {MESSAGES[3]}"),
        ("refused", "standard https://a.example/in 500, attempt 1, 3.2 ms: answered 500"),
    ]
