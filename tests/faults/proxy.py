"""A TCP proxy between two parts, which can do to their connections whatever a network does."""

import asyncio
from contextlib import suppress
from enum import Enum

CHUNK = 65536


class Way(Enum):
    """A direction, as seen by the one that opened the connection."""

    OUT = "out"
    """What the client says."""
    BACK = "back"
    """What the server answers."""


class _Pipe:
    """One client's connection and the one that stands behind it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.writers = {Way.OUT: server, Way.BACK: client}
        self.deaf = False
        """The client hears nothing any more, whatever the server says."""

    def abort(self) -> None:
        """Ends both connections with a reset, as a firewall or a dead machine does."""
        for writer in self.writers.values():
            writer.transport.abort()

    def half_close(self) -> None:
        """The server sees the end of the stream; the client still believes it can speak."""
        with suppress(OSError, RuntimeError):
            self.writers[Way.OUT].write_eof()


class Proxy:
    """Listens on a free port of 127.0.0.1; passes everything on until it is told otherwise."""

    def __init__(self, host: str, port: int) -> None:
        """What stands behind it."""
        self._behind = host, port
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._delay = 0.0
        self._marker: bytes | None = None
        self.lost = asyncio.Event()
        """Set when the first answer is about to get lost (`lose_answers_to`)."""
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and end every connection."""
        if self._server is not None:
            self._server.close()
        self.heal()
        self.cut()

    def cut(self) -> None:
        """Resets every connection there is; new ones are welcome."""
        for pipe in list(self._pipes):
            pipe.abort()

    def refuse(self) -> None:
        """Resets every connection, and each new one at once, until `heal`."""
        self._refuses = True
        self.cut()

    def stall(self) -> None:
        """Nothing passes, nothing is closed: neither side can tell, until `heal`."""
        self._flows.clear()

    def delay(self, seconds: float) -> None:
        """Each piece that passes, either way, waits so long first."""
        self._delay = seconds

    def half_close(self) -> None:
        """Every server sees its client's side of the connection closed; the client is not told."""
        for pipe in list(self._pipes):
            pipe.half_close()

    def lose_answers_to(self, marker: bytes) -> None:
        """From the moment a client says something that holds `marker`, that client hears no answer any more.

        What it said does reach the server. `lost` is set when it happens first.
        """
        self.lost.clear()
        self._marker = marker

    def heal(self) -> None:
        """As it was, for new connections; those that miss something are reset."""
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
