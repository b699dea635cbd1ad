"""Lenient parsing of values as platforms really send them: numbers for text, text for numbers, null for either.

Wire Structs declare such a value as `Scalar` and keep it as received, so that encoding it again loses nothing; these
functions interpret it. Absent, null and meaningless values all become None, because a document is not rejected for an
unneeded detail. `unreadable` reports values that were meant as numbers and could not be parsed.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from unicodedata import normalize

import msgspec
from msgspec import UNSET, Raw, UnsetType

from schemas import encodings, invisible, jsontext, malformed, times
from schemas.placeholders import AROUND_ZEROS, MAX_LENGTH, NOTHING, is_empty_guid, is_nothing, without_placeholder
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

_ABSENT = NOTHING | {""}
_NONZERO = frozenset("123456789")
_SMALL = 10**15
_ELEMENT_TEXTS = frozenset({"#text", "#cdata-section", "#cdata", "__cdata", "$t", "_text"})
"""Under which names converters from XML to JSON write the text of an element that has attributes."""
_ELEMENT_NOTES = frozenset({"#comment", "#whitespace", "#significant-whitespace"})
COMPOSED = 512
"""Maximum characters of a text that is brought into Unicode's form NFC; longer identifiers are not kept."""
_INTEGRAL_DIGITS = 40
"""Maximum digits of an identifier sent as a number that is normalised; a longer one keeps its spelling."""
_SHOWN = 100
"""Maximum characters of an unreadable number that are reported."""

T = TypeVar("T", bound=msgspec.Struct)
Part: TypeAlias = T | str | list[Scalar] | UnsetType | None
"""An optional object, or what programs write for an empty one: `null`, `""` or `[]`."""


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
                raw = mended
                return decode(raw)
            except RecursionError:
                return decode(jsontext.truncate_depth(raw))
        except msgspec.ValidationError as error:
            # What is cut off has the wrong shape as well, but that is not what its sender has to mend.
            problem = malformed.cut_off(raw)
            raise UnreadableError(problem or f"not the document it should be: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableError(f"not JSON: {malformed.explain(error, raw)}") from None

    return read


def _literal(number: str) -> Raw:
    return Raw(number.encode())


def or_empty(value: "Part[T]", empty: T) -> T:
    """Return `value`, an object, or `empty` if it is absent or null, or if a text or a list stands for it."""
    return value if isinstance(value, msgspec.Struct) else empty


def or_empty_list(value: list[T] | UnsetType | None) -> list[T]:
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
    if type(value) is dict and (inner := unwrapped(value)) is not value:
        return text(inner)
    return None


def name(value: Scalar) -> str | None:
    """Return what `text` returns, but without controls at its ends, with which fields of a fixed length are padded.

    Where there are any, blanks and invisible characters at the ends go with them, as from identifiers.
    """
    written = text(value)
    return written if written is None or written.isprintable() else invisible.trimmed(written) or None


def identifier(value: Scalar) -> str | None:
    """Return a text that identifies something, without blanks, controls and invisible characters at its ends, or None.

    Placeholders such as `"null"`, `"#REF!"`, `"-"` or an empty GUID return None. An integral number is returned as an
    integer, because senders that write JSON through floats send 4600000039, 4600000039.0 or 4.600000039e9 for the same
    number. Text is never interpreted as a number, so leading zeros are kept.
    """
    if type(value) is str:
        # What ends in one of these digits is no placeholder, and nearly all identifiers do.
        if value[-1:] in _NONZERO and value.isascii() and value.isprintable() and value[0] != " ":
            return value
        written = value.strip()
        if not (written.isascii() and written.isprintable()):
            written = invisible.trimmed(written)
        if not written or (
            is_nothing(written) if len(written) <= MAX_LENGTH else written[0] in AROUND_ZEROS and is_empty_guid(written)
        ):
            return None
        return written if written.isascii() else composed(written)
    if type(value) is int:
        return str(value)
    if type(value) is Raw:
        return _integral(bytes(value).decode())
    if type(value) is dict and (inner := unwrapped(value)) is not value:
        return identifier(inner)
    return None


def normalized(text: str) -> str:
    """Return an identifier that someone looks for in the form in which `identifier` would have had it stored.

    Every look-up by a key, an order number or an id goes through this. The result of blanks alone is empty.
    """
    return composed(invisible.trimmed(text))


def reference(value: Scalar) -> str | None:
    """Return what `identifier` returns, but None for zeros alone and for placeholders of forms and templates.

    No platform numbers a document, a receipt or a carton's label `0000000000`, `TBD` or `{{receipt_id}}`; programs
    write such texts where they have no number.
    """
    if type(value) is str and value[-1:] in _NONZERO and value.isascii() and value.isprintable() and value[0] != " ":
        return value  # as in `identifier`
    return without_placeholder(identifier(value))


def composed(text: str) -> str:
    """Return `text` in Unicode's form NFC, in which equal characters have equal code points.

    Identifiers are compared in this form. A text of more than COMPOSED characters stays as it is, because normalising
    takes quadratic time.
    """
    return text if len(text) > COMPOSED else normalize("NFC", text)


def unwrapped(value: Scalar) -> Scalar:
    """Return the value of an XML element with attributes that was converted to JSON: `{"@unit": "EA", "#text": "5"}`.

    An element that is nil or has attributes only returns None. Any other object is returned as it is.
    """
    if type(value) is not dict or not value:
        return value
    texts: list[object] = []
    for name, inner in value.items():
        if name in _ELEMENT_TEXTS:
            texts += inner if isinstance(inner, list) else [inner]
        elif name[0:1] != "@" and name not in _ELEMENT_NOTES:
            return value
        elif name.rpartition(":")[2].lstrip("@") == "nil" and inner in ("true", "True", "1", True):
            return None
    if any(isinstance(inner, dict | list) for inner in texts):
        return value
    present = [cast(Scalar, inner) for inner in texts if not is_absent(cast(Scalar, inner))]
    if len(present) < 2:
        return present[0] if present else None
    words = [inner for inner in present if isinstance(inner, str)]
    return "".join(words) if len(words) == len(present) else value


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

    Raises UnreadableError, which names the field `name`, if it is missing or empty, is zeros alone, or contains U+0000
    or U+FFFD.
    """
    result = reference(value)
    if result is None:
        raise UnreadableError(f"`{name}` is missing or empty: without it we don't know which document this is")
    return intact(result, name)


def intact(result: str, name: str) -> str:
    """Return a part of a business key as it is. Raises UnreadableError as `key` does, for U+0000 or U+FFFD."""
    if "\x00" in result or "\ufffd" in result:
        raise UnreadableError(f"`{name}` holds characters that are damaged or can't be stored")
    return result


def number(value: Scalar) -> Decimal | None:
    """Return an exact number, which may have been sent as text.

    Returns None if it is not a finite number with at most NUMBER_DIGITS digits before and after the decimal point.
    Blanks and invisible characters at its ends are ignored.
    """
    if type(value) is int and -_SMALL < value < _SMALL:
        return Decimal(value)
    literal = text(value)
    if literal is None:
        return None
    if len(literal) < 16 and literal.isdecimal() and literal.isascii():
        return Decimal(literal)
    literal = invisible.trimmed(literal)
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


def is_absent(value: Scalar) -> bool:
    """Return whether a value was not sent, or is empty, or is a word for no value such as `null` or `N/A`.

    Signs such as `-`, which spreadsheets show for zero, and errors such as `#REF!` are values that cannot be read.
    """
    if type(value) is dict:
        value = unwrapped(value)
    if type(value) is not str:
        return value is None or value is UNSET
    return not value or (not value[0].isdigit() and (value.isspace() or invisible.trimmed(value).lower() in _ABSENT))


def unreadable(**numbers: tuple[Scalar, Decimal | None]) -> dict[str, str] | None:
    """Return the values that were sent but could not be parsed as numbers, by name; None if there are none.

    `numbers` maps each name to the pair (value as sent, number as parsed). The intended value of `"12,50"`, `"1,000"`
    or `"5 EA"` is never guessed.
    """
    values: dict[str, str] = {}
    for name, (sent, read) in numbers.items():
        if read is None and not is_absent(sent):
            values[name] = _shown(sent)
    return values or None


def _shown(sent: Scalar) -> str:
    shown = text(sent)
    if shown is None:
        shown = str(sent).lower() if isinstance(sent, bool) else "an object" if isinstance(sent, dict) else "a list"
    return shown[:_SHOWN].replace("\0", "\ufffd")


def date(value: Scalar) -> str | None:
    """Return a date or time as sent, without controls at its ends; None if it is absent or a placeholder."""
    written = name(value)
    if written is None or (written[0] == "2" and written[4:5] == "-"):
        return written
    return None if times.is_placeholder(written) or identifier(written) is None else written


def unreadable_time(*pairs: tuple[Scalar, object]) -> bool:
    """Return whether any of `pairs` (time as sent, time as read) was sent but could not be read."""
    return any(read is None and sent is not None and not is_no_time(sent) for sent, read in pairs)


def is_no_time(value: Scalar) -> bool:
    """Return whether a time is absent: not sent, or a placeholder. An error of a spreadsheet, `#REF!`, is not."""
    if is_absent(value):
        return True
    written = text(value)
    return written is not None and (
        times.is_placeholder(written) or (written.lstrip()[0] != "#" and identifier(written) is None)
    )


def utc_datetime(value: Scalar) -> datetime | None:
    """Return a time in UTC; None if it has no time zone, because none is assumed."""
    moment = _datetime(value)
    return None if moment is None or moment.tzinfo is None else _in_utc(moment)


def utc_deadline(value: Scalar) -> datetime | None:
    """Return a time in UTC; one without a time zone is taken as UTC, because any deadline is better than none."""
    moment = _datetime(value)
    if moment is None or moment.tzinfo is None:
        return moment and moment.replace(tzinfo=UTC)
    return _in_utc(moment)


def _in_utc(moment: datetime) -> datetime | None:
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # in UTC it would lie before year 1 or after year 9999
        return None


def local_datetime(value: Scalar) -> datetime | None:
    """Return the local clock time, naive. A time zone is dropped, not converted."""
    moment = _datetime(value)
    return None if moment is None else moment.replace(tzinfo=None)


def _datetime(value: Scalar) -> datetime | None:
    written = text(value)
    if written is None:
        return None
    if written[0] == "2" and written[4:5] == "-":
        try:
            return datetime.fromisoformat(written)
        except ValueError:
            pass
    return None if times.is_placeholder(written) else times.parse(written)
