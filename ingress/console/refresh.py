"""Refreshes the region of a page that `console.js` asks for again and again, and answers 304 while it is the same.

The tag of a region has two parts. The first changes with the database and every minute, because pages say how long ago
things were; while it is the same, nothing but the watermark is read. The second is a digest of the region.
"""

import hashlib
import re
import time

from aiohttp import hdrs, web

from ingress.console.route import Route
from ingress.console.visit import Visit
from storage import overview

HEADER = "HX-Request"
"""The header by which htmx is recognized."""
STATE = "Crossdock-State"
"""The header that holds what the head of the page says of the pipeline: `warn; 2 things need you`."""
_REGION = re.compile(r"<!--live-->(.*)<!--/live-->", re.DOTALL)
"""Nothing from outside can look like these marks, because it is escaped."""


def is_refresh(request: web.Request) -> bool:
    """Return whether a region is asked for, and not a whole page."""
    return request.headers.get(HEADER) == "true"


async def mark(visit: Visit, route: Route, generation: str) -> str | None:
    """Return the first part of the tag; None if the page shows more than the database has.

    `generation`: changes with the configuration and with the program.
    """
    if not route.follows_database:
        return None
    snapshot = await overview.watermark(visit.connection)
    parts = (
        generation,
        visit.operator.name,
        visit.operator.role,
        visit.request.path_qs,
        snapshot,
        _minute(),
    )
    return _digest("\0".join(parts))


def is_same(request: web.Request, first: str | None) -> bool:
    """Return whether the browser has the region of this first part of the tag."""
    return first is not None and _known(request).startswith(f'"{first}.')


def unchanged(request: web.Request, state: tuple[str, str]) -> web.Response:
    """Return the answer that the browser has the region already."""
    return web.Response(status=304, headers=_headers(_known(request), state))


def region(request: web.Request, html: str, first: str | None, state: tuple[str, str]) -> web.Response:
    """Return the region of a page, or that the browser has it already (304), or that there is none (204)."""
    match = _REGION.search(html)
    if match is None:
        return web.Response(status=204)
    second = _digest(match[1])
    headers = _headers(f'"{first or ""}.{second}"', state)
    if _known(request).endswith(f'.{second}"'):
        return web.Response(status=304, headers=headers)
    body = match[1].encode("utf-8", "replace")
    response = web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)
    response.enable_compression()
    return response


def _minute() -> str:
    return str(int(time.time() // 60))


def _known(request: web.Request) -> str:
    return request.headers.get(hdrs.IF_NONE_MATCH, "")


def _headers(tag: str, state: tuple[str, str]) -> dict[str, str]:
    kind, words = state
    return {hdrs.ETAG: tag, STATE: f"{kind}; {words}"}


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
