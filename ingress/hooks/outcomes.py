"""The outcome of one request, and the bytes of its response.

An `Outcome` is immutable: it is made once, completed by `WebhookRequest` and then logged, counted and sent. Most
responses are written as one ready-made block of bytes, because the library's general response builds a header map,
serialises it and checks which of a dozen features are on: a sixth of a request's CPU time.
"""

import asyncio
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from types import MappingProxyType

import msgspec
from aiohttp import HttpVersion11, hdrs, web

from schemas import problems
from schemas.platform import Platform

JSON = "application/json"
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    413: "Content too large",
    415: "Unsupported media type",
    429: "Too many requests",
    503: "Service unavailable",
}
_DETAILS = {
    404: "There is no webhook at this URL. Check the platform, the account and the last part of the path.",
    405: "Send webhooks with the method POST.",
    408: "The body did not arrive in time.",
    413: "The body is larger than this service accepts.",
    415: "Send the body without Content-Encoding: the signature is over the bytes as sent.",
    429: "Too many requests in progress for this account; try again later.",
    503: "The message could not be stored durably. Please send it again.",
}
_RETRY_AFTER = {429: "1", 503: "5"}
"""Seconds. An account's requests under way end in less than one, once it stops sending more; the broker is usually
back, or a worker free, well within five."""

_ACCEPTED_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nX-Crossdock-Id: %b\r\nDate: %b\r\n\r\n%b"
)
_ACK_BODY = b'{"id":"%b"}'
_SLOW_READER = 64 * 1024
"""Bytes that a sender may leave unread before its responses are sent by the library, which waits for it."""
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_PHRASES = {status.value: status.phrase for status in HTTPStatus}

_date = (0, b"")


class Outcome(msgspec.Struct, frozen=True):
    """The result of one request, from which its response, its access log line and its metrics are made."""

    status: int
    body: bytes
    content_type: str
    reason: str | None = None
    """Why it was not accepted or not answered: one of a few fixed texts, because it is the label of a metric."""
    detail: str | None = None
    """More about the reason, for the operator's log only."""
    headers: Mapping[str, str] = _NO_HEADERS
    close: bool = False
    """Whether the connection is closed after the response."""
    traceparent: str | None = None
    is_default_ack: bool = False
    """Whether the response is 200 with the message id and nothing more; `with_body` writes that out."""


def accepted(traceparent: str | None, reason: str | None = None) -> Outcome:
    """Return the outcome of a message that the broker has confirmed."""
    return Outcome(200, b"", JSON, reason, traceparent=traceparent, is_default_ack=True)


def with_body(outcome: Outcome, message_id: str) -> Outcome:
    """Return the outcome with the body and the header that a default acknowledgement leaves out."""
    if not outcome.is_default_ack:
        return outcome
    body, headers = _ACK_BODY % message_id.encode(), {**outcome.headers, "X-Crossdock-Id": message_id}
    return msgspec.structs.replace(outcome, body=body, headers=headers, is_default_ack=False)


def refused(
    platform: Platform | None,
    status: int,
    reason: str,
    request_headers: Mapping[str, str],
    *,
    headers: Mapping[str, str] = _NO_HEADERS,
    detail: str | None = None,
    close: bool = False,
    traceparent: str | None = None,
) -> Outcome:
    """Return a refusal of ours: problem+json (RFC 9457), or the platform's own form.

    The response never says why a signature failed. `headers` are added to it, besides Retry-After.
    """
    if platform is not None and platform.error is not None:
        content_type, body = platform.error(status, request_headers.get(hdrs.ACCEPT_LANGUAGE))
    else:
        content_type, body = problems.CONTENT_TYPE, problems.problem(status, _TITLES[status], _DETAILS.get(status))
    if status in _RETRY_AFTER:
        headers = {**headers, hdrs.RETRY_AFTER: _RETRY_AFTER[status]}
    return Outcome(status, body, content_type, reason, detail, headers, close, traceparent)


def encode(outcome: Outcome, message_id: str) -> bytes:
    """Return the whole response; the connection stays open."""
    if outcome.is_default_ack and not outcome.headers:
        encoded_id = message_id.encode()
        body = _ACK_BODY % encoded_id
        return _ACCEPTED_HEAD % (len(body), encoded_id, http_date(), body)
    outcome = with_body(outcome, message_id)
    headers = {hdrs.CONTENT_TYPE: outcome.content_type, hdrs.CONTENT_LENGTH: str(len(outcome.body)), **outcome.headers}
    lines = [f"HTTP/1.1 {outcome.status} {_PHRASES.get(outcome.status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return b"%b\r\nDate: %b\r\n\r\n%b" % ("\r\n".join(lines).encode(), http_date(), outcome.body)


def http_date() -> bytes:
    """Return the value of the Date header (RFC 9110 §5.6.7), which is made once per second."""
    global _date
    now = int(time.time())
    if now != _date[0]:
        _date = (now, formatdate(now, usegmt=True).encode())
    return _date[1]


def can_take_more(transport: asyncio.WriteTransport) -> bool:
    """Return whether the sender reads its responses, so that one more may be written at once."""
    return transport.get_write_buffer_size() < _SLOW_READER


def library_response(outcome: Outcome, message_id: str, request: web.BaseRequest) -> web.StreamResponse:
    """Return the response for the library to send."""
    if outcome.is_default_ack and _Encoded.fits(request):
        return _Encoded(encode(outcome, message_id))
    outcome = with_body(outcome, message_id)
    headers = {**outcome.headers, hdrs.CONTENT_TYPE: outcome.content_type}
    response = web.Response(body=outcome.body, status=outcome.status, headers=headers)
    if outcome.close:
        response.force_close()
    return response


class _Encoded(web.StreamResponse):
    """A response that is one block of bytes. Only where it `fits`."""

    def __init__(self, block: bytes) -> None:  # the general initialiser is what we save
        self._block = block

    @staticmethod
    def fits(request: web.BaseRequest) -> bool:
        """Return whether the request is HTTP/1.1 and kept alive, and its sender reads its responses."""
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
            raise ConnectionResetError("the sender has closed the connection")
        transport.write(self._block)

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has written the whole response with one system call."""
