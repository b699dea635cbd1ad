"""Identifiers as people and programs write them: blanks at their ends, `"null"`, numbers through floats."""

import json
from typing import Any

import msgspec
import pytest

from schemas import allocation, documents, lenient, registry
from schemas.envelope import Envelope
from schemas.platform import ParsedDocument, UnreadableError
from schemas.platforms import ustore
from schemas.platforms.apicbase import refusal
from schemas.platforms.apicbase.config import Account
from schemas.platforms.ustore import manufacturer_order
from tests.support.storing import at
from workers.route import answers
from workers.route.ustore import explain

STO, SHIP, ASN, RECEIPT = "stock_transfer_order", "ship_confirmation", "advanced_ship_notice", "receipt_confirmation"
BLANKS = (" ", "\t", "\r\n", "\u00a0", "\u3000", "\u200b", "\ufeff", " \u200b ", "\0\0", "\x7f", "\x07 \u00a0")
NOTHING = ("null", "NULL", " null ", "(null)", "None", "undefined", "", " ", "\u200b", None, "-", "--", "\u2014", "?")


def example(platform: str, name: str) -> Any:
    return json.loads(registry.example(platform, name))


def read(platform: str, event: str, content: Any) -> ParsedDocument:
    return documents.describe(registry.platforms()[platform], event, json.dumps(content).encode()).reading


def blanked(value: Any, blank: str) -> Any:
    """`value` with blanks at both ends of every text in it, keys and dates left alone."""
    if isinstance(value, dict):
        return {name: blanked(inner, blank) for name, inner in value.items()}
    if isinstance(value, list):
        return [blanked(inner, blank) for inner in value]
    return f"{blank}{value}{blank}" if isinstance(value, str) and not value[:4].isdigit() else value


def names(reading: ParsedDocument) -> list[Any]:
    """All of a reading that is a key or is compared."""
    identifiers = [reading.key, reading.order_number, reading.order_ref, reading.warehouse_ref, reading.carton]
    identifiers += [reading.ship_from, reading.ship_to]
    return identifiers + [(line.id, line.article) for line in reading.lines]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize(
    ("platform", "event", "name"),
    [
        (p.name, e.name, x)
        for p in registry.platforms().values()
        for e in p.events
        for x in e.examples
        if x != "new_order"
    ],
)
def test_blanks_at_the_ends_never_matter(platform: str, event: str, name: str, blank: str) -> None:
    """magento2#10080, viadot#1085: article numbers, SKUs, order numbers and line ids with blanks."""
    content = example(platform, name)
    plain = read(platform, event, content)
    assert names(read(platform, event, blanked(content, blank))) == names(plain)


def every_text(value: Any) -> Any:
    """`value` with blanks around digits too: ids are digits more often than not."""
    if isinstance(value, dict):
        return {name: every_text(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [every_text(inner) for inner in value]
    return f" {value} " if isinstance(value, str) else value


@pytest.mark.parametrize("event", [STO, SHIP, ASN, RECEIPT])
def test_blanks_around_ids_of_digits(event: str) -> None:
    """Reported first as viadot#1085."""
    content = example("channelape", event)
    plain, spaced = read("channelape", event, content), read("channelape", event, every_text(content))
    assert names(spaced) == names(plain)
    assert (spaced.shipped_at, spaced.goods_received_at) == (plain.shipped_at, plain.goods_received_at)
    assert [line.quantity for line in spaced.lines] == [line.quantity for line in plain.lines]
    assert [line.received for line in spaced.lines] == [line.received for line in plain.lines]


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("shape", [dict, list])
def test_an_empty_receipt_id_is_absent(nothing: Any, shape: type[Any]) -> None:
    """channelape-typescript-sdk: `"null"` in two receipts made them one document."""
    content = [example("channelape", RECEIPT), example("channelape", RECEIPT)]
    content[1]["id"] = "another"
    for receipt in content:
        receipt["additionalFields"]["receipt_id"] = nothing
        if shape is list:
            receipt["additionalFields"] = [{"name": n, "value": v} for n, v in receipt["additionalFields"].items()]
    first, second = (read("channelape", RECEIPT, entry).key for entry in content)
    assert first != second
    assert first.startswith("208924061/00001922492001525086/")


@pytest.mark.parametrize("event", [SHIP, ASN])
@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("gone", [1, 2, 3])
def test_a_carton_is_identified_by_its_non_empty_identifiers(event: str, nothing: Any, gone: int) -> None:
    """channelape-typescript-sdk: `Sscc` or `LicensePlate` `"null"` made two cartons one document."""
    content = example("channelape", event)
    content["additionalFields"] |= dict.fromkeys(("Sscc", "LicensePlate", "CartonNumber")[:gone], nothing)
    reading = read("channelape", event, content)
    assert reading.carton == ("0386149425", "1", None)[gone - 1]


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize(
    ("platform", "event", "name", "path"),
    [
        ("channelape", SHIP, SHIP, "id"),
        ("ecomnow", "notification", "new_order_valid", "orderNo"),
        ("apicbase", "purchase_order", "purchase_order", "id"),
        ("ustore", "manufacturer_allocation", "manufacturer_allocation", "Order.@OrderId"),
    ],
)
def test_an_empty_key_is_not_a_key(platform: str, event: str, name: str, path: str, nothing: Any) -> None:
    """channelape-typescript-sdk (siblings): every platform's key."""
    content = example(platform, name)
    *folders, last = path.split(".")
    holder = content
    for folder in folders:
        holder = holder[folder]
    holder[last] = nothing
    with pytest.raises(UnreadableError, match=f"`{last}` is missing"):
        read(platform, event, content)


@pytest.mark.parametrize(
    ("literal", "key"),
    [
        ("4600000039", "4600000039"),
        ("4600000039.0", "4600000039"),
        ("4.600000039e9", "4600000039"),
        ("4.6e9", "4600000000"),
        ("12345678901234567890.000", "12345678901234567890"),
        ("1.5", "1.5"),
        ("1e400", "1e400"),
        ('"000011"', "000011"),
        ('"4600000039.0"', "4600000039.0"),
        ('"4.6e9"', "4.6e9"),
    ],
)
@pytest.mark.parametrize(
    ("platform", "event", "body"),
    [
        ("channelape", STO, '{"channelOrderId": %s}'),
        ("channelape", STO, '{"warehouseOrderId": %s}'),
        ("channelape", SHIP, '{"id": %s}'),
        ("channelape", RECEIPT, '{"additionalFields": {"receipt_id": %s}}'),
        ("apicbase", "purchase_order", '{"id": %s}'),
        ("ecomnow", "notification", '{"type": "new_order", "orderNo": %s}'),
        ("ustore", "manufacturer_allocation", '{"Order": {"@OrderId": %s}}'),
    ],
)
def test_integral_numbers_are_written_as_integers_in_keys(
    platform: str, event: str, body: str, literal: str, key: str
) -> None:
    """zfr-shopify#75: ids that went through a float. Text is never taken for a number: its zeros in front count."""
    raw = (body % literal).encode()
    assert documents.describe(registry.platforms()[platform], event, raw).reading.key == key


def test_numbers_are_normalised_in_every_identifier() -> None:
    """zfr-shopify#75 (siblings): references, cartons, line ids and articles."""
    raw = (
        b'{"id": 1.0, "channelOrderId": 2.0, "warehouseOrderId": 3e0, "purchaseOrderNumber": 4.0, "additionalFields": '
        b'{"Sscc": 5.0, "note_attributes_ship_from": 6.0}, "lineItems": [{"id": 7.0, "sku": 8.0, "quantity": 9.0}]}'
    )
    assert names(documents.describe(registry.platforms()["channelape"], SHIP, raw).reading) == [
        *("1/5", "4", "2", "3", "5", "6", None),
        ("7", "8"),
    ]


def test_values_that_mean_nothing_are_not_identifiers() -> None:
    content: list[Any] = [msgspec.UNSET, True, [], {}, *NOTHING]
    assert [lenient.identifier(value) for value in content] == [None] * len(content)
    assert [lenient.identifier(value) for value in ("nullable", "none such", "0", 0, "N A")] == [
        *("nullable", "none such", "0", "0", "N A")
    ]


@pytest.mark.parametrize("listed", ["ART-1", " ART-1", "ART-1\u00a0"])
@pytest.mark.parametrize("sent", ["ART-1", "ART-1 ", "\tART-1"])
def test_articles_and_customers_are_compared_without_blanks(listed: str, sent: str) -> None:
    """magento2#10080: an order was refused because of a blank behind an article number."""
    package = {"supplier_package": {"supplier_article_number": sent}, "quantity_ordered": 1}
    order = json.dumps({"id": "1", "supplier_customer_number": sent, "packages": [package]}).encode()
    account = Account(secrets=["s"], customers=[listed], articles=[listed])
    assert refusal.refusal(order, account) is None


def test_ustore_is_answered_with_its_own_spelling_of_an_item() -> None:
    """viadot#1085 (sibling): items are joined without blanks; the answer names them as uStore did."""
    content = example("ustore", "manufacturer_allocation")
    plain = json.dumps(content).encode()
    items = content["Order"]["OrderProducts"]["OrderProduct"]
    items[0]["@id"] += " "
    spaced = json.dumps(content).encode()
    platform = registry.platforms()["ustore"]
    account: Any = msgspec.convert(
        platform.demo[1] | {"rules": [{"name": "near", "when": {"ship_to_country": "US"}, "nearest": ["1", "2"]}]},
        ustore.config.Account,
    )
    name = "01932d5e-0000-7000-8000-000000000001"
    meta = Envelope(message_id=name, platform="ustore", account="a", event="manufacturer_allocation", received_at=at(0))
    answer = answers.answerers()["ustore"].answer
    first, second = answer(meta, plain, account), answer(meta, spaced, account)
    assert json.loads(second.body) == {
        key + " " * (key == items[0]["@id"].strip()): value for key, value in json.loads(first.body).items()
    }
    assert first.record is not None
    assert second.record is not None
    allocations = allocation.decode(second.record).allocations
    assert allocations == allocation.decode(first.record).allocations
    shares = manufacturer_order.split(spaced, allocations)
    sent = [item["@id"] for share in shares.values() for item in json.loads(share)["items"]]
    assert sorted(sent) == sorted(item["@id"] for item in items)
    assert all(json.loads(share)["deliveries"] for share in shares.values())
    assert {entry.rule for entry in explain.explain(account, spaced)} == {"near"}


@pytest.mark.parametrize("field", ["CatalogNumber", "@externalId", "@id"])
def test_an_article_too_long_to_be_kept_is_cut_and_the_order_is_printed(field: str) -> None:
    """Finding 16: the shopper got manufacturers, and the order went to quarantine: nobody printed it."""
    content = example("ustore", "manufacturer_allocation")
    product = content["Order"]["OrderProducts"]["OrderProduct"][0]["Product"]
    product |= {"CatalogNumber": "", "@externalId": "", "@id": ""} | {field: "x" * 600}
    answer, document = answered(content)
    assert answer.status == 200
    assert document is not None
    assert document.flags == ("shortened",)
    assert document.reading.lines[0].article == "x" * 512


@pytest.mark.parametrize("path", ["@OrderId", "@DisplayOrderId", "item"])
@pytest.mark.parametrize("language", ["de", "en"])
def test_an_order_that_cannot_be_stored_is_refused_while_its_shopper_looks(path: str, language: str) -> None:
    """Finding 16: whatever storing would refuse is 400, in the shopper's language."""
    content = example("ustore", "manufacturer_allocation")
    holder, name = (
        (content["Order"], path) if path != "item" else (content["Order"]["OrderProducts"]["OrderProduct"][0], "@id")
    )
    holder[name] = "9" * 600
    answer, document = answered(content, language)
    assert document is None
    assert (answer.status, answer.record) == (400, None)
    assert ("gelesen" in json.loads(answer.body)["message"]) == (language == "de")


def answered(content: Any, language: str = "en") -> tuple[answers.Answer, documents.Document | None]:
    platform = registry.platforms()["ustore"]
    meta = Envelope(
        message_id="01932d5e-0000-7000-8000-000000000001",
        platform="ustore",
        account="a",
        event="manufacturer_allocation",
        received_at=at(0),
        language=language,
    )
    raw = json.dumps(content).encode()
    answer = answers.answerers()["ustore"].answer(meta, raw, msgspec.convert(platform.demo[1], platform.account))
    try:
        return answer, documents.describe(platform, "manufacturer_allocation", raw)
    except UnreadableError:
        return answer, None
