"""Values as platforms really send them: numbers where text is documented, text where numbers are, null for either.

Wire Structs declare such a value `Scalar` and keep it as it came, so that encoding it again loses nothing; these
functions say what it means. Absent, null and what makes no sense there are all None: a document isn't refused for a
detail nobody needs. What was meant as a number and can't be read as one is named by `unreadable`.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, TypeVar
from unicodedata import category

import msgspec
from msgspec import UNSET, UnsetType

from schemas import canonical, encodings, jsontext
from schemas.platform import Unreadable

Scalar: TypeAlias = Any
"""str, int, bool, None, or msgspec.Raw of a number with a fraction or an exponent; UNSET when absent. Lists and objects
are let through too, and read as None."""

NUMBER_DIGITS = 1000
"""Digits a number may have before its point, and as many after it. Far within PostgreSQL's numeric, so that no sum
or product in a view can leave its range and fail for everyone who asks."""

_NOTHING = frozenset({"null", "(null)", "<null>", "none", "nil", "undefined", "n/a"})
"""What programs write where they have no value. Two documents that lack an identifier don't share it."""
_LONGEST_NOTHING = max(map(len, _NOTHING))
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""Blanks that Python's `strip` leaves: zero-width ones, as they come out of spreadsheets and web pages."""
_NO_DATE = re.compile(
    r"\s*(?:(?:0000|0001|9999)-|0?1[./-]0?1[./-]0001(?!\d)|/Date\((?:-62135596800000|253402300799999)[+)-])"
)
"""The first and the last moment of .NET in its spellings (`default(DateTime)`), and MySQL's `0000-00-00`."""
_INTEGRAL_DIGITS = 40
"""Digits of the longest identifier that is written as a number; anything longer keeps its spelling."""
_SHOWN = 100
"""Characters of an unreadable number that are shown."""

T = TypeVar("T", bound=msgspec.Struct)


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """A function that reads bytes as `shape`, and raises Unreadable and nothing else, whatever the bytes.

    What is valid JSON and has no value in Python is mended as `jsontext.mend` and `jsontext.shallow` say.
    """
    decode = msgspec.json.Decoder(shape, float_hook=_literal).decode

    def read(raw: bytes) -> T:
        if not raw.startswith(b"{") or raw.startswith(b"{\0"):
            raw, _ = encodings.by_mark(raw)
        try:
            if not raw.isascii():
                raw.decode()  # msgspec doesn't look into what it skips
            try:
                return decode(raw)
            except msgspec.DecodeError:
                mended = jsontext.mend(raw)
                if mended == raw:
                    raise
                return decode(mended)
            except RecursionError:
                return decode(jsontext.shallow(raw))
        except msgspec.ValidationError as error:
            raise Unreadable(f"not the document it should be: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unreadable(f"not JSON: {canonical.explain(error)}") from None

    return read


def _literal(number: str) -> msgspec.Raw:
    return msgspec.Raw(number.encode())


def part(value: T | UnsetType | None, empty: T) -> T:
    """An object that may be absent or null; `empty` then."""
    return empty if value is None or value is UNSET else value


def each(value: list[T] | UnsetType | None) -> list[T]:
    """The elements of a list that may be absent or null."""
    return [] if value is None or value is UNSET else value


def text(value: Scalar) -> str | None:
    """A text, or a number as it was written. Text without a visible character counts as absent."""
    if type(value) is str:
        return value if value and not value.isspace() else None
    if type(value) is int:
        return str(value)
    if type(value) is msgspec.Raw:
        return bytes(value).decode()
    return None


def identifier(value: Scalar) -> str | None:
    """A text by which something is recognised or compared: without blanks at its ends.

    Texts that stand for no value (`"null"`, `"-"`) are None. A number that is integral is written as an integer,
    because 4600000039, 4600000039.0 and 4.6e9's like are one number to those who write JSON through floats; text is
    never taken for a number, so zeros in front stay.
    """
    kind = type(value)
    if kind is str:
        said: str = value.strip()
        if said and (said[0] in _INVISIBLE or said[-1] in _INVISIBLE):
            said = _without_blanks(said)
        if not said or (len(said) <= _LONGEST_NOTHING and _is_nothing(said)):
            return None
        return said
    if kind is int:
        return str(value)
    if kind is msgspec.Raw:
        return _integral(bytes(value).decode())
    return None


def _is_nothing(said: str) -> bool:
    """Return whether a short text stands for no value: a word such as `null`, or punctuation alone, such as `-`."""
    return said.lower() in _NOTHING or all(category(character)[0] == "P" for character in said)


def _without_blanks(said: str) -> str:
    first, last = 0, len(said)
    while first < last and (said[first] in _INVISIBLE or said[first].isspace()):
        first += 1
    while last > first and (said[last - 1] in _INVISIBLE or said[last - 1].isspace()):
        last -= 1
    return said[first:last]


def _integral(literal: str) -> str:
    if len(literal) > 2 * _INTEGRAL_DIGITS:
        return literal
    try:
        exact = Decimal(literal)
    except InvalidOperation:  # an exponent that even Decimal has no room for
        return literal
    if exact.adjusted() >= _INTEGRAL_DIGITS or exact != exact.to_integral_value():
        return literal
    return str(int(exact))


def key(value: Scalar, name: str) -> str:
    """A part of a business key. Raises Unreadable when it is missing, empty, or no text that can be told apart."""
    found = identifier(value)
    if found is None:
        raise Unreadable(f"`{name}` is missing or empty: without it we don't know which document this is")
    if "\x00" in found or "\ufffd" in found:
        raise Unreadable(f"`{name}` holds characters that are damaged or can't be stored")
    return found


def number(value: Scalar) -> Decimal | None:
    """An exact number, also from text. Not finite, or over NUMBER_DIGITS digits on a side: None."""
    literal = text(value)
    if literal is None:
        return None
    if len(literal) < 16 and literal.isdecimal() and literal.isascii():
        return Decimal(literal)
    if not literal.isascii() or "_" in literal:
        return None  # Decimal would take them
    try:
        exact = Decimal(literal)
    except InvalidOperation:
        return None
    exponent = exact.as_tuple().exponent
    if not isinstance(exponent, int):  # NaN and infinities have letters there
        return None
    return exact if -exponent <= NUMBER_DIGITS and max(exact.adjusted(), exponent) < NUMBER_DIGITS else None


def unreadable(**numbers: tuple[Scalar, Decimal | None]) -> dict[str, str] | None:
    """Return what was sent for those numbers that say something and could not be read, by name; None if all could.

    `numbers`: (as sent, as read). `"12,50"`, `"1,000"` and `"5 EA"` are never guessed at.
    """
    found = {}
    for name, (sent, read) in numbers.items():
        if read is None and sent is not None and sent is not UNSET:
            if type(sent) is str and identifier(sent) is None:
                continue
            found[name] = _shown(sent)
    return found or None


def _shown(sent: Scalar) -> str:
    said = text(sent)
    if said is None:
        said = str(sent).lower() if isinstance(sent, bool) else "an object" if isinstance(sent, dict) else "a list"
    return said[:_SHOWN].replace("\0", "\ufffd")


def no_date(said: str) -> bool:
    """Whether a text is what systems write for "no date", as .NET's first moment and MySQL's zero date."""
    return said[:1] != "2" and _NO_DATE.match(said) is not None


def date(value: Scalar) -> str | None:
    """A date or time as sent; None for what stands for no date."""
    said = text(value)
    return None if said is None or no_date(said) or identifier(said) is None else said


def aware(value: Scalar) -> datetime | None:
    """A moment, in UTC. One without a zone is None: we don't invent it."""
    moment = _datetime(value)
    if moment is None or moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first and the last hours of the calendar
        return None


def naive(value: Scalar) -> datetime | None:
    """The reading of a local clock. A zone that is there is left out: the clock is what was asked for."""
    moment = _datetime(value)
    return None if moment is None else moment.replace(tzinfo=None)


def _datetime(value: Scalar) -> datetime | None:
    said = text(value)
    if said is None or no_date(said):
        return None
    try:
        return datetime.fromisoformat(said.strip())
    except ValueError:
        return None
