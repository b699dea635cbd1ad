"""The message each manufacturer gets: its items as received, and its addresses with just those items."""

import json
from typing import Any

import pytest

from schemas import allocation, registry
from schemas.allocation import AllocationRecord, ItemAllocation
from schemas.platform import UnreadableError
from schemas.platforms.ustore.manufacturer_order import split

DOCUMENTED = registry.example("ustore", "manufacturer_allocation")


def chosen(**items: str) -> list[ItemAllocation]:
    return [ItemAllocation(name.strip("_"), manufacturer, "r") for name, manufacturer in items.items()]


def parts(raw: bytes, allocations: list[ItemAllocation]) -> dict[str, Any]:
    return {name: json.loads(data) for name, data in split(raw, allocations).items()}


def test_the_documented_order_for_two_manufacturers() -> None:
    order = json.loads(DOCUMENTED)["Order"]
    first, second = order["OrderProducts"]["OrderProduct"]
    first_delivery, elsewhere = order["DeliveryInformation"]["Deliveries"]
    common = {"orderId": "5295", "displayOrderId": "85925"}
    result = parts(DOCUMENTED, chosen(_3087="2", _3088="1"))
    assert list(result) == ["2", "1"]
    assert result["2"] == common | {"manufacturerId": "2", "items": [first], "deliveries": [first_delivery]}
    assert result["1"] == common | {"manufacturerId": "1", "items": [second], "deliveries": [elsewhere]}
    assert list(result["2"]) == ["orderId", "displayOrderId", "manufacturerId", "items", "deliveries"]


def test_one_manufacturer_gets_all_in_the_order_s_own_order() -> None:
    result = parts(DOCUMENTED, chosen(_3088="2", _3087="2"))
    assert list(result) == ["2"]
    assert [item["@id"] for item in result["2"]["items"]] == ["3087", "3088"]
    assert len(result["2"]["deliveries"]) == 2


def test_a_shared_delivery_is_repeated_with_only_its_own_items() -> None:
    document = json.loads(DOCUMENTED)
    held = [{"OrderProductID": "3087", "Extra": 1.10}, {"OrderProductID": 3088}, {"OrderProductID": "gone"}]
    document["Order"]["DeliveryInformation"]["Deliveries"] = [{"DeliveryItems": held, "Unknown": {"x": 1}}]
    result = parts(json.dumps(document).encode(), chosen(_3087="2", _3088="1"))
    assert result["2"]["deliveries"] == [{"DeliveryItems": [held[0]], "Unknown": {"x": 1}}]
    assert result["1"]["deliveries"] == [{"DeliveryItems": [held[1]], "Unknown": {"x": 1}}]


def test_numbers_and_unknown_keys_are_never_rewritten() -> None:
    item = b'{"@id":"7","Price":1.10,"Big":123456789012345678901234567890,"E":1e400,"New":{"a":[1.0]}}'
    raw = b'{"Order":{"@OrderId":1.50,"OrderProducts":{"OrderProduct":' + item + b"}}}"
    data = split(raw, chosen(_7="2"))["2"]
    assert b'"items":[' + item + b"]" in data
    assert b'"orderId":"1.50","displayOrderId":null' in data


def test_one_element_objects_become_lists_of_one() -> None:
    raw = registry.example("ustore", "manufacturer_allocation_one_item")
    order = json.loads(raw)["Order"]
    result = parts(raw, chosen(_3090="2"))["2"]
    assert result["items"] == [order["OrderProducts"]["OrderProduct"]]
    delivery = order["DeliveryInformation"]["Deliveries"]
    assert result["deliveries"] == [delivery | {"DeliveryItems": [delivery["DeliveryItems"]]}]


@pytest.mark.parametrize(
    "missing", [None, "", {}, {"Deliveries": None}, {"Deliveries": ""}, {"Deliveries": [None, ""]}]
)
def test_without_addresses_there_are_no_deliveries(missing: Any) -> None:
    document = json.loads(DOCUMENTED)
    document["Order"]["DeliveryInformation"] = missing
    result = parts(json.dumps(document).encode(), chosen(_3087="2"))
    assert result["2"]["deliveries"] == []


def test_a_manufacturer_without_items_gets_nothing() -> None:
    assert parts(DOCUMENTED, chosen(_9999="2")) == {}
    assert parts(DOCUMENTED, []) == {}
    assert parts(b'{"Order":{"@OrderId":"1","OrderProducts":null}}', chosen(_1="2")) == {}


def test_values_that_are_not_text_become_text_in_the_message() -> None:
    raw = b'{"Order":{"@OrderId":"1","OrderProducts":{"OrderProduct":{"@id":"7","N":"\xff","S":"\\ud800"}}}}'
    item = parts(raw, chosen(_7="2"))["2"]["items"][0]
    assert item["N"] == "\ufffd"
    assert "\ud800" not in item["S"]


@pytest.mark.parametrize(
    "raw", [b"", b"{", b'{"Order":', b"[" * 100_000, b'{"Order":{"OrderProducts":{"OrderProduct":[}}}']
)
def test_a_body_that_is_not_json_is_unreadable(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        split(raw, chosen(_1="2"))


def test_a_record_survives_a_round_trip() -> None:
    kept = AllocationRecord(
        b'\xff{"raw"}', [ItemAllocation("3087", "2", "🎉", "5 km"), ItemAllocation("3088", "1", "r")]
    )
    assert allocation.decode(allocation.encode(kept)) == kept


@pytest.mark.parametrize("body", [b"", b"{}", b"\xc1", b"\x80"])
def test_a_value_that_is_not_a_record_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        allocation.decode(body)
