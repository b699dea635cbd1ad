"""Siblings of reported fields: due dates that can't be read, texts of a fixed length, and .NET's capitals."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from schemas import documents, registry, times
from schemas.allocation import ItemAllocation
from schemas.documents import Document
from schemas.platforms.ustore import identity, manufacturer_order
from workers.route.ustore import items

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


PADS = ("\0\0\0", "\0", "  \0\0", "\0 \0\t\r\n", "\x1a", "\x7f")


def padded(value: Any, pad: str) -> Any:
    """Return a body with every text padded at its end."""
    if isinstance(value, dict):
        return {name: padded(inner, pad) for name, inner in value.items()}
    if isinstance(value, list):
        return [padded(inner, pad) for inner in value]
    return value + pad if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("platform", "event", "example"),
    [
        (platform.name, event.name, example)
        for platform in registry.platforms().values()
        for event in platform.events
        for example in event.examples
    ],
)
def test_texts_of_a_fixed_length_are_read_without_their_padding(platform: str, event: str, example: str) -> None:
    """`"itemName": "Balm\\u0000\\u0000\\u0000"` was `Balm` and three U+FFFD, and `ordered_on` the same."""
    plugin = registry.platforms()[platform]
    raw = registry.example(platform, example)
    body = json.loads(raw if plugin.repair is None else plugin.repair(raw) or raw)
    expected = describe(platform, event, body).reading
    names = [line.name for line in expected.lines]
    assert any(names) or event == "receipt_confirmation" or expected.placed_at or expected.numbers
    for pad in PADS:
        reading = describe(platform, event, padded(body, pad)).reading
        assert reading == expected, pad


@pytest.mark.parametrize("sent", ["\0Balm\0A\0", " \0Balm\0A \0 ", "\nBalm\0A"])
def test_a_control_inside_a_name_is_damage(sent: str) -> None:
    body = {"orderNo": "1", "type": "new_order", "items": [{"skuNr": "S", "itemName": sent, "itemQuantity": 1}]}
    assert describe("ecomnow", "notification", body).reading.lines[0].name == "Balm\ufffdA"


def test_blanks_around_a_name_are_kept_and_padding_alone_is_no_name() -> None:
    for sent, expected in ((" Balm ", " Balm "), ("\0\0\0", None), (" \0", None), ("Crème\0", "Crème")):
        body = {"orderNo": "1", "type": "new_order", "items": [{"skuNr": "S", "itemName": sent}]}
        assert describe("ecomnow", "notification", body).reading.lines[0].name == expected
    order = {"id": "1", "ordered_on": "\0\0"}
    assert describe("apicbase", "purchase_order", order).reading.placed_at is None
    assert describe("apicbase", "purchase_order", order).flags == ("not_jsonb",)


def test_texts_of_a_fixed_length_in_routing_and_messages() -> None:
    """What rules compare, shoppers read and manufacturers get is without it; the answer has the id as it was sent."""
    item = {"@id": "3087\0", "Product": {"Name": "Cards\0\0"}}
    address = {"Zip": "07001\0\0", "CountryName": "United States\0", "StateName": "NJ\0"}
    deliveries = {"Deliveries": {"ShippingAddress": address, "DeliveryItems": {"OrderProductID": "3087"}}}
    order = {"@OrderId": "95\0", "OrderProducts": {"OrderProduct": item}, "DeliveryInformation": deliveries}
    raw = json.dumps({"Order": order}).encode()
    (read,) = items.of(identity.decode("manufacturer_allocation", raw).order) or []
    assert (read.id, read.id_as_sent, read.name()) == ("3087", "3087\0", "Cards")
    assert read.destination is not None
    assert (read.destination.country, read.destination.states, read.destination.postal) == ("US", ("US-NJ",), "07001")
    data = manufacturer_order.split(raw, [ItemAllocation(item="3087", manufacturer="2", rule="r")])
    assert json.loads(data["2"])["orderId"] == "95"


@pytest.mark.parametrize("event", ["ship_confirmation", "receipt_confirmation"])
def test_additional_fields_in_dotnets_capitals_are_the_same_fields(event: str) -> None:
    """`[{"Name": "Sscc", "Value": "1"}]` was no field at all: a third carton, and 12 shipped in place of 8."""
    numbers = {"Sscc": "0000192", "receipt_id": "R-1", "EstimatedArrivalDate": "2023-04-08", "sap_asn_number": "A"}

    def read(pairs: list[dict[str, Any]]) -> Any:
        line = {"id": "1", "quantity": 4, "additionalFields": [{**pair} for pair in pairs]}
        body = {"id": "9", "channelOrderId": "S", "additionalFields": pairs, "lineItems": [line]}
        reading = describe("channelape", event, body).reading
        return msgspec.structs.replace(reading, key=reading.key.rpartition("/")[0] or reading.key)

    documented = [{"name": name, "value": value} for name, value in (numbers | {"received_qty": "3"}).items()]
    expected = read(documented)
    assert expected.carton == "0000192"
    capitals = [{name.title(): value for name, value in pair.items()} for pair in documented]
    assert read(capitals) == expected
    assert read([{"name": pair["name"], "Value": pair["value"]} for pair in documented]) == expected
    both = [{"Name": "LicensePlate", "Value": "other"} | pair for pair in documented]
    assert read(both) == expected  # the documented spelling counts
    decoded = registry.platforms()["channelape"].decode(event, json.dumps({"additionalFields": capitals}).encode())
    assert json.loads(msgspec.json.encode(decoded))["additionalFields"] == capitals
