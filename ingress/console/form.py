"""Reads the form that an action is sent with, within bounds of size, fields and time."""

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from ingress.console.errors import PageError

MAX_FORM = 256 * 1024
"""Maximum bytes of an operator's form: 5,000 ticked rows."""
MAX_LOGIN = 16 * 1024
"""Maximum bytes of a form that is sent without a session."""
MAX_FIELDS = 6000
"""Maximum fields of a form."""
TIMEOUT = 10.0
"""Maximum seconds until a form has arrived."""

Form = Mapping[str, Sequence[str]]


async def read(request: web.Request, limit: int) -> Form:
    """Return the fields of a form of at most `limit` bytes. Raises PageError: 400, 408, 413, 415."""
    if request.content_type != "application/x-www-form-urlencoded" or hdrs.CONTENT_ENCODING in request.headers:
        raise PageError(415, "This is not a form", "Send application/x-www-form-urlencoded, not compressed.")
    if (request.content_length or 0) > limit:
        raise _too_large()
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(TIMEOUT):
            async for part in request.content.iter_any():
                size += len(part)
                if size > limit:
                    raise _too_large()
                parts.append(part)
        text = b"".join(parts).decode()
        return parse_qs(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except TimeoutError:
        raise PageError(408, "The form did not arrive in time", "Nothing was changed. Send it again.") from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError, ValueError):
        raise PageError(400, "The form cannot be read", "Go back, load the page again, and send it anew.") from None


def _too_large() -> PageError:
    return PageError(413, "The form is too large", "Tick fewer rows, or use what the filter matches.")
