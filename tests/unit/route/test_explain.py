"""Why an order goes where it goes, and what is wrong with a set of rules."""

from typing import Any

import pytest

from schemas.platform import UnreadableError
from tests.unit.route.orders import DOCUMENTED, HANOVER, account, answered, document, encoded
from workers.route.ustore.explain import check, explain

LAMINATION = {"name": "lamination", "when": {"property": {"Finishing": "Lamination"}}, "manufacturer": "2"}
EAST = {
    "name": "east coast",
    "when": {"ship_to_country": "US", "ship_to_state": ["NY", "PA", "NJ"], "min_units": 1},
    "nearest": ["5", "2"],
}
REST = {"name": "the rest", "split": {"2": 70, "5": 30}}


def test_each_rule_before_the_one_that_matched_says_why_it_did_not() -> None:
    first, second = explain(account(LAMINATION, EAST | {"when": {"min_units": 5}}, EAST, REST), DOCUMENTED)
    assert [(step.rule, step.matched) for step in first.steps] == [
        ("lamination", False),
        ("east coast", False),
        ("east coast", True),
    ]
    assert first.steps[0].reasons == ["property.Finishing is absent, not Lamination"]
    assert first.steps[1].reasons == ["min_units is 1 units, not at least 5"]
    assert first.steps[2].reasons == []
    assert (first.item, first.name, first.destination) == ("3087", "copy[10]s1", "US US-PA 19028")
    assert (first.manufacturer, first.rule, first.place) == ("2", "east coast", "19028")
    assert (second.item, second.manufacturer) == ("3088", "2")


def test_distances_are_shown() -> None:
    step = explain(account(EAST), DOCUMENTED)[0].steps[0]
    assert list(step.distances) == ["5", "2"]
    assert step.distances["2"] == pytest.approx(142, abs=1)
    assert step.distances["5"] == pytest.approx(3800, abs=50)


def test_every_reason_is_given_not_only_the_first() -> None:
    rule = {"when": {"ship_to_country": "CA", "currency": "EUR", "max_units": 0.5}, "manufacturer": "5"}
    assert sorted(explain(account(rule), DOCUMENTED)[0].steps[0].reasons) == [
        "currency is usd, not EUR",
        "max_units is 1 units, not at most 0.5",
        "ship_to_country is US, not CA",
    ]


def test_an_item_without_an_address() -> None:
    order = document()
    order["Order"]["DeliveryInformation"] = None
    entry = explain(account(EAST, {"name": "near", "nearest": ["2"]}, fallback="1"), encoded(order))[0]
    assert entry.destination is None
    assert "ship_to_country is unknown: the item has no address, not US" in entry.steps[0].reasons
    assert entry.steps[1].reasons == ["nearest: the item has no address"]
    assert (entry.manufacturer, entry.rule) == ("1", "fallback: 1")


def test_an_item_without_a_manufacturer_is_explained() -> None:
    entry = explain(account(LAMINATION, fallback="refuse"), DOCUMENTED)[0]
    assert (entry.manufacturer, entry.rule) == (None, "fallback: refuse")
    assert entry.detail == "no rule matches and the account refuses what no rule matches"
    entry = explain(account(manufacturers=[]), DOCUMENTED)[0]
    assert entry.detail == "no rule matches and the product's manufacturer (test2 manufacturer) is not in manufacturers"


def test_the_explanation_agrees_with_the_answer() -> None:
    settings = account(LAMINATION, EAST, REST)
    assert {e.item: e.manufacturer for e in explain(settings, DOCUMENTED)} == answered(DOCUMENTED, settings)


@pytest.mark.parametrize("raw", [b"{}", b'{"Order":{"@OrderId":"1","OrderProducts":{"OrderProduct":{"@id":null}}}}'])
def test_a_body_that_is_not_an_order_cannot_be_explained(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        explain(account(), raw)


def test_sensible_rules_pass() -> None:
    assert check(account(LAMINATION, EAST, REST)) == []
    assert check(account()) == []


@pytest.mark.parametrize(
    ("rules", "entry"),
    [
        ([REST, LAMINATION], "rule 'lamination' can never match: rule 'the rest' before it takes every item"),
        ([REST, EAST], "rule 'east coast' can never match: rule 'the rest'"),
        ([LAMINATION, LAMINATION | {"name": "again"}], "rule 'again' can never match: rule 'lamination'"),
        (
            [
                {
                    "name": "wide",
                    "when": {"ship_to_country": "US", "ship_to_state": ["New York", "PA"], "min_units": 5},
                    "manufacturer": "1",
                },
                {
                    "name": "narrow",
                    "when": {"ship_to_country": "USA", "ship_to_state": "NY", "min_units": 6, "currency": "USD"},
                    "manufacturer": "2",
                },
            ],
            "rule 'narrow' can never match: rule 'wide'",
        ),
        (
            [
                {"name": "wide", "when": {"ship_to_country": ["US", "CA"]}, "manufacturer": "1"},
                {"name": "narrow", "when": {"ship_to_country": "United States"}, "nearest": ["2"]},
            ],
            "rule 'narrow' can never match: rule 'wide'",
        ),
        (
            [
                {"name": "wide", "when": {"ship_to_zip_prefix": ["1", "20"]}, "manufacturer": "1"},
                {"name": "narrow", "when": {"ship_to_zip_prefix": ["190", "201"]}, "split": {"1": 1}},
            ],
            "rule 'narrow' can never match: rule 'wide'",
        ),
        (
            [{"name": "a", "nearest": ["1"]}, {"name": "b", "when": {"ship_to_country": "US"}, "nearest": ["2"]}],
            "rule 'b' can never match: rule 'a'",
        ),
        (
            [{"name": "x", "when": {"min_units": 5, "max_units": 4}, "manufacturer": "1"}],
            "min_units 5.0 is over max_units 4.0",
        ),
        (
            [{"name": "x", "when": {"ship_to_country": "Untied States"}, "manufacturer": "1"}],
            "no country is called 'Untied",
        ),
        (
            [{"name": "x", "when": {"ship_to_country": "US", "ship_to_state": ["NY", "Bavaria"]}, "manufacturer": "1"}],
            "'Bavaria' is not a state of the rule's ship_to_country",
        ),
        ([{"name": "x", "split": {"1": 1, "2": 0}}], "the weight of manufacturer '2' is 0"),
        ([LAMINATION, EAST | {"name": "lamination"}], "2 rules are called 'lamination'"),
    ],
)
def test_rules_that_mean_something_else_are_found(rules: list[dict[str, Any]], entry: str) -> None:
    problems = check(account(*rules))
    assert len(problems) == 1
    assert entry in problems[0]


@pytest.mark.parametrize(
    "rules",
    [
        # An item without an address passes `nearest` and reaches what follows.
        [{"name": "a", "nearest": ["1"]}, {"name": "b", "manufacturer": "2"}],
        [
            {"name": "a", "when": {"min_units": 5}, "manufacturer": "1"},
            {"name": "b", "when": {"min_units": 4}, "split": {"2": 1}},
        ],
        [
            {"name": "a", "when": {"property": {"P": "x"}}, "manufacturer": "1"},
            {"name": "b", "when": {"property": {"Q": "x"}}, "manufacturer": "2"},
        ],
        [
            {"name": "a", "when": {"ship_to_country": "US", "ship_to_state": "WA"}, "manufacturer": "1"},
            {"name": "b", "when": {"ship_to_country": "AU", "ship_to_state": "WA"}, "manufacturer": "2"},
        ],
        [
            {"name": "a", "when": {"ship_to_state": ["NY", "PA"], "currency": "USD"}, "manufacturer": "1"},
            {"name": "b", "when": {"ship_to_state": "NY"}, "manufacturer": "2"},
        ],
    ],
)
def test_rules_that_can_match_are_not_accused(rules: list[dict[str, Any]]) -> None:
    assert check(account(*rules)) == []


@pytest.mark.parametrize(
    ("change", "entry"),
    [
        ({"country": "Untied States"}, "manufacturer '2': no country is called 'Untied States'"),
        ({"state": "Bavaria"}, "manufacturer '2': US has no state 'Bavaria'"),
        (
            {"postal_code": "00100"},
            "manufacturer '2' has a postal code that isn't known: nearest measures from the centre of",
        ),
    ],
)
def test_manufacturers_that_can_not_be_placed_are_found(change: dict[str, str], entry: str) -> None:
    problems = check(account({"name": "near", "nearest": ["2"]}, manufacturers=[HANOVER | change]))
    assert entry in problems[0]


def test_a_manufacturer_without_a_postal_code_is_found_where_it_is_measured() -> None:
    vague = {"id": "9", "name": "x", "country": "US", "state": "MD"}
    assert check(account(manufacturers=[vague])) == []
    assert check(account({"name": "near", "nearest": ["9"]}, manufacturers=[vague])) == [
        "manufacturer '9' has no postal_code: nearest measures from the centre of US-MD"
    ]


def test_a_fallback_that_no_order_can_name() -> None:
    assert "no manufacturer has a name or an external_id" in check(account(manufacturers=[{"id": "9"}]))[0]
