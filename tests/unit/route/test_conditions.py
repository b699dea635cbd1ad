"""Every condition of `when`, each with a value and a list; all of them must hold."""

from typing import Any

import pytest

from tests.unit.route.orders import account, answered, deliveries, document, products, shipping_to

LAMINATED = {"Property": {"@id": "7", "@externalId": "FIN", "DisplayName": "Finishing"}, "Value": "Lamination"}


def order() -> dict[str, Any]:
    """Its first item has something for every condition to look at; its second nothing that any test asks for."""
    changed = document()
    changed["Order"] |= {"@primaryCurrency": "EUR"}
    products(changed)[0]["Product"] |= {"@externalId": "EXT-1", "CatalogNumber": "Cat 9", "Type": "Dynamic"}
    products(changed)[0] |= {"Quantities": {"TotalUnits": "250"}, "PropertyValues": {"PropertyValue": [LAMINATED]}}
    deliveries(changed)[1]["DeliveryMethod"] = "Pickup"
    deliveries(changed)[1]["ShippingAddress"] |= {"CountryName": "Canada", "StateName": "Ontario", "Zip": "M5V 2T6"}
    return changed


@pytest.mark.parametrize(
    ("field", "fitting"),
    [
        ("property", {"Finishing": "Lamination"}),
        ("property", {"finishing": ["Foil", "LAMINATION"]}),
        ("property", {"fin": "lamination"}),
        ("product_id", "240"),
        ("product_id", [999, 240]),
        ("product_external_id", "ext-1"),
        ("product_name", "COPY[10]S1"),
        ("catalog_number", ["x", "cat 9"]),
        ("product_type", "dynamic"),
        ("ship_to_country", "US"),
        ("ship_to_country", ["Germany", "Vereinigte Staaten"]),
        ("ship_to_state", "PA"),
        ("ship_to_state", ["New York", "pennsylvania"]),
        ("ship_to_state", "US-PA"),
        ("ship_to_zip_prefix", "190"),
        ("ship_to_zip_prefix", ["2", 19028]),
        ("delivery_method", "shipping"),
        ("min_units", 250),
        ("min_units", [1000, 100.5]),
    ],
)
def test_a_condition_holds_for_the_item_that_fits_and_not_for_the_other(field: str, fitting: Any) -> None:
    assert answered(order(), account({"when": {field: fitting}, "manufacturer": "5"})) == {"3087": "5", "3088": "2"}


@pytest.mark.parametrize(
    ("field", "unfit"),
    [
        ("property", {"Finishing": "Foil"}),
        ("property", {"Paper": "Lamination"}),
        ("property", {"Paper": ""}),
        ("property", {"Finishing": "Lamination", "Paper": "Gloss"}),
        ("product_id", "24"),
        ("product_name", ["copy", "static"]),
        ("store_id", 9),
        ("ship_to_country", "Germany"),
        ("ship_to_state", ["NY", "Bavaria"]),
        ("ship_to_zip_prefix", "9028"),
        ("delivery_method", "Mail"),
        ("currency", "USD"),
        ("min_units", 250.5),
        ("max_units", 0),
    ],
)
def test_a_condition_that_does_not_fit_lets_the_item_pass(field: str, unfit: Any) -> None:
    assert answered(order(), account({"when": {field: unfit}, "manufacturer": "5"})) == {"3087": "2", "3088": "2"}


@pytest.mark.parametrize(("field", "fitting"), [("store_id", "8"), ("store_id", [7, 8]), ("currency", ["usd", "eur"])])
def test_conditions_on_the_order_hold_for_all_its_items(field: str, fitting: Any) -> None:
    assert set(answered(order(), account({"when": {field: fitting}, "manufacturer": "5"})).values()) == {"5"}


def test_all_listed_conditions_must_hold() -> None:
    fits = {"product_id": "240", "ship_to_country": "US", "ship_to_state": "PA", "min_units": 1, "max_units": 250}
    assert answered(order(), account({"when": fits, "manufacturer": "5"}))["3087"] == "5"
    for field, unfit in {"product_id": "1", "ship_to_country": "CA", "ship_to_state": "ON", "max_units": 249}.items():
        assert answered(order(), account({"when": fits | {field: unfit}, "manufacturer": "5"}))["3087"] == "2"


def test_a_property_with_an_empty_value_is_not_an_absent_one() -> None:
    rule = {"when": {"property": {"Base": ""}}, "manufacturer": "5"}
    assert answered(document(), account(rule)) == {"3087": "5", "3088": "5"}
    rule = {"when": {"property": {"prop2": ""}}, "manufacturer": "5"}
    assert answered(document(), account(rule)) == {"3087": "2", "3088": "2"}


def test_a_property_that_stands_several_times_fits_by_any_of_its_values() -> None:
    changed = order()
    products(changed)[0]["PropertyValues"]["PropertyValue"] = [LAMINATED | {"Value": "Foil"}, LAMINATED]
    for value in ("Foil", "Lamination"):
        assert answered(changed, account({"when": {"property": {"FIN": value}}, "manufacturer": "5"}))["3087"] == "5"


@pytest.mark.parametrize("units", [None, "", "many", "NaN", "Infinity", {}])
def test_units_that_are_no_number_meet_no_limit(units: Any) -> None:
    changed = order()
    products(changed)[0]["Quantities"]["TotalUnits"] = units
    for limit in ({"min_units": 0}, {"max_units": 1e9}):
        assert answered(changed, account({"when": limit, "manufacturer": "5"}))["3087"] == "2"


@pytest.mark.parametrize("address", [None, ""])
def test_every_ship_to_needs_an_address(address: Any) -> None:
    changed = order()
    deliveries(changed)[0]["ShippingAddress"] = address
    for field, value in {"ship_to_country": "US", "ship_to_state": "PA", "ship_to_zip_prefix": ""}.items():
        assert answered(changed, account({"when": {field: value}, "manufacturer": "5"}))["3087"] == "2"
    assert answered(changed, account({"when": {"delivery_method": "Shipping"}, "manufacturer": "5"}))["3087"] == "5"


def test_a_place_unknown_to_iso_is_compared_as_written() -> None:
    changed = shipping_to(CountryName="Atlantis", StateName="Deep End", Zip="")
    rule = {"when": {"ship_to_country": "ATLANTIS", "ship_to_state": "deep-end"}, "manufacturer": "5"}
    assert set(answered(changed, account(rule)).values()) == {"5"}


def test_a_state_without_its_country_is_a_state_of_the_destination_s_country() -> None:
    rule = {"when": {"ship_to_state": "WA"}, "manufacturer": "5"}
    for country, state, expected in (
        ("United States", "Washington", "5"),
        ("Australia", "Western Australia", "5"),
        ("Canada", "Ontario", "2"),
    ):
        changed = shipping_to(CountryName=country, StateName=state)
        assert set(answered(changed, account(rule)).values()) == {expected}


def test_a_state_holds_for_what_is_part_of_it() -> None:
    changed = shipping_to(CountryName="United Kingdom", StateName="Kent", Zip="CT1 1AA")
    rule = {"when": {"ship_to_country": "UK", "ship_to_state": "England"}, "manufacturer": "5"}
    assert set(answered(changed, account(rule)).values()) == {"5"}
