"""The API as one process: a listening socket in front, PostgreSQL behind."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import asyncpg
import msgspec
from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

from ingress import connections, sockets
from ingress.api import idempotency, openapi, routes
from ingress.api.auth import Authenticator
from ingress.api.context import SUBSCRIBER, Context, read
from ingress.api.errors import NOT_FOUND, ProblemError
from ingress.api.turns import Turns
from schemas.config import Config
from storage.database import UNAVAILABLE_ERRORS, Connection, Database, is_row_error, is_unavailable
from storage.vault import UndecryptableError, Vault
from telemetry.background import Background

log = logging.getLogger("crossdock.api")

CONNECTIONS = 8
"""PostgreSQL connections for requests that take a moment."""
AT_ONCE = 4
"""Requests of one subscriber that run together: whatever it sends, others find a free connection."""
EXPENSIVE_CONNECTIONS = 2
"""PostgreSQL connections for requests that look at much: replays, tests, lists of deliveries."""
EXPENSIVE_TIMEOUT = 10.0
"""Seconds for one statement of such a request."""
WAIT = 5.0
"""Seconds that a request waits for its turn, and for a connection."""
CLIENTS = connections.Limits(connections=2_000, header_timeout=10.0, write_timeout=10.0)
WATCH = 5.0
"""Seconds between looks whether the database is there."""
WATCH_AGAIN = 0.5
"""The same while it is not."""
CHECK_TIMEOUT = 5.0
"""Seconds after which a database that does not answer the look counts as unavailable."""
CHECK = "SELECT pg_is_in_recovery() FROM (SELECT count(*) FROM crossdock.subscribed WHERE false) AS schema_is_ours"

REQUESTS = Counter("crossdock_api_requests", "API requests answered", ("method", "route", "status"))
SECONDS = Histogram("crossdock_api_seconds", "Time of one API request", ("method", "route"))
UNSEEN = Counter("crossdock_api_refused", "API connections and requests refused before they were read", ("reason",))

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Runner(web.AppRunner):
    """The library's, with our connections."""

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        limits = msgspec.structs.replace(CLIENTS, connections=connections.raise_fd_limit(CLIENTS.connections))
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
        self._authenticator = Authenticator(config)
        self._runner: web.AppRunner | None = None
        self._background = Background()
        self._database = Database(database_url, size=CONNECTIONS, name="crossdock api")
        self._expensive = Database(database_url, size=EXPENSIVE_CONNECTIONS, name="crossdock api (expensive)")
        # Its own connection: whether all others are busy or stuck says nothing about the database.
        self._watched = Database(database_url, size=1, name="crossdock api (watch)")
        self._look_now = asyncio.Event()
        self._turns = Turns(at_once=AT_ONCE, wait_seconds=WAIT)
        self._expensive_turns = Turns(at_once=1, wait_seconds=WAIT)

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
        for listener in await sockets.bind(self._config.api.host, self._port):
            await web.SockSite(self._runner, listener).start()
        await self._look()
        self._background.start(self._watch(), name="api-database")
        log.info("listening", extra={"host": self._config.api.host, "port": self.port})

    async def stop(self) -> None:
        """Answers what is under way, closes."""
        await self._background.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        for database in (self._database, self._expensive, self._watched):
            await database.close(3)

    def problems(self) -> list[str]:
        """Empty when a request would be served now."""
        problem = self._watched.problem
        return [*([] if problem is None else [f"no use of PostgreSQL: {problem}"]), *self._background.problems()]

    def reload(self, config: Config) -> None:
        """Subscribers, the token, proxies, quotas and what may be called change at once; host and port with the next
        start."""
        self._config = config
        self._context.reload(config)
        self._authenticator.reload(config)

    async def _watch(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_AGAIN if self._watched.problem else WATCH):
                    await self._look_now.wait()
            self._look_now.clear()
            await self._look()

    async def _look(self) -> None:
        """Ask the database whether it is there, takes writes, and has our tables. Requests only make us ask sooner."""
        try:
            pools = [await database.pool() for database in (self._watched, self._database, self._expensive)]
            async with pools[0].acquire(timeout=CHECK_TIMEOUT) as connection:
                is_standby = await connection.fetchval(CHECK, timeout=CHECK_TIMEOUT)
            if is_standby:
                # A server that was demoted keeps its connections. New ones find the server that takes writes.
                for pool in pools:
                    await pool.expire_connections()
                raise OSError("connected to a standby")
        except UNAVAILABLE_ERRORS as error:
            before = self._watched.problem
            if self._watched.failed(error) != before:
                log.warning("the database is unavailable", extra={"error": self._watched.problem})
        else:
            self._watched.worked()

    @asynccontextmanager
    async def _connection(self, database: Database) -> AsyncIterator[Connection]:
        """A connection within WAIT seconds. Raises ProblemError: 503; it says nothing about the database."""
        if not database.is_open:
            raise _unavailable()
        pool = await database.pool()
        try:
            connection = await pool.acquire(timeout=WAIT)
        except TimeoutError:
            self._look_now.set()
            raise ProblemError(503, "The API is busy; try again.", headers={"Retry-After": "5"}) from None
        try:
            yield connection
        finally:
            await pool.release(connection)

    def _serve(self, route: routes.Route) -> Next:
        async def serve(request: web.Request) -> web.StreamResponse:
            caller = await self._authenticator.authenticate(request)
            request[SUBSCRIBER] = "operator" if caller.operator else caller.subscriber
            # The body before a connection of the database's: who sends it slowly must hold up nobody else.
            await read(request)
            turns = self._expensive_turns if route.expensive else self._turns
            database = self._expensive if route.expensive else self._database
            async with (
                turns.turn(caller.subscriber),
                self._connection(database) as connection,
                connection.transaction(),
            ):
                if route.expensive:
                    await connection.execute(f"SET LOCAL statement_timeout = '{EXPENSIVE_TIMEOUT}s'")

                async def do() -> web.Response:
                    return await route.serve(self._context, connection, request, caller)

                if route.idempotent:
                    return await idempotency.with_idempotency(self._context, connection, request, caller, do)
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
        except ProblemError as problem:
            error = problem.detail
            response = problem.response(basic=basic)
        except web.HTTPException as refused:
            response = _refused(refused).response(basic=basic)
        except UndecryptableError as why:
            error = str(why)
            log.error("a subscription can't be opened", extra={"error": error})
            response = ProblemError(
                503, "Its secrets cannot be opened with the keys of this service; tell the operator, or rotate them."
            ).response(basic=basic)
        except (TimeoutError, asyncpg.QueryCanceledError) as why:
            # One statement took too long, perhaps because of what was asked. Whether the database is there, ask itself.
            error = f"{type(why).__name__}: {why}"
            self._look_now.set()
            response = ProblemError(
                503, "This took too long; ask for less, or try again.", headers={"Retry-After": "5"}
            ).response(basic=basic)
        except Exception as why:
            error = f"{type(why).__name__}: {why}"
            if is_row_error(why):
                response = ProblemError(400, "The request holds a value that cannot be stored.").response(basic=basic)
            elif is_unavailable(why):
                self._look_now.set()
                response = _unavailable().response(basic=basic)
            else:
                log.exception("internal error")
                response = ProblemError(500, "Something went wrong here; it has been logged.").response(basic=basic)
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
                "remote": self._authenticator.client(request),
                "error": error,
            },
        )
        return response


async def _document(request: web.Request) -> web.Response:
    return web.Response(body=openapi.document(), content_type="application/json")


def _refused(refused: web.HTTPException) -> ProblemError:
    if refused.status == 405:
        return ProblemError(405, "This method is not served here.", headers={hdrs.ALLOW: refused.headers[hdrs.ALLOW]})
    if refused.status == 404:
        return ProblemError(404, NOT_FOUND)
    return ProblemError(refused.status, refused.reason)


def _unavailable() -> ProblemError:
    return ProblemError(503, "The database can't be reached; try again.", headers={"Retry-After": "5"})
