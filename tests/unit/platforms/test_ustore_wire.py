"""uStore's traps of shape: XML turned into JSON, read without losing anything of it."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas import registry
from schemas.platform import UnreadableError
from schemas.platforms.ustore import identity, wire
from schemas.platforms.ustore.values import each, part, text

DOCUMENTED = registry.example("ustore", "manufacturer_allocation")
EVENT = "manufacturer_allocation"


def changed(**order_keys: Any) -> bytes:
    document = json.loads(DOCUMENTED)
    document["Order"] |= order_keys
    return json.dumps(document).encode()


@pytest.mark.parametrize("name", ["manufacturer_allocation", "manufacturer_allocation_one_item"])
def test_encoding_a_decoded_example_loses_nothing(name: str) -> None:
    raw = registry.example("ustore", name)
    assert json.loads(msgspec.json.encode(wire.decode(raw))) == json.loads(raw)


def test_numbers_keep_their_digits() -> None:
    raw = b'{"Order":{"@OrderId":1.10,"Prices":{"Tax":1e2,"Cost":123456789012345678901234567890}}}'
    assert msgspec.json.encode(wire.decode(raw)) == raw


@pytest.mark.parametrize("spelling", ["@cartCreationdDate", "@cartCreationDate"])
def test_the_misspelt_creation_date_and_the_right_one(spelling: str) -> None:
    raw = json.dumps({"Order": {"@OrderId": "1", spelling: "2023-03-27T02:13:55.410"}}).encode()
    assert identity.read(EVENT, raw).placed_at == "2023-03-27T02:13:55.410"
    assert json.loads(msgspec.json.encode(wire.decode(raw))) == json.loads(raw)


@pytest.mark.parametrize(
    ("value", "count"), [([{"@id": "1"}, {"@id": "2"}], 2), ({"@id": "1"}, 1), ([], 0), (None, 0), ("", 0), ([None], 0)]
)
def test_one_element_object_for_order_product(value: Any, count: int) -> None:
    raw = changed(OrderProducts={"OrderProduct": value})
    assert len(wire.items(wire.decode(raw).order)) == count
    assert json.loads(msgspec.json.encode(wire.decode(raw))) == json.loads(raw)


@pytest.mark.parametrize("held", [[{"OrderProductID": "7"}], {"OrderProductID": "7"}, {"OrderProductID": 7}])
@pytest.mark.parametrize("as_list", [True, False])
def test_one_element_object_for_deliveries_and_delivery_items(held: Any, as_list: bool) -> None:
    delivery = {"DeliveryItems": held}
    raw = changed(DeliveryInformation={"Deliveries": [delivery] if as_list else delivery})
    assert [ids for _, ids in wire.deliveries(wire.decode(raw).order)] == [["7"]]


def test_one_element_object_for_property_value() -> None:
    value = {"Property": {"DisplayName": "Finishing"}, "Value": "Lamination"}
    raw = changed(OrderProducts={"OrderProduct": {"@id": "1", "PropertyValues": {"PropertyValue": value}}})
    holder = part(wire.items(wire.decode(raw).order)[0].property_values)
    assert holder is not None
    assert [text(entry.value) for entry in each(holder.property_value)] == ["Lamination"]


@pytest.mark.parametrize("empty", [None, ""])
def test_empty_text_and_null_are_mixed_for_every_object(empty: str | None) -> None:
    parts = dict.fromkeys(["Prices", "Store", "User", "OrderProducts", "DeliveryInformation", "Deliveries"], empty)
    raw = changed(**parts)
    assert json.loads(msgspec.json.encode(wire.decode(raw))) == json.loads(raw)
    assert identity.read(EVENT, raw).lines == ()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'"x"', "x"),
        (b'" "', None),
        (b'""', None),
        (b"null", None),
        (b"7", "7"),
        (b"1.10", "1.10"),
        (b"true", "true"),
        (b"false", "false"),
        (b"{}", None),
        (b"[1]", None),
    ],
)
def test_scalars_are_read_as_text(raw: bytes, expected: str | None) -> None:
    decoded = wire.decode(b'{"Order":{"@OrderId":"1","CustomConfiguration":' + raw + b"}}")
    assert text(decoded.order.custom_configuration) == expected
    assert json.loads(msgspec.json.encode(decoded))["Order"]["CustomConfiguration"] == json.loads(raw)


def test_unknown_keys_are_ignored() -> None:
    assert identity.read(EVENT, changed(Surprise={"a": [1]})).key == "5295"


def test_identity_of_the_documented_order() -> None:
    reading = identity.read(EVENT, DOCUMENTED)
    assert (reading.type, reading.key, reading.order_number) == ("ustore.manufacturer_allocation", "5295", "85925")
    assert (reading.placed_at, reading.flag_revised) == ("2023-03-27T02:13:55.410", True)
    first, second = reading.lines
    assert (first.id, first.article, first.name) == ("3087", "240", "copy[10]s1")
    assert (first.quantity, first.unit_price, first.total) == (Decimal(1), Decimal("1.00000"), Decimal("1.00000"))
    assert (second.id, second.article, second.total) == ("3088", "73", Decimal("2.00000"))


@pytest.mark.parametrize(
    ("product", "article"),
    [
        ({"@id": "1", "@externalId": "E", "CatalogNumber": "C"}, "C"),
        ({"@id": "1", "@externalId": "E", "CatalogNumber": ""}, "E"),
        ({"@id": "1", "@externalId": "", "CatalogNumber": None}, "1"),
        (None, None),
    ],
)
def test_the_article_is_the_catalog_number_else_the_product_s_ids(product: Any, article: str | None) -> None:
    raw = changed(OrderProducts={"OrderProduct": {"@id": "9", "Product": product}})
    assert identity.read(EVENT, raw).lines[0].article == article


def test_the_order_number_is_the_order_id_where_no_other_is_shown() -> None:
    assert identity.read(EVENT, changed(**{"@DisplayOrderId": ""})).order_number == "5295"


@pytest.mark.parametrize("missing", [None, "", " ", {}, [], "a\x00b", "\ufffd"])
def test_an_order_without_an_id_is_unreadable(missing: Any) -> None:
    with pytest.raises(UnreadableError):
        identity.read(EVENT, changed(**{"@OrderId": missing}))


def test_an_item_without_an_id_makes_no_line() -> None:
    raw = changed(OrderProducts={"OrderProduct": [{"@id": None}, {"@id": "7"}]})
    assert [line.id for line in identity.read(EVENT, raw).lines] == ["7"]


def test_an_unknown_event_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="no event 'order'"):
        identity.read("order", DOCUMENTED)


def test_a_fresh_id_makes_another_order_of_the_same_content() -> None:
    varied = identity.with_new_key(EVENT, DOCUMENTED, "fresh-1")
    assert identity.read(EVENT, varied).key == "fresh-1"
    document = json.loads(varied)
    document["Order"] |= {"@OrderId": "5295", "@DisplayOrderId": "85925"}
    assert document == json.loads(DOCUMENTED)


def test_prices_that_do_not_add_up_are_no_error() -> None:
    assert identity.read(EVENT, changed(Prices={"TotalPrice": "-1", "Subtotal": "NaN"})).key == "5295"
