"""ChannelApe: a test for every trap of its document, by name."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from multidict import CIMultiDict, MultiDict

from schemas import canonical, documents, registry
from schemas.platform import ParsedDocument, UnreadableError
from schemas.platforms.channelape import PLATFORM, essentials, fields, identity, signing, wire
from schemas.platforms.channelape.config import Account, Key

STO, SHIP, ASN, RECEIPT = (
    "stock_transfer_order",
    "ship_confirmation",
    "advanced_ship_notice",
    "receipt_confirmation",
)


def body(event: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(registry.example("channelape", event))
    return result


def read(event: str, data: dict[str, Any]) -> ParsedDocument:
    return documents.describe(PLATFORM, event, json.dumps(data).encode()).reading


def without(fields_: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields_.items() if name not in names}


def test_identical_ship_and_asn_bodies_are_distinguished_by_their_urls() -> None:
    assert registry.example("channelape", SHIP) == registry.example("channelape", ASN)
    ship, asn = read(SHIP, body(SHIP)), read(ASN, body(ASN))
    assert (ship.type, asn.type) == ("channelape.ship_confirmation", "channelape.advanced_ship_notice")
    assert ship.key == asn.key == "208924061/00001922492001525086"


def test_a_transfer_order_is_identified_by_its_channel_order_id() -> None:
    assert read(STO, body(STO)).key == "STO4600000039"
    assert read(STO, body(STO) | {"channelOrderId": ""}).key == "4600000039"
    assert read(STO, without(body(STO), "channelOrderId")).key == "4600000039"


def test_purchase_order_number_is_never_identity() -> None:
    with pytest.raises(UnreadableError, match="channelOrderId"):
        read(STO, without(body(STO), "channelOrderId", "warehouseOrderId"))


@pytest.mark.parametrize(
    ("missing", "key"),
    [
        ((), "208924061/00001922492001525086"),
        (("Sscc",), "208924061/0386149425"),
        (("Sscc", "LicensePlate"), "208924061/1"),
        (("Sscc", "LicensePlate", "CartonNumber"), "208924061"),
    ],
)
def test_a_shipment_is_identified_by_its_id_and_carton(missing: tuple[str, ...], key: str) -> None:
    data = body(SHIP)
    for gone in (without(data["additionalFields"], *missing), data["additionalFields"] | dict.fromkeys(missing, "")):
        reading = read(SHIP, data | {"additionalFields": gone})
        assert reading.key == key
        assert reading.carton == (key.partition("/")[2] or None)


def test_slashes_in_ids_and_cartons_do_not_collide() -> None:
    data = body(SHIP)
    keys = {
        read(SHIP, data | {"id": id_, "additionalFields": {"Sscc": carton} if carton else {}}).key
        for id_, carton in (("a/b", None), ("a", "b"), ("a", "b/c"), ("a/b", "c"), ("a%2Fb", None), ("a", "b%2Fc"))
    }
    assert keys == {"a%2Fb", "a/b", "a/b%2Fc", "a%2Fb/c", "a%252Fb", "a/b%252Fc"}


@pytest.mark.parametrize("event", [SHIP, ASN])
@pytest.mark.parametrize("missing", [None, "", [], "\u0000"])
def test_shipment_without_an_id_is_unreadable(event: str, missing: Any) -> None:
    with pytest.raises(UnreadableError, match="`id`"):
        read(event, body(event) | {"id": missing})


def test_a_receipt_is_identified_by_its_receipt_id() -> None:
    assert read(RECEIPT, body(RECEIPT)).key == "27d7b5b5-5451-470e-98cd-374100ba8dc4"


def test_partial_receipts_without_an_id_are_distinguished_by_content() -> None:
    data = body(RECEIPT)
    data["additionalFields"] = without(data["additionalFields"], "receipt_id")
    raw = json.dumps(data).encode()
    key = f"208924061/00001922492001525086/{canonical.digest(raw).hex()}"
    assert read(RECEIPT, data).key == key
    assert documents.describe(PLATFORM, RECEIPT, json.dumps(data, indent=1).encode()).reading.key == key
    data["lineItems"][0]["additionalFields"]["received_qty"] = "40"
    assert read(RECEIPT, data).key != key
    with pytest.raises(UnreadableError, match="`id`"):
        read(RECEIPT, without(data, "id"))


def test_additional_fields_as_dict_or_array() -> None:
    data = body(RECEIPT)
    array = data | {"additionalFields": as_array(data["additionalFields"])}
    array["lineItems"] = [line | {"additionalFields": as_array(line["additionalFields"])} for line in data["lineItems"]]
    assert read(RECEIPT, array) == read(RECEIPT, data)


def as_array(data: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in data.items()]


def test_customers_and_addresses_take_both_shapes() -> None:
    data = body(STO)
    for extra in ({"tier": "A"}, [{"name": "tier", "value": "A"}], [], None):
        data["customer"]["additionalFields"] = extra
        data["customer"]["shippingAddress"]["additionalFields"] = extra
        raw = json.dumps(data).encode()
        assert canonical.digest(msgspec.json.encode(identity.decode(STO, raw))) == canonical.digest(raw)


def test_repeated_names_in_an_array_lose_nothing() -> None:
    data = [{"name": "Sscc", "value": v} for v in ("", "1", "2")] + [{"name": "PARTN", "value": "3"}, {"value": "4"}]
    decoded = identity.decode(SHIP, json.dumps({"id": "9", "additionalFields": data}).encode())
    assert fields.collect(decoded.additional_fields) == {"Sscc": "1", "sap_source_location": "3"}
    assert read(SHIP, {"id": "9", "additionalFields": data}).key == "9/1"
    assert json.loads(msgspec.json.encode(decoded))["additionalFields"] == data


@pytest.mark.parametrize(("example", "table"), list(fields.SPELLINGS.items()))
def test_both_spellings_of_additional_fields(example: str, table: str) -> None:
    assert fields.first({example: "x"}, example) == fields.first({table: "x"}, example) == "x"
    assert fields.first([wire.AdditionalField(name=table, value="x")], example) == "x"
    assert fields.first({example: "", table: "x"}, example) == "x"
    assert fields.first({table: None}, example) is None


def test_shipping_company_and_method_are_two_fields() -> None:
    order = identity.decode(STO, registry.example("channelape", STO))
    assert (order.shipping_company, order.shipping_method) == ("FEDEX", "GROUND")


def test_ship_from_and_to_are_stored_as_sent_and_never_swapped() -> None:
    order, shipment = read(STO, body(STO)), read(SHIP, body(SHIP))
    assert (order.ship_from, order.ship_to) == ("969", "819")
    assert (shipment.ship_from, shipment.ship_to) == ("819", "969")


def test_zero_padded_ids_stay_text() -> None:
    reading = read(RECEIPT, body(RECEIPT))
    assert [line.id for line in reading.lines] == ["000011", "000012"]
    assert read(STO, body(STO) | {"channelOrderId": "0046"}).key == "0046"
    receipt = identity.decode(RECEIPT, registry.example("channelape", RECEIPT))
    assert fields.first(receipt.additional_fields, "sap_asn_number") == "0180000011"
    assert isinstance(receipt.line_items, list)
    numbers = [fields.first(line.additional_fields, "sap_asn_line_number") for line in receipt.line_items]
    assert numbers == ["000010", "00020"]


def test_ids_sent_as_numbers_are_their_text() -> None:
    data = body(SHIP) | {"id": 208924061, "channelOrderId": 46}
    data["additionalFields"]["Sscc"] = 1922492001525086000000000000
    reading = read(SHIP, data)
    assert (reading.key, reading.order_ref) == ("208924061/1922492001525086000000000000", "46")


def test_quantities_are_decimals_whether_number_or_text() -> None:
    [first, _] = read(RECEIPT, body(RECEIPT)).lines
    assert (first.quantity, first.received, first.damaged) == (Decimal(100), Decimal(100), Decimal(0))
    data = body(RECEIPT)
    data["lineItems"][0] |= {"quantity": "100"}
    data["lineItems"][0]["additionalFields"] |= {"received_qty": 98.50, "damaged_qty": "1.5"}
    [first, _] = read(RECEIPT, data).lines
    assert (first.quantity, first.received, first.damaged) == (Decimal(100), Decimal("98.5"), Decimal("1.5"))


def test_received_falls_back_to_quantity_and_damaged_to_nothing() -> None:
    data = body(RECEIPT)
    data["lineItems"][0]["additionalFields"] = {}
    data["lineItems"][1]["additionalFields"] = {"received_qty": "", "damaged_qty": None}
    for line in read(RECEIPT, data).lines:
        assert (line.received, line.damaged) == (Decimal(100), Decimal(0))


def test_received_that_is_not_a_number_is_none() -> None:
    data = body(RECEIPT)
    data["lineItems"][0]["additionalFields"] |= {"received_qty": "some", "damaged_qty": "Infinity"}
    [first, _] = read(RECEIPT, data).lines
    assert (first.received, first.damaged) == (None, None)


def test_only_receipts_receive() -> None:
    for event in (STO, SHIP, ASN):
        assert {(line.received, line.damaged) for line in read(event, body(event)).lines} == {(None, None)}


def test_naive_dates_stay_naive() -> None:
    reading = read(RECEIPT, body(RECEIPT))
    assert reading.goods_received_at == datetime(2023, 4, 25, 19, 18, 10, 143000)  # noqa: DTZ001 - that is the point
    assert reading.shipped_at == datetime(2023, 4, 1, 15, 35, tzinfo=UTC)
    assert read(RECEIPT, body(RECEIPT) | {"shippedAt": "2023-04-01T15:35:00"}).shipped_at is None


@pytest.mark.parametrize(
    "data", ["soon", "", None, 5, "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2023-02-30"]
)
def test_invalid_dates_are_read_as_none(data: Any) -> None:
    changed = body(RECEIPT) | {"shippedAt": data}
    assert read(RECEIPT, changed).shipped_at is None
    for name in ("actual_received_date", "actual_arrival_date"):
        changed["additionalFields"][name] = data
    assert read(RECEIPT, changed).goods_received_at is None


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("2023-04-08T00:00:00.000Z", datetime(2023, 4, 8, tzinfo=UTC)),
        ("2023-04-08T02:00:00+02:00", datetime(2023, 4, 8, tzinfo=UTC)),
        ("2023-04-08", datetime(2023, 4, 8, tzinfo=UTC)),
        ("20230408", datetime(2023, 4, 8, tzinfo=UTC)),
        ("08/04/2023", None),
        ("0001-01-01T00:00:00", None),
        (None, None),
    ],
)
def test_orders_and_shipments_are_due_and_receipts_are_not(sent: str | None, expected: datetime | None) -> None:
    """In UTC unless the date says otherwise; flagged if it cannot be read, because such a transfer is never late."""
    for event, name in ((STO, "deliver_by_date"), (SHIP, "EstimatedArrivalDate"), (ASN, "EstimatedArrivalDate")):
        data = body(event)
        data["additionalFields"] |= {"deliver_by_date": "2023-01-01", "EstimatedArrivalDate": "2023-01-01", name: sent}
        reading = read(event, data)
        assert (reading.due_at, reading.unreadable_date) == (expected, sent == "08/04/2023")
        data["additionalFields"] = [{"name": name, "value": sent}]
        assert read(event, data | {"id": "1"}).due_at == expected
    assert read(RECEIPT, body(RECEIPT)).due_at is None


def test_status_is_an_open_string() -> None:
    assert read(STO, body(STO) | {"status": "HELD_AT_CUSTOMS"}).key == "STO4600000039"


def test_every_order_level_field_is_optional() -> None:
    assert read(STO, {"channelOrderId": "1"}) == ParsedDocument(
        "channelape.stock_transfer_order", "1", order_ref="1", flag_revised=True
    )
    assert read(SHIP, {"id": "1", "lineItems": None, "additionalFields": None, "customer": None}).key == "1"


def test_fields_that_the_table_lacks_are_no_error() -> None:
    assert read(STO, body(STO) | {"somethingNew": {"deep": [1]}}).key == "STO4600000039"


def test_the_warehouse_order_is_found_at_either_place() -> None:
    data = without(body(SHIP), "warehouseOrderId")
    assert read(SHIP, data).warehouse_ref == "4600000039"
    assert read(SHIP, data | {"additionalFields": {}}).warehouse_ref is None


def test_only_transfer_orders_are_revised() -> None:
    assert [read(event, body(event)).flag_revised for event in (STO, SHIP, ASN, RECEIPT)] == [True, False, False, False]


def test_lines_without_an_id_go_by_their_article() -> None:
    data = {"channelOrderId": "1", "lineItems": [{"sku": "A"}, {"id": "", "sku": "B"}, {}]}
    assert [line.id for line in read(STO, data).lines] == ["A", "B", "#3"]


def test_a_retry_with_a_newer_body_is_the_same_document() -> None:
    older, newer = body(STO), body(STO) | {"status": "SHIPPED"}
    assert read(STO, older).key == read(STO, newer).key


ACCOUNT = Account(keys=[Key(name="token", secret="s1"), Key(name="token", secret="s2"), Key(name="clé", secret="ß")])


def verify(*query: tuple[str, str]) -> str | None:
    return signing.verify(b"", CIMultiDict(), MultiDict(query), ACCOUNT)


def test_a_query_key_with_a_secret_of_the_account_verifies() -> None:
    assert verify(("token", "s1")) == "s1"
    assert verify(("token", "s2")) == "s2"
    assert verify(("clé", "ß")) == "ß"
    assert verify(("Token", "s1")) is None
    assert verify(("token", "ß")) is None
    assert verify(("token", "s")) is None
    assert verify(("token", "s1\ud800")) is None
    assert verify() is None


def test_any_of_several_values_of_the_query_key_may_match() -> None:
    assert verify(("token", "wrong"), ("token", "s1")) == "s1"
    assert verify(("token", "s1"), ("token", "wrong")) == "s1"
    assert verify(("token", "wrong"), ("token", "")) is None


def test_unknown_event_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="no event"):
        documents.describe(PLATFORM, "refund", b"{}")


@pytest.mark.parametrize(
    ("essential", "whole"),
    [
        (essentials.StockTransferOrder, wire.StockTransferOrder),
        (essentials.Shipment, wire.Shipment),
        (essentials.Receipt, wire.Receipt),
        (essentials.LineItem, wire.LineItem),
        (essentials.ReceivedLineItem, wire.LineItem),
    ],
)
def test_essential_structs_declare_fields_as_the_whole_ones_do(
    essential: type[msgspec.Struct], whole: type[msgspec.Struct]
) -> None:
    types = {field.encode_name: field.type for field in msgspec.structs.fields(whole)}
    for field in msgspec.structs.fields(essential):
        if field.encode_name != "lineItems":
            assert field.type == types[field.encode_name]
        assert field.encode_name in types


def test_unused_fields_may_have_any_shape() -> None:
    """A body is kept as it was received, and a customer that is a number does not put an order aside."""
    body = json.dumps({"channelOrderId": "1", "customer": 5, "lineItems": [{"id": "1", "additionalFields": 7}]})
    document = identity.read(STO, body.encode())
    assert document.key == "1"
    assert [line.id for line in document.lines] == ["1"]
