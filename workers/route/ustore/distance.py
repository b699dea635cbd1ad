"""The distance between two postal codes, computed offline.

The exact places of US ZIP codes come from the `zipcodes` package; other places from `data/places.csv` (centres of
countries, states and postal prefixes, see the README beside it). If `CROSSDOCK_POSTAL_CODES` names a folder with
GeoNames' postal code files, their exact codes take precedence over both.
"""

import csv
import math
import os
from functools import cache
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import zipcodes

from workers.route.ustore import addresses, geonames
from workers.route.ustore.geonames import FOLDER_VARIABLE

DATA = Path(__file__).parent / "data" / "places.csv"
EARTH_RADIUS_KM = 6371.0088
"""Kilometres: the Earth's mean radius (IUGG)."""

Precision: TypeAlias = Literal["code", "prefix", "state", "country"]
Point: TypeAlias = tuple[float, float]
"""Latitude and longitude in degrees."""

_ZIP_DIGITS = 5
POSTAL_LENGTH = 16
"""Maximum characters of a postal code that are used; the longest ones have ten (ZIP+4, Iran, Brazil)."""
_PREFIX_LENGTHS = (2, 3)
"""Lengths of prefixes whose centre is computed from exact codes; a US sorting centre serves 3 digits."""


class Place(msgspec.Struct, frozen=True):
    """A point, and the area that it stands for."""

    latitude: float
    longitude: float
    precision: Precision
    name: str
    """For example `21076`, `190`, `US-MD` or `US`."""

    def describe(self) -> str:
        """Return a text for records: `21076`, or the area that stood in for an unknown code."""
        if self.precision == "code":
            return self.name
        return {"prefix": "postal prefix", "state": "centre of", "country": "centre of"}[
            self.precision
        ] + f" {self.name}"


def between(a: Place, b: Place) -> float:
    """Return the great-circle distance in kilometres (haversine)."""
    lat_a, lat_b = math.radians(a.latitude), math.radians(b.latitude)
    half_lat = math.sin((lat_b - lat_a) / 2)
    half_lon = math.sin(math.radians(b.longitude - a.longitude) / 2)
    h = half_lat * half_lat + math.cos(lat_a) * math.cos(lat_b) * half_lon * half_lon
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, h)))


class Gazetteer:
    """The places of postal codes, states and countries. Read-only once built."""

    def __init__(self) -> None:
        self._codes: dict[str, dict[str, Point]] = {}
        self._prefixes: dict[str, dict[str, Point]] = {}
        self._states: dict[str, Point] = {}
        self._countries: dict[str, Point] = {}
        self._located: dict[tuple[str, tuple[str, ...], str], Place | None] = {}

    def locate(self, country: str, states: tuple[str, ...], postal: str) -> Place | None:
        """Return the most precise known place: the code, its longest known prefix, the state's centre, the country's.

        The result is None if nothing is known. `country` is ISO 3166-1 alpha-2, `states` are ISO 3166-2 codes from the
        smallest area up, `postal` has the form of `addresses.postal`.
        """
        key = (country, states, postal[:POSTAL_LENGTH])
        if key not in self._located:
            if len(self._located) >= 50_000:
                self._located.clear()  # they are located again within microseconds
            self._located[key] = self._locate(*key)
        return self._located[key]

    def _locate(self, country: str, states: tuple[str, ...], postal: str) -> Place | None:
        system = "US" if country in addresses.ZIP_TERRITORIES else country
        if system == "US":
            if _is_incomplete_zip(postal):
                postal = ""  # its digits would be another state's
            postal = postal[:5]  # ZIP+4 names a block within the ZIP code
        codes, prefixes = self._codes.get(system, {}), self._prefixes.get(system, {})
        for length in range(len(postal), 0, -1):
            start = postal[:length]
            if start in codes:
                return Place(*codes[start], "code" if length == len(postal) else "prefix", start)
            if system == "US" and length == _ZIP_DIGITS and (point := _zip(start)) is not None:
                return Place(*point, "code", start)
            if start in prefixes:
                return Place(*prefixes[start], "prefix", start)
        for state in states:
            if state in self._states:
                return Place(*self._states[state], "state", state)
        return Place(*self._countries[country], "country", country) if country in self._countries else None

    def has_exact_codes(self, country: str) -> bool:
        """Whether a code of this country that is known only by its prefix probably does not exist."""
        return country == "US" or country in addresses.ZIP_TERRITORIES or country in self._codes

    def read_places(self, file: Path) -> None:
        """Add rows `country,kind,code,latitude,longitude`. Raises OSError, csv.Error or ValueError."""
        with file.open(encoding="utf-8", newline="") as lines:
            for country, kind, code, latitude, longitude in list(csv.reader(lines, strict=True))[1:]:
                point = float(latitude), float(longitude)
                if kind == "prefix":
                    self._prefixes.setdefault(country, {})[code] = point
                elif kind == "state":
                    self._states[code] = point
                else:
                    self._countries[country] = point

    def read_geonames(self, file: Path) -> None:
        """Add a postal code file of GeoNames, or an archive of some.

        A code with several rows (one per village) is at their average. Raises PostalCodesError.
        """
        points_by_code: dict[str, dict[str, list[Point]]] = {}
        for country, code, latitude, longitude in geonames.rows(file):
            points_by_code.setdefault(country, {}).setdefault(code, []).append((latitude, longitude))
        for country, codes in points_by_code.items():
            known = self._codes.setdefault(country, {})
            known |= {code: _centre(points) for code, points in codes.items()}
            areas: dict[str, list[Point]] = {}
            for code, point in known.items():
                for length in _PREFIX_LENGTHS:
                    if len(code) > length:
                        areas.setdefault(code[:length], []).append(point)
            self._prefixes.setdefault(country, {}).update((area, _centre(points)) for area, points in areas.items())


def _is_incomplete_zip(postal: str) -> bool:
    """Whether it is a number that has neither five digits, nor nine, nor the one or two of a prefix."""
    lengths = range(_ZIP_DIGITS - addresses.MOST_LOST_ZEROS, addresses.ZIP_PLUS_4_DIGITS)
    return postal.isdecimal() and len(postal) in lengths and len(postal) != _ZIP_DIGITS


def _zip(code: str) -> Point | None:
    """Return the point of a ZIP code. It takes a third of a millisecond, so callers keep the result."""
    if not (code.isascii() and code.isdecimal()):
        return None
    for row in zipcodes.matching(code):  # type: ignore[no-untyped-call]
        return float(row["lat"]), float(row["long"])
    return None


@cache
def gazetteer() -> Gazetteer:
    """Return the places, read once per process. Raises PostalCodesError if the operator's files can't be read."""
    built = Gazetteer()
    built.read_places(DATA)
    _zip("10001")  # the package unpacks its data at its first use, and no shopper should wait for that
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder:
        for file in geonames.files(Path(folder)):
            built.read_geonames(file)
    return built


def load_folder() -> str | None:
    """Load the operator's postal code files and return their folder; None if there is none. Raises PostalCodesError."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    gazetteer()
    return folder


def _centre(points: list[Point]) -> Point:
    """The mean; near enough within a postal area, none of which lies across the date line."""
    return sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points)
