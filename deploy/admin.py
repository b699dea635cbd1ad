"""Health and metrics of one process, on its admin port. Never public."""

from collections.abc import Callable

from aiohttp import hdrs, web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from ingress import sockets

Problems = Callable[[], list[str]]


def app(problems: Problems) -> web.Application:
    """`/healthz`: it lives. `/readyz`: it can do its work now, else 503 and why not. `/metrics`: Prometheus.

    In OpenMetrics, which has exemplars, where `Accept` asks for it; else in Prometheus' older text.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        found = problems()
        status = {"status": "not ready", "problems": found} if found else {"status": "ready"}
        return web.json_response(status, status=503 if found else 200)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=encode(REGISTRY), headers={hdrs.CONTENT_TYPE: content_type})

    application = web.Application()
    application.router.add_get("/healthz", healthz)
    application.router.add_get("/readyz", readyz)
    application.router.add_get("/metrics", metrics)
    return application


class Admin:
    """The listening server around `app`."""

    def __init__(self, host: str, port: int, problems: Problems) -> None:
        """`port` 0 takes a free one; see `url`."""
        self._host = host
        self._port = port
        self._runner = web.AppRunner(app(problems), access_log=None)
        self.url = ""

    async def start(self) -> None:
        """Listens. Raises OSError when the port is taken."""
        await self._runner.setup()
        for listener in await sockets.bind(self._host, self._port):
            await web.SockSite(self._runner, listener).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Closes at once: nobody waits for a health check."""
        await self._runner.cleanup()
