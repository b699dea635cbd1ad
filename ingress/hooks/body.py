"""Reading a request's body: never more than the limit, never longer than the time-out, never decoded."""

import asyncio

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError


class TooLarge(Exception):
    """413."""


class TooSlow(Exception):
    """408."""


class Broken(Exception):
    """The sender went away, or its framing is wrong: nobody hears an answer."""


async def read(request: web.BaseRequest, *, limit: int, timeout: float) -> bytes:
    """The whole body, byte for byte as sent. Raises TooLarge early, TooSlow after `timeout` seconds."""
    declared = request.content_length
    if declared is not None and declared > limit:
        raise TooLarge
    content = request.content
    if hdrs.EXPECT in request.headers and request.headers[hdrs.EXPECT].lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    if content.is_eof():
        # All of it came with the headers, as small bodies do: no timer needed.
        body = content.read_nowait(-1)
        if len(body) > limit:
            raise TooLarge
        return body
    try:
        async with asyncio.timeout(timeout):
            parts: list[bytes] = []
            size = 0
            while part := await content.readany():
                size += len(part)
                if size > limit:
                    raise TooLarge
                parts.append(part)
    except TimeoutError:
        raise TooSlow from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError) as error:
        raise Broken(str(error)) from None
    return parts[0] if len(parts) == 1 else b"".join(parts)
