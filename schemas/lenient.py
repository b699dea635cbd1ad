"""Lenient parsing of values as platforms really send them: numbers for text, text for numbers, null for either.

Wire Structs declare such a value as `Scalar` and keep it as received, so that encoding it again loses nothing; these
functions interpret it. Absent, null and meaningless values all become None, because a document is not rejected for an
unneeded detail. `unreadable` reports values that were meant as numbers and could not be parsed.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from unicodedata import category

import msgspec
from msgspec import UNSET, Raw, UnsetType

from schemas import canonical, encodings, jsontext
from schemas.platform import UnreadableError

if TYPE_CHECKING:
    Scalar: TypeAlias = str | int | bool | Raw | list[object] | dict[str, object] | UnsetType | None
else:
    Scalar = Any  # msgspec decodes what comes, and does not reject a document because of an unexpected type
"""A text, number or truth value, or null; a number with a fraction or an exponent is a Raw. UNSET if absent.

Lists and objects are accepted too, and interpreted as None.
"""

NUMBER_DIGITS = 1000
"""Maximum digits of a number before its decimal point, and after it.

This is far within the range of PostgreSQL's numeric, so that no sum or product in a view can overflow and make every
query of the view fail.
"""

_NOTHING = frozenset({"null", "(null)", "<null>", "none", "nil", "undefined", "n/a"})
"""Placeholders that programs write for a missing value.

They are not identifiers: two documents that both lack an identifier are not the same document.
"""
_LONGEST_NOTHING = max(map(len, _NOTHING))
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
"""Zero-width characters, which spreadsheets and web pages produce and Python's `strip` does not remove."""
_NO_DATE = re.compile(
    r"\s*(?:(?:0000|0001|9999)-|0?1[./-]0?1[./-]0001(?!\d)|/Date\((?:-62135596800000|253402300799999)[+)-])"
)
"""The earliest and latest .NET `DateTime` in its formats (`default(DateTime)`), and MySQL's `0000-00-00`."""
_INTEGRAL_DIGITS = 40
"""Maximum digits of an identifier sent as a number that is normalised; a longer one keeps its spelling."""
_SHOWN = 100
"""Maximum characters of an unreadable number that are reported."""

T = TypeVar("T", bound=msgspec.Struct)


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """Return a function that decodes bytes as `shape` and raises only UnreadableError, for any input.

    Constructs of valid JSON that have no value in Python are replaced by `jsontext.repair` and
    `jsontext.truncate_depth`.
    """
    decode = msgspec.json.Decoder(shape, float_hook=_literal).decode

    def read(raw: bytes) -> T:
        if not raw.startswith(b"{") or raw.startswith(b"{\0"):
            raw, _ = encodings.by_mark(raw)
        try:
            if not raw.isascii():
                raw.decode()  # msgspec does not validate the values that it skips
            try:
                return decode(raw)
            except msgspec.DecodeError:
                mended = jsontext.repair(raw)
                if mended == raw:
                    raise
                return decode(mended)
            except RecursionError:
                return decode(jsontext.truncate_depth(raw))
        except msgspec.ValidationError as error:
            raise UnreadableError(f"not the document it should be: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableError(f"not JSON: {canonical.explain(error)}") from None

    return read


def _literal(number: str) -> Raw:
    return Raw(number.encode())


def part(value: T | UnsetType | None, empty: T) -> T:
    """Return `value`, an object, or `empty` if it is absent or null."""
    return empty if value is None or value is UNSET else value


def each(value: list[T] | UnsetType | None) -> list[T]:
    """Return `value`, a list, or an empty list if it is absent or null."""
    return [] if value is None or value is UNSET else value


def text(value: Scalar) -> str | None:
    """Return a text, or a number as it was written. Text of only white space counts as absent and returns None."""
    if type(value) is str:
        return value if value and not value.isspace() else None
    if type(value) is int:
        return str(value)
    if type(value) is Raw:
        return bytes(value).decode()
    return None


def identifier(value: Scalar) -> str | None:
    """Return a text that identifies something, without surrounding white space; None if there is none.

    Placeholders such as `"null"` or `"-"` return None. An integral number is returned as an integer, because senders
    that write JSON through floats send 4600000039, 4600000039.0 or 4.600000039e9 for the same number. Text is never
    interpreted as a number, so leading zeros are kept.
    """
    if type(value) is str:
        stripped = value.strip()
        if stripped and (stripped[0] in _INVISIBLE or stripped[-1] in _INVISIBLE):
            stripped = _without_blanks(stripped)
        if not stripped or (len(stripped) <= _LONGEST_NOTHING and _is_nothing(stripped)):
            return None
        return stripped
    if type(value) is int:
        return str(value)
    if type(value) is Raw:
        return _integral(bytes(value).decode())
    return None


def _is_nothing(word: str) -> bool:
    """Return whether a short text stands for no value: a word such as `null`, or punctuation alone, such as `-`."""
    return word.lower() in _NOTHING or all(category(character)[0] == "P" for character in word)


def _without_blanks(spaced: str) -> str:
    first, last = 0, len(spaced)
    while first < last and (spaced[first] in _INVISIBLE or spaced[first].isspace()):
        first += 1
    while last > first and (spaced[last - 1] in _INVISIBLE or spaced[last - 1].isspace()):
        last -= 1
    return spaced[first:last]


def _integral(literal: str) -> str:
    if len(literal) > 2 * _INTEGRAL_DIGITS:
        return literal
    try:
        exact = Decimal(literal)
    except InvalidOperation:  # the exponent exceeds even Decimal's range
        return literal
    if exact.adjusted() >= _INTEGRAL_DIGITS or exact != exact.to_integral_value():
        return literal
    return str(int(exact))


def key(value: Scalar, name: str) -> str:
    """Return a part of a business key.

    Raises UnreadableError, which names the field `name`, if it is missing or empty or contains U+0000 or U+FFFD.
    """
    cleaned = identifier(value)
    if cleaned is None:
        raise UnreadableError(f"`{name}` is missing or empty: without it we don't know which document this is")
    if "\x00" in cleaned or "\ufffd" in cleaned:
        raise UnreadableError(f"`{name}` holds characters that are damaged or can't be stored")
    return cleaned


def number(value: Scalar) -> Decimal | None:
    """Return an exact number, which may have been sent as text.

    Returns None if it is not a finite number with at most NUMBER_DIGITS digits before and after the decimal point.
    """
    literal = text(value)
    if literal is None:
        return None
    if len(literal) < 16 and literal.isdecimal() and literal.isascii():
        return Decimal(literal)
    if not literal.isascii() or "_" in literal:
        return None  # Decimal would accept other digits and underscores
    try:
        exact = Decimal(literal)
    except InvalidOperation:
        return None
    exponent = exact.as_tuple().exponent
    if not isinstance(exponent, int):  # NaN and infinity have letters as exponent
        return None
    return exact if -exponent <= NUMBER_DIGITS and max(exact.adjusted(), exponent) < NUMBER_DIGITS else None


def unreadable(**numbers: tuple[Scalar, Decimal | None]) -> dict[str, str] | None:
    """Return the values that were sent but could not be parsed as numbers, by name; None if there are none.

    `numbers` maps each name to the pair (value as sent, number as parsed). The intended value of `"12,50"`, `"1,000"`
    or `"5 EA"` is never guessed.
    """
    values = {}
    for name, (sent, read) in numbers.items():
        if read is None and sent is not None and sent is not UNSET:
            if type(sent) is str and identifier(sent) is None:
                continue
            values[name] = _shown(sent)
    return values or None


def _shown(sent: Scalar) -> str:
    shown = text(sent)
    if shown is None:
        shown = str(sent).lower() if isinstance(sent, bool) else "an object" if isinstance(sent, dict) else "a list"
    return shown[:_SHOWN].replace("\0", "\ufffd")


def no_date(written: str) -> bool:
    """Return whether a text is a placeholder for "no date", such as .NET's earliest DateTime or MySQL's zero date."""
    return written[:1] != "2" and _NO_DATE.match(written) is not None


def date(value: Scalar) -> str | None:
    """Return a date or time as sent; None if it is absent or a placeholder."""
    written = text(value)
    return None if written is None or no_date(written) or identifier(written) is None else written


def aware(value: Scalar) -> datetime | None:
    """Return a time in UTC; None if it has no time zone, because none is assumed."""
    moment = _datetime(value)
    if moment is None or moment.tzinfo is None:
        return None
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in UTC it would lie before year 1 or after year 9999
        return None


def naive(value: Scalar) -> datetime | None:
    """Return the local clock time, naive. A time zone is dropped, not converted."""
    moment = _datetime(value)
    return None if moment is None else moment.replace(tzinfo=None)


def _datetime(value: Scalar) -> datetime | None:
    written = text(value)
    if written is None or no_date(written):
        return None
    try:
        return datetime.fromisoformat(written.strip())
    except ValueError:
        return None
