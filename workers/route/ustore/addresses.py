"""Countries and states as people and systems write them, to ISO 3166 codes.

One uStore order speaks two dialects: `State "NY"`, `Country "US"` and `StateName "Pennsylvania"`, `CountryName "United
States"`. Names come from ISO (pycountry) and, for countries, from CLDR (Babel) in every language that we answer in;
`_ALIASES` and `data/countries.csv`, which has the names of countries in their own languages, add others. Case, accents,
spaces and punctuation don't matter.
"""

import csv
import gettext
import unicodedata
from functools import cache, lru_cache
from pathlib import Path

import pycountry
from babel import Locale

LANGUAGES = ("en", "fr", "de", "es", "nl", "it", "pt")
"""English first: if two languages use one name for different countries, the English meaning counts."""

_NAMES = Path(__file__).parent / "data" / "countries.csv"
_ALIASES = {
    "US": "U.S.|USofA|America|The United States|The United States of America|US of America|Etats-Unis d'Amérique",
    "GB": "UK|United Kingdom|Great Britain|Britain|England|Scotland|Wales|Northern Ireland|Großbritannien|Inglaterra"
    "|Angleterre|Engeland|Inghilterra|Gran Bretaña|Grande-Bretagne|Gran Bretagna|Groot-Brittannië|Grã-Bretanha",
    "NL": "Holland|The Netherlands|Nederlanden|Hollande|Holanda|Olanda",
    "AE": "UAE|Emirates",
    "CI": "Ivory Coast",
    "CN": "PRC|Mainland China",
    "CV": "Cape Verde",
    "CZ": "Czech Republic",
    "GR": "EL|Hellas",
    "HK": "Hong Kong",
    "IE": "Eire|Republic of Ireland",
    "KR": "South Korea|Republic of Korea|Korea",
    "MK": "Macedonia|FYROM",
    "MM": "Burma",
    "MO": "Macau|Macao",
    "PS": "Palestine",
    "RU": "Russia",
    "SZ": "Swaziland",
    "TR": "Turkey",
    "TW": "Taiwan",
    "VA": "Vatican",
    "XK": "Kosovo",
}
_STATE_ALIASES = {
    "US-DC": "Washington DC|Washington D.C.",
    "CA-QC": "PQ",
    "CA-NL": "NF|Newfoundland",
    "DE-BY": "Bavaria",
    "DE-HE": "Hesse",
    "DE-MV": "Mecklenburg-Western Pomerania",
    "DE-NI": "Lower Saxony",
    "DE-NW": "North Rhine-Westphalia|NRW",
    "DE-RP": "Rhineland-Palatinate",
    "DE-SN": "Saxony",
    "DE-ST": "Saxony-Anhalt",
    "DE-TH": "Thuringia",
    "AT-2": "Carinthia",
    "AT-3": "Lower Austria",
    "AT-4": "Upper Austria",
    "AT-6": "Styria",
    "AT-7": "Tyrol",
    "AT-9": "Vienna",
    "BE-VLG": "Flanders",
    "BE-WAL": "Wallonia",
    "BE-BRU": "Brussels",
    "IT-25": "Lombardy",
    "IT-52": "Tuscany",
    "IT-82": "Sicily",
    "IT-88": "Sardinia",
    "ES-CT": "Catalonia",
    "ES-AN": "Andalusia",
    "NL-NH": "North Holland",
    "NL-ZH": "South Holland",
    "NL-NB": "North Brabant",
}


ZIP_TERRITORIES = frozenset({"PR", "VI", "GU", "AS", "MP"})
"""Countries to ISO, ZIP codes to the US Postal Service."""
POSTAL_DIGITS = {
    **dict.fromkeys(("AU", "AM", "GE", "NO", "NZ", "PH", "ZA"), 4),
    **dict.fromkeys(("US", *ZIP_TERRITORIES, "DE", "DZ", "ES", "FI", "FR", "IT", "KR", "LT", "MX", "MY"), 5),
    **dict.fromkeys(("PE", "PL", "SK", "TR", "UA", "VA"), 5),
    **dict.fromkeys(("CN", "CO", "KZ", "RO", "SG"), 6),
    "JP": 7,
    "BR": 8,
}
"""Digits of a postal code in countries that have codes with leading zeros, which spreadsheets and numbers lose."""
ZIP_PLUS_4_DIGITS = 9
MOST_LOST_ZEROS = 2
_STATES_OF_ZEROS = {
    "005": "NY",
    **dict.fromkeys(("006", "007", "009"), "PR"),
    "008": "VI",
    "055": "MA",
    "063": "CT NY",
    **dict.fromkeys(("01", "020", "021", "022", "023", "024", "025", "026", "027"), "MA"),
    **dict.fromkeys(("028", "029"), "RI"),
    **dict.fromkeys(("030", "031", "032", "033", "034", "035", "036", "037", "038"), "NH"),
    **dict.fromkeys(("039", "04"), "ME"),
    "05": "VT",
    "06": "CT",
    **dict.fromkeys(("07", "08"), "NJ"),
}
"""Where ZIP codes with leading zeros are, by their longest prefix (USPS, Publication 65); 09 is military."""

LONGEST = 200
"""Characters of the longest name that is looked up and kept: what shoppers type has no end, and no country or state
has so long a name."""


def fold(text: str) -> str:
    """What is left of a name when case, accents, spaces and punctuation are not looked at: `U.S.` → `us`."""
    return _fold(text) if len(text) <= LONGEST else _folded(text)


@lru_cache(maxsize=8192)
def _fold(text: str) -> str:
    return _folded(text)


def _folded(text: str) -> str:
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in decomposed if letter.isalnum())


def country(text: str | None) -> str | None:
    """Return the ISO 3166-1 alpha-2 code for a code (two or three letters, or digits) or a name; None if unknown."""
    return _country(text) if text and len(text) <= LONGEST else None


@lru_cache(maxsize=8192)
def _country(text: str) -> str | None:
    codes_by_name = _countries()
    code = codes_by_name.get(fold(text))
    if code is None and text[:4].casefold() == "the ":
        return codes_by_name.get(fold(text[4:]))
    return code


def state(country_code: str, text: str | None) -> tuple[str, ...]:
    """Return the ISO 3166-2 code for a state's code or name within a country, then those of the areas that contain it.

    The result is empty if the state is unknown there. `("US", "NY")`, `("US", "new york")` and `("US", "US-NY")` give
    `("US-NY",)`; `("GB", "Kent")` gives `("GB-KEN", "GB-ENG")`.
    """
    return _state(country_code, text) if text and len(text) <= LONGEST else ()


@lru_cache(maxsize=8192)
def _state(country_code: str, text: str) -> tuple[str, ...]:
    code = _states(country_code).get(fold(text))
    codes: list[str] = []
    while code is not None and code not in codes:
        codes.append(code)
        code = _parents(country_code).get(code)
    return tuple(codes)


def is_state_anywhere(text: str) -> bool:
    """Return whether any country has a state of this code or name. Takes about a second the first time."""
    return any(state(country_code, text) for country_code in _codes())


def postal(text: str | None) -> str:
    """Return a postal code as it is compared: in capitals, without spaces and punctuation."""
    return "".join(letter for letter in text.upper() if letter.isalnum()) if text else ""


def full_postal(text: str | None, country_code: str | None, states: tuple[str, ...] = ()) -> str:
    """Return a postal code as `postal` does, with the leading zeros that it has lost: `("7001", "US")` → `07001`.

    `states` are ISO 3166-2 codes. A US code that would lie outside them is left as written, because it lacks another
    digit then; so are codes that lack more than two digits.
    """
    code = postal(text)
    digits = POSTAL_DIGITS.get(country_code or "")
    if digits is None or not (code.isascii() and code.isdecimal()):
        return code
    is_zip = country_code == "US" or country_code in ZIP_TERRITORIES
    if is_zip and len(code) > digits:
        digits = ZIP_PLUS_4_DIGITS
    if not 0 < digits - len(code) <= MOST_LOST_ZEROS:
        return code
    full = code.zfill(digits)
    return code if country_code == "US" and states and not _is_zip_of(full, states) else full


def _is_zip_of(code: str, states: tuple[str, ...]) -> bool:
    expected = _STATES_OF_ZEROS.get(code[:3]) or _STATES_OF_ZEROS.get(code[:2])
    return expected is None or any(state.partition("-")[2] in expected.split() for state in states)


def warm() -> None:
    """Load the data of lookups, when rules are compiled, so that no shopper waits for it. Takes about 0.1 s, once."""
    _countries()
    _states("US")


@cache
def _codes() -> frozenset[str]:
    return frozenset(entry.alpha_2 for entry in pycountry.countries) | {"XK"}


@cache
def _countries() -> dict[str, str]:
    codes = _codes()
    codes_by_name: dict[str, str] = {code.lower(): code for code in sorted(codes)}
    for code, names in _ALIASES.items():
        codes_by_name |= {fold(name): code for name in names.split("|")}
    for entry in sorted(pycountry.countries, key=lambda entry: str(entry.alpha_2)):
        for field in ("alpha_3", "numeric", "name", "official_name", "common_name"):
            name = getattr(entry, field, None)
            if name:
                codes_by_name.setdefault(fold(name), entry.alpha_2)
    for language in LANGUAGES:
        for code, name in sorted(Locale(language).territories.items()):
            if code in codes:
                codes_by_name.setdefault(fold(name), code)
    with _NAMES.open(encoding="utf-8", newline="") as lines:
        for code, name in list(csv.reader(lines, strict=True))[1:]:
            codes_by_name.setdefault(fold(name), code)
    return codes_by_name


@cache
def _subdivisions(country_code: str) -> list[tuple[str, str, str | None]]:
    """Return (code, name, parent's code) of a country's areas, parents first; pycountry's set is unordered."""
    entries = pycountry.subdivisions.get(country_code=country_code) or ()  # type: ignore[no-untyped-call]
    listed = [(str(entry.code), str(entry.name), entry.parent_code) for entry in entries]
    return sorted(listed, key=lambda entry: (entry[2] is not None, entry[0]))


@cache
def _parents(country_code: str) -> dict[str, str]:
    return {code: parent for code, _, parent in _subdivisions(country_code) if parent}


@cache
def _states(country_code: str) -> dict[str, str]:
    listed = _subdivisions(country_code)
    codes_by_name: dict[str, str] = {}
    for code, _, _ in listed:
        codes_by_name.setdefault(fold(code), code)
        codes_by_name.setdefault(fold(code.partition("-")[2]), code)
    for code, names in _STATE_ALIASES.items():
        if code.startswith(country_code + "-"):
            for name in names.split("|"):
                codes_by_name.setdefault(fold(name), code)
    for code, name, _ in listed:
        for variant in _variants(name):
            codes_by_name.setdefault(fold(variant), code)
    for language in LANGUAGES:
        catalogue = gettext.translation("iso3166-2", pycountry.LOCALES_DIR, [language], fallback=True)
        for code, name, _ in listed:
            codes_by_name.setdefault(fold(catalogue.gettext(name)), code)
    return codes_by_name


def _variants(name: str) -> list[str]:
    """Return the variants of a name such as `Catalunya [Cataluña]` or `Murcia, Región de`: halves, and reversed."""
    head, _, tail = name.partition("[")
    first, _, second = head.partition(",")
    return [variant for variant in (name, head, tail, f"{second} {first}", first) if fold(variant)]
