"""Quantities, prices and dates that are not what JSON has for them: nothing is guessed, and nothing is hidden."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas import documents, lenient, registry
from schemas.documents import Document
from schemas.platforms.apicbase import refusal
from schemas.platforms.apicbase.config import Account
from workers.route import apicbase as verdict

UNREADABLE = ["12,50", "1,000", "1.000,50", "5 EA", "EUR 5", "five", "1 000", "\u0665", "0x10", "1_000", "1/2", "NaN"]
READABLE = {"12.50": "12.50", " 5 ": "5", "-3": "-3", "1e2": "1E+2", "007": "7", "+4": "4"}
ABSENT = ["", " ", "null", "N/A", None]

FIELDS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    # (platform, event, body with the number as @, what it is in the line)
    "apicbase quantity": (
        "apicbase",
        "purchase_order",
        {"id": "1", "packages": [{"quantity_ordered": "@"}]},
        "quantity",
    ),
    "apicbase price": (
        "apicbase",
        "purchase_order",
        {"id": "1", "packages": [{"supplier_package": {"theoretical_price_per_package": "@"}}]},
        "unit_price",
    ),
    "apicbase total": (
        "apicbase",
        "purchase_order",
        {"id": "1", "packages": [{"total_theoretical_price": "@"}]},
        "total",
    ),
    "channelape quantity": (
        "channelape",
        "ship_confirmation",
        {"id": "1", "lineItems": [{"sku": "a", "quantity": "@"}]},
        "quantity",
    ),
    "channelape received": (
        "channelape",
        "receipt_confirmation",
        {"id": "1", "lineItems": [{"sku": "a", "quantity": 9, "additionalFields": {"received_qty": "@"}}]},
        "received",
    ),
    "channelape damaged": (
        "channelape",
        "receipt_confirmation",
        {
            "id": "1",
            "lineItems": [{"sku": "a", "quantity": 9, "additionalFields": [{"name": "damaged_qty", "value": "@"}]}],
        },
        "damaged",
    ),
    **{
        f"ecomnow {name}": (
            "ecomnow",
            "notification",
            {"orderNo": "1", "type": "new_order", "items": [{"skuNr": "a", name: "@"}]},
            field,
        )
        for name, field in (("itemQuantity", "quantity"), ("itemPrice", "unit_price"), ("itemTotal", "total"))
    },
    **{
        f"ustore {name}": (
            "ustore",
            "manufacturer_allocation",
            {"Order": {"@OrderId": "1", "OrderProducts": {"OrderProduct": [{"@id": "1", holder: {name: "@"}}]}}},
            field,
        )
        for holder, name, field in (
            ("Quantities", "TotalUnits", "quantity"),
            ("Prices", "PricePerUnit", "unit_price"),
            ("Prices", "TotalPrice", "total"),
        )
    },
}


def described(where: str, value: Any) -> tuple[Document, str]:
    platform, event, body, field = FIELDS[where]
    raw = json.dumps(body).replace('"@"', json.dumps(value)).encode()
    return documents.describe(registry.platforms()[platform], event, raw), field


@pytest.mark.parametrize("where", FIELDS)
@pytest.mark.parametrize("value", [*UNREADABLE, True, {}, []])
def test_an_unreadable_number_is_null_and_flagged(where: str, value: Any) -> None:
    """Cellarion#437: "12,50" was null without a trace."""
    if not isinstance(value, str) and where in ("channelape received", "channelape damaged"):
        return  # additionalFields hold text: anything else is absent
    document, field = described(where, value)
    [line] = document.reading.lines
    assert getattr(line, field) is None
    assert document.flags == ("unreadable_number",)
    assert line.unreadable is not None
    assert list(line.unreadable) == [field]
    assert not isinstance(value, str) or line.unreadable == {field: value}
    assert document.body is not None  # what was sent stays what was sent


@pytest.mark.parametrize("where", FIELDS)
@pytest.mark.parametrize("value", READABLE)
def test_a_number_in_text_is_a_number(where: str, value: str) -> None:
    document, field = described(where, value)
    assert str(getattr(document.reading.lines[0], field)) == READABLE[value]
    assert document.flags == ()


@pytest.mark.parametrize("where", FIELDS)
@pytest.mark.parametrize("value", ABSENT)
def test_an_absent_number_is_not_flagged(where: str, value: Any) -> None:
    document, field = described(where, value)
    expected = {"received": Decimal(9), "damaged": Decimal(0)}.get(field)
    assert getattr(document.reading.lines[0], field) == expected
    assert document.flags == ()


def test_unreadable_values_are_shown_with_their_line_and_truncated() -> None:
    """Cellarion#437: `crossdock trace` shows lines as they are stored."""
    document, _ = described("ecomnow itemQuantity", "5 EA\0" + "x" * 1000)
    [line] = json.loads(msgspec.json.encode(document.reading.lines))
    assert line["unreadable"]["quantity"].startswith("5 EA\ufffdxxx")
    assert len(line["unreadable"]["quantity"]) == 100


NO_DATES = (
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+00:00",
    "0001-01-01 00:00:00",
    "0001-01-01",
    "0000-00-00",
    "0000-00-00 00:00:00",
    "9999-12-31T23:59:59.9999999",
    "9999-12-31T23:59:59Z",
    "1/1/0001 12:00:00 AM",
    "01.01.0001 00:00:00",
    "/Date(-62135596800000)/",
    "null",
    "",
    None,
)


@pytest.mark.parametrize("text", NO_DATES)
def test_a_date_that_means_no_date_is_absent(text: Any) -> None:
    """npgsql#6651: .NET writes its first moment for "no date", and PostgreSQL made `-infinity` of it."""
    receipt = json.loads(registry.example("channelape", "receipt_confirmation"))
    receipt |= {"shippedAt": text, "purchasedAt": text}
    receipt["additionalFields"] |= {"actual_received_date": text, "actual_arrival_date": text}
    ordered = json.loads(registry.example("apicbase", "purchase_order")) | {"ordered_on": text}
    printed = json.loads(registry.example("ustore", "manufacturer_allocation"))
    printed["Order"] |= {"@cartCreationdDate": text, "@cartCreationDate": text}
    for platform, event, body in (
        ("channelape", "receipt_confirmation", receipt),
        ("apicbase", "purchase_order", ordered),
        ("ustore", "manufacturer_allocation", printed),
    ):
        raw = json.dumps(body).encode()
        reading = documents.describe(registry.platforms()[platform], event, raw).reading
        assert (reading.placed_at, reading.shipped_at, reading.goods_received_at) == (None, None, None)


def test_dates_that_are_dates_stay_as_sent() -> None:
    assert lenient.date(" 2023-04-01T15:35:00.000Z") == " 2023-04-01T15:35:00.000Z"
    assert lenient.utc_datetime(" 2023-04-01T15:35:00.000Z ") == datetime(2023, 4, 1, 15, 35, tzinfo=UTC)
    assert [lenient.date(text) for text in ("1/1/2001", "01.01.00010", "soon", "0010-01-01")] == [
        *("1/1/2001", "01.01.00010", "soon", "0010-01-01")
    ]


@pytest.mark.parametrize(
    ("packages", "text"),
    [
        (None, "no lines"),
        ([], "no lines"),
        ([{"quantity_ordered": "many"}], 'not a number in line 1 ("many")'),
        ([{"quantity_ordered": "12,50"}], 'not a number in line 1 ("12,50")'),
        ([{"quantity_ordered": -3}], "negative in line 1 (-3)"),
        ([{"quantity_ordered": None}], "No quantity in line 1."),
        ([{}], "No quantity in line 1."),
        ([{"quantity_ordered": 1}, {"quantity_ordered": 1, "supplier_package": None}], "No article number in line 2."),
        (
            [{"quantity_ordered": 1, "supplier_package": {"supplier_article_number": " "}}],
            "No article number in line 1.",
        ),
        ([{"quantity_ordered": 1, "supplier_package": {"supplier_article_number": "null"}}], "No article number"),
    ],
)
def test_an_order_that_nobody_can_deliver_is_refused_while_the_customer_looks(packages: Any, text: str) -> None:
    """Findings, table: it was answered 200 and stored without lines, or with a line without a quantity."""
    order = json.loads(registry.example("apicbase", "purchase_order"))
    if packages is None:
        del order["packages"]
    else:
        article = {"supplier_article_number": "ART-1"}
        order["packages"] = [{"supplier_package": article} | package for package in packages]
    decided = verdict.validate(json.dumps(order).encode(), Account(secrets=["s"]))
    assert decided.status == 422
    assert text in json.loads(decided.body)["detail"]
    assert decided.content_type == "application/problem+json"


@pytest.mark.parametrize("quantity", [0, 1, "2.5", 1e3])
def test_an_order_that_can_be_delivered_is_taken(quantity: Any) -> None:
    order = json.loads(registry.example("apicbase", "purchase_order"))
    order["packages"][0]["quantity_ordered"] = quantity
    raw = json.dumps(order).encode()
    assert refusal.refusal(raw, Account(secrets=["s"])) is None
    assert verdict.validate(raw, Account(secrets=["s"])) is verdict.ACCEPTED
