"""Siblings of reported inputs: elements of XML with attributes, turned into JSON."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas import allocation, documents, lenient, registry
from schemas.envelope import Envelope
from schemas.platforms.ustore import config, manufacturer_order
from tests.support.storing import at
from workers.route import answers, ustore

USTORE = registry.platforms()["ustore"]
NAMES = ("#text", "#cdata-section", "#cdata", "__cdata", "$t", "_text")
NIL: tuple[Any, ...] = (
    *({"@xsi:nil": "true"}, {"@nil": "true"}, {"@i:nil": True}, {"@p3:nil": "1", "@type": "x"}),
    *({"@xml:lang": "en"}, {"@unit": "EA", "#text": ""}, {"#text": None}, {"#text": [" ", "\n"], "#comment": "none"}),
)
OBJECTS: tuple[Any, ...] = ({}, {"#text": {}}, {"#text": ["a", 1]}, {"value": "5"}, {"#text": "5", "Other": "6"})


def order() -> Any:
    return json.loads(registry.example("ustore", "manufacturer_allocation"))


def wrapped(value: Any, wrap: Callable[[str], Any]) -> Any:
    """`value` with every text in it wrapped."""
    if isinstance(value, dict):
        return {name: wrapped(inner, wrap) for name, inner in value.items()}
    if isinstance(value, list):
        return [wrapped(inner, wrap) for inner in value]
    return wrap(value) if isinstance(value, str) and value else value


def describe(body: Any) -> documents.Document:
    return documents.describe(USTORE, "manufacturer_allocation", json.dumps(body).encode())


def answered(body: Any) -> answers.Answer:
    meta = Envelope(
        message_id="01932d5e-0000-7000-8000-000000000001",
        platform="ustore",
        account="a",
        event="manufacturer_allocation",
        received_at=at(0),
    )
    account = msgspec.convert(USTORE.demo[1], config.Account)
    return ustore.answer(meta, json.dumps(body).encode(), account)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("more", [{}, {"@xml:lang": "en-US"}, {"@xsi:nil": "false", "#whitespace": "\n"}])
def test_an_element_with_attributes_is_its_text(name: str, more: dict[str, str]) -> None:
    body = order()
    plain, changed = describe(body), describe(wrapped(body, lambda value: {**more, name: value}))
    assert changed.reading == plain.reading
    assert changed.flags == ()


def test_an_order_of_elements_with_attributes_is_answered_and_split_alike() -> None:
    body = order()
    changed = wrapped(body, lambda value: {"@xml:lang": "en", "#text": "\n", "#cdata-section": value})
    first, second = answered(body), answered(changed)
    assert json.loads(second.body) == json.loads(first.body)
    assert second.status == first.status == 200
    assert first.record is not None
    assert second.record is not None
    allocations = allocation.decode(second.record).allocations
    assert allocations == allocation.decode(first.record).allocations
    for share in manufacturer_order.split(json.dumps(changed).encode(), allocations).values():
        decoded = json.loads(share)
        assert decoded["orderId"] == body["Order"]["@OrderId"]
        assert decoded["items"]
        assert decoded["deliveries"]


@pytest.mark.parametrize("value", NIL)
def test_an_element_that_is_nil_is_absent(value: Any) -> None:
    assert lenient.is_absent(value)
    assert (lenient.text(value), lenient.identifier(value), lenient.number(value)) == (None, None, None)
    assert lenient.unreadable(total=(value, None)) is None
    body = order()
    body["Order"]["@cartCreationdDate"] = value
    item = body["Order"]["OrderProducts"]["OrderProduct"][0]
    item["Quantities"]["TotalUnits"] = item["Prices"]["TotalPrice"] = item["Product"]["Name"] = value
    document = describe(body)
    line = document.reading.lines[0]
    assert (line.quantity, line.total, line.name, line.unreadable) == (None, None, None, None)
    assert document.flags == ()


@pytest.mark.parametrize("value", OBJECTS)
def test_an_object_that_is_not_an_element_is_not_a_value(value: Any) -> None:
    assert not lenient.is_absent(value)
    assert (lenient.text(value), lenient.identifier(value), lenient.number(value)) == (None, None, None)
    assert lenient.unreadable(total=(value, None)) is not None


def test_the_text_of_an_element_is_read_like_any_text() -> None:
    assert lenient.number({"@unit": "EA", "#text": "5"}) == Decimal(5)
    assert lenient.number({"#text": 5}) == Decimal(5)
    assert lenient.unreadable(total=({"#text": "5 EA"}, None)) == {"total": "5 EA"}
    assert lenient.identifier({"#text": " null "}) is None
    assert lenient.text({"#text": ["Smith ", "Sons"]}) == "Smith Sons"
    assert lenient.text({"#text": "Smith ", "#cdata-section": "& Sons"}) == "Smith & Sons"


def test_elements_within_elements_are_not_values() -> None:
    value: Any = "5"
    for _ in range(390):
        value = {"#text": value}
    body = order()
    body["Order"]["OrderProducts"]["OrderProduct"][0]["Quantities"]["TotalUnits"] = value
    assert describe(body).flags == ("unreadable_number",)
