"""The responses that need no visit: the text of a page, and the files of the style and the behaviour."""

from collections.abc import Mapping

from aiohttp import hdrs, web

from ingress.console import render


def html(text: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a page, compressed."""
    response = web.Response(
        status=status, body=text.encode("utf-8", "replace"), content_type="text/html", charset="utf-8", headers=headers
    )
    response.enable_compression()
    return response


async def asset(request: web.Request) -> web.Response:
    """Serve a file of the style or the behaviour. A missing one is never answered with HTML."""
    file = render.assets().get(request.match_info["name"])
    if file is None or file.url != request.path:
        return web.Response(status=404, text="There is no such file.\n", headers={hdrs.CACHE_CONTROL: "no-store"})
    response = web.Response(body=file.content, content_type=file.media_type, charset="utf-8")
    response.headers[hdrs.CACHE_CONTROL] = "public, max-age=31536000, immutable"
    response.enable_compression()
    return response
