"""Encodes messages in blocks of AMQP frames: a method, a content header and the body for each (AMQP 0-9-1 §4.2.6)."""

import struct
from collections import deque

import pamqp.frame
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from broker.outgoing import PendingPublish, UnencodableError
from broker.replies import REPLY_TO

MAX_BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes of bodies at which a block ends; joining more would copy them although the broker may have stopped reading."""
MAX_CACHED_METHODS = 10_000
"""Number of encoded Basic.Publish frames that are cached, one per exchange and routing key."""

_HEADER, _BODY = 2, 3
"""Types of frames (AMQP 0-9-1 §2.3.5)."""
_BASIC_CLASS = 60
"""The class of Basic.Publish, which a content header names."""
_HEADER_FRAME = struct.Struct(">BHIHHQ")
_HEADER_SIZE = 12
"""Bytes of a content header before its properties."""
_BODY_FRAME = struct.Struct(">BHI")
_FRAME_END = b"\xce"


class BlockEncoder:
    """Encodes the messages of one channel, and numbers them."""

    __slots__ = ("_channel_number", "_max_payload", "_methods", "_tag")

    def __init__(self, channel: AbstractChannel) -> None:
        """Encode for this channel, on which nothing has been published."""
        self._channel_number = channel.number
        self._max_payload = channel.connection.connection_tune.frame_max - 8
        self._tag = 0
        self._methods: dict[tuple[str, str], bytes] = {}

    def encode(self, unsent: deque[PendingPublish], sent: dict[int, PendingPublish], room: int) -> tuple[bytes, int]:
        """Move at most `room` messages from `unsent` to `sent`, and return their frames as one block.

        Messages that need not or cannot be sent are dropped from `unsent`; the second value is the bytes of their
        bodies.
        """
        parts: list[bytes] = []
        number, limit, methods = self._channel_number, self._max_payload, self._methods
        tag, dropped, room_bytes = self._tag, 0, MAX_BLOCK_BYTES
        while unsent and room and room_bytes > 0:
            entry = unsent.popleft()
            body, properties = entry.body, entry.properties
            size = len(body)
            if entry.listener.done():
                dropped += size
                continue
            method = methods.get((entry.exchange, entry.key))
            if method is None or len(properties) > limit - _HEADER_SIZE:
                # Encoded before it gets a tag: a message that was registered and never sent would shift the tags of all
                # others.
                try:
                    method = self._method(number, entry.exchange, entry.key, properties)
                except Exception as error:
                    dropped += size
                    entry.fail(UnencodableError(f"the message can't be encoded: {error}"))
                    continue
            room -= 1
            room_bytes -= size
            tag += 1
            sent[tag] = entry
            header = _HEADER_FRAME.pack(_HEADER, number, _HEADER_SIZE + len(properties), _BASIC_CLASS, 0, size)
            if 0 < size <= limit:
                body_header = _BODY_FRAME.pack(_BODY, number, size)
                parts += (method, header, properties, _FRAME_END, body_header, body, _FRAME_END)
                continue
            parts += (method, header, properties, _FRAME_END)
            for start in range(0, size, limit):
                piece = body[start : start + limit]
                parts += (_BODY_FRAME.pack(_BODY, number, len(piece)), piece, _FRAME_END)
        self._tag = tag
        return b"".join(parts), dropped

    def _method(self, number: int, exchange: str, key: str, properties: bytes) -> bytes:
        """Return the encoded Basic.Publish frame of an exchange and routing key.

        Raises pamqp's error if the routing key is invalid, and ValueError if the properties do not fit into a frame.
        """
        if len(properties) > self._max_payload - _HEADER_SIZE:
            raise ValueError("its properties are larger than a frame")
        if len(self._methods) >= MAX_CACHED_METHODS:
            self._methods.clear()  # reply addresses change with every connection
        # RabbitMQ 3.10 returns a mandatory message to a reply address as unroutable even if it was delivered.
        frame = Basic.Publish(exchange=exchange, routing_key=key, mandatory=not key.startswith(REPLY_TO))
        method = self._methods[exchange, key] = pamqp.frame.marshal(frame, number)
        return method
