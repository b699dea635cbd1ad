"""Health checks and metrics of one process on its admin port, which must never be public."""

from collections.abc import Callable

from aiohttp import hdrs, web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

Problems = Callable[[], list[str]]


def app(problems: Problems) -> web.Application:
    """Return the application that serves `/healthz`, `/readyz` and `/metrics`.

    `/readyz` answers 503 with the problems while the process cannot do its work. Metrics are in OpenMetrics, which has
    exemplars, if `Accept` asks for it; else in Prometheus' older text format.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        current = problems()
        if current:
            return web.json_response({"status": "not ready", "problems": current}, status=503)
        return web.json_response({"status": "ready"})

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(REGISTRY), headers={hdrs.CONTENT_TYPE: content_type})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application


class Admin:
    """The server that listens on the admin port."""

    def __init__(self, host: str, port: int, problems: Problems) -> None:
        """`port` 0 chooses a free one, which `url` shows once the server has started."""
        self._host = host
        self._port = port
        self._runner = web.AppRunner(app(problems), access_log=None)
        self.url = ""

    async def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Close at once, because no client depends on a health check in progress."""
        await self._runner.cleanup()
