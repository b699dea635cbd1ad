"""Where codes are, how far apart, and what stands in for a code that isn't known."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.route.orders import account, answered, recorded, shipping_to
from workers.route.ustore import addresses, distance, geonames
from workers.route.ustore.distance import Gazetteer, Place


def place(country: str, postal: str = "", state: str = "") -> Place:
    located = distance.gazetteer().locate(country, addresses.state(country, state), addresses.postal(postal))
    assert located is not None
    return located


@pytest.fixture
def exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of GeoNames postal code files that is read instead of nothing."""
    rows = [
        ("US", "21076", "Hanover", "39.1729", "-76.7230"),
        ("US", "21077", "Harmans", "39.1500", "-76.7000"),
        ("US", "19028", "Edgemont", "39.9520", "-75.4540"),
        ("NL", "1015", "Amsterdam", "52.3790", "4.8840"),
        ("NL", "1015", "Amsterdam", "52.3770", "4.8820"),
    ]
    lines = [f"{c}\t{code}\t{name}\t\t\t\t\t\t\t{lat}\t{lon}\t4\n" for c, code, name, lat, lon in rows]
    (tmp_path / "US.txt").write_text("".join(lines[:3]))
    (tmp_path / "NL_full.txt").write_text("\n" + "".join(lines[3:]))
    monkeypatch.setenv(geonames.FOLDER_VARIABLE, str(tmp_path))
    distance.gazetteer.cache_clear()
    yield tmp_path
    distance.gazetteer.cache_clear()


@pytest.mark.parametrize(
    ("a", "b", "kilometres"),
    [
        ((40.7128, -74.0060), (34.0522, -118.2437), 3936),
        ((51.5074, -0.1278), (48.8566, 2.3522), 344),
        ((0.0, 0.0), (0.0, 180.0), 20015),
        ((10.0, 179.9), (10.0, -179.9), 22),
        ((52.0, 5.0), (52.0, 5.0), 0),
    ],
)
def test_distances_are_great_circles(a: tuple[float, float], b: tuple[float, float], kilometres: float) -> None:
    distance_there = distance.between(Place(*a, "code", ""), Place(*b, "code", ""))
    assert distance_there == pytest.approx(kilometres, abs=1)
    assert distance_there == distance.between(Place(*b, "code", ""), Place(*a, "code", ""))


@pytest.mark.parametrize(
    ("country", "postal", "latitude", "longitude"),
    [
        ("US", "10016", 40.75, -73.98),
        ("US", "60614-1234", 41.9, -87.65),
        ("US", "94103", 37.77, -122.41),
        ("US", "33139", 25.79, -80.13),
        ("US", "99501", 61.2, -149.9),
        ("US", "96813", 21.3, -157.85),
        ("PR", "00901", 18.46, -66.1),
    ],
)
def test_us_zip_codes_are_known_exactly(country: str, postal: str, latitude: float, longitude: float) -> None:
    located = place(country, postal)
    assert (located.precision, located.name) == ("code", postal[:5])
    assert distance.between(located, Place(latitude, longitude, "code", "")) < 15


@pytest.mark.parametrize(
    ("country", "postal", "latitude", "longitude"),
    [
        ("CA", "M5V 2T6", 43.64, -79.4),
        ("GB", "SW1A 1AA", 51.5, -0.14),
        ("DE", "10115", 52.53, 13.38),
        ("FR", "69002", 45.75, 4.83),
        ("NL", "1015 CC", 52.38, 4.88),
        ("ES", "08001", 41.38, 2.17),
        ("IT", "00184", 41.89, 12.5),
        ("PT", "1100-148", 38.71, -9.14),
        ("AU", "2000", -33.87, 151.21),
    ],
)
def test_prefixes_stand_where_their_codes_are(country: str, postal: str, latitude: float, longitude: float) -> None:
    located = place(country, postal)
    assert located.precision == "prefix"
    assert distance.between(located, Place(latitude, longitude, "code", "")) < 75


def test_every_us_prefix_lies_in_or_near_the_united_states() -> None:
    middle = place("US")
    table = distance.gazetteer()._prefixes["US"]
    assert len(table) > 890
    far = {name for name, point in table.items() if distance.between(middle, Place(*point, "prefix", "")) > 3000}
    # Puerto Rico and the Virgin Islands, Hawaii, Guam, and Alaska's corners.
    assert far <= {"006", "007", "008", "009", "967", "968", "969", "995", "996", "997", "998", "999"}


def test_a_code_that_isn_t_known_falls_back_to_its_prefix_its_state_its_country() -> None:
    assert place("US", "19028", "PA").describe() == "19028"
    assert place("US", "19059", "PA").describe() == "postal prefix 190"
    assert place("US", "21399", "MD").describe() == "centre of US-MD"
    assert place("US", "", "New York").describe() == "centre of US-NY"
    assert place("GB", "", "Kent").describe() == "centre of GB-ENG"
    assert place("JP", "100-0001").describe() == "centre of JP"
    assert distance.gazetteer().locate("ZZ", (), "1") is None


def test_exact_codes_go_before_prefixes(exact: Path) -> None:
    assert place("US", "21076").describe() == "21076"
    assert place("US", "21076-0001") == place("US", "21076")
    assert place("US", "21076").latitude == 39.1729
    unknown = place("US", "21099", "MD")
    assert unknown.describe() == "postal prefix 210"
    assert unknown.latitude == pytest.approx((39.1729 + 39.15) / 2)
    assert place("US", "10016").describe() == "10016"
    amsterdam = place("NL", "1015 CC")
    assert (amsterdam.latitude, amsterdam.longitude) == pytest.approx((52.378, 4.883))
    assert distance.between(place("US", "21076"), place("US", "19028")) == pytest.approx(139, abs=2)


def test_exact_codes_show_in_the_record(exact: Path) -> None:
    entry = recorded(shipping_to(), account({"nearest": ["2"]}))[0]
    assert entry.detail == "2 at 139 km (19028 to 21076)"


def test_a_folder_without_files_and_a_file_of_something_else_are_errors(exact: Path) -> None:
    (exact / "US.txt").write_text("zip,lat,lon\n")
    with pytest.raises(ValueError, match=r"US\.txt, line 1: not a line of a GeoNames postal code file"):
        distance.gazetteer()
    for file in exact.iterdir():
        file.unlink()
    with pytest.raises(ValueError, match=r"no postal code files such as US\.txt"):
        distance.gazetteer()


def test_the_shipped_places_are_well_formed() -> None:
    gazetteer = Gazetteer()
    gazetteer.read_places(distance.DATA)
    assert addresses._codes() <= gazetteer._countries.keys()
    points = [*gazetteer._countries.values(), *gazetteer._states.values()]
    points += [point for table in gazetteer._prefixes.values() for point in table.values()]
    assert all(-90 <= latitude <= 90 and -180 <= longitude <= 180 for latitude, longitude in points)
    assert all(addresses.state(code[:2], code)[0] == code for code in gazetteer._states)
    assert all(table.keys() == {addresses.postal(code) for code in table} for table in gazetteer._prefixes.values())


def test_nearest_says_in_the_record_what_stood_in_for_the_codes() -> None:
    entry = recorded(shipping_to(), account({"name": "near", "nearest": ["5", "2"]}))[0]
    assert (entry.manufacturer, entry.rule) == ("2", "near")
    assert entry.detail is not None
    assert entry.detail.startswith("2 at 142 km (19028 to 21076); 5 at 37")


def test_nearest_ties_go_by_the_order_written() -> None:
    twins = [{"id": name, "country": "US", "postal_code": "21076"} for name in ("a", "b")]
    for order in (["a", "b"], ["b", "a"]):
        assert set(answered(shipping_to(), account({"nearest": order}, manufacturers=twins)).values()) == {order[0]}


def test_nearest_from_abroad_measures_from_what_is_known() -> None:
    paris = {"id": "P", "country": "France", "postal_code": "75002"}
    lyon = {"id": "L", "country": "FR", "postal_code": "69001"}
    settings = account({"nearest": ["L", "P"]}, manufacturers=[paris, lyon])
    assert set(answered(shipping_to(CountryName="Royaume-Uni", StateName="", Zip="SW1A 1AA"), settings).values()) == {
        "P"
    }
    assert set(answered(shipping_to(CountryName="Suisse", StateName="", Zip="1201"), settings).values()) == {"L"}


def test_nearest_does_not_match_where_the_country_is_unknown() -> None:
    settings = account({"name": "near", "nearest": ["2"]}, fallback="1")
    assert {e.rule for e in recorded(shipping_to(CountryName="Atlantis"), settings)} == {"fallback: 1"}
