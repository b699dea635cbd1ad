"""Checks what every platform's reader does with any bytes."""

import json
from contextlib import suppress
from decimal import Decimal

import msgspec

from schemas import canonical, documents, encodings, jsontext
from schemas.documents import Document
from schemas.platform import Event, Platform, UnreadableError

RECODED = (encodings.BYTE_ORDER_MARK, encodings.TRANSCODED)


def describe(platform: Platform, event: Event, raw: bytes) -> Document | None:
    try:
        return documents.describe(platform, event.name, raw)
    except UnreadableError as error:
        reason = str(error)
    assert reason
    return None


def can_be_stored(document: Document, raw: bytes) -> None:
    assert len(document.digest) == canonical.DIGEST_BYTES
    assert document.reading.key
    assert len(document.reading.key.encode()) <= documents.NAME_BYTES
    for record in (document.reading, *document.reading.lines):
        for name in record.__struct_fields__:
            value = getattr(record, name)
            if isinstance(value, str):
                assert "\x00" not in value
                value.encode()
            if isinstance(value, Decimal):
                assert value.is_finite()
    if document.body is not None:
        json.loads(document.body)
        assert canonical.digest(document.body.encode()) == document.digest
    else:
        assert {documents.NOT_JSON, documents.NOT_JSONB} & set(document.flags)
    if document.data is not None:
        msgspec.json.decode(document.data, type=msgspec.Raw)
        assert documents.NOT_JSON not in document.flags
    if not {documents.REPAIRED_JSON, documents.INVALID_UNICODE, *RECODED} & set(document.flags):
        assert document.data in (None, raw)
    if document.data is not None:
        assert jsontext.is_plain(document.data)


def every_reader_behaves(platform: Platform, event: Event, raw: bytes) -> None:
    document = describe(platform, event, raw)
    if document is not None:
        can_be_stored(document, raw)
        assert describe(platform, event, raw) == document
        assert document.reading.type in event.types
    for reader in (platform.read, platform.decode):
        with suppress(UnreadableError):
            reader(event.name, raw)
    if platform.repair is not None:
        repaired = platform.repair(raw)
        assert repaired is None or platform.repair(repaired) is None
    if platform.refuse is not None:
        account = msgspec.convert(platform.demo[1], platform.account)
        try:
            refused = platform.refuse(event.name, raw, account)
        except UnreadableError:
            # Its sender got a refusal, so it must not have been stored as if it were accepted.
            assert document is None
        else:
            assert refused is None or refused
