"""What a request comes to, before it is an answer, a log line and a count."""

from collections.abc import Mapping

import msgspec
from aiohttp import hdrs

from schemas import problems
from schemas.platform import Platform

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
    405: "Webhooks are posted.",
    408: "The body did not arrive in time.",
    413: "The body is larger than this service accepts.",
    415: "Send the body without Content-Encoding: the signature is over the bytes as sent.",
    429: "This account has as many requests under way as it may; send this one again later.",
    503: "The message could not be made safe. Nothing was lost on our side; send it again.",
}


_RETRY_AFTER = {429: "1", 503: "5"}
"""Seconds. What an account has under way is through in less, once it stops sending more; the broker is usually back, or
a worker free, well within five."""


class Outcome(msgspec.Struct):
    """What a request came to; the access log's line and the metrics are made of it."""

    status: int
    body: bytes
    content_type: str
    reason: str | None = None
    """One of a few fixed texts: it is a metric's label."""
    detail: str | None = None
    """More for the operator's log."""
    headers: dict[str, str] | None = None
    close: bool = False
    traceparent: str | None = None
    plain: bool = False
    """200 and the id, nothing more: `with_body` says it in full."""


def accepted() -> Outcome:
    """Safe with the broker."""
    return Outcome(200, b"", "application/json", plain=True)


def with_body(outcome: Outcome, message_id: str) -> Outcome:
    """With what a plain one leaves out, for whoever needs it in pieces; `response.accepted` is the whole answer."""
    if outcome.plain:
        outcome.plain = False
        outcome.body = b'{"id":"%b"}' % message_id.encode()
        outcome.headers = {**(outcome.headers or {}), "X-Crossdock-Id": message_id}
    return outcome


def refused(
    platform: Platform | None,
    status: int,
    reason: str,
    asked: Mapping[str, str],
    headers: Mapping[str, str] = {},
    *,
    close: bool = False,
) -> Outcome:
    """Our own refusal: problem+json (RFC 9457), or the platform's own form; not a word about why a signature failed.

    `asked`: the request's headers; `headers`: more of the answer's, besides when to send it again.
    """
    if platform is not None and platform.error is not None:
        content_type, text = platform.error(status, asked.get(hdrs.ACCEPT_LANGUAGE))
    else:
        content_type = problems.CONTENT_TYPE
        text = problems.problem(status, _TITLES[status], _DETAILS.get(status))
    again = _RETRY_AFTER.get(status)
    more = {**headers, hdrs.RETRY_AFTER: again} if again else dict(headers)
    return Outcome(status, text, content_type, reason, headers=more, close=close)
