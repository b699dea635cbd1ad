"""From the bytes of a webhook to what is stored: the store worker's processor, pure and fast.

body -> JSON? (repaired, mended) -> digest -> platform.read -> Document. Only what is rare takes more than one pass.
"""

from typing import TypeVar

import msgspec

from schemas import canonical, jsontext
from schemas.platform import Line, Platform, Reading, Unreadable

REPAIRED_JSON = "repaired_json"
"""The platform's own kind of broken JSON, repaired."""
NOT_JSON = "not_json"
"""Readable enough to know which document it is, but no JSON."""
NOT_JSONB = "not_jsonb"
"""JSON that PostgreSQL refuses as jsonb: U+0000, lone surrogates, numbers beyond numeric, nesting beyond reason."""

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


def describe(platform: Platform, event: str, raw: bytes) -> Document:
    """Reads one authentic body. Raises Unreadable, and nothing else, whatever the bytes."""
    try:
        form = canonical.form(raw)
    except canonical.NotJson as why:
        return _without_json(platform, event, raw, str(why))
    if form.jsonb:
        reading = platform.read(event, form.text)
        _check_lengths(reading)
        return Document(reading, form.digest, raw.decode(), raw)
    return _odd(platform, event, form, raw, ())


def _odd(platform: Platform, event: str, form: canonical.Form, data: bytes, flags: tuple[str, ...]) -> Document:
    """JSON, but something is wrong with it."""
    reading = _storable(platform.read(event, form.text), form.lossy)
    return Document(
        reading=reading,
        digest=form.digest,
        body=data.decode() if form.jsonb else None,
        data=None if form.deep else data,
        flags=flags if form.jsonb else (*flags, NOT_JSONB),
    )


def _without_json(platform: Platform, event: str, raw: bytes, why: str) -> Document:
    """Repaired if the platform knows how; else just the reading, from a text with U+FFFD for what is broken."""
    repaired = None if platform.repair is None else platform.repair(raw)
    if repaired is not None:
        try:
            return _odd(platform, event, canonical.form(repaired), repaired, (REPAIRED_JSON,))
        except canonical.NotJson:
            pass
    if any(known.name == event and known.reply is not None for known in platform.events):
        # The sender waits for our verdict, and the verdict on what isn't JSON is no.
        raise Unreadable(f"not JSON: {why}")
    reading = _storable(platform.read(event, jsontext.mend_bytes(raw)), lossy=True)
    return Document(reading, canonical.digest_bytes(raw), body=None, data=None, flags=(NOT_JSON,))


def _storable(reading: Reading, lossy: bool) -> Reading:
    """`reading` with U+FFFD for U+0000, which PostgreSQL can't store. Raises Unreadable if the key is touched."""
    if "\x00" in reading.key or (lossy and "\ufffd" in reading.key):
        raise Unreadable("the business key holds characters that are damaged or can't be stored")
    _check_lengths(reading)
    return msgspec.structs.replace(_without_nul(reading), lines=tuple([_without_nul(line) for line in reading.lines]))


def _without_nul(record: T) -> T:
    texts = {
        name: value.replace("\x00", "\ufffd")
        for name in record.__struct_fields__
        if isinstance(value := getattr(record, name), str) and "\x00" in value
    }
    return msgspec.structs.replace(record, **texts) if texts else record


def _check_lengths(reading: Reading) -> None:
    """Raises Unreadable for a name that no index takes: better in quarantine than a batch that can't be written."""
    names = (reading.key, reading.order_number, reading.order_ref, reading.warehouse_ref, reading.carton)
    for name in (*names, reading.ship_from, reading.ship_to):
        if name is not None and len(name) > _SURELY_SHORT:
            _check_length(name)
    for line in reading.lines:
        if len(line.id) > _SURELY_SHORT:
            _check_length(line.id)
        if line.article is not None and len(line.article) > _SURELY_SHORT:
            _check_length(line.article)


def _check_length(name: str) -> None:
    size = len(name.encode())
    if size > NAME_BYTES:
        raise Unreadable(f"a number or name has {size} bytes; no more than {NAME_BYTES} are kept")
