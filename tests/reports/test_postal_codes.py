"""Postal codes that a spreadsheet or a number has robbed of their leading zeros, and places that do not exist."""

from typing import Any

import pytest

from tests.unit.route.orders import HANOVER, account, answered, encoded, recorded, shipping_to
from workers.route.ustore import addresses, explain, rules
from workers.route.ustore.distance import Place, gazetteer

NEWARK = {"id": "N", "name": "Newark", "country": "US", "state": "NJ", "postal_code": "07102"}
NEW_ORLEANS = {"id": "O", "name": "New Orleans", "country": "US", "state": "LA", "postal_code": "70112"}


def located(country: str, state: str, postal: str) -> Place | None:
    states = addresses.state(country, state)
    return gazetteer().locate(country, states, addresses.full_postal(postal, country, states))


@pytest.mark.parametrize(
    ("country", "written", "full"),
    [
        ("US", "7001", "07001"),
        ("US", " 7001 ", "07001"),
        ("US", "7001-1234", "070011234"),
        ("US", "501", "00501"),
        ("US", "501-0001", "005010001"),
        ("PR", "901", "00901"),
        ("VI", "802", "00802"),
        ("US", "19028", "19028"),
        ("US", "19028-1234", "190281234"),
        ("US", "", ""),
        ("US", "07001", "07001"),
        ("DE", "1067", "01067"),
        ("FR", "1000", "01000"),
        ("IT", "184", "00184"),
        ("ES", "8001", "08001"),
        ("FI", "100", "00100"),
        ("PL", "1-001", "01001"),
        ("AU", "800", "0800"),
        ("NO", "150", "0150"),
        ("JP", "60-0000", "0600000"),
        ("NL", "1015 CC", "1015CC"),
        ("GB", "SW1A 1AA", "SW1A1AA"),
        ("CH", "800", "800"),
        (None, "7001", "7001"),
    ],
)
def test_leading_zeros_are_restored_where_the_country_has_them(country: str | None, written: str, full: str) -> None:
    assert addresses.full_postal(written, country) == full


@pytest.mark.parametrize(("state", "postal"), [("NJ", "7001"), ("New Jersey", "7001-1234"), ("", "7001")])
def test_a_us_code_of_four_digits_is_read_with_its_zero(state: str, postal: str) -> None:
    place = located("US", state, postal)
    assert place is not None
    assert (place.name, place.precision) == ("07001", "code")


@pytest.mark.parametrize("postal", ["1902", "1902-1234", "190", "190281", "1902812"])
def test_a_us_code_that_lacks_another_digit_is_unknown(postal: str) -> None:
    """01902 is in Massachusetts; Pennsylvania's 1902x has lost its last digit, so only the state is known."""
    place = located("US", "PA", postal)
    assert place is not None
    assert place.describe() == "centre of US-PA"


@pytest.mark.parametrize(
    ("country", "postal", "prefix"),
    [("DE", "1067", "01"), ("FR", "6000", "06"), ("IT", "184", "00"), ("ES", "8001", "08"), ("AU", "800", "08")],
)
def test_other_countries_codes_are_read_with_their_zeros(country: str, postal: str, prefix: str) -> None:
    place = located(country, "", postal)
    assert place is not None
    assert (place.name, place.precision) == (prefix, "prefix")


@pytest.mark.parametrize("postal", ["7001", 7001, "7001-1234"])
def test_an_order_goes_to_the_shop_that_is_near(postal: Any) -> None:
    settings = account({"nearest": ["O", "N"]}, manufacturers=[NEWARK, NEW_ORLEANS])
    order = shipping_to(CountryName="United States", StateName="New Jersey", Zip=postal)
    assert set(answered(order, settings).values()) == {"N"}
    detail = recorded(order, settings)[0].detail
    assert detail is not None
    assert "(07001 to 07102)" in detail


def test_a_prefix_is_compared_with_the_whole_code() -> None:
    settings = account({"when": {"ship_to_zip_prefix": "070"}, "manufacturer": "N"}, manufacturers=[NEWARK, HANOVER])
    order = shipping_to(CountryName="US", StateName="NJ", Zip="7001")
    assert set(answered(order, settings).values()) == {"N"}
    assert explain.explain(settings, encoded(order))[0].destination == "US US-NJ 07001"


def checked(rule: dict[str, Any], **manufacturer: Any) -> list[str]:
    return explain.check(account({"name": "r"} | rule, manufacturers=[HANOVER | manufacturer]))


def test_a_manufacturers_code_without_its_zero_is_named() -> None:
    assert checked({"nearest": ["2"]}, state="NJ", postal_code="7102") == [
        "manufacturer '2': postal_code '7102' is read as '07102': write it in full, as text"
    ]
    settings = account({"nearest": ["2"]}, manufacturers=[HANOVER | {"state": "NJ", "postal_code": "7102"}])
    place = rules.place_of(settings.manufacturers[0])
    assert place is not None
    assert place.name == "07102"


def test_a_manufacturers_us_code_of_which_only_the_area_is_known_is_named() -> None:
    assert checked({"nearest": ["2"]}, state="PA", postal_code="19059") == [
        "manufacturer '2' has a postal code that isn't known: nearest measures from the postal prefix 190"
    ]


def test_elsewhere_the_area_is_all_that_is_known() -> None:
    assert checked({"nearest": ["2"]}, country="DE", state="Berlin", postal_code="10115") == []


def test_a_state_of_no_country_is_found() -> None:
    assert checked({"when": {"ship_to_state": ["Pensylvania", "NY", "Bayern"]}, "manufacturer": "2"}) == [
        "rule 'r': 'Pensylvania' is not a state of any country"
    ]


def test_a_prefix_that_is_a_number_is_found() -> None:
    rule = {"when": {"ship_to_zip_prefix": [701, "190"]}, "manufacturer": "2"}
    assert checked(rule) == [
        "rule 'r': ship_to_zip_prefix 701 is a number, which has no leading zeros: write it as text, "
        'such as "701" or "0701"'
    ]


@pytest.mark.parametrize("empty", ["", " ", "-"])
def test_a_prefix_without_a_character_is_found(empty: str) -> None:
    rule = {"when": {"ship_to_zip_prefix": empty}, "manufacturer": "2"}
    assert checked(rule) == [
        f"rule 'r': ship_to_zip_prefix {empty!r} matches every postal code: write its first characters"
    ]
