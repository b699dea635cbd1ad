"""HTTP/1.1 over one connection: a POST goes out, the beginning of its answer comes back. No rule of deliveries in here.

Ours, because a client for everything (cookies, redirects, proxies, streams, middleware) took two thirds of an attempt's
time. What answers look like is read by llhttp, Node's own parser.
"""

import asyncio
import re
from typing import Literal, cast

import httptools
import msgspec

KEPT = 4096
"""Bytes of an answer that are read and kept: enough to see what a subscriber's system complained about."""
LONGEST_HEAD = 16 * 1024
"""Bytes of an answer's head; Node's own limit."""
PIECE = 64 * 1024
"""Bytes of a body that are handed over at once: a megabyte in one piece would hold the loop while it is encrypted."""
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
"""For a second reading of an answer that isn't quite HTTP."""

_STATUS_LINE = re.compile(rb"^HTTP/[0-9](?:\.[0-9])? +(?P<status>[0-9]{3})(?=[ \r\n])[^\n]*\n", re.MULTILINE)
_HEAD_END = re.compile(rb"(?<=\n)\r?\n")
_HEADER_LINE = re.compile(rb"[^\s:][^:]*:|[ \t]")
_RETRY_AFTER = re.compile(rb"^retry-after[ \t]*:(?P<value>[^\r\n]*)", re.MULTILINE | re.IGNORECASE)


class Said(msgspec.Struct, frozen=True):
    """An answer."""

    status: int
    body: bytes
    """At most KEPT bytes, as they came."""
    cut: bool
    """There was more."""
    retry_after: str | None


class NoAnswer(Exception):
    """The connection was closed without an answer."""


class CutOff(Exception):
    """The connection was closed within the answer."""


class NotHTTP(Exception):
    """What came is no answer, or one whose head never ends."""


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        # As lenient as browsers are where no one can be fooled by it: nothing else shares this connection.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True)
        self._heads = b""
        """What came before the end of the answer's head, for a second reading."""
        self._reading: Literal["strictly", "leniently", "by status line"] = "strictly"
        self._answer: asyncio.Future[Said] | None = None
        """While one is waited for."""
        self._room: asyncio.Future[None] | None = None
        """While the transport takes no more."""
        self._sent = self._keep_alive = False
        self._fed = self._head = 0
        """Bytes read of heads, and bytes in them."""
        self.kept_at = 0.0
        """Since when it is unused, in the loop's seconds."""
        self.status: int | None = None
        """Of the answer that is coming; also when it then breaks off."""
        self._begin()

    def _begin(self) -> None:
        """Before an answer's head."""
        self._headed = self._sized = self._is_coded = False
        self._retry_after: str | None = None
        self._body: list[bytes] = []
        self._size = 0

    @property
    def reusable(self) -> bool:
        """Whether another request may follow."""
        return (
            self._keep_alive
            and self._sent
            and self._answer is None
            and self._transport is not None
            and not self._transport.is_closing()
        )

    async def post(self, head: bytes, body: bytes) -> Said:
        """Sends a request and waits for its answer, however long: time-outs are the caller's.

        Raises NoAnswer, CutOff, NotHTTP, OSError (as the transport lost it); the connection is of no use then. Nor
        after a cancellation. `reusable` says whether it is of use after an answer.
        """
        answer: asyncio.Future[Said] = self._loop.create_future()
        self._sent = self._keep_alive = False
        self.status = None
        self._fed = self._head = 0
        self._heads = b""
        self._begin()
        if self._transport is None or self._transport.is_closing():
            raise NoAnswer
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

    async def _write(self, head: bytes, body: memoryview, answer: asyncio.Future[Said]) -> bool:
        """Whether all of it went out; an answer may come before that."""
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
        """At once. A request under way ends as NoAnswer or CutOff."""
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._parser is None:
            self.close()  # nobody asked
            return
        if self._reading == "by status line":
            self._heads += data
            self._read_status_line()
        else:
            self._feed(data)
        if not self._headed:
            self._fed += len(data)
            if self._fed > LONGEST_HEAD:  # also where it is one header that doesn't end
                self._fail(NotHTTP())

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
        """Read an answer once more that is not quite HTTP: its status line decides. The connection is closed then.

        First with all of the parser's leniencies (both Content-Length and chunked, folded header lines), then by hand.
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
        """Finish with the status of the last status line, once the head is whole."""
        lines = list(_STATUS_LINE.finditer(self._heads))
        if not lines or int(lines[-1]["status"]) < 100:
            self._fail(NotHTTP())
            return
        self.status = int(lines[-1]["status"])
        end = _HEAD_END.search(self._heads, lines[-1].end())
        if end is None:
            return  # more is to come; a connection that is lost first is CutOff
        head = self._heads[lines[-1].end() : end.start()]
        if not all(_HEADER_LINE.match(line) for line in head.splitlines()):
            self._fail(NotHTTP())
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
        self._fail(exc or (NoAnswer() if self.status is None else CutOff()))
        self.resume_writing()
        self._parser = None  # it holds us

    def pause_writing(self) -> None:
        if self._room is None:
            self._room = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._room = None

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._answer is None or self._answer.done():
            self._keep_alive = False  # it says more than it was asked

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headed:
            return  # a trailer
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
            self._fail(NotHTTP())
        self._headed = not 100 <= self.status < 200 or self.status == 101
        if self._is_coded and self._reading != "strictly":
            self._finish(keep_alive=False, cut=True)  # with a length as well: nobody knows where it ends

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
        else:  # 100, 103 and their like: the answer is still to come
            self.status = None
            self._begin()

    def _finish(self, *, keep_alive: bool, cut: bool = False) -> None:
        answer = self._answer
        if answer is None or answer.done():
            return
        assert self.status is not None
        self._keep_alive = keep_alive and self._reading == "strictly"
        answer.set_result(Said(self.status, b"".join(self._body)[:KEPT], cut, self._retry_after))
        if cut:
            self.close()

    def _fail(self, error: Exception) -> None:
        self._keep_alive = False
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()
