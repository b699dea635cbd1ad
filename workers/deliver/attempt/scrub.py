"""Masks secrets in responses before they are stored, because error pages often repeat the request. Pure."""

import html
import json
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus

from schemas.outbound import Request

SHORTEST = 4
"""Minimum number of characters of a secret to mask; shorter ones would be found everywhere by chance."""
SHORTEST_OWN = 8
"""Minimum number of characters of a value in the URL's own query to mask.

Such a value may be a secret or merely something like `format=json`.
"""
MARK = b"***"


def scrub(answer: bytes, query: str, request: Request, *, cut: bool) -> bytes:
    """Return a response body with the secrets of its request masked.

    The secrets are the `Authorization` header, the values that the request adds to the query, and the values of
    `query`, the URL's own. Each is masked as sent and as pages would show it (percent-encoded, escaped for HTML or
    JSON). If `cut` is true, the body was longer, so a secret that begins at its end is removed too. A compressed body
    cannot be searched; requests therefore ask for an uncompressed one.
    """
    forms = sorted({form.encode() for secret in _secrets(query, request) for form in _forms(secret)}, key=len)
    for form in reversed(forms):  # the longest first, because one form may be part of another
        answer = answer.replace(form, MARK)
        if cut:
            answer = _without_beginning(answer, form)
    return answer


def _without_beginning(answer: bytes, form: bytes) -> bytes:
    for length in range(len(form) - 1, SHORTEST - 1, -1):
        if answer.endswith(form[:length]):
            return answer[:-length]
    return answer


def _secrets(query: str, request: Request) -> Iterator[str]:
    yield from (value for _, value in parse_qsl(query) if len(value) >= SHORTEST_OWN)
    values = [value for _, value in request.query]
    for name, value in request.headers.items():
        if name.lower() == "authorization":
            values += [value, value.partition(" ")[2].strip()]
    yield from (value for value in values if len(value) >= SHORTEST)


def _forms(secret: str) -> tuple[str, ...]:
    escaped = json.dumps(secret)[1:-1]
    return secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret), escaped
