"""Takes secrets out of answers before they are kept: error pages like to repeat the request. Pure."""

import html
import json
from collections.abc import Iterator
from urllib.parse import parse_qsl, quote, quote_plus

from schemas.outbound import Request

SHORTEST = 4
"""Characters of a secret. Shorter ones would be found everywhere by chance."""
SHORTEST_OWN = 8
"""Characters of a value in the URL's own query: it may be a secret, or no more than `format=json`."""
MARK = b"***"


def scrub(answer: bytes, query: str, request: Request, *, cut: bool) -> bytes:
    """`answer` without what is secret of the request: `Authorization`, the query's values and those of the URL's own
    `query`.

    Each as sent and as pages would show it (percent-encoded, escaped for HTML or JSON). `cut`: the answer went on, so
    a secret may have begun at its end. A compressed answer can't be searched; none is asked for.
    """
    forms = sorted({form.encode() for secret in _secrets(query, request) for form in _forms(secret)}, key=len)
    for form in reversed(forms):  # longest first: one may be part of another
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
