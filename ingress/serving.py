"""Serves an aiohttp application on a port, with limits that protect it from its clients: the API and the console."""

from functools import partial

import msgspec
from aiohttp import web
from prometheus_client import Counter

from ingress import connections, sockets
from ingress.protocol import AppRunner


async def serve(
    app: web.Application, *, host: str, port: int, limits: connections.Limits, refused: Counter, drain_timeout: float
) -> web.AppRunner:
    """Listen, and return the runner, which stops it. Raises OSError.

    `refused`: counts connections and requests that are refused before they are read, by reason. `drain_timeout`:
    seconds to finish the requests in progress.
    """
    allowed = msgspec.structs.replace(limits, connections=connections.raise_fd_limit(limits.connections))
    runner = AppRunner(
        app,
        partial(connections.Server, limits=allowed, on_refused=lambda reason: refused.labels(reason).inc()),
        access_log=None,  # the library's would contain the query string
        shutdown_timeout=drain_timeout,
        auto_decompress=False,
        keepalive_timeout=connections.KEEPALIVE,
        lingering_time=connections.LINGER,
    )
    try:
        await runner.setup()
        for listener in await sockets.bind(host, port):
            await web.SockSite(runner, listener).start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner
