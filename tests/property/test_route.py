"""For any rules and any order: each item once or one error, the same when asked again, in this process or another."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import allocation
from schemas.platforms.ustore import manufacturer_order
from schemas.platforms.ustore.config import Account
from tests.unit.route.orders import ask, encoded
from workers.route.ustore.explain import check, explain

IDS = ("1", "2", "5")
COUNTRIES = ("US", "United States", "Canada", "Deutschland", "Atlantis", "", None)
STATES = ("NY", "Pennsylvania", "ON", "Bavaria", "", None)
CODES = ("19028", "10016-1234", "M5V 2T6", "80331", "x", "", None)
WORDS = ("Lamination", "lamination", "Foil", "🎉", "", " ")

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=8)
)


def listed(values: Any) -> Any:
    """One of some values, or a list of them."""
    value = st.sampled_from(values)
    return value | st.lists(value, min_size=1, max_size=3)


whens = st.fixed_dictionaries(
    {},
    optional={
        "property": st.dictionaries(st.sampled_from(["Finishing", "FIN", "Base"]), listed(WORDS), max_size=2),
        "product_name": listed(WORDS),
        "ship_to_country": listed([name for name in COUNTRIES if name]),
        "ship_to_state": listed([name for name in STATES if name]),
        "ship_to_zip_prefix": listed(["1", "190", "M5V", ""]),
        "delivery_method": listed(["Shipping", "Pickup"]),
        "min_units": st.integers(0, 20),
        "max_units": st.floats(0, 20),
        "currency": listed(["USD", "EUR"]),
    },
)
ways = st.one_of(
    st.fixed_dictionaries({"manufacturer": st.sampled_from(IDS)}),
    st.fixed_dictionaries({"nearest": st.lists(st.sampled_from(IDS), min_size=1, max_size=3)}),
    st.fixed_dictionaries({"split": st.dictionaries(st.sampled_from(IDS), st.integers(0, 9), min_size=1)}).filter(
        lambda way: any(way["split"].values())
    ),
)
rules = st.builds(lambda when, way: {"when": when} | way, whens, ways)
manufacturers = [
    {"id": "1", "name": "One", "country": "US", "postal_code": "10016"},
    {"id": "2", "name": "Two", "external_id": "II", "country": "DE", "postal_code": "80331"},
    {"id": "5", "name": "Five", "country": "Canada", "state": "Ontario"},
]
accounts = st.builds(
    lambda listed, fallback: {
        "secrets": ["s"],
        "manufacturers": manufacturers,
        "rules": listed,
        "fallback": fallback,
    },
    st.lists(rules, max_size=5),
    st.sampled_from(["product", "refuse", "5"]),
)


def one_or_many(elements: Any) -> Any:
    """The shapes in which an XML converter writes a list."""
    return st.none() | st.just("") | elements | st.lists(elements, max_size=4)


properties = st.fixed_dictionaries(
    {},
    optional={
        "Property": st.none() | st.fixed_dictionaries({"DisplayName": st.sampled_from(["Finishing", "Base", None])}),
        "Value": st.sampled_from(WORDS) | scalars,
    },
)
item_ids = st.sampled_from(["3087", "3088", "3089", 3090, "🎉"])
products = st.fixed_dictionaries(
    {"@id": item_ids},
    optional={
        "Quantities": st.none()
        | st.just("")
        | st.fixed_dictionaries({"TotalUnits": st.sampled_from(["1", "12.5"]) | scalars}),
        "Manufacturer": st.fixed_dictionaries({"Name": st.sampled_from(["one", "Two", "Nobody", None])}),
        "Product": st.none()
        | st.fixed_dictionaries(
            {"Name": st.sampled_from(WORDS)},
            optional={"Manufacturer": st.fixed_dictionaries({"@externalId": st.sampled_from(["ii", "", None])})},
        ),
        "PropertyValues": st.none() | st.fixed_dictionaries({"PropertyValue": one_or_many(properties)}),
    },
)
places = st.fixed_dictionaries(
    {},
    optional={
        "CountryName": st.sampled_from(COUNTRIES) | scalars,
        "StateName": st.sampled_from(STATES) | scalars,
        "Zip": st.sampled_from(CODES) | scalars,
    },
)
deliveries = st.fixed_dictionaries(
    {},
    optional={
        "ShippingAddress": st.none() | st.just("") | places,
        "DeliveryItems": one_or_many(st.fixed_dictionaries({"OrderProductID": item_ids})),
        "DeliveryMethod": st.sampled_from(["Shipping", "pickup", None]),
    },
)
orders = st.builds(
    lambda items, information, currency: {
        "Order": {
            "@OrderId": "1",
            "@primaryCurrency": currency,
            "OrderProducts": {"OrderProduct": items},
            "DeliveryInformation": information,
        }
    },
    one_or_many(products),
    st.none() | st.just("") | st.fixed_dictionaries({"Deliveries": one_or_many(deliveries)}),
    st.sampled_from(["USD", "EUR", "", None]),
)


def item_names(order: dict[str, Any]) -> list[str]:
    held = order["Order"]["OrderProducts"]["OrderProduct"]
    listed_items = held if isinstance(held, list) else [held] if held else []
    return list(dict.fromkeys(str(item["@id"]) for item in listed_items))


@given(accounts, orders)
@settings(max_examples=300, deadline=None)
def test_every_item_is_allocated_once_or_the_answer_is_one_error(
    account: dict[str, Any], order: dict[str, Any]
) -> None:
    raw = encoded(order)
    answer = ask(raw, msgspec.convert(account, Account), "fr")
    # Compiled anew from the same configuration, as another worker would.
    assert ask(raw, msgspec.convert(account, Account), "fr") == answer
    if answer.status == 400:
        assert list(json.loads(answer.body)) == ["message"]
        assert answer.record is None
        return
    chosen = json.loads(answer.body)
    assert answer.status == 200
    assert list(chosen) == item_names(order)
    assert set(chosen.values()) <= set(IDS)
    assert answer.record is not None
    kept = allocation.decode(answer.record)
    assert (kept.raw, {entry.item: entry.manufacturer for entry in kept.allocations}) == (raw, chosen)


@given(accounts, orders)
@settings(max_examples=150, deadline=None)
def test_an_order_is_explained_as_it_is_answered(account: dict[str, Any], order: dict[str, Any]) -> None:
    configured = msgspec.convert(account, Account)
    explained = explain(configured, encoded(order))
    answer = ask(order, configured)
    decided = {entry.item: entry.manufacturer for entry in reversed(explained)}
    if answer.status == 200:
        assert json.loads(answer.body) == decided
    else:
        assert None in decided.values()
    for entry in explained:
        assert [step.matched for step in entry.steps[:-1]] == [False] * len(entry.steps[:-1])
        assert all(step.matched != bool(step.reasons) for step in entry.steps)


@given(accounts, st.lists(orders, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_rule_reported_as_unreachable_never_matches(account: dict[str, Any], some: list[dict[str, Any]]) -> None:
    account["rules"] = [rule | {"name": f"r{place}"} for place, rule in enumerate(account["rules"])]
    configured = msgspec.convert(account, Account)
    dead = {problem.split("'")[1] for problem in check(configured) if "can never match" in problem}
    for order in some:
        for entry in explain(configured, encoded(order)):
            assert entry.rule not in dead


@given(accounts, orders)
@settings(max_examples=150, deadline=None)
def test_manufacturers_messages_contain_each_item_once(account: dict[str, Any], order: dict[str, Any]) -> None:
    outcome = ask(order, msgspec.convert(account, Account))
    if outcome.record is None:
        return
    kept = allocation.decode(outcome.record)
    held = order["Order"]["OrderProducts"]["OrderProduct"]
    sent = held if isinstance(held, list) else [held] if held else []
    parts = {name: json.loads(data) for name, data in manufacturer_order.split(kept.raw, kept.allocations).items()}
    assert sorted(json.dumps(item) for data in parts.values() for item in data["items"]) == sorted(
        map(json.dumps, sent)
    )
    for name, data in parts.items():
        own = {str(item["@id"]) for item in data["items"]}
        assert data["manufacturerId"] == name
        assert {str(entry["OrderProductID"]) for d in data["deliveries"] for entry in d["DeliveryItems"]} <= own


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_answered_200_or_400(raw: bytes) -> None:
    answer = ask(raw, msgspec.convert({"secrets": ["s"]}, Account))
    assert answer.status in (200, 400)
    assert isinstance(json.loads(answer.body), dict)
