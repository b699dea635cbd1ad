"""Reading a request's body: never more bytes than the limit, never longer than the time-out, and never decoded."""

import asyncio
from collections.abc import Callable

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError


class BodyRefusedError(Exception):
    """The body will not be read: the status of the response, and the reason as a metric's label."""

    status = 400
    reason = ""


class BodyTooLargeError(BodyRefusedError):
    """The body is larger than the limit."""

    status = 413
    reason = "body too large"


class BodyTooSlowError(BodyRefusedError):
    """The body did not arrive within the time-out."""

    status = 408
    reason = "body too slow"


class BrokenBodyError(BodyRefusedError):
    """The sender closed the connection, or its framing is wrong; it will not receive the response."""

    reason = "connection broken"


class NoBodyBudgetError(BodyRefusedError):
    """The process holds as many bytes of bodies as it may."""

    status = 503
    reason = "no room for bodies"


class BodyBudget:
    """Bytes of the bodies that one process holds: those that are arriving, and those that wait for their confirm."""

    def __init__(self, limit: int, published: Callable[[], int] = lambda: 0) -> None:
        """`published` returns the bytes of the bodies that the publisher has and the broker has not confirmed."""
        self.limit = limit
        self.used = 0
        """Bytes of the bodies that are arriving."""
        self._published = published

    @property
    def is_full(self) -> bool:
        """Whether no more bytes of a body may be read."""
        return self.used + self._published() > self.limit


async def read(request: web.BaseRequest, budget: BodyBudget, *, limit: int, timeout: float) -> bytes:
    """Return the whole body, byte for byte as sent.

    Raises BodyTooLargeError as soon as it is known, BodyTooSlowError after `timeout` seconds, BrokenBodyError and
    NoBodyBudgetError.
    """
    declared = request.content_length
    if declared is not None and declared > limit:
        raise BodyTooLargeError
    content = request.content
    if hdrs.EXPECT in request.headers and request.headers[hdrs.EXPECT].lower() == "100-continue":
        try:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        except ConnectionError as error:
            raise BrokenBodyError(str(error)) from None
        request.writer.output_size = 0
    if content.is_eof():
        # The whole body came with the headers, as small ones do, so no timer is needed.
        body = content.read_nowait(-1)
        if len(body) > limit:
            raise BodyTooLargeError
        return body
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(timeout):
            while part := await content.readany():
                size += len(part)
                budget.used += len(part)
                if size > limit:
                    raise BodyTooLargeError
                if budget.is_full:
                    raise NoBodyBudgetError
                parts.append(part)
    except TimeoutError:
        raise BodyTooSlowError from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError) as error:
        raise BrokenBodyError(str(error)) from None
    finally:
        budget.used -= size
    return parts[0] if len(parts) == 1 else b"".join(parts)
