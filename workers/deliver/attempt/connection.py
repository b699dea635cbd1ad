"""An HTTP/1.1 client for one connection: it sends a POST and returns the beginning of the response.

It exists because a general-purpose client (cookies, redirects, proxies, streams, middleware) took two thirds of the
time of an attempt. Responses are parsed by llhttp, the parser of Node.js. No rule about deliveries belongs in here.
"""

import asyncio
import re
from typing import Literal, cast

import httptools
import msgspec

KEPT = 4096
"""Maximum bytes of a response body that are read and kept; enough to show a subscriber's error message."""
LONGEST_HEAD = 16 * 1024
"""Maximum bytes of a response head; the limit of Node.js."""
PIECE = 64 * 1024
"""Maximum bytes of a body per write; encrypting a megabyte in one piece would block the event loop."""
LENIENT = dict.fromkeys(
    (
        "lenient_headers",
        "lenient_chunked_length",
        "lenient_transfer_encoding",
        "lenient_version",
        "lenient_optional_lf_after_cr",
        "lenient_optional_cr_before_lf",
        "lenient_optional_crlf_after_chunk",
        "lenient_spaces_after_chunk_size",
    ),
    True,
)
"""Leniencies of the parser for reading a response again that is not quite valid HTTP."""

_STATUS_LINE = re.compile(rb"^HTTP/[0-9](?:\.[0-9])? +(?P<status>[0-9]{3})(?=[ \r\n])[^\n]*\n", re.MULTILINE)
_HEAD_END = re.compile(rb"(?<=\n)\r?\n")
_HEADER_LINE = re.compile(rb"[^\s:][^:]*:|[ \t]")
_RETRY_AFTER = re.compile(rb"^retry-after[ \t]*:(?P<value>[^\r\n]*)", re.MULTILINE | re.IGNORECASE)


class ResponseHead(msgspec.Struct, frozen=True):
    """The response to one request."""

    status: int
    body: bytes
    """The first KEPT bytes of the body, as received."""
    cut: bool
    """Whether the body was longer, or its end unknown."""
    retry_after: str | None


class NoAnswerError(Exception):
    """The connection was closed without a response."""


class CutOffError(Exception):
    """The connection was closed in the middle of a response."""


class NotHTTPError(Exception):
    """The received data is not an HTTP response, or its head is too long."""


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
        self._reading: Literal["strictly", "leniently", "by status line"] = "strictly"
        self._answer: asyncio.Future[ResponseHead] | None = None
        """The pending response; None while no request is under way."""
        self._room: asyncio.Future[None] | None = None
        """Pending while the transport accepts no more data; None otherwise."""
        self._sent = self._keep_alive = False
        self._fed = self._head = 0
        """Bytes received before the end of the head, and bytes in the header lines."""
        self.kept_at = 0.0
        """Time of the event loop since which the connection is idle."""
        self.status: int | None = None
        """Status of the response, as soon as it is known; it stays set if the response then breaks off."""
        self._begin()

    def _begin(self) -> None:
        """Reset the state that belongs to one response head."""
        self._headed = self._sized = self._is_coded = False
        self._retry_after: str | None = None
        self._body: list[bytes] = []
        self._size = 0

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent on the connection."""
        return (
            self._keep_alive
            and self._sent
            and self._answer is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    async def post(self, head: bytes, body: bytes) -> ResponseHead:
        """Send a request and return its response; time-outs are up to the caller.

        Raises NoAnswerError, CutOffError, NotHTTPError, or the OSError with which the transport was lost. After any of
        these and after a cancellation, the connection cannot be used again. After a response, `reusable` shows whether
        it can.
        """
        answer: asyncio.Future[ResponseHead] = self._loop.create_future()
        self._sent = self._keep_alive = False
        self.status = None
        self._fed = self._head = 0
        self._heads = b""
        self._begin()
        if self._transport is None or self._transport.is_closing():
            raise NoAnswerError
        self._answer = answer
        try:
            if len(body) <= PIECE:
                self._transport.write(head + body)
                self._sent = True
            else:
                self._sent = await self._write(head, memoryview(body), answer)
            return await answer
        finally:
            self._answer = None

    async def _write(self, head: bytes, body: memoryview, answer: asyncio.Future[ResponseHead]) -> bool:
        """Send a long request piece by piece; return whether all of it was sent.

        A response may arrive, or the connection may close, before the end of the body.
        """
        assert self._transport is not None
        self._transport.write(head)
        for start in range(0, len(body), PIECE):
            if self._room is not None:
                await asyncio.wait((self._room, answer), return_when=asyncio.FIRST_COMPLETED)
            if answer.done() or self._transport.is_closing():
                return False
            self._transport.write(body[start : start + PIECE])
        return True

    def close(self) -> None:
        """Close the connection at once; a request under way raises NoAnswerError or CutOffError."""
        if self._transport is not None:
            self._transport.abort()

    # Methods that the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._parser is None:
            self.close()  # data without a request
            return
        if self._reading == "by status line":
            self._heads += data
            self._read_status_line()
        else:
            self._feed(data)
        if not self._headed:
            self._fed += len(data)
            if self._fed > LONGEST_HEAD:  # also if a single header line never ends
                self._fail(NotHTTPError())

    def _feed(self, data: bytes) -> None:
        assert self._parser is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._finish(keep_alive=False)
            self._keep_alive = False  # what follows is another protocol
        except httptools.HttpParserError:
            self._read_again(data)
        else:
            if not self._headed:
                self._heads += data

    def _read_again(self, data: bytes) -> None:
        """Read a response again that is not quite valid HTTP, since only its status line matters.

        The first time all leniencies of the parser are on (both Content-Length and chunked, folded header lines), the
        second time only the status line is read. The connection is closed afterwards.
        """
        self._keep_alive = False
        if self._headed:  # a chunk that is not one, or both Content-Length and chunked, and it isn't chunked
            self._finish(keep_alive=False, cut=True)
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
            self._reading = "by status line"
            self._read_status_line()

    def _read_status_line(self) -> None:
        """Finish with the status of the last status line, once the head is complete."""
        lines = list(_STATUS_LINE.finditer(self._heads))
        if not lines or int(lines[-1]["status"]) < 100:
            self._fail(NotHTTPError())
            return
        self.status = int(lines[-1]["status"])
        end = _HEAD_END.search(self._heads, lines[-1].end())
        if end is None:
            return  # the head is incomplete; if the connection is lost now, the result is CutOff
        head = self._heads[lines[-1].end() : end.start()]
        if not all(_HEADER_LINE.match(line) for line in head.splitlines()):
            self._fail(NotHTTPError())
            return
        header = _RETRY_AFTER.search(head)
        self._retry_after = header["value"].decode("latin-1").strip() if header else None
        self._body, self._headed = [self._heads[end.end() :]], True
        self._finish(keep_alive=False, cut=True)

    def eof_received(self) -> None:
        if self._headed and not self._sized:
            self._finish(keep_alive=False)

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._headed and not self._sized:
            self._finish(keep_alive=False)
        self._fail(exc or (NoAnswerError() if self.status is None else CutOffError()))
        self.resume_writing()
        self._parser = None  # break the reference cycle

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # Methods that the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            self._keep_alive = False  # there are more responses than requests

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headed:
            return  # it is a trailer
        self._head += len(name) + len(value) + 4
        if len(name) == 14 and name.lower() == b"content-length":
            self._sized = True
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            self._sized = value.lower().endswith(b"chunked")
            self._is_coded = not self._sized
        elif len(name) == 11 and name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self.status = self._parser.get_status_code()
        if self._head > LONGEST_HEAD or self.status < 100:  # RFC 9110 §15: three digits, the first from 1 to 5
            self._fail(NotHTTPError())
        self._headed = not 100 <= self.status < 200 or self.status == 101
        if self._is_coded and self._reading != "strictly":
            self._finish(keep_alive=False, cut=True)  # there is a length as well, so the end of the body is unknown

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        self._body.append(data)
        if self._size > KEPT:
            self._finish(keep_alive=False, cut=True)

    def on_message_complete(self) -> None:
        assert self._parser is not None
        if self._headed:
            self._sized = True
            self._finish(keep_alive=self._parser.should_keep_alive())
        else:  # an interim response such as 100 or 103; the final one is still to come
            self.status = None
            self._begin()

    def _finish(self, *, keep_alive: bool, cut: bool = False) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        assert self.status is not None
        self._keep_alive = keep_alive and self._reading == "strictly"
        answer.set_result(ResponseHead(self.status, b"".join(self._body)[:KEPT], cut, self._retry_after))
        if cut:
            self.close()

    def _fail(self, error: Exception) -> None:
        self._keep_alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
