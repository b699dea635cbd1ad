"""Both address dialects, and what people write, to ISO codes."""

import pytest

from schemas.platforms.ustore.wire import Order
from tests.unit.route.orders import decoded, shipping_to
from workers.route.ustore import addresses, items


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *[(name, "US") for name in ("US", "us", "USA", "U.S.", "U.S.A.", "United States", " united  states ", "840")],
        *[
            (name, "US")
            for name in ("United States of America", "The United States", "Vereinigte Staaten", "États-Unis")
        ],
        *[(name, "GB") for name in ("GB", "UK", "U.K.", "United Kingdom", "Great Britain", "England", "Royaume-Uni")],
        *[(name, "DE") for name in ("DE", "DEU", "Germany", "Deutschland", "Allemagne", "Alemania", "Duitsland")],
        *[(name, "NL") for name in ("NL", "Netherlands", "The Netherlands", "Holland", "Nederland", "Paesi Bassi")],
        ("España", "ES"),
        ("Brasil", "BR"),
        ("Côte d'Ivoire", "CI"),
        ("cote d ivoire", "CI"),
        ("Ivory Coast", "CI"),
        ("South Korea", "KR"),
        ("Czech Republic", "CZ"),
        ("Czechia", "CZ"),
        ("Niger", "NE"),
        ("Nigeria", "NG"),
        ("Dominica", "DM"),
        ("Dominican Republic", "DO"),
        ("Georgia", "GE"),
        ("Türkiye", "TR"),
        ("Turkey", "TR"),
        ("Untied States", None),
        ("", None),
        ("-", None),
        (None, None),
    ],
)
def test_countries_by_code_name_and_common_variants(written: str | None, code: str | None) -> None:
    assert addresses.country(written) == code


def test_every_iso_country_is_known_by_its_codes_and_its_english_name() -> None:
    import pycountry

    for entry in pycountry.countries:
        assert addresses.country(entry.alpha_2) == entry.alpha_2
        assert addresses.country(entry.alpha_3) == entry.alpha_2
        assert addresses.country(entry.name) == entry.alpha_2


def test_every_us_state_is_known_by_name_and_by_code() -> None:
    import pycountry

    result = pycountry.subdivisions.get(country_code="US") or ()  # type: ignore[no-untyped-call]
    assert len(result) >= 57
    for entry in result:
        assert addresses.state("US", entry.name) == (entry.code,)
        assert addresses.state("US", entry.code) == (entry.code,)
        assert addresses.state("US", entry.code.removeprefix("US-").lower()) == (entry.code,)


@pytest.mark.parametrize(
    ("country", "written", "codes"),
    [
        ("US", "new york", ("US-NY",)),
        ("US", "Washington", ("US-WA",)),
        ("US", "Washington, D.C.", ("US-DC",)),
        ("CA", "Québec", ("CA-QC",)),
        ("CA", "quebec", ("CA-QC",)),
        ("CA", "ON", ("CA-ON",)),
        ("DE", "Bavaria", ("DE-BY",)),
        ("DE", "Bayern", ("DE-BY",)),
        ("DE", "Bavière", ("DE-BY",)),
        ("AU", "New South Wales", ("AU-NSW",)),
        ("ES", "Cataluña", ("ES-CT",)),
        ("ES", "Región de Murcia", ("ES-MC",)),
        ("GB", "Kent", ("GB-KEN", "GB-ENG")),
        ("NL", "Noord-Holland", ("NL-NH",)),
        ("US", "Bavaria", ()),
        ("US", None, ()),
        ("XX", "NY", ()),
    ],
)
def test_states_within_their_country(country: str, written: str | None, codes: tuple[str, ...]) -> None:
    assert addresses.state(country, written) == codes


@pytest.mark.parametrize(
    ("written", "compared"), [("1015 cc", "1015CC"), ("19028-1234", "190281234"), ("", ""), (None, "")]
)
def test_postal_codes_are_compared_in_one_form(written: str | None, compared: str) -> None:
    assert addresses.postal(written) == compared


def test_both_dialects_of_one_order_mean_the_same_place() -> None:
    order: Order = decoded(shipping_to(CountryName="United States", StateName="Maryland", Zip="21076"))
    result = items.of(order)
    assert result is not None
    destination = result[0].destination
    assert destination is not None
    assert destination.country == addresses.country("US")
    assert destination.states == addresses.state("US", "MD")
    assert destination.describe() == "US US-MD 21076"
