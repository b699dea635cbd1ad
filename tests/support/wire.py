"""A TCP proxy that counts the AMQP frames and the round trips that pass through it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from yarl import URL

_FRAME_END = 0xCE
_PREAMBLE = 8
_KINDS = {1: "method", 2: "header", 3: "body", 8: "heartbeat"}


class Wire:
    """The counts of all connections since its creation or the last `reset`."""

    def __init__(self, target: URL) -> None:
        self._target = target
        self.url = ""
        """The target's URL through this proxy."""
        self.round_trips = 0
        """How often a client sent after it had received something."""
        self.sent: Counter[str] = Counter()
        """AMQP frames that clients sent, by kind: `method`, `header`, `body`, `heartbeat`."""
        self.received: Counter[str] = Counter()

    def reset(self) -> None:
        self.round_trips = 0
        self.sent.clear()
        self.received.clear()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handle a client's connection until either side ends it."""
        assert self._target.host is not None
        assert self._target.port is not None
        incoming, back = await asyncio.open_connection(self._target.host, self._target.port)
        has_received = True

        async def to_target() -> None:
            nonlocal has_received
            frames = _Frames(self.sent, skip=_PREAMBLE)
            while data := await reader.read(1 << 16):
                self.round_trips += has_received
                has_received = False
                frames.feed(data)
                back.write(data)
                await back.drain()

        async def to_client() -> None:
            nonlocal has_received
            frames = _Frames(self.received)
            while data := await incoming.read(1 << 16):
                has_received = True
                frames.feed(data)
                writer.write(data)
                await writer.drain()

        ways = [asyncio.ensure_future(way()) for way in (to_target, to_client)]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            with suppress(OSError):
                await asyncio.gather(*ways, return_exceptions=True)
            for stream in (writer, back):
                stream.close()


class _Frames:
    """Counts the frames of one direction. After data that are not AMQP it counts no more."""

    def __init__(self, counted: Counter[str], *, skip: int = 0) -> None:
        self._counted = counted
        self._data = bytearray()
        self._skip = skip
        self._foreign = False

    def feed(self, data: bytes) -> None:
        if self._foreign:
            return
        self._data += data
        if self._skip:
            if len(self._data) < self._skip:
                return
            del self._data[: self._skip]
            self._skip = 0
        at = 0
        while len(self._data) - at >= 7:
            end = at + 7 + int.from_bytes(self._data[at + 3 : at + 7], "big")
            if self._data[at] not in _KINDS:
                self._foreign = True
                return
            if len(self._data) <= end:
                break
            if self._data[end] != _FRAME_END:
                self._foreign = True
                return
            self._counted[_KINDS[self._data[at]]] += 1
            at = end + 1
        del self._data[:at]


@asynccontextmanager
async def counted(url: str) -> AsyncIterator[Wire]:
    """Run a proxy on a free port in front of the server of `url`."""
    wire = Wire(URL(url))
    open_: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(wire.connected(reader, writer))
        open_.add(task)
        task.add_done_callback(open_.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    wire.url = str(URL(url).with_host("127.0.0.1").with_port(port))
    try:
        yield wire
    finally:
        server.close()
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        await server.wait_closed()
