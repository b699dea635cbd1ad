"""Answers as one ready-made block of bytes.

The library's general response builds a header map, serialises it and asks which of a dozen features are on: a sixth of
a request's CPU time. What isn't common is answered with that one.
"""

import asyncio
import time
from email.utils import formatdate
from http import HTTPStatus

from aiohttp import HttpVersion11, hdrs, web

from ingress.hooks.outcomes import Outcome

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nX-Crossdock-Id: %b\r\nDate: %b\r\n\r\n%b"
)
_SLOW_READER = 64 * 1024
"""Bytes a sender may leave unread before its answers take the way that waits for it."""

_PHRASES = {status.value: status.phrase for status in HTTPStatus}

_date = (0, b"")


def http_date() -> bytes:
    """The Date header (RFC 9110 §5.6.7), made once a second."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]


def accepted(message_id: str) -> bytes:
    """200 `{"id": "<message id>"}`."""
    name = message_id.encode()
    body = b'{"id":"%b"}' % name
    return _HEAD % (len(body), name, http_date(), body)


def block(outcome: Outcome) -> bytes:
    """Any answer; the connection stays open."""
    said: dict[str, str] = {hdrs.CONTENT_TYPE: outcome.content_type, hdrs.CONTENT_LENGTH: str(len(outcome.body))}
    lines = [f"HTTP/1.1 {outcome.status} {_PHRASES.get(outcome.status, '')}"]
    lines += [f"{name}: {value}" for name, value in (said | (outcome.headers or {})).items()]
    return b"%b\r\nDate: %b\r\n\r\n%b" % ("\r\n".join(lines).encode(), http_date(), outcome.body)


def can_take_more(transport: asyncio.WriteTransport) -> bool:
    """Whether the sender takes its answers, so that one more may be written at once."""
    return transport.get_write_buffer_size() < _SLOW_READER


class Accepted(web.StreamResponse):
    """200 `{"id": "<message id>"}`. Only where `fits`."""

    def __init__(self, message_id: str) -> None:  # the general initialiser is what we save
        self._block = accepted(message_id)
        self._transport: object = None

    @staticmethod
    def fits(request: web.BaseRequest) -> bool:
        """HTTP/1.1, kept alive, and a sender that reads its answers."""
        transport = request.transport
        if transport is None or request.version != HttpVersion11 or not request.keep_alive:
            return False
        return can_take_more(transport)

    @property
    def keep_alive(self) -> bool:
        return True

    async def prepare(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the sender has gone")
        transport.write(self._block)

    async def write_eof(self, data: bytes = b"") -> None:
        """`prepare` wrote all of it: one block, one system call."""
