"""Reading a request's body: never more than the limit, never longer than the time-out, never decoded."""

import asyncio
from collections.abc import Callable

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError


class BodyRefusedError(Exception):
    """No body will be read: what the sender hears, and the reason as a metric's label."""

    status = 400
    reason = ""


class BodyTooLargeError(BodyRefusedError):
    status = 413
    reason = "body too large"


class BodyTooSlowError(BodyRefusedError):
    status = 408
    reason = "body too slow"


class BrokenBodyError(BodyRefusedError):
    """The sender went away, or its framing is wrong: nobody hears the answer."""

    reason = "connection broken"


class NoBodyBudgetError(BodyRefusedError):
    status = 503
    reason = "no room for bodies"


class BodyBudget:
    """Bytes of the bodies that one process holds: those that are arriving, and those that wait for their confirm."""

    def __init__(self, limit: int, published: Callable[[], int] = lambda: 0) -> None:
        """`published`: bytes of the bodies that were handed to the publisher and are not confirmed."""
        self.limit = limit
        self.used = 0
        """Bytes of the bodies that are arriving."""
        self._published = published

    @property
    def is_full(self) -> bool:
        """Whether there is no room for more of a body."""
        return self.used + self._published() > self.limit


async def read(request: web.BaseRequest, room: BodyBudget, *, limit: int, timeout: float) -> bytes:
    """The whole body, byte for byte as sent. Raises BodyRefusedError: BodyTooLargeError early, BodyTooSlowError after
    `timeout` seconds."""
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
        # All of it came with the headers, as small bodies do: no timer needed.
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
                room.used += len(part)
                if size > limit:
                    raise BodyTooLargeError
                if room.is_full:
                    raise NoBodyBudgetError
                parts.append(part)
    except TimeoutError:
        raise BodyTooSlowError from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError) as error:
        raise BrokenBodyError(str(error)) from None
    finally:
        room.used -= size
    return parts[0] if len(parts) == 1 else b"".join(parts)
