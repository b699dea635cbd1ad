"""An HTTP/1.1 client for one connection: it sends a POST and returns the beginning of the response.

It exists because a general-purpose client (cookies, redirects, proxies, streams, middleware) took two thirds of the
time of an attempt. Responses are parsed by llhttp, the parser of Node.js. No rule about deliveries belongs in here.
"""

import asyncio
import enum
from typing import Literal, cast

import httptools

from workers.deliver.attempt.response import (
    KEPT,
    LENIENT,
    WITH_RETRY_AFTER,
    CutOffError,
    HeadScanner,
    NoAnswerError,
    NotHTTPError,
    ResponseHead,
)

LONGEST_HEAD = 16 * 1024
"""Maximum bytes of a response head that are kept, the limit of Node.js. Of a longer one only the status line counts."""
MOST_READ = 256 * 1024
"""Maximum bytes of a response that are read; the limit of browsers for a head."""
PIECE = 64 * 1024
"""Maximum bytes of a body per write; encrypting a megabyte in one piece would block the event loop."""


class ConnectionState(enum.Enum):
    """What a connection can be used for."""

    NEW = "new"
    """No request has been sent on it yet."""
    ACTIVE = "active"
    """A request is under way, or ended without a response, after which the connection cannot be used again."""
    IDLE = "idle"
    """The last response was complete, and another request may be sent."""
    CLOSED = "closed"
    """It is closed, or its owner must close it because no other request may be sent on it."""


# In Python 3.11, looking up a member by the name of its class takes 25 times as long as reading a global variable.
_NEW, _ACTIVE, _IDLE, _CLOSED = ConnectionState


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # Be as lenient as browsers are. This is safe because no other client shares the connection.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._heads = b""
        """The data received before the end of the response head, kept so that it can be read again."""
        self._reading: Literal["strictly", "leniently"] = "strictly"
        self._scanner: HeadScanner | None = None
        """Reads the response in place of the parser if only its status line can be read, or if its head is too long."""
        self._state = _NEW
        self._response: asyncio.Future[ResponseHead] | None = None
        """The pending response; None while no request is under way."""
        self._writable: asyncio.Future[None] | None = None
        """Pending while the transport accepts no more data; None otherwise."""
        self._received_bytes = 0
        """Bytes received of the response."""
        self.expires_at = 0.0
        """Time of the event loop after which an idle connection is not used again; its owner sets it."""
        self.status: int | None = None
        """Status of the response, as soon as it is known; it stays set if the response then breaks off."""
        self._begin()

    def _begin(self) -> None:
        """Reset what is known about the response."""
        self._is_head_complete = False
        """Whether the status decides: the head is complete, or too long."""
        self._is_end_known = False
        """Whether a length or chunks show where the body ends; otherwise it ends with the connection."""
        self._is_coded = False
        """Whether the header Transfer-Encoding has a value that does not end in `chunked`."""
        self._retry_after: str | None = None
        self._body: list[bytes] = []
        self._size = 0

    @property
    def is_idle(self) -> bool:
        """Whether another request may be sent on the connection."""
        return self._state is _IDLE and self._transport is not None and not self._transport.is_closing()

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed, or must not be used again."""
        return self._state is _CLOSED or self._transport is None or self._transport.is_closing()

    def has_expired(self, now: float) -> bool:
        """Return whether the connection cannot be used again, because it is no longer idle or was idle for too long.

        `now` is the time of the event loop. The server may have closed the connection without our having noticed yet.
        """
        if now >= self.expires_at or self._state is not _IDLE:
            return True
        return self._transport is None or self._transport.is_closing()

    async def post(self, head: bytes, body: bytes) -> ResponseHead:
        """Send a request and return its response; time-outs are up to the caller.

        Raises NoAnswerError, CutOffError, NotHTTPError, or the OSError with which the transport was lost. After any of
        these and after a cancellation, the connection cannot be used again. After a response, `is_idle` shows whether
        it can. A response whose body breaks off is returned as far as it has arrived.
        """
        response: asyncio.Future[ResponseHead] = self._loop.create_future()
        self.status = None
        self._received_bytes = 0
        self._heads = b""
        self._begin()
        if self._transport is None or self.is_closed:
            raise NoAnswerError
        self._state = _ACTIVE
        self._response = response
        is_sent = False
        try:
            if len(body) <= PIECE:
                self._transport.write(head + body)
                is_sent = True
            else:
                is_sent = await self._write(head, memoryview(body), response)
            return await response
        finally:
            self._response = None
            if not is_sent:
                self._state = _CLOSED  # the rest of the body would be taken for the next request

    async def _write(self, head: bytes, body: memoryview, response: asyncio.Future[ResponseHead]) -> bool:
        """Send a long request piece by piece; return whether all of it was sent.

        A response may arrive, or the connection may close, before the end of the body.
        """
        assert self._transport is not None
        self._transport.write(head)
        for start in range(0, len(body), PIECE):
            if self._writable is not None:
                await asyncio.wait((self._writable, response), return_when=asyncio.FIRST_COMPLETED)
            if response.done() or self.is_closed:
                return False
            self._transport.write(body[start : start + PIECE])
        return True

    def cut_short(self) -> ResponseHead | None:
        """Close the connection, and return the response as far as it has arrived; None if it does not count."""
        self.close()
        if self.status is None or not self._is_head_complete:
            return None
        return ResponseHead(self.status, b"".join(self._body)[:KEPT], True, self._retry_after)

    def close(self) -> None:
        """Close the connection at once; a request under way raises NoAnswerError or CutOffError."""
        self._state = _CLOSED
        if self._transport is not None:
            self._transport.abort()

    # Methods that the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._response is None:
            self.close()  # data without a request
            return
        self._received_bytes += len(data)
        if self._scanner is not None:
            self._scan(self._scanner, data)
        else:
            self._feed(data)
            if self._received_bytes > LONGEST_HEAD and not self._is_head_complete and self._scanner is None:
                self._scan_from_now_on()
        if self._received_bytes > MOST_READ:
            if self._is_head_complete:  # trailers or chunks without end, or a head without end
                self._finish(keep_alive=False, cut=True)
            else:
                self._fail(NotHTTPError())

    def _feed(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(keep_alive=False)
            self._state = _CLOSED  # what follows is another protocol
        except httptools.HttpParserError:
            self._read_again(data)
        else:
            if not self._is_head_complete:
                self._heads += data

    def _read_again(self, data: bytes) -> None:
        """Read a response again that is not quite valid HTTP, because its status line decides.

        The first time all leniencies of the parser are on (both Content-Length and chunked, folded header lines), the
        second time only the status line is read. The connection is closed afterwards.
        """
        if self._is_head_complete:
            # A chunk is not valid, or there are both Content-Length and chunked, and the body is not chunked.
            self._finish(keep_alive=False, cut=True)
            self._state = _CLOSED
            return
        self._heads += data
        if self._reading == "strictly":
            self._reading = "leniently"
            self._parser = httptools.HttpResponseParser(self)
            self._parser.set_dangerous_leniencies(**LENIENT)
            self._begin()
            heads, self._heads = self._heads, b""
            self._feed(heads)
        else:
            self._scan_from_now_on()

    def _scan_from_now_on(self) -> None:
        """Read the response from its beginning by its status line and Retry-After alone, without the parser."""
        self._begin()
        self._scanner, self._parser = HeadScanner(), None
        heads, self._heads = self._heads, b""
        self._scan(self._scanner, heads)

    def _scan(self, scanner: HeadScanner, data: bytes) -> None:
        """Read on, and finish once the head is complete.

        If the connection is lost before that, the result is CutOffError. The status of a head that is too long decides
        at once, unless Retry-After may still follow.
        """
        try:
            is_whole = scanner.feed(data)
        except NotHTTPError as error:
            self._fail(error)
            return
        self.status, self._retry_after, self._body = scanner.status, scanner.retry_after, [scanner.body]
        self._is_head_complete = is_whole or (self.status is not None and self._received_bytes > LONGEST_HEAD)
        if is_whole or (self._is_head_complete and not (self.status in WITH_RETRY_AFTER and self._retry_after is None)):
            self._finish(keep_alive=False, cut=True)

    def eof_received(self) -> None:
        if self._is_head_complete and not self._is_end_known:
            self._finish(keep_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_head_complete:  # the status has decided, even if a part of the body is missing
            self._finish(keep_alive=False, cut=exc is not None or self._is_end_known)
        self._fail(exc or (NoAnswerError() if self.status is None else CutOffError()))
        self.resume_writing()
        self._parser = None  # break the reference cycle

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Methods that the parser calls.

    def on_message_begin(self) -> None:
        if self._state is not _ACTIVE:
            self._state = _CLOSED  # there are more responses than requests

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_head_complete:
            return  # it is a trailer
        if len(name) == 14 and name.lower() == b"content-length":
            self._is_end_known = True
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            self._is_end_known = value.lower().endswith(b"chunked")
            self._is_coded = not self._is_end_known
        elif len(name) == 11 and name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        if self.status < 100:  # RFC 9110 §15: three digits, the first from 1 to 5
            self._fail(NotHTTPError())
        self._is_head_complete = not 100 <= self.status < 200 or self.status == 101
        if self._is_coded and self._reading != "strictly":
            self._finish(keep_alive=False, cut=True)  # there is a length as well, so the end of the body is unknown

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        self._body.append(data)
        if self._size > KEPT:
            self._finish(keep_alive=False, cut=True)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._is_head_complete:
            self._is_end_known = True
            self._finish(keep_alive=self._parser.should_keep_alive())
        else:  # an interim response such as 100 or 103; the final one is still to come
            self.status = None
            self._begin()

    def _finish(self, *, keep_alive: bool, cut: bool = False) -> None:
        response = self._response
        if response is None or response.done():
            return
        assert self.status is not None
        self._state = _IDLE if keep_alive and self._reading == "strictly" else _CLOSED
        response.set_result(ResponseHead(self.status, b"".join(self._body)[:KEPT], cut, self._retry_after))
        if cut:
            self.close()

    def _fail(self, error: Exception) -> None:
        if self._response is not None and not self._response.done():
            self._response.set_exception(error)
        self.close()
