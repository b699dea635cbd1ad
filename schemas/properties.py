"""Encoding and decoding of the properties in a content header (AMQP 0-9-1 §4.2.6.1).

Our own messages carry only text, integers and timestamps. `read` decodes those at a quarter of the cost of pamqp's
general decoder, and uses that decoder for all others. Encoders of particular messages, which encode what never changes
only once, are made of the flags and the functions here.
"""

import struct
from typing import Any, TypeAlias

from pamqp.commands import Basic
from pamqp.header import ContentHeader

FLAGS = struct.Struct(">H")
LENGTH = struct.Struct(">I")
# Bit 15 is the first property, content-type; bit 0 means that more flags follow.
CONTENT_TYPE = 1 << 15
CONTENT_ENCODING = 1 << 14
HEADERS = 1 << 13
DELIVERY_MODE = 1 << 12
PRIORITY = 1 << 11
CORRELATION_ID = 1 << 10
REPLY_TO = 1 << 9
EXPIRATION = 1 << 8
MESSAGE_ID = 1 << 7
TIMESTAMP = 1 << 6
TYPE = 1 << 5
PERSISTENT = 2
"""AMQP's delivery mode: 2 is persistent."""

Headers: TypeAlias = dict[str, Any]
"""Headers by name. What a sender other than ourselves puts into them may have any type."""

_LONG_STRING = ord("S")
_WHOLE = {ord(kind): size for kind, size in {"b": 1, "s": 2, "I": 4, "l": 8, "B": 1, "u": 2, "i": 4}.items()}
"""Size in bytes of each integer type, by its letter in the field table as RabbitMQ interprets it."""
_SIGNED = frozenset(b"bsIl")


class Properties:
    """The properties that our envelopes use."""

    __slots__ = ("content_type", "correlation_id", "headers", "message_id", "reply_to", "type")

    def __init__(self) -> None:
        self.content_type: str | None = None
        self.headers: Headers = {}
        self.correlation_id: str | None = None
        self.reply_to: str | None = None
        self.message_id: str | None = None
        self.type: str | None = None


def header_start(name: str, size: int) -> bytes:
    """Return everything that comes before the `size` bytes of a header's text in a field table."""
    return b"%c%bS%b" % (len(name), name.encode("ascii"), LENGTH.pack(size))


def header(name: str, value: str) -> bytes:
    """Return one header with a text, encoded for a field table."""
    data = value.encode("utf-8", "replace")
    return b"%c%bS%b%b" % (len(name), name.encode("ascii"), LENGTH.pack(len(data)), data)


class _UnusualError(Exception):
    pass


def read(encoded: bytes) -> Properties:
    """Decode the properties that our envelopes use. Raises ValueError if the encoding is invalid."""
    try:
        return _read(encoded)
    except (_UnusualError, IndexError, struct.error, UnicodeDecodeError):
        general = decode(encoded)
    decoded = Properties()
    decoded.content_type = general.content_type
    decoded.headers = dict(general.headers or {})
    decoded.correlation_id, decoded.reply_to = general.correlation_id, general.reply_to
    decoded.message_id, decoded.type = general.message_id, general.message_type
    return decoded


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
    decoded = Properties()
    (flags,) = FLAGS.unpack_from(data, 0)
    if flags & 1:
        raise _UnusualError
    at = 2
    if flags & CONTENT_TYPE:
        end = at + 1 + data[at]
        decoded.content_type, at = data[at + 1 : end].decode(), end
    if flags & CONTENT_ENCODING:
        at += 1 + data[at]
    if flags & HEADERS:
        end = at + 4 + LENGTH.unpack_from(data, at)[0]
        decoded.headers, at = _table(data, at + 4, end), end
    at += bool(flags & DELIVERY_MODE) + bool(flags & PRIORITY)
    if flags & CORRELATION_ID:
        end = at + 1 + data[at]
        decoded.correlation_id, at = data[at + 1 : end].decode(), end
    if flags & REPLY_TO:
        end = at + 1 + data[at]
        decoded.reply_to, at = data[at + 1 : end].decode(), end
    if flags & EXPIRATION:
        at += 1 + data[at]
    if flags & MESSAGE_ID:
        end = at + 1 + data[at]
        decoded.message_id, at = data[at + 1 : end].decode(), end
    if flags & TIMESTAMP:
        at += 8
    if flags & TYPE:
        end = at + 1 + data[at]
        decoded.type, at = data[at + 1 : end].decode(), end
    if at > len(data):
        raise ValueError("broken properties: cut short")
    return decoded


def _table(data: bytes, at: int, end: int) -> Headers:
    if end > len(data):
        raise ValueError("broken properties: cut short")
    table: Headers = {}
    while at < end:
        after = at + 1 + data[at]
        name = data[at + 1 : after].decode()
        kind = data[after]
        at = after + 1
        if kind == _LONG_STRING:
            stop = at + 4 + LENGTH.unpack_from(data, at)[0]
            table[name], at = data[at + 4 : stop].decode(), stop
        elif (size := _WHOLE.get(kind)) is not None:
            table[name] = int.from_bytes(data[at : at + size], "big", signed=kind in _SIGNED)
            at += size
        else:
            raise _UnusualError
    if at != end:
        raise _UnusualError
    return table
