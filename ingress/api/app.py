"""The API as one process: a listening socket in front, PostgreSQL behind."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import msgspec
from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

from ingress import connections
from ingress.api import idempotency, openapi, routes
from ingress.api.auth import Doorman
from ingress.api.context import SUBSCRIBER, Context, read
from ingress.api.errors import NOT_FOUND, Problem
from schemas.config import Config
from storage import pool as pools
from storage.vault import Undecryptable, Vault

log = logging.getLogger("crossdock.api")

CONNECTIONS = 8
"""To PostgreSQL; requests beyond wait their turn."""
CLIENTS = connections.Limits(connections=2_000, header_timeout=10.0, write_timeout=10.0)
WATCH = 5.0
"""Seconds between looks whether the database is there."""
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.SyntaxOrAccessError,  # the schema isn't the one this version was written for, or not ours to use
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)

REQUESTS = Counter("crossdock_api_requests", "API requests answered", ("method", "route", "status"))
SECONDS = Histogram("crossdock_api_seconds", "Time of one API request", ("method", "route"))
UNSEEN = Counter("crossdock_api_refused", "API connections and requests refused before they were read", ("reason",))

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Runner(web.AppRunner):
    """The library's, with our connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        limits = msgspec.structs.replace(CLIENTS, connections=connections.affordable(CLIENTS.connections))
        return connections.Server(
            made.request_handler,
            limits,
            lambda reason: UNSEEN.labels(reason).inc(),
            request_factory=made.request_factory,
            **self._kwargs,
        )


class ApiApp:
    """Start, stop, problems, reload: what `deploy.process` runs."""

    def __init__(self, config: Config, *, database_url: str, vault: Vault, port: int | None = None) -> None:
        """`port` goes before the configured one; 0 is a free one."""
        self._config = config
        self._database_url = database_url
        self._port = config.api.port if port is None else port
        self._context = Context(config, vault)
        self._doorman = Doorman(config)
        self._runner: web.AppRunner | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._problem: str | None = "not connected yet"

    @property
    def port(self) -> int:
        """The port we listen on, once started."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listens. A database that isn't there yet is waited for; until then it answers 503."""
        app = web.Application(middlewares=[self._answer])
        for route in routes.V1:
            app.router.add_route(route.method, route.path, self._serve(route))
        for method, path, serve in routes.BASIC:
            plain = routes.Route(method=method, path=path, serve=serve, summary="", gives={})
            # With or without the slash, and never a redirect: clients lose their bodies on it.
            app.router.add_route(method, path, self._serve(plain))
            app.router.add_route(method, f"{path}/", self._serve(plain))
        app.router.add_get(openapi.PATH, _document, allow_head=False)
        self._runner = _Runner(
            app,
            access_log=None,  # ours is without the query string
            shutdown_timeout=self._config.process.drain_timeout,
            auto_decompress=False,
            keepalive_timeout=connections.KEEPALIVE,
            lingering_time=connections.LINGER,
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, self._config.api.host, self._port).start()
        await self._connect()
        self._watcher = asyncio.get_running_loop().create_task(self._watch(), name="api-database")
        log.info("listening", extra={"host": self._config.api.host, "port": self.port})

    async def stop(self) -> None:
        """Answers what is under way, closes."""
        if self._watcher is not None:
            self._watcher.cancel()
            with suppress(asyncio.CancelledError):
                await self._watcher
        if self._runner is not None:
            await self._runner.cleanup()
        if self._context.pool is not None:
            with suppress(Exception):
                async with asyncio.timeout(3):
                    await self._context.pool.close()

    def problems(self) -> list[str]:
        """Empty when a request would be served now."""
        return [] if self._problem is None else [f"no use of PostgreSQL: {self._problem}"]

    def reload(self, config: Config) -> None:
        """Subscribers, the token and what may be called change at once; host and port with the next start."""
        self._config = config
        self._context.reload(config)
        self._doorman.reload(config)

    async def _connect(self) -> None:
        try:
            if self._context.pool is None:
                self._context.pool = await pools.create_pool(self._database_url, size=CONNECTIONS, name="crossdock api")
            await self._context.pool.fetchval("SELECT count(*) FROM crossdock.subscribed WHERE false")
            self._problem = None
        except AWAY as error:
            self._problem = f"{type(error).__name__}: {error}"

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(0.5 if self._problem else WATCH)
            await self._connect()

    def _serve(self, route: routes.Route) -> Next:
        async def serve(request: web.Request) -> web.StreamResponse:
            caller = self._doorman.caller(request)
            request[SUBSCRIBER] = "operator" if caller.operator else caller.subscriber
            # The body before a connection of the database's: who sends it slowly must hold up nobody else.
            await read(request)
            pool = self._context.pool
            if pool is None:
                raise _away()
            async with pool.acquire() as connection, connection.transaction():

                async def do() -> web.Response:
                    return await route.serve(self._context, connection, request, caller)

                if route.idempotent:
                    return await idempotency.once(self._context, connection, request, caller, do)
                return await do()

        return serve

    @web.middleware
    async def _answer(self, request: web.Request, handler: Next) -> web.StreamResponse:
        """Every error is an answer, every request a line and a count. Never the query string."""
        started = time.perf_counter()
        basic = request.path.startswith("/basic/")
        resource = request.match_info.route.resource
        name = resource.canonical if resource is not None else ""
        error: str | None = None
        try:
            response = await handler(request)
        except Problem as problem:
            error = problem.detail
            response = problem.response(basic=basic)
        except web.HTTPException as refused:
            response = _refused(refused).response(basic=basic)
        except Undecryptable as why:
            error = str(why)
            log.error("a subscription can't be opened", extra={"error": error})
            response = _away().response(basic=basic)
        except AWAY as why:
            error = self._problem = f"{type(why).__name__}: {why}"
            response = _away().response(basic=basic)
        seconds = time.perf_counter() - started
        REQUESTS.labels(request.method if name else "", name, response.status).inc()
        SECONDS.labels(request.method if name else "", name).observe(seconds)
        log.info(
            "request",
            extra={
                "method": request.method[:20],
                "path": request.path[:200],
                "status": response.status,
                "ms": round(seconds * 1000, 2),
                "subscriber": request.get(SUBSCRIBER),
                "remote": request.remote,
                "error": error,
            },
        )
        return response


async def _document(request: web.Request) -> web.Response:
    return web.Response(body=openapi.document(), content_type="application/json")


def _refused(refused: web.HTTPException) -> Problem:
    if refused.status == 405:
        return Problem(405, "This method is not served here.", headers={hdrs.ALLOW: refused.headers[hdrs.ALLOW]})
    if refused.status == 404:
        return Problem(404, NOT_FOUND)
    return Problem(refused.status, refused.reason)


def _away() -> Problem:
    return Problem(503, "The database can't be reached; try again.", headers={"Retry-After": "5"})
