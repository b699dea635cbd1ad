"""Siblings of reported fields: due dates that can't be read, texts of a fixed length, and .NET's capitals."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas import documents, registry, times
from schemas.documents import Document

EIGHTH = datetime(2023, 4, 8, tzinfo=UTC)
SCRIPT = "Sat Apr 08 2023 02:00:00 GMT+0200"
UNREADABLE: tuple[Any, ...] = (
    *("08.04.2023 10:00", "2023-02-30T00:00:00Z", "4/8/2023 12:00:00 AM", "2023-04-08T00:00:00 CEST", "#REF!", [], {}),
    *("2023-366", "2023-000", "2023-98", "2023098", "2023-04-08T24:00:01Z", "2023-04-08T10:59:60Z", "20230408T240000Z"),
    *("2023-04-08T23:59:61Z", "2023-04-08T23:59:60+02:00", f"{SCRIPT} (a) (b)", f"{SCRIPT} ({'x' * 61})", "soon"),
    *("Sat Apr 08 2023 02:00:00 CEST", "Sat Foo 08 2023 02:00:00 GMT+0200", "2023-04-08T00:00:00 (UTC)"),
)
READABLE = {
    f"{SCRIPT} (Central European Summer Time)": EIGHTH,
    f"{SCRIPT} (Mitteleuropäische Sommerzeit)": EIGHTH,
    SCRIPT: EIGHTH,
    "Fri Apr 07 2023 19:00:00 GMT-0500 (EST)": EIGHTH,
    "Sat, 8 Apr 2023 02:00:00 +0200 (CEST)": EIGHTH,
    "2023-04-07T24:00:00Z": EIGHTH,
    "2023-04-07T24:00": EIGHTH,
    "2023-04-07 24:00:00.000": EIGHTH,
    "2022-12-31T24:00:00+00:00": datetime(2023, 1, 1, tzinfo=UTC),
    "2023-04-07T23:59:60Z": EIGHTH,
    "2023-04-07T23:59:60.5Z": EIGHTH + timedelta(seconds=0.5),
    "2023-04-08T01:59:60+02:00": EIGHTH,
    "Fri, 07 Apr 2023 23:59:60 GMT": EIGHTH,
    "2023-098": EIGHTH,
    "2023-098T02:00:00+02:00": EIGHTH,
    "2024-366": datetime(2024, 12, 31, tzinfo=UTC),
}


def describe(platform: str, event: str, body: dict[str, Any]) -> Document:
    return documents.describe(registry.platforms()[platform], event, json.dumps(body).encode())


def due(event: str, value: Any) -> Document:
    """Return a document of ChannelApe with a due date."""
    name = "deliver_by_date" if event == "stock_transfer_order" else "EstimatedArrivalDate"
    return describe("channelape", event, {"id": "1", "channelOrderId": "S", "additionalFields": {name: value}})


EVENTS = ("stock_transfer_order", "ship_confirmation", "advanced_ship_notice")


@pytest.mark.parametrize("event", EVENTS)
def test_a_due_date_that_cannot_be_read_is_flagged(event: str) -> None:
    """`deliver_by_date` or `EstimatedArrivalDate` of `08.04.2023 10:00`: never late, and nothing said why."""
    for value in UNREADABLE:
        document = due(event, value)
        assert (document.reading.due_at, document.flags) == (None, ("unreadable_date",)), value
    for value in ("", None, "null", "00000000", "0001-01-01T00:00:00", "-", "1970-001"):
        document = due(event, value)
        assert (document.reading.due_at, document.flags) == (None, ()), value
    assert describe("channelape", event, {"id": "1", "channelOrderId": "S"}).flags == ()


@pytest.mark.parametrize("event", EVENTS)
def test_a_due_date_with_a_single_meaning_is_read(event: str) -> None:
    """JavaScript's `Date.toString`, 24:00, a second 60 and days of the year were unreadable."""
    for value, moment in READABLE.items():
        document = due(event, value)
        assert (document.reading.due_at, document.flags) == (moment, ()), value


def test_a_due_date_of_a_receipt_is_none_of_its_fields() -> None:
    fields = {"EstimatedArrivalDate": "soon", "deliver_by_date": "soon", "receipt_id": "R"}
    document = describe("channelape", "receipt_confirmation", {"channelOrderId": "S", "additionalFields": fields})
    assert (document.reading.due_at, document.flags) == (None, ())


def test_when_an_order_was_placed_is_a_text_that_is_kept_as_sent() -> None:
    """Nothing is computed from `placed_at`, so that a text which has no single meaning lacks nothing."""
    document = describe(
        "channelape", "stock_transfer_order", {"channelOrderId": "S", "purchasedAt": "08.04.2023 10:00"}
    )
    assert (document.reading.placed_at, document.flags) == ("08.04.2023 10:00", ())


def test_long_texts_are_no_times_in_linear_time() -> None:
    for text in ("(" * 100_000, f"{SCRIPT} (" + "x" * 100_000 + ")", " (x)" * 30_000, "2023-098T" * 30_000):
        assert times.parse(text) is None
