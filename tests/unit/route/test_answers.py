"""The documented order and every shape of it that uStore may send: each item once, or one error."""

import json
from typing import Any

import pytest

from schemas import allocation
from tests.unit.route.orders import (
    DOCUMENTED,
    account,
    answered,
    ask,
    decoded,
    deliveries,
    document,
    encoded,
    products,
    recorded,
)
from workers.route import answers
from workers.route.ustore import allocate

TO_ONE = {"name": "static1 to One", "when": {"product_name": "static1"}, "manufacturer": "1"}
TO_TWO = {"name": "the rest to Hanover", "manufacturer": "2"}


def test_the_documented_order_gives_the_documented_kind_of_answer() -> None:
    assert answered(DOCUMENTED, account()) == {"3087": "2", "3088": "2"}  # the product's own manufacturer


def test_with_two_rules_it_gives_exactly_the_documented_answer() -> None:
    assert ask(DOCUMENTED, account(TO_ONE, TO_TWO)).body == b'{"3087":"2","3088":"1"}'


def test_the_same_order_is_answered_with_the_same_bytes() -> None:
    assert ask(DOCUMENTED, account(TO_ONE, TO_TWO)) == ask(DOCUMENTED, account(TO_ONE, TO_TWO))


def test_the_record_holds_the_raw_order_and_the_rule_of_each_item() -> None:
    answer = ask(DOCUMENTED, account(TO_ONE, TO_TWO))
    assert answer.record is not None
    kept = allocation.decode(answer.record)
    assert kept.raw == DOCUMENTED
    assert kept.allocations == [
        allocation.ItemAllocation("3087", "2", "the rest to Hanover"),
        allocation.ItemAllocation("3088", "1", "static1 to One"),
    ]


def test_first_match_wins() -> None:
    assert answered(DOCUMENTED, account(TO_TWO, TO_ONE)) == {"3087": "2", "3088": "2"}


def test_a_rule_without_a_name_is_recorded_by_its_place() -> None:
    rules: list[dict[str, Any]] = [{"when": {"product_name": "nothing"}, "manufacturer": "1"}, {"manufacturer": "2"}]
    assert {entry.rule for entry in recorded(DOCUMENTED, account(*rules))} == {"rule 2"}


def test_one_element_object_for_order_product() -> None:
    order = document()
    order["Order"]["OrderProducts"]["OrderProduct"] = products(order)[1]
    assert answered(order, account(TO_ONE, TO_TWO)) == {"3088": "1"}


@pytest.mark.parametrize(
    "missing", [None, "", [], {"OrderProduct": None}, {"OrderProduct": ""}, {"OrderProduct": []}, {}]
)
def test_an_order_without_items_is_answered_with_an_empty_object(missing: Any) -> None:
    order = document()
    order["Order"]["OrderProducts"] = missing
    if missing == []:
        del order["Order"]["OrderProducts"]
    answer = ask(order, account(TO_ONE))
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.record is not None
    assert allocation.decode(answer.record).allocations == []


@pytest.mark.parametrize("empty", [None, "", "absent", {"Deliveries": None}, {"Deliveries": ""}, {"Deliveries": []}])
def test_missing_delivery_information_leaves_rules_that_need_no_address(empty: Any) -> None:
    order = document()
    order["Order"]["DeliveryInformation"] = empty
    if empty == "absent":
        del order["Order"]["DeliveryInformation"]
    rules: list[dict[str, Any]] = [
        {"name": "country", "when": {"ship_to_country": "US"}, "manufacturer": "5"},
        {"name": "near", "nearest": ["5", "1"]},
        {"name": "split", "split": {"1": 1}},
    ]
    assert {entry.rule for entry in recorded(order, account(*rules))} == {"split"}


def test_null_in_place_of_any_list_is_read_as_empty() -> None:
    order = document()
    for product in products(order):
        product |= {"PropertyValues": None, "Deliveries": None, "Quantities": None, "Prices": None, "Product": None}
    for delivery in deliveries(order):
        delivery |= {"DeliveryItems": None, "ShippingAddress": None}
    rule = {"when": {"min_units": 1, "property": {"Base": ""}}, "manufacturer": "1"}
    assert answered(order, account(rule)) == {"3087": "2", "3088": "2"}  # by the items' own Manufacturer


def test_null_elements_in_lists_are_passed_over() -> None:
    order = document()
    products(order).insert(0, None)  # type: ignore[arg-type]
    deliveries(order).append(None)  # type: ignore[arg-type]
    assert answered(order, account(TO_ONE, TO_TWO)) == {"3087": "2", "3088": "1"}


@pytest.mark.parametrize(
    "items", [{"OrderProductID": "3087"}, [{"OrderProductID": "3087"}], [{"OrderProductID": 3087}]]
)
@pytest.mark.parametrize("as_list", [True, False])
def test_one_element_object_for_deliveries_and_delivery_items(items: Any, as_list: bool) -> None:
    order = document()
    delivery = deliveries(order)[0] | {"DeliveryItems": items}
    order["Order"]["DeliveryInformation"]["Deliveries"] = [delivery] if as_list else delivery
    rule = {"when": {"ship_to_state": "PA"}, "manufacturer": "5"}
    assert answered(order, account(rule)) == {"3087": "5", "3088": "2"}


def test_one_element_object_for_property_value() -> None:
    order = document()
    values = products(order)[0]["PropertyValues"]
    values["PropertyValue"] = values["PropertyValue"][1]
    assert answered(order, account({"when": {"property": {"prop2": "uStore2"}}, "manufacturer": "5"}))["3087"] == "5"


def test_each_item_by_its_own_destination() -> None:
    order = document()
    deliveries(order)[1]["ShippingAddress"] |= {"StateName": "Oregon", "Zip": "97201"}
    assert answered(order, account({"nearest": ["2", "5"]})) == {"3087": "2", "3088": "5"}


def test_five_hundred_items_in_one_order() -> None:
    order = document()
    product, delivery = products(order)[0], deliveries(order)[0]
    ids = [str(number) for number in range(90_000, 90_500)]
    order["Order"]["OrderProducts"]["OrderProduct"] = [product | {"@id": name} for name in ids]
    order["Order"]["DeliveryInformation"]["Deliveries"] = [
        delivery | {"DeliveryItems": [{"OrderProductID": name}]} for name in ids
    ]
    answer = answered(order, account({"when": {"ship_to_country": "US"}, "split": {"1": 50, "2": 50}}))
    assert list(answer) == ids
    assert set(answer.values()) == {"1", "2"}


def test_characters_of_four_bytes_are_matched_and_answered() -> None:
    order = document()
    products(order)[0]["Product"]["Name"] = "𝔓rospekt 🎉"
    rule = {"name": "🎉", "when": {"product_name": "𝔓ROSPEKT 🎉"}, "manufacturer": "5"}
    assert answered(order, account(rule)) == {"3087": "5", "3088": "2"}
    assert recorded(order, account(rule))[0].rule == "🎉"
    refused = ask(order, account(fallback="refuse"), "de-DE")
    assert "„𝔓rospekt 🎉“" in json.loads(refused.body)["message"]


def test_numbers_and_booleans_where_text_is_documented() -> None:
    order = document()
    product = products(order)[0]
    product |= {"@id": 3087, "Quantities": {"TotalUnits": 12.50}}
    product["Product"] |= {"@id": 240, "Downloadable": False}
    order["Order"]["@OrderId"] = 5295
    rule = {"when": {"product_id": 240, "min_units": 12.5, "max_units": 12.5}, "manufacturer": "5"}
    assert answered(order, account(rule)) == {"3087": "5", "3088": "2"}


def test_an_id_that_stands_twice_is_answered_once_for_the_first() -> None:
    order = document()
    products(order)[1]["@id"] = "3087"
    answer = ask(order, account(TO_ONE, TO_TWO))
    assert answer.body == b'{"3087":"2"}'
    assert len(recorded(order, account(TO_ONE, TO_TWO))) == 1


def test_an_item_that_can_not_be_made_refuses_the_order_by_the_name_the_shopper_knows() -> None:
    order = document()
    products(order)[1]["Product"]["Manufacturer"]["Name"] = "Nobody"
    answer = ask(order, account(), "en-GB")
    assert (answer.status, answer.content_type, answer.record) == (400, "application/json", None)
    assert json.loads(answer.body) == {
        "message": "“static1” can't be produced for this order. Please remove it from the cart or contact the store."
    }


@pytest.mark.parametrize(
    ("product", "called"),
    [({"Name": "", "CatalogNumber": "C-9"}, "C-9"), ({"Name": None, "CatalogNumber": " "}, "3087"), (None, "3087")],
)
def test_an_item_without_a_name_is_named_by_another_identifier(product: dict[str, Any] | None, called: str) -> None:
    order = document()
    products(order)[0]["Product"] = product
    assert f"“{called}”" in json.loads(ask(order, account(fallback="refuse")).body)["message"]


def test_fallback_to_a_manufacturer() -> None:
    assert answered(DOCUMENTED, account(fallback="5")) == {"3087": "5", "3088": "5"}
    assert {entry.rule for entry in recorded(DOCUMENTED, account(fallback="5"))} == {"fallback: 5"}


def test_fallback_to_the_product_s_manufacturer_by_external_id_before_its_name() -> None:
    order = document()
    products(order)[0]["Product"]["Manufacturer"] = {"@externalId": "han ", "Name": "West"}
    products(order)[1]["Product"]["Manufacturer"] = {"@externalId": "", "Name": " WEST"}
    assert answered(order, account()) == {"3087": "2", "3088": "5"}
    assert {entry.rule for entry in recorded(order, account())} == {"fallback: product"}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"Order":null}',
        b'{"Order":{}}',
        b'{"Order":{"@OrderId":""}}',
        b'{"Order":{"@OrderId":{"a":1}}}',
        b'{"Order":{"@OrderId":"a\\u0000b"}}',
        b'{"Order":{"@OrderId":"1","OrderProducts":7}}',
        b'{"Order":{"@OrderId":"1","OrderProducts":{"OrderProduct":[{}]}}}',
        b'{"Order":{"@OrderId":"1","OrderProducts":{"OrderProduct":[{"@id":"\\u0000"}]}}}',
        b"[" * 100_000,
        b'{"Order":{"@OrderId":"\xff"}}',
    ],
    ids=range(14),
)
def test_a_body_that_is_not_an_order_is_answered_with_a_message(raw: bytes) -> None:
    answer = ask(raw, account(TO_TWO), "it")
    assert answer.status == 400
    assert json.loads(answer.body) == {"message": "Non è stato possibile leggere l'ordine. Contattare il negozio."}
    assert answer.record is None


@pytest.mark.parametrize(
    "strange",
    [b'"\\ud800":1', b'"x":[1e400]', b'"x":"\\u0000"', b'"x":' + b"[" * 5000 + b"]" * 5000, b'"x":' + b"9" * 5000],
    ids=["lone surrogate", "1e400", "NUL", "deep", "long integer"],
)
def test_unusual_values_in_unused_fields_are_ignored(strange: bytes) -> None:
    raw = encoded(document())[:-2] + b"," + strange + b"}}"
    assert answered(raw, account(TO_ONE, TO_TWO)) == {"3087": "2", "3088": "1"}


def test_rules_are_compiled_once_an_account_and_forgotten_with_it() -> None:
    settings = account(TO_ONE)
    assert allocate.rules(settings) is allocate.rules(settings)
    assert allocate.rules(account(TO_ONE)) is not allocate.rules(settings)
    key = id(settings)
    del settings
    assert key not in allocate._compiled


def test_every_item_has_its_answer_in_the_order_s_own_order() -> None:
    order = document()
    products(order).reverse()
    outcome = allocate.allocate(decoded(order), account(TO_ONE, TO_TWO))
    assert isinstance(outcome, allocate.Allocation)
    assert allocate.answer_bytes(outcome) == b'{"3088":"1","3087":"2"}'


def test_rules_can_be_made_ready_before_the_first_order() -> None:
    settings = account(TO_ONE)
    answers.prepare({"ustore": {"printshop": settings}, "apicbase": {}})
    assert id(settings) in allocate._compiled
    answers.prepare({})
