"""A layer between the socket and the AMQP library that handles the frequent frames itself.

The library parses every frame into objects and starts one task per delivered message, which takes most of a worker's
time. For the channels that register handlers, this layer reads deliveries, confirms and returned messages directly from
the bytes, in the loop turn that received them (AMQP 0-9-1 §2.3.5, §4.2). All other frames are passed on: opening,
closing, heartbeats, declarations and errors remain the library's task, and it sees a connection on which the handled
frames never arrived.
"""

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any, cast

from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPConnectionError
from yarl import URL

_FRAME_START = struct.Struct(">BHI")
_METHOD = struct.Struct(">HH")
_CONFIRM = struct.Struct(">QB")
_BODY_SIZE = struct.Struct(">Q")
_FRAME_METHOD, _FRAME_HEADER, _FRAME_BODY = 1, 2, 3
_FRAME_TYPES = frozenset((_FRAME_METHOD, _FRAME_HEADER, _FRAME_BODY, 8))
_FRAME_END = 0xCE
_BASIC = 60
_RETURN, _DELIVER, _ACK, _NACK = 50, 60, 80, 120
_FRAME_OVERHEAD = 8
"""Bytes of a frame around its payload: type, channel, size and end octet."""
_HEARTBEAT = b"\x08\0\0\0\0\0\0\xce"
_HEARTBEAT_AFTER = 1.0
"""Seconds without a frame for the library after which the handled frames are reported to it as one heartbeat.

The library decides from the frames that it sees whether the peer is alive, and RabbitMQ sends no heartbeats while it
sends other frames.
"""


Received = Callable[[int, bool, bytes, bytes], None]
"""Handler of a channel's deliveries: tag, redelivered, encoded property flags and list, body."""
Confirmed = Callable[[int, bool, bool], None]
"""Handler of a channel's confirms: tag, multiple, accepted."""
Returned = Callable[[bytes], None]
"""Handler of unroutable messages, called with their encoded properties before their confirms arrive."""


class ChannelHandlers:
    """The handlers of one channel, and the content that it is currently receiving."""

    __slots__ = ("_bytes_left", "_content", "_parts", "_properties", "confirmed", "received", "returned")

    def __init__(self, received: Received | None, confirmed: Confirmed | None, returned: Returned | None) -> None:
        self.received = received
        self.confirmed = confirmed
        self.returned = returned
        self._content: tuple[int, bool] | None = None
        """Delivery tag and redelivered flag of the content being received; tag 0 is a returned message."""
        self._properties = b""
        self._parts: list[bytes] = []
        self._bytes_left = 0

    def frame(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Handle the payload of one frame, `data[start:end]`; return False if it is for the library."""
        if kind == _FRAME_METHOD:
            group, method = _METHOD.unpack_from(data, start)
            if group != _BASIC:
                return False
            if method == _DELIVER and self.received is not None:
                at = start + 5 + data[start + 4]  # skips the consumer tag: there is one consumer per channel
                self._content = (int.from_bytes(data[at : at + 8], "big"), bool(data[at + 8] & 1))
                return True
            if method in (_ACK, _NACK) and self.confirmed is not None:
                tag, bits = _CONFIRM.unpack_from(data, start + 4)
                self.confirmed(tag, bool(bits & 1), method == _ACK)
                return True
            if method == _RETURN and self.returned is not None:
                self._content = (0, False)
                return True
            return False
        if self._content is None:
            return False
        if kind == _FRAME_HEADER:
            (self._bytes_left,) = _BODY_SIZE.unpack_from(data, start + 4)
            self._properties = data[start + 12 : end]
            if not self._bytes_left:
                self._complete(b"")
        else:
            self._bytes_left -= end - start
            if self._bytes_left or self._parts:
                self._parts.append(data[start:end])
                if not self._bytes_left:
                    self._complete(b"".join(self._parts))
            else:
                self._complete(data[start:end])
        return True

    def _complete(self, body: bytes) -> None:
        assert self._content is not None
        tag, redelivered = self._content
        self._content, self._parts = None, []
        if tag and self.received is not None:
            self.received(tag, redelivered, self._properties, body)
        elif self.returned is not None:
            self.returned(self._properties)


class Reader(asyncio.StreamReader):
    """The library's stream reader, which receives only the frames that no handler takes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._handlers: dict[int, ChannelHandlers] = {}
        self._rest = b""
        self._is_passing_through = False
        self._passed_at = time.monotonic()

    def listen(self, channel: int, handlers: ChannelHandlers) -> None:
        """Pass this channel's deliveries, confirms and returned messages to `handlers` from now on."""
        self._handlers[channel] = handlers

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]  # sockets give bytes
        """Process bytes from the socket: parts of frames as well as many frames at once."""
        if self._is_passing_through:
            super().feed_data(data)
            return
        if self._rest:
            data = self._rest + data
        start, size = 0, len(data)
        handlers_by_channel = self._handlers
        passed: list[bytes] = []
        while size - start >= _FRAME_OVERHEAD:
            kind, channel, length = _FRAME_START.unpack_from(data, start)
            end = start + length + _FRAME_OVERHEAD
            if kind not in _FRAME_TYPES or (end <= size and data[end - 1] != _FRAME_END):
                # Not a frame: the response of another protocol, or garbage. The library reports it.
                self._is_passing_through = True
                passed.append(data[start:])
                start = size
                break
            if end > size:
                break
            handlers = handlers_by_channel.get(channel)
            try:
                is_handled = handlers is not None and handlers.frame(kind, data, start + 7, end - 1)
            except (IndexError, struct.error):
                # The frame is complete, but shorter than its content declares. The library reports it, and receives
                # everything after it.
                self._is_passing_through = True
                passed.append(data[start:])
                start = size
                break
            if not is_handled:
                passed.append(data[start:end])
            start = end
        self._rest = data[start:] if start else data
        now = time.monotonic()
        if not passed and start and now - self._passed_at > _HEARTBEAT_AFTER:
            passed.append(_HEARTBEAT)
        if passed:
            self._passed_at = now
            super().feed_data(b"".join(passed))


class Transport(TransportFactory):
    """Connects on behalf of the library with our reader in between; each connection has its own."""

    def __init__(self) -> None:
        self._reader: Reader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open the socket, with TLS for `amqps`; raises AMQPConnectionError if that fails."""
        provider = kwargs.pop("ssl_context_provider")
        context = await provider.get_context() if url.scheme == "amqps" else None
        loop = asyncio.get_running_loop()
        reader = Reader(loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: protocol, url.host or "localhost", url.port or 5672, ssl=context, **kwargs
            )
        except OSError as error:
            raise AMQPConnectionError(*error.args) from error
        self._reader, self._writer = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        return reader, self._writer

    def listen(self, channel: int, handlers: ChannelHandlers) -> None:
        """Pass this channel's handled frames to `handlers`; the transport must be connected."""
        assert self._reader is not None
        self._reader.listen(channel, handlers)

    @property
    def unsent(self) -> int:
        """Bytes written that the socket has not yet accepted; -1 if it is closing or not open."""
        writer = self._writer
        if writer is None or writer.transport.is_closing():
            return -1
        return writer.transport.get_write_buffer_size()

    def pause_reading(self) -> None:
        """Stop reading the socket, so that the broker stops sending; does nothing while the socket is closing."""
        transport = self._transport()
        if transport is not None and transport.is_reading():
            transport.pause_reading()

    def resume_reading(self) -> None:
        """Read the socket again after `pause_reading`."""
        transport = self._transport()
        if transport is not None and not transport.is_reading():
            transport.resume_reading()

    def _transport(self) -> asyncio.ReadTransport | None:
        """Return the open socket's transport, typed as one that reads; None if it is closing or not open."""
        if self._writer is None or self._writer.transport.is_closing():
            return None
        return cast(
            asyncio.ReadTransport, self._writer.transport
        )  # a socket transport reads and writes; uvloop's has neither base class

    def cut(self) -> None:
        """Abort the connection if it is still open; anything that the peer still sends is ignored."""
        if self._writer is not None:
            self._writer.transport.abort()

    def write(self, block: bytes) -> None:
        """Write whole frames directly, without the library's frame queue; they never split a block of the library's."""
        assert self._writer is not None
        self._writer.write(block)
