"""A TCP proxy that does to connections what a network does."""

import asyncio
from contextlib import suppress
from enum import Enum

CHUNK = 65536


class Way(Enum):
    """A direction, as seen by the client, which opened the connection."""

    OUT = "out"
    """From the client to the server."""
    BACK = "back"
    """From the server to the client."""


class _Pipe:
    """A client's connection, and the one to the server behind it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = {Way.OUT: server, Way.BACK: client}
        self.deaf = False
        """Whether the server's data no longer reach the client."""

    def abort(self) -> None:
        """End both connections with a reset, as a firewall or a dead machine does."""
        for writer in self.writers.values():
            writer.transport.abort()

    def half_close(self) -> None:
        """End the stream to the server, while the client believes that it can still send."""
        with suppress(OSError, RuntimeError):
            self.writers[Way.OUT].write_eof()


class Proxy:
    """Listens on a free port of 127.0.0.1, and passes everything on until another method is called."""

    def __init__(self, host: str, port: int) -> None:
        """`host` and `port`: the address of the server behind the proxy."""
        self._behind = host, port
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._delay = 0.0
        self._marker: bytes | None = None
        self.lost = asyncio.Event()
        """Set when the first answer is about to be lost (`lose_answers_to`)."""
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and end every connection."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()

    def cut(self) -> None:
        """Reset every connection; new ones are accepted."""
        for pipe in list(self._pipes):
            pipe.abort()

    def refuse(self) -> None:
        """Reset every connection, and each new one at once, until `heal`."""
        self._refuses = True
        self.cut()

    def stall(self) -> None:
        """Pass nothing on and close nothing until `heal`, so that neither side notices."""
        self._flows.clear()

    def delay(self, seconds: float) -> None:
        """Delay each piece of data by this time, in both directions, until `heal`."""
        self._delay = seconds

    def half_close(self) -> None:
        """End the stream to every server, of which the clients learn nothing."""
        for pipe in list(self._pipes):
            pipe.half_close()

    def lose_answers_to(self, marker: bytes) -> None:
        """Pass no answer on to a client from the moment when it sends data that contain `marker`.

        The data do reach the server. `lost` is set when this happens first.
        """
        self.lost.clear()
        self._marker = marker

    def heal(self) -> None:
        """Pass everything on again, and reset the connections that have lost an answer."""
        self._refuses = False
        self._delay = 0.0
        self._marker = None
        self._flows.set()
        for pipe in list(self._pipes):
            if pipe.deaf:
                pipe.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            behind, server = await asyncio.open_connection(*self._behind)
        except OSError:
            writer.transport.abort()
            return
        pipe = _Pipe(writer, server)
        self._pipes.add(pipe)
        try:
            await asyncio.gather(self._pump(pipe, Way.OUT, reader), self._pump(pipe, Way.BACK, behind))
        finally:
            self._pipes.discard(pipe)
            pipe.abort()

    async def _pump(self, pipe: _Pipe, way: Way, reader: asyncio.StreamReader) -> None:
        writer = pipe.writers[way]
        try:
            while data := await reader.read(CHUNK):
                await self._flows.wait()
                if self._delay:
                    await asyncio.sleep(self._delay)
                if way is Way.OUT and self._marker is not None and self._marker in data:
                    pipe.deaf = True
                    self.lost.set()
                if way is Way.BACK and pipe.deaf:
                    continue
                writer.write(data)
                await writer.drain()
            await self._flows.wait()
            if not (way is Way.BACK and pipe.deaf):
                writer.write_eof()
        except (OSError, RuntimeError):
            pipe.abort()  # a reset is passed on as one
