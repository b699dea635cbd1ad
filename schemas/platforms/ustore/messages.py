"""Error messages for shoppers, in their language.

The gettext catalogues are under `locales/`, one folder per language; adding a language needs no code:

    pybabel init    -D ustore -i schemas/platforms/ustore/locales/ustore.pot -d schemas/platforms/ustore/locales -l sv
    pybabel compile -D ustore -d schemas/platforms/ustore/locales
"""

import gettext
from functools import cache, lru_cache
from pathlib import Path

import msgspec

DOMAIN = "ustore"
LOCALES = Path(__file__).parent / "locales"
DEFAULT = "en"
CONTENT_TYPE = "application/json"
UNAUTHORIZED = b'{"message":"Not authorized."}'
"""The same for all: a client that receives it is not a shopper's, and should learn nothing from it."""

CANNOT_BE_PRODUCED = "“{item}” can't be produced for this order. Please remove it from the cart or contact the store."
UNREADABLE = "The order could not be read. Please contact the store."
UNAVAILABLE = "The order can't be processed right now. Please try again in a moment."
TOO_SLOW = "The order took too long to arrive. Please try again."
TOO_LARGE = "The order is too large. Please split it into smaller orders."
NOT_FOUND = "This address does not exist. Please contact the store."
NOT_ALLOWED = "This request is not allowed here. Please contact the store."
UNSUPPORTED = "The order was sent in an unsupported form. Please contact the store."
FAILED = "Something went wrong. Please try again, or contact the store."

ALL = (
    CANNOT_BE_PRODUCED,
    UNREADABLE,
    UNAVAILABLE,
    TOO_SLOW,
    TOO_LARGE,
    NOT_FOUND,
    NOT_ALLOWED,
    UNSUPPORTED,
    FAILED,
)
_BY_STATUS = {
    400: UNREADABLE,
    404: NOT_FOUND,
    405: NOT_ALLOWED,
    408: TOO_SLOW,
    413: TOO_LARGE,
    415: UNSUPPORTED,
    429: UNAVAILABLE,
    503: UNAVAILABLE,
    504: UNAVAILABLE,
}

_LONGEST_HEADER = 1000
"""Maximum characters of Accept-Language that are parsed; a browser sends a few dozen."""


@cache
def languages() -> dict[str, str]:
    """Return the folders with a compiled catalogue, by language tag in lower case."""
    folders = sorted(file.parent.parent.name for file in LOCALES.glob(f"*/LC_MESSAGES/{DOMAIN}.mo"))
    return {folder.replace("_", "-").lower(): folder for folder in folders}


@cache
def _catalogue(folder: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, LOCALES, [folder])


def negotiate(accept_language: str | None) -> str:
    """Return the tag of the language to answer in, by RFC 4647 lookup: `fr-CA;q=0.8` matches `fr`; English by default.

    `q` ranks, `q=0` excludes, `*` stands for any language; entries that are not valid are ignored.
    """
    # Babel's `negotiate_locale` could replace only the inner loop of `_negotiate`, and looks up only the whole
    # tag and its first part: `zh-Hant-TW` would never match `zh-Hant`.
    return _negotiate((accept_language or "")[:_LONGEST_HEADER])


@lru_cache(maxsize=1024)
def _negotiate(header: str) -> str:
    known = languages()
    preferred, excluded = _ranges(header)
    for tag in preferred:
        if tag == "*":
            return next((name for name in (DEFAULT, *known) if name not in excluded), DEFAULT)
        while tag:
            if tag in known and tag not in excluded:
                return tag
            tag = tag.rpartition("-")[0]
    return DEFAULT


def _ranges(header: str) -> tuple[list[str], set[str]]:
    """Return the tags in order of preference, and the tags that are excluded."""
    ranked: list[tuple[float, str]] = []
    excluded: set[str] = set()
    for entry in header.lower().replace("_", "-").split(","):
        tag, *parameters = (piece.strip() for piece in entry.split(";"))
        quality = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = -1.0
        if not tag or not 0 <= quality <= 1:
            continue
        if quality == 0:
            excluded.add(tag)
        else:
            ranked.append((quality, tag))
    return [tag for _, tag in sorted(ranked, key=lambda entry: -entry[0])], excluded


def say(message: str, accept_language: str | None, **values: str) -> str:
    """Return `message`, one of this module's, in the reader's language, with `values` for its placeholders."""
    folder = languages()[negotiate(accept_language)]
    return _catalogue(folder).gettext(message).format(**values)


def body(message: str, accept_language: str | None, **values: str) -> bytes:
    """Return the JSON that uStore shows to the shopper: `{"message": "…"}` [uStore's documentation]."""
    return msgspec.json.encode({"message": say(message, accept_language, **values)})


def error(status: int, accept_language: str | None) -> tuple[str, bytes]:
    """Return content type and body of an answer that is not an allocation; it depends only on status and language."""
    if status in (401, 403):
        return CONTENT_TYPE, UNAUTHORIZED
    return CONTENT_TYPE, body(_BY_STATUS.get(status, FAILED), accept_language)
