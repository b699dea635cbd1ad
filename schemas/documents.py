"""Turns the bytes of a webhook into a document, for the store, route and deliver workers: pure and fast.

body -> UTF-8? -> JSON? (repaired if necessary) -> digest -> platform.read -> Document. Only rare inputs need more than
one pass.
"""

from typing import TypeVar

import msgspec

from schemas import canonical, encodings, jsontext
from schemas.platform import Line, ParsedDocument, Platform, UnreadableError

REPAIRED_JSON = "repaired_json"
"""Flag: the body was the platform's known kind of broken JSON, and was repaired."""
NOT_JSON = "not_json"
"""Flag: the body is not JSON, although the document that it belongs to could be identified."""
NOT_JSONB = "not_jsonb"
"""Flag: JSON that PostgreSQL rejects as jsonb: U+0000, lone surrogates, numbers beyond numeric, excessive nesting."""
INVALID_UNICODE = "invalid_unicode"
"""Flag: JSON with lone surrogates, which strict parsers reject; they are replaced by U+FFFD in what is sent on."""
UNREADABLE_NUMBER = "unreadable_number"
"""Flag: a quantity or price is not a valid number, as in "12,50": it is null, and its line records what was sent."""
UNREADABLE_DATE = "unreadable_date"
"""Flag: a date or time cannot be read, or has no time zone where one is needed: it is null, and unknown."""
SHORTENED = "shortened"
"""Flag: an article number was truncated to NAME_BYTES bytes."""

NAME_BYTES = 512
"""Maximum bytes of an indexed value. An index has up to four of them, and PostgreSQL limits entries to 2,704 bytes."""
_SURELY_SHORT = NAME_BYTES // 4
"""Number of characters that always fit into NAME_BYTES, because no character has more than four bytes."""

T = TypeVar("T", ParsedDocument, Line)


class Document(msgspec.Struct, frozen=True, gc=False):
    """A body as parsed, compared and stored."""

    reading: ParsedDocument
    digest: bytes
    """canonical.DIGEST_BYTES bytes, equal for bodies with the same JSON value."""
    body: str | None
    """JSON for the jsonb column; None if PostgreSQL would reject it."""
    data: bytes | None
    """JSON to send on, as received or repaired; None if the body cannot be expressed as interoperable JSON."""
    flags: tuple[str, ...] = ()


def describe(platform: Platform, event: str, raw: bytes, content_type: str | None = None) -> Document:
    """Parse one authentic body. Raises UnreadableError, and no other exception, for any input.

    `content_type` is the header as received; its charset is used to decode a body that is not UTF-8.
    """
    if not raw.startswith(b"{") or raw.startswith(b"{\0"):
        text, flag = encodings.by_mark(raw)
        if flag is not None:
            return _describe_recoded(platform, event, raw, text, flag)
    try:
        form = canonical.form(raw)
    except canonical.NotJSONError as why:
        decoded = encodings.by_header(raw, content_type)
        if decoded is not None:
            return _describe_recoded(platform, event, raw, decoded, encodings.TRANSCODED)
        return _without_json(platform, event, raw, raw, str(why), ())
    if form.jsonb:
        reading, flags = _checked(platform.read(event, form.text))
        return Document(reading, form.digest, raw.decode(), raw, flags)
    return _describe_unusual(platform, event, form, raw, ())


def _describe_recoded(platform: Platform, event: str, raw: bytes, text: bytes, flag: str) -> Document:
    """Parse a body that was not plain UTF-8: `text` is `raw` as UTF-8, and is what is parsed, compared and sent on."""
    try:
        return _describe_unusual(platform, event, canonical.form(text), text, (flag,))
    except canonical.NotJSONError as why:
        return _without_json(platform, event, raw, text, str(why), (flag,))


def _describe_unusual(
    platform: Platform, event: str, form: canonical.CanonicalForm, data: bytes, flags: tuple[str, ...]
) -> Document:
    """Return the document for a body that is JSON but may be unusual, with flags that name what is wrong."""
    reading, more = _storable(platform.read(event, form.text), form.lossy)
    valid = jsontext.valid_unicode(data) if form.lossy and not form.deep else data
    if not form.jsonb:
        flags = (*flags, NOT_JSONB)
    if valid != data:
        flags = (*flags, INVALID_UNICODE)
    return Document(
        reading=reading,
        digest=form.digest,
        body=data.decode() if form.jsonb else None,
        data=None if form.deep else valid,
        flags=(*flags, *more),
    )


def _without_json(
    platform: Platform, event: str, raw: bytes, text: bytes, why: str, flags: tuple[str, ...]
) -> Document:
    """Return the document for a body that is not JSON.

    The body is repaired if the platform knows how. Otherwise only the reading is extracted, with invalid characters
    replaced by U+FFFD.
    """
    repaired = None if platform.repair is None else platform.repair(text)
    if repaired is not None:
        try:
            return _describe_unusual(platform, event, canonical.form(repaired), repaired, (*flags, REPAIRED_JSON))
        except canonical.NotJSONError:
            pass
    if any(known.name == event and known.reply is not None for known in platform.events):
        # The event is synchronous: a body that is not JSON was rejected, as its sender was informed.
        raise UnreadableError(f"not JSON: {why}")
    reading, more = _storable(platform.read(event, jsontext.mend_bytes(text)), lossy=True)
    return Document(reading, canonical.digest_bytes(raw), body=None, data=None, flags=(*flags, NOT_JSON, *more))


def _storable(reading: ParsedDocument, lossy: bool) -> tuple[ParsedDocument, tuple[str, ...]]:
    """Return `reading` with U+FFFD for U+0000, which PostgreSQL cannot store, and its flags.

    Raises UnreadableError if the business key is affected.
    """
    if "\x00" in reading.key or (lossy and "\ufffd" in reading.key):
        raise UnreadableError("the business key holds characters that are damaged or can't be stored")
    reading, flags = _checked(reading)
    clean = tuple([_without_nul(line) for line in reading.lines])
    return msgspec.structs.replace(_without_nul(reading), lines=clean), flags


def _without_nul(record: T) -> T:
    texts = {
        name: value.replace("\x00", "\ufffd")
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str) and "\x00" in value
    }
    return msgspec.structs.replace(record, **texts) if texts else record


def _checked(reading: ParsedDocument) -> tuple[ParsedDocument, tuple[str, ...]]:
    """Return `reading` in a form that can be stored, and its flags.

    Raises UnreadableError for a name that is too long for an index: it is better to quarantine one message than to have
    a batch that cannot be written. Article numbers identify nothing, so longer ones are truncated instead.
    """
    names = (reading.key, reading.order_number, reading.order_ref, reading.warehouse_ref, reading.carton)
    for name in (*names, reading.ship_from, reading.ship_to):
        if name is not None and len(name) > _SURELY_SHORT:
            _check_length(name)
    unreadable = long = False
    for line in reading.lines:
        if len(line.id) > _SURELY_SHORT:
            _check_length(line.id)
        article = line.article
        if article is not None and len(article) > _SURELY_SHORT:
            long = long or len(article.encode()) > NAME_BYTES
        if line.unreadable is not None:
            unreadable = True
    flags: tuple[str, ...] = (UNREADABLE_NUMBER,) if unreadable else ()
    if reading.unreadable_date:
        flags = (*flags, UNREADABLE_DATE)
    if long:
        reading = msgspec.structs.replace(reading, lines=tuple([_with_short_article(line) for line in reading.lines]))
        flags = (*flags, SHORTENED)
    return reading, flags


def _with_short_article(line: Line) -> Line:
    if line.article is None or len(line.article) <= _SURELY_SHORT:
        return line
    return msgspec.structs.replace(line, article=line.article.encode()[:NAME_BYTES].decode(errors="ignore"))


def _check_length(name: str) -> None:
    size = len(name.encode())
    if size > NAME_BYTES:
        raise UnreadableError(f"a number or name has {size} bytes; no more than {NAME_BYTES} are kept")
