"""Filters: the published syntax, the meaning of each operator, and what is wrong with those that are not valid."""

import json
from decimal import Decimal
from typing import Any

import pytest

from schemas import filter_conditions, filter_events, filters
from schemas.filter_conditions import Steps, TooManyStepsError
from schemas.filters import FilterError

ORDER = {
    "type": "channelape.stock_transfer_order",
    "subject": "STO1",
    "data": {
        "locationId": "819",
        "quantity": 12,
        "price": 0.1,
        "note": None,
        "rush": True,
        "tags": ["gift", "fragile"],
        "lines": [{"sku": "A", "quantity": 5}, {"sku": "B", "quantity": 9.50, "boxes": [{"id": 1}, {"id": 2}]}],
        "customer": {"name": "Blue Tomato", "country": "AT"},
    },
}
MATCHING: list[Any] = [
    {"type": "channelape.stock_transfer_order"},
    {"subject": "STO1", "data": {"locationId": "819", "quantity": 12}},
    {"data": {"quantity": 12.0}},
    {"data": {"quantity": {"$eq": 12.00}}},
    {"data": {"price": {"$eq": 0.1}}},
    {"data": {"note": None}},
    {"data": {"note": {"$exist": True}}},
    {"data": {"nothing": {"$exist": False}}},
    {"data": {"nothing": {"deeper": {"$exist": False}}}},
    {"data": {"rush": True}},
    {"data": {"tags": "gift"}},
    {"data": {"tags": ["fragile", "gift"]}},
    {"data": {"tags": {"$eq": ["gift", "fragile"]}}},
    {"data": {"tags": {"$in": "gift"}}},
    {"data": {"tags": {"$in": ["gift", "other"]}}},
    {"data": {"tags": {"$nin": ["other"]}}},
    {"data": {"tags": {"$neq": "other"}}},
    {"data": {"tags": {"$startsWith": "fra"}}},
    {"data": {"lines": {"sku": "B"}}},
    {"data": {"lines": {"sku": "B", "quantity": {"$gt": 9}}}},
    {"data": {"lines": {"quantity": {"$gte": 9.5, "$lte": 9.50}}}},
    {"data": {"lines": {"boxes": {"id": 2}}}},
    {"data": {"lines": [{"sku": "A"}, {"sku": "B"}]}},
    {"data": {"lines": {"$not": {"sku": "C"}}}},
    {"data": {"customer": {"name": {"$endsWith": ["Potato", "Tomato"]}}}},
    {"data": {"customer": {"name": {"$in": "Tom"}}}},
    {"data": {"customer": {"country": {"$in": ["DE", "AT"]}}}},
    {"data": {"customer": {"country": {"$neq": "DE", "$gt": "AS"}}}},
    {"data": {"customer": {"$eq": {"country": "AT", "name": "Blue Tomato"}}}},
    {"$or": [{"type": "other"}, {"data": {"locationId": "819"}}]},
    {"$and": [{"subject": "STO1"}, {"data": {"rush": True}}]},
    {"$not": {"subject": "STO2"}},
    {"data": {"locationId": {"$or": ["1", {"$startsWith": "81"}]}}},
    {"data": {"locationId": {"$exist": True, "$or": ["1", "819"]}}},
    {"data": {"nothing": {"$not": "x"}}},
]
OTHERS: list[Any] = [
    {"type": "other"},
    {"data": {"locationId": 819}},
    {"data": {"quantity": "12"}},
    {"data": {"rush": 1}},
    {"data": {"quantity": True}},
    {"data": {"note": {"$exist": False}}},
    {"data": {"nothing": None}},
    {"data": {"nothing": {"$exist": True}}},
    {"data": {"nothing": {"$neq": "x"}}},
    {"data": {"nothing": {"$nin": ["x"]}}},
    {"data": {"price": {"$gt": 0.1}}},
    {"data": {"quantity": {"$gt": "1"}}},
    {"data": {"tags": ["gift", "other"]}},
    {"data": {"tags": {"$eq": ["gift"]}}},
    {"data": {"tags": {"$neq": "gift"}}},
    {"data": {"tags": {"$nin": ["gift"]}}},
    {"data": {"tags": {"$nin": "gift"}}},
    {"data": {"tags": {"$in": "gif"}}},
    {"data": {"lines": {"sku": "A", "quantity": {"$gt": 9}}}},
    {"data": {"lines": {"quantity": {"$gt": 5, "$lt": 9}}}},
    {"data": {"locationId": ["819"]}},
    {"data": {"locationId": {"deeper": "819"}}},
    {"data": {"customer": {"name": {"$startsWith": "Tomato"}}}},
    {"data": "819"},
    {"$or": [{"type": "other"}, {"subject": "STO2"}]},
    {"$not": {"data": {"locationId": "819"}}},
    {"nothing": {"$gt": 1}},
]
INVALID: list[tuple[Any, str, str]] = [
    ([], "", "is an object"),
    ({}, "", "has no condition"),
    ({"data": {}}, "data", "is empty"),
    ({"data": {"tags": []}}, "data.tags", "is empty"),
    ({"data": {"n": {"$foo": 1}}}, "data.n.$foo", "is not an operator"),
    ({"data": {"n": {"$gt": None}}}, "data.n.$gt", "a number or a text"),
    ({"data": {"n": {"$exist": 1}}}, "data.n.$exist", "true or false"),
    ({"data": {"n": {"$in": 1}}}, "data.n.$in", "an array of values"),
    ({"data": {"n": {"$in": [{}]}}}, "data.n.$in[0]", "must be a text"),
    ({"data": {"n": {"$startsWith": [1]}}}, "data.n.$startsWith", "an array of texts"),
    ({"$or": {"a": 1}}, "$or", "an array of conditions"),
    ({"$or": [{"a": {"$lt": True}}]}, "$or[0].a.$lt", "a number or a text"),
    ({"a": {"$in": [*range(101)]}, "b": [*range(101)]}, "b[99]", "more than 100 conditions"),
]


def compiled(written: object) -> filters.Filter:
    return filters.from_json(json.dumps(written))


def seen(event: object) -> dict[str, Any]:
    decoded = filter_events.decode(json.dumps(event))
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize("written", MATCHING, ids=json.dumps)
def test_a_filter_that_matches(written: object) -> None:
    assert compiled(written).matches(seen(ORDER))
    assert compiled(written).why_not(seen(ORDER)) is None


@pytest.mark.parametrize("written", OTHERS, ids=json.dumps)
def test_a_filter_that_does_not_match_and_why(written: object) -> None:
    assert not compiled(written).matches(seen(ORDER))
    assert compiled(written).why_not(seen(ORDER)) is not None


@pytest.mark.parametrize(("written", "path", "problem"), INVALID, ids=lambda value: str(value)[:40])
def test_an_invalid_filter_is_refused_with_its_place(written: object, path: str, problem: str) -> None:
    with pytest.raises(FilterError) as caught:
        compiled(written)
    assert caught.value.path == path
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1} x', '"a"', "[" * 100_000, '{"a": "' + "x" * 9000 + '"}', '{"a": 1e9999999999999999999}']
)
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(FilterError):
        filters.from_json(text)


def test_a_filter_is_bounded_in_depth() -> None:
    deep: object = 1
    for _ in range(filters.MAX_DEPTH + 1):
        deep = {"a": deep}
    with pytest.raises(FilterError, match="levels deep"):
        compiled(deep)
    nested: object = {"a": 1}
    for _ in range(filters.MAX_DEPTH):
        nested = {"$or": [nested]}
    with pytest.raises(FilterError, match="levels deep"):
        compiled(nested)


def test_the_condition_that_decided_is_named_with_what_the_event_has() -> None:
    reason = compiled({"subject": "STO1", "data": {"customer": {"country": {"$in": ["DE"]}}}}).why_not(seen(ORDER))
    assert reason == filters.Reason("data.customer.country", {"$in": ["DE"]}, "AT")
    reason = compiled({"data": {"lines": {"sku": "C"}}}).why_not(seen(ORDER))
    assert reason == filters.Reason("data.lines", {"sku": "C"}, "an array of 2")
    reason = compiled({"data": {"nothing": {"$gt": 1}}}).why_not(seen(ORDER))
    assert reason == filters.Reason("data.nothing", {"$gt": 1}, None)


def test_numbers_are_exact_however_they_are_written() -> None:
    event = filter_events.decode(
        '{"a": 0.30000000000000000000000001, "b": 1e2, "c": 1e999999999999999999999, '
        '"d": 12345678901234567890, "e": 0.1}'
    )
    assert isinstance(event, dict)
    for text in (
        '{"a": {"$gt": 0.3}}',
        '{"b": 100}',
        '{"e": {"$lt": 0.10000000000000000001}}',
        '{"c": {"$gt": 1e300}}',
        '{"d": 12345678901234567890, "e": 0.1}',
    ):
        assert filters.from_json(text).matches(event), text
    assert not filters.from_json('{"d": 12345678901234567891}').matches(event)


@pytest.mark.parametrize(
    ("encoded", "added"),
    [
        (None, {"datacontenttype": "application/octet-stream"}),
        (b"[" * 100_000, {"datacontenttype": "application/json"}),
        (b'{"a": 1}', {"datacontenttype": "application/json", "data": {"a": 1}}),
    ],
)
def test_data_that_cannot_be_read_are_absent(encoded: bytes | None, added: dict[str, object]) -> None:
    event: dict[str, object] = {}
    filter_events.add_data(event, encoded)
    assert event == added


def test_an_event_of_the_log_shows_the_same_attributes() -> None:
    body = b'{"specversion":"1.0","type":"a","traceparent":"00","dataref":"b","data":{"price":0.10}}'
    assert filter_events.of_log(body) == {"specversion": "1.0", "type": "a", "data": {"price": Decimal("0.1")}}
    with pytest.raises(ValueError, match="not an object"):
        filter_events.of_log(b"[]")


def test_long_arrays_end_the_comparison() -> None:
    event = {"data": {"lines": [{"sku": "A"}] * (filter_conditions.MAX_STEPS // 2)}}
    two = compiled({"data": {"lines": {"sku": "B", "quantity": 1}}})
    with pytest.raises(TooManyStepsError):
        two.matches(event)
    steps = Steps()
    single = compiled({"data": {"lines": {"sku": "B"}}})
    assert not single.matches(event, steps)
    with pytest.raises(TooManyStepsError):
        single.matches(event, steps)


def test_deeply_nested_arrays_end_the_comparison() -> None:
    nested: Any = "A"
    for _ in range(3_000):
        nested = [nested]
    event = {"data": {"x": nested}}
    for written in ({"data": {"x": "A"}}, {"data": {"x": {"y": 1}}}, {"data": {"x": {"$not": {"$in": ["B"]}}}}):
        with pytest.raises(TooManyStepsError):
            compiled(written).matches(event)
        with pytest.raises(TooManyStepsError):
            compiled(written).why_not(event)
    with pytest.raises(TooManyStepsError):
        filter_conditions.scalars_at(event, ("data", "x"), Steps())


def test_whether_a_filter_reads_the_body() -> None:
    for written, reads in (
        ({"type": "a"}, False),
        ({"$or": [{"type": "a"}, {"data": {"b": 1}}]}, True),
        ({"$not": {"data": {"$exist": True}}}, True),
        ({"source": {"$startsWith": "/a"}, "$and": [{"subject": "b"}]}, False),
    ):
        assert compiled(written).reads_data is reads, written
