"""Siblings of reported inputs: dates in other notations, dates that mean no date, and signs in place of quantities."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from schemas import documents, lenient, registry, times
from schemas.documents import Document
from tests.support.storing import rows
from tests.support.transfers import BLUE, line, progress, receipt, store, transfer
from workers.poll import apicbase

TEN = datetime(2026, 11, 29, 10, tzinfo=UTC)
SECONDS = int(TEN.timestamp())
READABLE: dict[Any, datetime] = {
    **dict.fromkeys(
        [
            *(SECONDS, f"{SECONDS}", f"{SECONDS}.0", SECONDS * 1000, f"{SECONDS}000", f"{SECONDS}000000"),
            *(float(SECONDS), f"/Date({SECONDS}000)/", f"Date({SECONDS}000)", "1.7959464E9", "1.7959464e+12"),
            *("Sun, 29 Nov 2026 10:00:00 GMT", "29 Nov 2026 10:00 UTC", "Sun, 29 Nov 2026 11:00:00 +0100"),
            *("Sunday, 29-Nov-2026 10:00:00 GMT", "Sun, 29 Nov 2026 10:00:00 -0000"),
            *("2026-11-29 10:00 UTC", "2026-11-29 10:00:00 GMT", "2026-11-29T10:00:00z", "2026-11-29 10:00:00 Z"),
            *("2026-11-29T10:00:00UTC", "2026-11-29 10:00:00 +0000 UTC", "2026-11-29 11:00:00 +01:00"),
            *("20261129T100000Z", "20261129T110000+0100", "2026-11-29T10:00:00.0000000Z"),
            *("2026-11-29T11:00:00+01:00[Europe/Berlin]", "2026-11-29T10:00:00Z[UTC]", "2026/11/29 10:00:00 UTC"),
            *("2026-11-29 10:00:00 AM UTC", "2026-11-29 12:00:00 GMT+02:00"),
        ],
        TEN,
    ),
    f"/Date({SECONDS}000+0100)/": TEN,
    f"{SECONDS}.5": TEN + timedelta(seconds=0.5),
    f"{SECONDS}123": TEN + timedelta(milliseconds=123),
}
READABLE_CLOCKS = (
    *("20261129100000", "202611291000", "20261129100000000", 20261129100000, "20261129T1000", "2026/11/29 10:00"),
    *("2026.11.29 10:00:00", "2026-11-29 10:00:00 AM", "2026-11-29", "2026-11-29T10:00:00"),
)
UNREADABLE: tuple[Any, ...] = (
    *(
        "29/11/2026 10:00",
        "11/29/2026 10:00:00 AM",
        "10/11/2026",
        "29.11.2026",
        "soon",
        "#REF!",
        "2026-11-29 10:00 CET",
    ),
    *("Sun, 29 Nov 2026 10:00:00 EST", "2026-13-29T10:00:00Z", "20261329100000", "2026-11-29T25:00:00Z", "123456789"),
    *("46355.4166", "99999999999999999999", "/Date(soon)/", "/Date(99999999999999999)/", True, [], {}, 12.5, "10:00"),
)
NO_DATES = (
    *("00000000", "0", 0, 0.0, "00.00.0000", "00/00/0000", "00000000000000", "1899-12-30T00:00:00", "1899-12-30"),
    *("12/30/1899", "30.12.1899 00:00:00", "1899-12-31", "1900-01-01T00:00:00", "1/1/1900 12:00:00 AM", "1900-01-00"),
    *("1970-01-01T00:00:00Z", "1970-01-01", "1970-01-01 00:00:00", "1970-01-01T00:00:00.000+00:00", "01.01.1970"),
    *("1970-01-01T01:00:00+01:00", "1969-12-31T19:00:00-05:00", "19700101", "19700101000000", "/Date(0)/"),
    *("99991231", "99991231235959", "9999-12-31", "31.12.9999", "12/31/9999 23:59:59", "/Date(253402300799999)/"),
    *("00010101", "1753-01-01", "1601-01-01T00:00:00Z", -62135596800, "-62135596800000", 253402300799999),
    *("NaT", "NaN", "null", "N/A", "-", "", " ", None),
)


def channelape(value: Any) -> Document:
    body = json.loads(registry.example("channelape", "receipt_confirmation"))
    body["shippedAt"] = value
    body["additionalFields"] |= {"actual_received_date": value, "actual_arrival_date": "2001-01-01"}
    raw = json.dumps(body).encode()
    return documents.describe(registry.platforms()["channelape"], "receipt_confirmation", raw)


@pytest.mark.parametrize("value", READABLE)
def test_a_time_with_one_meaning_is_read(value: Any) -> None:
    document = channelape(value)
    assert document.reading.shipped_at == READABLE[value]
    assert document.flags == ()
    assert apicbase.moment(str(value)) == READABLE[value]


@pytest.mark.parametrize("value", READABLE_CLOCKS)
def test_a_time_without_a_zone_is_a_clock_time_and_unreadable_where_a_zone_is_needed(value: Any) -> None:
    document = channelape(value)
    assert document.reading.goods_received_at in (TEN.replace(tzinfo=None), datetime(2026, 11, 29))  # noqa: DTZ001
    assert document.reading.shipped_at is None
    assert document.flags == ("unreadable_date",)


def test_a_dotnet_time_with_an_offset_has_its_own_clock() -> None:
    assert lenient.local_datetime(f"/Date({SECONDS}000+0100)/") == datetime(2026, 11, 29, 11)  # noqa: DTZ001


@pytest.mark.parametrize("value", UNREADABLE)
def test_a_time_that_cannot_be_read_is_null_and_flagged(value: Any) -> None:
    document = channelape(value)
    assert (document.reading.shipped_at, document.reading.goods_received_at) == (None, None)
    assert document.flags == ("unreadable_date",)


@pytest.mark.parametrize("value", [True, [], {}])
@pytest.mark.parametrize(
    ("platform", "event", "holder", "names"),
    [
        ("apicbase", "purchase_order", None, ["ordered_on"]),
        ("ustore", "manufacturer_allocation", "Order", ["@cartCreationdDate", "@cartCreationDate"]),
        ("channelape", "stock_transfer_order", None, ["purchasedAt"]),
    ],
)
def test_the_time_of_an_order_that_is_not_a_text_is_flagged(
    platform: str, event: str, holder: str | None, names: list[str], value: Any
) -> None:
    body = json.loads(registry.example(platform, event))
    (body if holder is None else body[holder]).update(dict.fromkeys(names, value))
    document = documents.describe(registry.platforms()[platform], event, json.dumps(body).encode())
    assert (document.reading.placed_at, document.flags) == (None, ("unreadable_date",))


@pytest.mark.parametrize("value", NO_DATES)
def test_a_date_that_means_no_date_is_absent_everywhere(value: Any) -> None:
    assert (lenient.date(value), lenient.utc_datetime(value), lenient.local_datetime(value)) == (None, None, None)
    document = channelape(value)
    assert document.reading.shipped_at is None
    assert document.reading.goods_received_at == datetime(2001, 1, 1)  # noqa: DTZ001 - that of the arrival
    assert document.flags == ()
    assert apicbase.moment(None if value is None else str(value)) is None


@pytest.mark.parametrize(
    "value", ["1601010000", "1753010100", "1970010100", "1999-12-31", "1970-01-02", "1899-12-30 09:30"]
)
def test_a_text_that_only_resembles_a_placeholder_is_a_date(value: str) -> None:
    assert lenient.date(value) == value
    assert times.parse(value) is not None


async def test_an_unknown_time_of_receipt_is_not_the_time_at_which_we_received_it(pool: asyncpg.Pool) -> None:
    unknown = receipt("R1", line(BLUE, 60), fields={"actual_received_date": "29/11/2026 10:00"})
    await store(pool, ("stock_transfer_order", transfer()), ("receipt_confirmation", unknown))
    blue = (await progress(pool))["000011"]
    assert (blue["received"], blue["last_received_at"], blue["flags"]) == (60, None, ["unreadable_date"])
    assert ["unreadable_date"] in [row["flags"] for row in await rows(pool, "events")]


@pytest.mark.parametrize("sign", ["-", " - ", "\u2014", "?", "#REF!", "NaN", "#N/A", "."])
@pytest.mark.parametrize("shape", [dict, list])
def test_a_sign_in_place_of_a_quantity_is_null_and_flagged(sign: str, shape: type[Any]) -> None:
    """The whole quantity used to count as received."""
    for name, field in (("received_qty", "received"), ("damaged_qty", "damaged")):
        more: Any = {name: sign} if shape is dict else [{"name": name, "value": v} for v in (None, sign, "")]
        body = {"id": "1", "lineItems": [{"sku": "A", "quantity": 9, "additionalFields": more}]}
        document = documents.describe(
            registry.platforms()["channelape"], "receipt_confirmation", json.dumps(body).encode()
        )
        [item] = document.reading.lines
        assert getattr(item, field) is None
        assert item.unreadable == {field: sign}
        assert document.flags == ("unreadable_number",)


@pytest.mark.parametrize("value", [True, [], {}])
def test_a_value_that_is_neither_text_nor_number_is_not_a_quantity(value: Any) -> None:
    body = {"id": "1", "lineItems": [{"sku": "A", "quantity": 9, "additionalFields": {"received_qty": value}}]}
    document = documents.describe(registry.platforms()["channelape"], "receipt_confirmation", json.dumps(body).encode())
    assert (document.reading.lines[0].received, document.flags) == (None, ("unreadable_number",))


@pytest.mark.parametrize("value", [7, 7.0, " 7 ", "\u200b7"])
def test_a_quantity_that_can_be_read_is_read(value: Any) -> None:
    body = {"id": "1", "lineItems": [{"sku": "A", "quantity": 9, "additionalFields": {"received_qty": value}}]}
    document = documents.describe(registry.platforms()["channelape"], "receipt_confirmation", json.dumps(body).encode())
    assert (document.reading.lines[0].received, document.flags) == (Decimal(7), ())


@pytest.mark.parametrize("sign", ["-", "NaN", "#REF!"])
def test_signs_are_flagged_in_all_numbers(sign: str) -> None:
    assert lenient.unreadable(quantity=(sign, lenient.number(sign))) == {"quantity": sign}
