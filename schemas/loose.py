"""Values as platforms really send them: numbers where text is documented, text where numbers are, null for either.

Wire Structs declare such a value `Scalar` and keep it as it came, so that encoding it again loses nothing; these
functions say what it means. Absent, null and what makes no sense there are all None: a document isn't refused for a
detail nobody needs.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from schemas import canonical, jsontext
from schemas.platform import Unreadable

Scalar: TypeAlias = Any
"""str, int, bool, None, or msgspec.Raw of a number with a fraction or an exponent; UNSET when absent. Lists and objects
are let through too, and read as None."""

NUMBER_DIGITS = 1000
"""Digits a number may have before its point, and as many after it. Far within PostgreSQL's numeric, so that no sum
or product in a view can leave its range and fail for everyone who asks."""

T = TypeVar("T", bound=msgspec.Struct)


def decoder(shape: type[T]) -> Callable[[bytes], T]:
    """A function that reads bytes as `shape`, and raises Unreadable and nothing else, whatever the bytes.

    What is valid JSON and has no value in Python is mended as `jsontext.mend` and `jsontext.shallow` say.
    """
    decode = msgspec.json.Decoder(shape, float_hook=_literal).decode

    def read(raw: bytes) -> T:
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


def key(value: Scalar, name: str) -> str:
    """A part of a business key. Raises Unreadable when it is missing, empty, or no text that can be told apart."""
    found = text(value)
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
    if said is None:
        return None
    try:
        return datetime.fromisoformat(said)
    except ValueError:
        return None
