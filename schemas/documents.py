"""From the bytes of a webhook to what is stored: the store worker's processor, pure and fast.

body -> UTF-8? -> JSON? (repaired, mended) -> digest -> platform.read -> Document. Only what is rare takes more than one
pass.
"""

from typing import TypeVar

import msgspec

from schemas import canonical, encodings, jsontext
from schemas.platform import Line, Platform, Reading, Unreadable

REPAIRED_JSON = "repaired_json"
"""The platform's own kind of broken JSON, repaired."""
NOT_JSON = "not_json"
"""Readable enough to know which document it is, but no JSON."""
NOT_JSONB = "not_jsonb"
"""JSON that PostgreSQL refuses as jsonb: U+0000, lone surrogates, numbers beyond numeric, nesting beyond reason."""
INVALID_UNICODE = "invalid_unicode"
"""JSON with lone surrogates, which strict readers refuse; what is passed on has U+FFFD in their place."""
UNREADABLE_NUMBER = "unreadable_number"
"""A quantity or price can't be read as a number, as in "12,50": it is null, and its line says what was sent."""
SHORTENED = "shortened"
"""An article number of more than NAME_BYTES bytes was cut there."""

NAME_BYTES = 512
"""What is indexed, up to four values together: PostgreSQL refuses index entries of more than 2,704 bytes."""
_SURELY_SHORT = NAME_BYTES // 4
"""Characters: none has more than four bytes."""

T = TypeVar("T", Reading, Line)


class Document(msgspec.Struct, frozen=True):
    """What we made of a body."""

    reading: Reading
    digest: bytes
    """canonical.DIGEST_BYTES bytes: equal for bodies that say the same."""
    body: str | None
    """JSON for the jsonb column; None when it can't be one."""
    data: bytes | None
    """JSON for others, as received or repaired; None when the body is no JSON that a reader would survive."""
    flags: tuple[str, ...] = ()


def describe(platform: Platform, event: str, raw: bytes, content_type: str | None = None) -> Document:
    """Reads one authentic body. Raises Unreadable, and nothing else, whatever the bytes.

    `content_type` as received: its charset tells how a body that isn't UTF-8 is to be read.
    """
    if not raw.startswith(b"{") or raw.startswith(b"{\0"):
        text, flag = encodings.by_mark(raw)
        if flag is not None:
            return _recoded(platform, event, raw, text, flag)
    try:
        form = canonical.form(raw)
    except canonical.NotJson as why:
        decoded = encodings.by_header(raw, content_type)
        if decoded is not None:
            return _recoded(platform, event, raw, decoded, encodings.TRANSCODED)
        return _without_json(platform, event, raw, raw, str(why), ())
    if form.jsonb:
        reading, flags = _look_over(platform.read(event, form.text))
        return Document(reading, form.digest, raw.decode(), raw, flags)
    return _odd(platform, event, form, raw, ())


def _recoded(platform: Platform, event: str, raw: bytes, text: bytes, flag: str) -> Document:
    """`text` is `raw` as plain UTF-8, which is what is read, compared and passed on."""
    try:
        return _odd(platform, event, canonical.form(text), text, (flag,))
    except canonical.NotJson as why:
        return _without_json(platform, event, raw, text, str(why), (flag,))


def _odd(platform: Platform, event: str, form: canonical.Form, data: bytes, flags: tuple[str, ...]) -> Document:
    """JSON, but something is wrong with it."""
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
    """Repaired if the platform knows how; else just the reading, from a text with U+FFFD for what is broken."""
    repaired = None if platform.repair is None else platform.repair(text)
    if repaired is not None:
        try:
            return _odd(platform, event, canonical.form(repaired), repaired, (*flags, REPAIRED_JSON))
        except canonical.NotJson:
            pass
    if any(known.name == event and known.reply is not None for known in platform.events):
        # The sender waits for our verdict, and the verdict on what isn't JSON is no.
        raise Unreadable(f"not JSON: {why}")
    reading, more = _storable(platform.read(event, jsontext.mend_bytes(text)), lossy=True)
    return Document(reading, canonical.digest_bytes(raw), body=None, data=None, flags=(*flags, NOT_JSON, *more))


def _storable(reading: Reading, lossy: bool) -> tuple[Reading, tuple[str, ...]]:
    """`reading` with U+FFFD for U+0000, which PostgreSQL can't store. Raises Unreadable if the key is touched."""
    if "\x00" in reading.key or (lossy and "\ufffd" in reading.key):
        raise Unreadable("the business key holds characters that are damaged or can't be stored")
    reading, flags = _look_over(reading)
    clean = tuple([_without_nul(line) for line in reading.lines])
    return msgspec.structs.replace(_without_nul(reading), lines=clean), flags


def _without_nul(record: T) -> T:
    texts = {
        name: value.replace("\x00", "\ufffd")
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str) and "\x00" in value
    }
    return msgspec.structs.replace(record, **texts) if texts else record


def _look_over(reading: Reading) -> tuple[Reading, tuple[str, ...]]:
    """Return `reading` as it can be stored, and its flags.

    Raises Unreadable for a name that no index takes: better in quarantine than a batch that can't be written. Articles
    are only looked at, so a longer one is cut.
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
    if long:
        reading = msgspec.structs.replace(reading, lines=tuple([_cut(line) for line in reading.lines]))
        flags = (*flags, SHORTENED)
    return reading, flags


def _cut(line: Line) -> Line:
    if line.article is None or len(line.article) <= _SURELY_SHORT:
        return line
    return msgspec.structs.replace(line, article=line.article.encode()[:NAME_BYTES].decode(errors="ignore"))


def _check_length(name: str) -> None:
    size = len(name.encode())
    if size > NAME_BYTES:
        raise Unreadable(f"a number or name has {size} bytes; no more than {NAME_BYTES} are kept")
