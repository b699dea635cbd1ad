"""What a listening socket tolerates: heads that do not end, responses that are not read, what is not HTTP, and more
connections than it may have.

aiohttp bounds the size of a head and the time that a connection is idle; the rest is here. Requests that need none of
its machinery are offered to the fast path.
"""

import asyncio
import heapq
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from ingress.protocol import RequestProtocol, is_head_too_large
from schemas import problems

log = logging.getLogger("crossdock.connections")

KEEPALIVE = 75.0
"""Seconds that an idle connection is kept, as is usual behind load balancers."""
HALF_CLOSED_CHECK = 0.02
"""Seconds between two checks whether a sender that has closed its side has received all its responses."""
LINGER = 1.0
"""Seconds for which the rest of a refused body is read and discarded, so that the sender can read the response."""
OTHER_FILES = 64
"""File descriptors for what is not a client: the broker, the database, the admin port, the logs."""
_EVICTED_SHARE = 100
"""One in this many connections is closed when there are too many, because finding the idle ones reads all of them."""
_ALL_BUSY_PAUSE = 0.1
"""Seconds without another search for idle connections after one that found none."""

_HEAD = b"HTTP/1.1 %b\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FULL = _HEAD % b"503 Service Unavailable"
_SLOW = _HEAD % b"408 Request Timeout"

OnRefused = Callable[[str], object]
"""Called with the reason, one of a few fixed texts, of each request or connection that no handler receives."""


TryFastPath = Callable[[RawRequestMessage, bytes, "Connection"], bool]
"""Takes a request that has arrived whole, with its body, and returns True; or returns False and leaves it to the
handler. A request that was taken is answered once, by `Connection.answer`, in a later turn of the loop. Must not
raise."""


class Limits(msgspec.Struct, frozen=True):
    """What clients may use."""

    connections: int
    """Connections that are open at a time."""
    header_timeout: float
    """Seconds from the first byte of a request's head to its last."""
    write_timeout: float
    """Seconds within which a client must read what was written to it."""


class Connection(RequestProtocol):
    """The connection of one client."""

    __slots__ = ("_half_closed", "_head", "_kept", "_server", "_stream", "_unread")

    def __init__(self, server: "Server", **settings: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self._server = server
        self._stream: asyncio.Transport | None = None
        """The transport, also while it is closing."""
        self._head: asyncio.TimerHandle | None = None
        """The timer of a head that has begun."""
        self._unread: asyncio.TimerHandle | None = None
        """The timer of a response that is not read."""
        self._half_closed: asyncio.TimerHandle | None = None
        self._kept = b""
        """The bytes that arrived meanwhile."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not self.is_on_fast_path and self.is_waiting

    @property
    def idle_since(self) -> float | None:
        """A time in the loop's seconds that orders connections by how long they are idle; None if it is not idle."""
        return self.keepalive_deadline if self.is_idle else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stream = self.transport
        self._server.register(self)

    def data_received(self, data: bytes) -> None:
        if self.is_on_fast_path:  # responses are sent in the order of the requests
            if data and self._stream is not None:
                self._stream.pause_reading()
                self._kept += data
            return
        if self.parse(data) and not self._try_fast_path():
            self.wake()
        if self.is_idle:
            # An empty line before a request is allowed (RFC 9112 §2.2) and does not begin one.
            if self._head is None and data.strip(b"\r\n"):
                self._head = self._loop.call_later(self._server.limits.header_timeout, self._head_timed_out)
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def _try_fast_path(self) -> bool:
        """Offer the request to the fast path, if it has arrived whole and alone; return whether it was taken."""
        try_fast_path = self._server.try_fast_path
        request = self.whole_request() if try_fast_path is not None else None
        if request is None or try_fast_path is None:
            return False
        self.is_on_fast_path = try_fast_path(*request, self)
        if self.is_on_fast_path:
            self.drop_request()
        return self.is_on_fast_path

    def answer(self, block: bytes) -> None:
        """Write the whole response to the request on the fast path, then read what arrived meanwhile.

        Does nothing if the sender has closed the connection.
        """
        self.is_on_fast_path = False
        stream = self.transport
        if stream is None or stream.is_closing():
            return
        stream.write(block)
        if self.is_shutting_down:
            self.force_close()
            return
        self.postpone_keepalive()
        if self._kept:
            kept, self._kept = self._kept, b""
            stream.resume_reading()
            self.data_received(kept)

    def eof_received(self) -> bool:  # type: ignore[override]  # the library's always closes
        """Keep the connection of a sender that will send no more, until it has the responses to what arrived whole."""
        super().eof_received()
        if self.is_shutting_down or self.is_idle or not self.are_bodies_whole():
            return False
        self._half_closed = self._loop.call_later(HALF_CLOSED_CHECK, self._close_when_answered)
        return True

    def _close_when_answered(self) -> None:
        if self._stream is None or self._stream.is_closing():
            return
        if self.is_idle and not self.has_requests:
            self.force_close()
        else:
            self._half_closed = self._loop.call_later(HALF_CLOSED_CHECK, self._close_when_answered)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timeout()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head, self._unread, self._half_closed):
            if timer is not None:
                timer.cancel()
        self._server.unregister(self)

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self._bound_closing()

    def force_close(self) -> None:
        super().force_close()
        self._bound_closing()

    def reject(self, response: bytes, reason: str) -> None:
        """Close the connection with a ready-made response; no request is made for it."""
        self._server.on_refused(reason)
        if self.transport is not None:
            self.transport.write(response)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what no handler answered.

        The library would log and send back what it could not read, and that contains secrets.
        """
        if isinstance(exc, HttpProcessingError):
            status, title, detail = 400, "Bad request", "This is not a request that can be read."
            if is_head_too_large(exc):
                status, title = 431, "Request header fields too large"  # RFC 6585 §5
                detail = (
                    f"The request line and each header may have {self.max_field_size:,} bytes, and a request "
                    f"{self.max_headers} header lines."
                )
            self._server.on_refused("malformed")
            log.info("malformed request", extra={"remote": request.remote, "error": type(exc).__name__})
        else:
            title, detail = "Internal server error", "This failed on our side."
            log.error("request failed", exc_info=exc, extra={"remote": request.remote})
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        body = problems.problem(status, title, detail)
        response = web.Response(status=status, body=body, content_type=problems.CONTENT_TYPE)
        response.force_close()
        return response

    def _head_timed_out(self) -> None:
        self._head = None
        if self.is_idle:
            self.reject(_SLOW, "headers too slow")

    def _bound_closing(self) -> None:
        """Bound the time of closing: a transport first sends what was written, and waits for a client to read it."""
        if self._stream is not None and self._stream.get_write_buffer_size():
            self._start_write_timeout()

    def _start_write_timeout(self) -> None:
        if self._unread is None:
            self._unread = self._loop.call_later(self._server.limits.write_timeout, self._write_timed_out)

    def _write_timed_out(self) -> None:
        self._server.on_refused("answer not taken")
        if self._stream is not None:
            self._stream.abort()


class Server(web.Server):
    """Makes the connections of one listening socket, and counts them."""

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[web.StreamResponse]],
        limits: Limits,
        on_refused: OnRefused,
        try_fast_path: TryFastPath | None = None,
        *,
        request_factory: Callable[..., web.BaseRequest] | None = None,
        **settings: Any,
    ) -> None:
        """`settings`: the arguments of aiohttp's `RequestHandler`."""
        super().__init__(handler, request_factory=request_factory)
        self.limits = limits
        self.on_refused = on_refused
        self.try_fast_path = try_fast_path
        self._settings = settings
        self._open: dict[Connection, None] = {}
        self._all_busy_until = 0.0

    @property
    def count(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def __call__(self) -> Connection:
        return Connection(self, **self._settings)

    def register(self, connection: Connection) -> None:
        """Count a new connection.

        If there are too many, those that have been idle longest are closed; if none is idle, the new one is rejected.
        """
        if len(self._open) >= self.limits.connections and not self._evict_idle():
            connection.reject(_FULL, "no room")
            return
        self._open[connection] = None

    def unregister(self, connection: Connection) -> None:
        """Stop counting a connection that is closed."""
        self._open.pop(connection, None)

    def _evict_idle(self) -> bool:
        """Close connections that have been idle longest; return whether there were any."""
        now = self._loop.time()
        if now < self._all_busy_until:
            return False
        # The position breaks ties, because the loop's clock has milliseconds.
        idle = [
            (since, position, connection)
            for position, connection in enumerate(self._open)
            if (since := connection.idle_since) is not None
        ]
        if not idle:
            self._all_busy_until = now + _ALL_BUSY_PAUSE
        for _, _, connection in heapq.nsmallest(max(1, self.limits.connections // _EVICTED_SHARE), idle):
            self.unregister(connection)
            connection.force_close()
        return bool(idle)


def raise_fd_limit(connections: int) -> int:
    """Raise the limit of open files for this many connections; return how many of them the process may have.

    A process without a free file descriptor could open nothing more, not even the connection to the broker.
    """
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            log.warning("fewer connections than configured: raise the limit of open files", extra={"limit": soft})
            return max(1, soft - OTHER_FILES)
    return connections
