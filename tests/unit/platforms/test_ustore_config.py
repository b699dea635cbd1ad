"""`[accounts.ustore.<name>]`: the contract's example is taken; what is wrong is named."""

import tomllib
from typing import Any

import msgspec
import pytest

from schemas.platforms.ustore.config import Account

EXAMPLE = """
secrets = ["…"]
signature_encoding = "base64"
answer_timeout = 2.0
fallback = "product"
[[manufacturers]]
id = "2"
name = "test2 Manufacturer"
external_id = "HAN"
country = "US"
state = "MD"
postal_code = "21076"
[[manufacturers]]
id = "5"
name = "Second"
country = "US"
[[rules]]
name = "lamination goes to Hanover"
when = { property = { Finishing = "Lamination" } }
manufacturer = "2"
[[rules]]
name = "east coast, nearest"
when = { ship_to_country = "US", ship_to_state = ["NY", "PA", "NJ"], min_units = 1 }
nearest = ["2", "5"]
[[rules]]
name = "the rest, 70/30"
split = { "2" = 70, "5" = 30 }
"""


def convert(*rules: dict[str, Any], **more: Any) -> Account:
    base = {"secrets": ["s"], "manufacturers": [{"id": "2", "country": "US"}, {"id": "5"}], "rules": list(rules)}
    return msgspec.convert(base | more, Account)


def test_the_contract_s_example() -> None:
    account = msgspec.convert(tomllib.loads(EXAMPLE), Account)
    assert [rule.chosen() for rule in account.rules] == [("2",), ("2", "5"), ("2", "5")]


def test_an_account_has_the_documented_defaults() -> None:
    account = msgspec.convert({"secrets": ["s"]}, Account)
    assert (account.signature_encoding, account.answer_timeout, account.fallback) == ("base64", 2.0, "product")
    assert (account.manufacturers, account.rules) == ([], [])


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"name": "x"}, "rule 'x' needs exactly one of manufacturer, nearest, split; it has none"),
        ({"manufacturer": "2", "nearest": ["2"]}, "it has manufacturer and nearest"),
        ({"manufacturer": "9"}, "rules[0] names manufacturer '9', which is not in manufacturers: '2', '5'"),
        ({"name": "far", "nearest": ["2", "9"]}, "rules[0] 'far' names manufacturer '9'"),
        ({"split": {"2": 1, "9": 1}}, "names manufacturer '9'"),
        ({"nearest": ["5"]}, "nearest needs a place for '5'; give that manufacturer a country"),
        ({"nearest": []}, "$.rules[0].nearest"),
        ({"split": {}}, "the weights of split must be finite and one of them above 0"),
        ({"split": {"2": 0}}, "one of them above 0"),
        ({"split": {"2": -1, "5": 2}}, "$.rules[0].split[...]"),
        ({"split": {"2": float("inf")}}, "must be finite"),
        ({"manufacturer": "2", "when": {"ship_to_planet": "Mars"}}, "ship_to_planet"),
        ({"manufacturer": "2", "when": {"currency": []}}, "$.rules[0].when.currency"),
        ({"manufacturer": "2", "when": {"min_units": -1}}, "$.rules[0].when.min_units"),
        ({"manufacturer": "2", "when": {"min_units": "many"}}, "$.rules[0].when.min_units"),
        ({"manufacturer": "2", "when": {"property": {"": "x"}}}, "$.rules[0].when.property"),
        ({"manufacturer": "2", "whne": {}}, "whne"),
    ],
)
def test_the_defect_of_a_rule_is_named(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        convert(rule)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"secrets": []}, "$.secrets"),
        ({"secrets": [""]}, "$.secrets[0]"),
        ({"fallback": "9"}, "fallback is '9', which is not in manufacturers (known: '2', '5')"),
        ({"signature_encoding": "base32"}, "$.signature_encoding"),
        ({"answer_timeout": 0}, "$.answer_timeout"),
        ({"manufacturers": [{"id": "2"}, {"id": "2"}]}, "manufacturers: id '2' stands twice"),
        (
            {"manufacturers": [{"id": "1", "name": "X"}, {"id": "2", "name": "x"}]},
            "manufacturers: name 'x' stands twice",
        ),
        (
            {"manufacturers": [{"id": "1", "external_id": "E"}, {"id": "2", "external_id": "e"}]},
            "manufacturers: external_id 'e' stands twice",
        ),
        ({"manufacturers": [{"name": "X"}]}, "`id`"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_the_defect_of_an_account_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        convert(**settings)
    assert message in str(error.value)


def test_an_id_fits_into_a_routing_key() -> None:
    """It is part of one, with the account's name and the type; AMQP has room for 255 bytes."""
    assert convert(manufacturers=[{"id": "x" * 128}]).manufacturers[0].id
    with pytest.raises(msgspec.ValidationError, match="`id` is longer than 128 bytes"):
        convert(manufacturers=[{"id": "é" * 65}])
