"""What a listening socket of ours withstands: heads that don't end, answers that nobody takes, what is no HTTP, more
connections than there is room for.

The library bounds the size of a head and how long a connection is idle; the rest is here. It reaches into the library's
connection for what that says nowhere else: whether it waits for a request (`_waiter`), since when, and for the requests
themselves (`_messages`) and their bodies (`_buffer`), of which whoever wants to may take those that need none of the
library's machinery.
"""

import asyncio
import heapq
import logging
import resource
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

from schemas import problems

log = logging.getLogger("crossdock.connections")

KEEPALIVE = 75.0
"""Seconds an idle connection is kept, as is usual behind load balancers."""
HALF_CLOSED_LOOK = 0.02
"""Seconds between two looks at whether a sender that will send no more has all its answers."""
LINGER = 1.0
"""Seconds we go on discarding a body that we refused, so that the sender gets to read why."""
OTHER_FILES = 64
"""Descriptors for what isn't a client: the broker, the database, the admin port, the logs."""
_AT_ONCE = 100
"""One in so many connections is closed when there is no room: looking for those that idle longest reads all of them."""
_NONE_IDLE = 0.1
"""Seconds for which nobody is looked for after a look that found all at work."""

_HEAD = b"HTTP/1.1 %b\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FULL = _HEAD % b"503 Service Unavailable"
_SLOW = _HEAD % b"408 Request Timeout"

Refused = Callable[[str], object]
"""Hears the reason, one of a few fixed texts, of each request or connection that no handler gets to see."""


TryFastPath = Callable[[RawRequestMessage, bytes, "Connection"], bool]
"""Takes a request that has arrived whole, with its body, or leaves it (False) for the handler. What it has taken it
answers once, in a later turn of the loop, by `Connection.answer`. Must not raise."""


class Limits(msgspec.Struct, frozen=True):
    """What a client may take of us."""

    connections: int
    """Open at a time."""
    header_timeout: float
    """Seconds from the first byte of a request's head to its last."""
    write_timeout: float
    """Seconds in which what we have written must be taken."""


class Connection(web.RequestHandler):
    """One client's."""

    __slots__ = ("_half_closed", "_head", "_kept", "_server", "_stream", "_taken", "_unread")

    def __init__(self, server: "Server", **settings: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self._server = server
        self._stream: asyncio.Transport | None = None
        """The transport, also while it is closing."""
        self._head: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._half_closed: asyncio.TimerHandle | None = None
        self._taken = False
        """A request is under way that the library knows nothing of."""
        self._kept = b""
        """What came while it was."""

    @property
    def _waits(self) -> bool:
        """For a request's head: nothing is under way."""
        if self._taken:
            return False
        waiter = self._waiter
        # Before the library's task has run for the first time there is no waiter yet.
        return not waiter.done() if waiter is not None else not self._request_count

    @property
    def idle_since(self) -> float | None:
        """In the loop's seconds, shifted alike for all; None: a request is under way."""
        return self._next_keepalive_close_time if self._waits else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._stream = self.transport
        self._server.register(self)

    def data_received(self, data: bytes) -> None:
        if self._taken:  # answers go out in the order of the requests
            if data and self._stream is not None:
                self._stream.pause_reading()
                self._kept += data
            return
        # The library's task must not wake up for a request that is taken here.
        waiter, self._waiter = self._waiter, None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if waiter is not None and not waiter.done() and self._messages and not self._take():
            waiter.set_result(None)
        if self._waits:
            # An empty line before a request is allowed (RFC 9112 §2.2) and begins none.
            if self._head is None and data.strip(b"\r\n"):
                self._head = self._loop.call_later(self._server.limits.header_timeout, self._too_slow)
        elif self._head is not None:
            self._head.cancel()
            self._head = None

    def _take(self) -> bool:
        """Whether the only request that is here is whole, and whoever may has taken it."""
        take = self._server.take
        if take is None or len(self._messages) != 1:
            return False
        message, body = self._messages[0]
        if not isinstance(message, RawRequestMessage) or not body.is_eof() or body.exception() is not None:
            return False
        # As it lies there: reading it is nine calls, for what need not wait, and the handler may still want to.
        raw = b"" if body is EMPTY_PAYLOAD else b"".join(body._buffer)
        self._taken = take(message, raw, self)
        if self._taken:
            self._messages.clear()
            if self._parser is not None:
                self._parser.message_consumed()
        return self._taken

    def answer(self, block: bytes) -> None:
        """The answer to what was taken, whole; nothing if the sender has gone. Then what came meanwhile is read."""
        self._taken = False
        stream = self.transport
        if stream is None or stream.is_closing():
            return
        stream.write(block)
        if self._close:  # we are stopping
            self.force_close()
            return
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._kept:
            kept, self._kept = self._kept, b""
            stream.resume_reading()
            self.data_received(kept)

    def _process_keepalive(self) -> None:
        if self._taken:  # the library thinks that it is idle
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def eof_received(self) -> bool:  # type: ignore[override]  # the library's always closes
        """The sender will send no more. Keep the connection until it has its answers to what arrived whole."""
        super().eof_received()
        if self._close or self._waits or not self._is_whole():
            return False
        self._half_closed = self._loop.call_later(HALF_CLOSED_LOOK, self._close_when_answered)
        return True

    def _is_whole(self) -> bool:
        """Whether every body has arrived, of what is under way and of what follows."""
        request = self._current_request
        under_way = request is None or request.content.is_eof()
        return under_way and all(body.is_eof() for _, body in self._messages)

    def _close_when_answered(self) -> None:
        if self._stream is None or self._stream.is_closing():
            return
        if self._waits and not self._messages:
            self.force_close()
        else:
            self._half_closed = self._loop.call_later(HALF_CLOSED_LOOK, self._close_when_answered)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._give_time()

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
        self._server.leave(self)

    async def start(self) -> None:
        try:
            await super().start()
        finally:
            self._closing()

    def force_close(self) -> None:
        super().force_close()
        self._closing()

    def reject(self, answer: bytes, reason: str) -> None:
        """Closes with a ready-made answer: no request is spent on it."""
        self._server.refused(reason)
        if self.transport is not None:
            self.transport.write(answer)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What no handler answered. The library would log and send back what it couldn't read: that holds secrets."""
        if isinstance(exc, HttpProcessingError):
            status, detail = 400, "This is not a request that can be read."
            self._server.refused("malformed")
            log.info("malformed request", extra={"remote": request.remote, "error": type(exc).__name__})
        else:
            detail = "This failed on our side."
            log.error("request failed", exc_info=exc, extra={"remote": request.remote})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        title = "Bad request" if status == 400 else "Internal server error"
        body = problems.problem(status, title, detail)
        response = web.Response(status=status, body=body, content_type=problems.CONTENT_TYPE)
        response.force_close()
        return response

    def _too_slow(self) -> None:
        self._head = None
        if self._waits:
            self.reject(_SLOW, "headers too slow")

    def _closing(self) -> None:
        """A transport that closes sends what it has first, and waits for whoever doesn't take it."""
        if self._stream is not None and self._stream.get_write_buffer_size():
            self._give_time()

    def _give_time(self) -> None:
        if self._unread is None:
            self._unread = self._loop.call_later(self._server.limits.write_timeout, self._never_taken)

    def _never_taken(self) -> None:
        self._server.refused("answer not taken")
        if self._stream is not None:
            self._stream.abort()


class Server(web.Server):
    """Makes the connections of one listening socket, and counts them."""

    def __init__(
        self,
        handler: Callable[[Any], Awaitable[web.StreamResponse]],
        limits: Limits,
        refused: Refused,
        take: TryFastPath | None = None,
        **settings: Any,
    ) -> None:
        """`settings`: the library's."""
        super().__init__(handler, **settings)
        self.limits = limits
        self.refused = refused
        self.take = take
        self._open: dict[Connection, None] = {}
        self._all_busy_until = 0.0

    @property
    def count(self) -> int:
        """Connections that are open now."""
        return len(self._open)

    def __call__(self) -> Connection:
        return Connection(self, **self._kwargs)

    def register(self, connection: Connection) -> None:
        """Counts a new one. Where there is no room, those that idle longest make it; if all work, it is turned away."""
        if len(self._open) >= self.limits.connections and not self._evict_idle():
            connection.reject(_FULL, "no room")
            return
        self._open[connection] = None

    def leave(self, connection: Connection) -> None:
        """It is closed."""
        self._open.pop(connection, None)

    def _evict_idle(self) -> bool:
        now = self._loop.time()
        if now < self._all_busy_until:
            return False
        # The place breaks ties: the loop's clock has milliseconds.
        idle = [(since, place, one) for place, one in enumerate(self._open) if (since := one.idle_since) is not None]
        if not idle:
            self._all_busy_until = now + _NONE_IDLE
        for _, _, one in heapq.nsmallest(max(1, self.limits.connections // _AT_ONCE), idle):
            self.leave(one)
            one.force_close()
        return bool(idle)


def raise_fd_limit(connections: int) -> int:
    """As many of them as this process may have descriptors for, after asking for more: at the end of those nothing
    could be opened any more, not even the way to the broker."""
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            log.warning("fewer connections than configured: raise the limit of open files", extra={"limit": soft})
            return max(1, soft - OTHER_FILES)
    return connections
