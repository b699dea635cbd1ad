"""Siblings of reported inputs: identifiers that are placeholders, and identifiers in another Unicode form."""

import json
from importlib import resources
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas import documents, lenient, registry
from schemas.platform import ParsedDocument, UnreadableError
from schemas.platforms import ustore
from schemas.platforms.apicbase import refusal
from schemas.platforms.apicbase.config import Account
from tests.support.transfers import progress, receipt, store, transfer
from workers.poll import apicbase, poller
from workers.route.ustore import explain

STO, SHIP, ASN, RECEIPT = "stock_transfer_order", "ship_confirmation", "advanced_ship_notice", "receipt_confirmation"
WORDS = (
    *("nan", "NaN", "-nan", "NaT", "<NA>", "None", "null", "'null'", "[null]", '"null"', "#N/A", "#NV", "N/A", "\\N"),
    *("#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#WERT!", "#BEZUG!", "########"),
    *("[object Object]", "DBNull"),
)
EMPTY_GUIDS = (
    "00000000-0000-0000-0000-000000000000",
    "{00000000-0000-0000-0000-000000000000}",
    "00000000000000000000000000000000",
    "000000000000000000",
)
ZEROS = ("0", "00", "0000000000", "0-0", "0.0", "+0", 0, -0.0, *EMPTY_GUIDS)


def example(platform: str, name: str) -> Any:
    return json.loads(registry.example(platform, name))


def read(platform: str, event: str, body: Any) -> ParsedDocument:
    return documents.describe(registry.platforms()[platform], event, json.dumps(body).encode()).reading


@pytest.mark.parametrize("value", [*WORDS, *EMPTY_GUIDS])
def test_a_placeholder_identifies_nothing(value: str) -> None:
    assert lenient.identifier(value) is None
    assert lenient.identifier(f" {value}\u200b") is None
    with pytest.raises(UnreadableError, match="`id` is missing"):
        lenient.key(value, "id")


@pytest.mark.parametrize("value", ["nano", "NATO", "None-1", "#1", "#12!a", "NA", "0", "00", "01", "0000000001", "1-0"])
def test_a_text_that_only_resembles_a_placeholder_identifies(value: str) -> None:
    assert lenient.identifier(value) == value


@pytest.mark.parametrize("value", ["1", "01", "0000000001", "1-0", "A0", "0x0", "0 A"])
def test_a_number_with_other_digits_than_zeros_is_a_reference(value: str) -> None:
    assert lenient.reference(value) == lenient.key(value, "id") == value


@pytest.mark.parametrize("value", [*WORDS, *ZEROS])
@pytest.mark.parametrize("shape", [dict, list])
def test_receipts_without_a_receipt_id_are_not_merged(value: Any, shape: type[Any]) -> None:
    bodies = [example("channelape", RECEIPT), example("channelape", RECEIPT)]
    bodies[1]["channelOrderId"] = "another"
    for body in bodies:
        body["additionalFields"]["receipt_id"] = value
        if shape is list:
            body["additionalFields"] = [{"name": n, "value": v} for n, v in body["additionalFields"].items()]
    first, second = (read("channelape", RECEIPT, body).key for body in bodies)
    assert first != second
    assert first.startswith("208924061/00001922492001525086/")


@pytest.mark.parametrize("event", [SHIP, ASN])
@pytest.mark.parametrize("value", [*WORDS, *ZEROS])
@pytest.mark.parametrize("name", ["Sscc", "LicensePlate"])
def test_cartons_without_a_number_are_not_merged(event: str, value: Any, name: str) -> None:
    bodies = [example("channelape", event), example("channelape", event)]
    for n, body in enumerate(bodies):
        body["additionalFields"] |= {"Sscc": f"S{n}", "LicensePlate": f"L{n}", "CartonNumber": str(n)} | {name: value}
    first, second = (read("channelape", event, body) for body in bodies)
    assert not set(first.aliases) & set(second.aliases)
    assert first.key != second.key


@pytest.mark.parametrize("event", [SHIP, ASN])
def test_zero_may_be_the_number_of_a_carton(event: str) -> None:
    body = example("channelape", event)
    body["additionalFields"] |= {"Sscc": None, "LicensePlate": None, "CartonNumber": 0}
    assert read("channelape", event, body).carton == "0"
    for value in ("0000000000", *WORDS):
        body["additionalFields"]["CartonNumber"] = value
        assert read("channelape", event, body).carton is None


@pytest.mark.parametrize("value", [*WORDS, *ZEROS])
@pytest.mark.parametrize(
    ("platform", "event", "name", "path"),
    [
        ("channelape", SHIP, SHIP, "id"),
        ("channelape", ASN, ASN, "id"),
        ("ecomnow", "notification", "new_order_valid", "orderNo"),
        ("apicbase", "purchase_order", "purchase_order", "id"),
        ("ustore", "manufacturer_allocation", "manufacturer_allocation", "Order.@OrderId"),
    ],
)
def test_a_key_that_is_a_placeholder_is_missing(platform: str, event: str, name: str, path: str, value: Any) -> None:
    body = example(platform, name)
    *folders, last = path.split(".")
    holder = body
    for folder in folders:
        holder = holder[folder]
    holder[last] = value
    with pytest.raises(UnreadableError, match=f"`{last}` is missing"):
        read(platform, event, body)


@pytest.mark.parametrize("value", [*WORDS, *ZEROS])
def test_a_transfer_order_goes_by_the_identifier_that_it_has(value: Any) -> None:
    body = example("channelape", STO) | {"channelOrderId": value, "warehouseOrderId": "W-1"}
    assert read("channelape", STO, body).key == "W-1"
    with pytest.raises(UnreadableError, match="`channelOrderId` or `warehouseOrderId` is missing"):
        read("channelape", STO, body | {"warehouseOrderId": value})
    receipt = example("channelape", RECEIPT) | {"channelOrderId": value, "warehouseOrderId": value}
    receipt["additionalFields"]["warehouse_order_id"] = "W-1"
    reading = read("channelape", RECEIPT, receipt)
    assert (reading.order_ref, reading.warehouse_ref) == (None, "W-1")


@pytest.mark.parametrize("value", [*WORDS, *EMPTY_GUIDS, "000000"])
def test_a_line_without_an_id_goes_by_its_article(value: Any) -> None:
    body = {"channelOrderId": "1", "lineItems": [{"id": value, "sku": "A"}, {"id": 0, "sku": "B"}, {"id": value}]}
    assert [line.id for line in read("channelape", STO, body).lines] == ["A", "0", "#3"]


@pytest.mark.parametrize("value", [*WORDS, *ZEROS])
def test_polled_orders_without_an_id_are_not_merged(value: Any) -> None:
    first, second, again = (
        poller.read(apicbase.SOURCE, msgspec.json.encode({"id": value, "order_number": number}))
        for number in ("1", "2", "1")
    )
    assert first.key == again.key != second.key


COMPOSED, DECOMPOSED = "CAF\u00c9-1", "CAFE\u0301-1"


@pytest.mark.parametrize(("listed", "sent"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
def test_articles_and_customers_are_compared_in_one_form_of_unicode(listed: str, sent: str) -> None:
    package = {"supplier_package": {"supplier_article_number": sent}, "quantity_ordered": 1}
    order = json.dumps({"id": "1", "supplier_customer_number": sent, "packages": [package]}).encode()
    account = Account(secrets=["s"], customers=[listed], articles=[listed])
    assert refusal.refusal(order, account) is None


@pytest.mark.parametrize(
    ("platform", "event", "body"),
    [
        ("channelape", STO, '{"channelOrderId": "@", "warehouseOrderId": "@", "lineItems": [{"id": "@", "sku": "@"}]}'),
        ("channelape", SHIP, '{"id": "@", "channelOrderId": "@", "additionalFields": {"Sscc": "@"}}'),
        ("channelape", RECEIPT, '{"additionalFields": {"receipt_id": "@", "note_attributes_ship_to": "@"}}'),
        ("apicbase", "purchase_order", '{"id": "@", "order_number": "@"}'),
        ("ecomnow", "notification", '{"type": "new_order", "orderNo": "@", "items": [{"skuNr": "@"}]}'),
        ("ustore", "manufacturer_allocation", '{"Order": {"@OrderId": "@"}}'),
    ],
)
def test_identifiers_have_one_form_of_unicode(platform: str, event: str, body: str) -> None:
    documents_ = [
        documents.describe(registry.platforms()[platform], event, body.replace('"@"', json.dumps(form)).encode())
        for form in (COMPOSED, DECOMPOSED)
    ]
    assert documents_[0].reading == documents_[1].reading
    assert documents_[0].digest != documents_[1].digest  # the content is what was received


@pytest.mark.parametrize(("listed", "sent"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED.lower())])
def test_rules_and_manufacturers_are_compared_in_one_form_of_unicode(listed: str, sent: str) -> None:
    body = example("ustore", "manufacturer_allocation")
    for item in body["Order"]["OrderProducts"]["OrderProduct"]:
        item["PropertyValues"] = {
            "PropertyValue": [{"Property": {"DisplayName": f"{sent} name"}, "Value": f"{sent} value"}]
        }
        item["Product"]["Manufacturer"] = {"Name": sent}
    settings: Any = {"secrets": ["s"], "manufacturers": [{"id": "1", "name": listed}, {"id": "2", "name": "other"}]}
    rule = {"when": {"property": {f"{listed} name": f"{listed} value"}}, "manufacturer": "2"}
    for rules, chosen in (([rule], {"2"}), ([], {"1"})):
        account = msgspec.convert(settings | {"rules": rules}, ustore.config.Account)
        explained = explain.explain(account, json.dumps(body).encode())
        assert {entry.manufacturer for entry in explained} == chosen
    with pytest.raises(msgspec.ValidationError, match="stands twice"):
        msgspec.convert(
            {"secrets": ["s"], "manufacturers": [{"id": "1", "name": listed}, {"id": "2", "name": sent}]},
            ustore.config.Account,
        )


async def test_lines_are_joined_in_one_form_of_unicode(pool: asyncpg.Pool) -> None:
    await store(
        pool,
        ("stock_transfer_order", transfer({"sku": COMPOSED, "quantity": 5}, channelOrderId=DECOMPOSED)),
        ("receipt_confirmation", receipt("R1", {"sku": DECOMPOSED, "quantity": 3}, channelOrderId=COMPOSED)),
    )
    [line] = (await progress(pool)).values()
    assert (line["received"], line["sku"], line["channel_order_id"]) == (3, COMPOSED, COMPOSED)


async def test_stored_lines_are_joined_in_one_form_of_unicode(pool: asyncpg.Pool) -> None:
    await store(pool, ("stock_transfer_order", transfer({"sku": COMPOSED, "quantity": 5})))
    await pool.execute(
        "UPDATE crossdock.versions SET lines = replace(lines::text, $1, $2)::jsonb", COMPOSED, DECOMPOSED
    )
    await store(pool, ("receipt_confirmation", receipt("R1", {"sku": DECOMPOSED, "quantity": 3})))
    [line] = (await progress(pool)).values()
    assert (line["received"], line["sku"]) == (3, COMPOSED)


def test_a_long_text_is_not_normalised() -> None:
    """Normalising takes quadratic time."""
    accents = "a" + "\u0301\u0316" * 100_000
    assert lenient.identifier(accents) == accents


async def test_the_migration_brings_stored_identifiers_into_one_form(pool: asyncpg.Pool) -> None:
    await store(pool, *(("stock_transfer_order", transfer(channelOrderId=key)) for key in (COMPOSED, "CAF", "CAF2")))
    await store(pool, ("receipt_confirmation", receipt("R1", {"sku": "A", "quantity": 3}, channelOrderId=COMPOSED)))
    await pool.execute("UPDATE crossdock.documents SET order_ref = $1 WHERE order_ref = $2", DECOMPOSED, COMPOSED)
    for key, stored in (("CAF", DECOMPOSED), ("CAF2", "u\u0308")):
        await pool.execute("UPDATE crossdock.documents SET key = $2 WHERE key = $1", key, stored)
    await pool.execute(resources.files("storage").joinpath("migrations/0070_composed.sql").read_text())
    references = await pool.fetch("SELECT DISTINCT order_ref FROM crossdock.documents")
    assert await pool.fetchval("SELECT count(*) FROM crossdock.documents WHERE key = $1", DECOMPOSED) == 1
    assert await pool.fetchval("SELECT count(*) FROM crossdock.documents WHERE key = $1", "\u00fc") == 1
    assert DECOMPOSED not in {row["order_ref"] for row in references}
