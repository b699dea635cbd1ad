"""Decoding of the properties in a received content header (AMQP 0-9-1 §4.2.6.1).

Our own messages carry only text, integers and timestamps. `read` decodes those at a quarter of the cost of pamqp's
general decoder, and uses that decoder for all others.
"""

import struct
from typing import Any

from pamqp.commands import Basic
from pamqp.header import ContentHeader

_FLAGS = struct.Struct(">H")
_LENGTH = struct.Struct(">I")
# Bit 15 is the first property, content-type; bit 0 means that more flags follow.
_CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DELIVERY_MODE, _PRIORITY = 1 << 15, 1 << 14, 1 << 13, 1 << 12, 1 << 11
_CORRELATION_ID, _REPLY_TO, _EXPIRATION, _MESSAGE_ID, _TIMESTAMP, _TYPE = (
    1 << 10,
    1 << 9,
    1 << 8,
    1 << 7,
    1 << 6,
    1 << 5,
)
_LONG_STRING = ord("S")
_WHOLE = {ord(kind): size for kind, size in {"b": 1, "s": 2, "I": 4, "l": 8, "B": 1, "u": 2, "i": 4}.items()}
"""Size in bytes of each integer type, by its letter in the field table as RabbitMQ interprets it."""
_SIGNED = frozenset(b"bsIl")


class Properties:
    """The properties that our envelopes use."""

    __slots__ = ("content_type", "correlation_id", "headers", "message_id", "reply_to", "type")

    def __init__(self) -> None:
        self.content_type: str | None = None
        self.headers: dict[str, Any] = {}
        self.correlation_id: str | None = None
        self.reply_to: str | None = None
        self.message_id: str | None = None
        self.type: str | None = None


class _UnusualError(Exception):
    pass


def read(encoded: bytes) -> Properties:
    """Decode the properties that our envelopes use. Raises ValueError if the encoding is invalid."""
    try:
        return _read(encoded)
    except (_UnusualError, IndexError, struct.error, UnicodeDecodeError):
        general = decode(encoded)
    found = Properties()
    found.content_type = general.content_type
    found.headers = dict(general.headers or {})
    found.correlation_id, found.reply_to = general.correlation_id, general.reply_to
    found.message_id, found.type = general.message_id, general.message_type
    return found


def decode(encoded: bytes) -> Basic.Properties:
    """Decode all properties with pamqp's general decoder. Raises ValueError if the encoding is invalid."""
    header = ContentHeader()
    try:
        header.unmarshal(b"\0\x3c\0\0" + bytes(8) + encoded)
    except Exception as error:
        raise ValueError(f"broken properties: {error}") from error
    properties: Basic.Properties = header.properties
    return properties


def _read(data: bytes) -> Properties:
    found = Properties()
    (flags,) = _FLAGS.unpack_from(data, 0)
    if flags & 1:
        raise _UnusualError
    at = 2
    if flags & _CONTENT_TYPE:
        end = at + 1 + data[at]
        found.content_type, at = data[at + 1 : end].decode(), end
    if flags & _CONTENT_ENCODING:
        at += 1 + data[at]
    if flags & _HEADERS:
        end = at + 4 + _LENGTH.unpack_from(data, at)[0]
        found.headers, at = _table(data, at + 4, end), end
    at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
    if flags & _CORRELATION_ID:
        end = at + 1 + data[at]
        found.correlation_id, at = data[at + 1 : end].decode(), end
    if flags & _REPLY_TO:
        end = at + 1 + data[at]
        found.reply_to, at = data[at + 1 : end].decode(), end
    if flags & _EXPIRATION:
        at += 1 + data[at]
    if flags & _MESSAGE_ID:
        end = at + 1 + data[at]
        found.message_id, at = data[at + 1 : end].decode(), end
    if flags & _TIMESTAMP:
        at += 8
    if flags & _TYPE:
        end = at + 1 + data[at]
        found.type, at = data[at + 1 : end].decode(), end
    if at > len(data):
        raise ValueError("broken properties: cut short")
    return found


def _table(data: bytes, at: int, end: int) -> dict[str, Any]:
    if end > len(data):
        raise ValueError("broken properties: cut short")
    table: dict[str, Any] = {}
    while at < end:
        after = at + 1 + data[at]
        name = data[at + 1 : after].decode()
        kind = data[after]
        at = after + 1
        if kind == _LONG_STRING:
            stop = at + 4 + _LENGTH.unpack_from(data, at)[0]
            table[name], at = data[at + 4 : stop].decode(), stop
        elif (size := _WHOLE.get(kind)) is not None:
            table[name] = int.from_bytes(data[at : at + size], "big", signed=kind in _SIGNED)
            at += size
        else:
            raise _UnusualError
    if at != end:
        raise _UnusualError
    return table
