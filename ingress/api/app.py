"""The component of the API process: it listens, authenticates, and runs each request in a transaction."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

from ingress import connections, serving
from ingress.api import idempotency, openapi, routes
from ingress.api.auth import Authenticator
from ingress.api.context import SUBSCRIBER, Context, check_query, read
from ingress.api.errors import ProblemError, not_found, retry_later
from ingress.api.limiter import SubscriberLimiter
from ingress.database import BusyError, DatabaseWatch, NotOpenError
from schemas.config import Config
from storage import roles
from storage.database import Connection, Database, is_row_error, is_unavailable
from storage.vault import UndecryptableError, Vault
from telemetry.background import Background

log = logging.getLogger("crossdock.api")

CONNECTIONS = 8
"""PostgreSQL connections for ordinary requests, which take a moment."""
CONCURRENT_REQUESTS = 4
"""Concurrent requests per subscriber: fewer than connections, so that one subscriber cannot take all of them."""
EXPENSIVE_CONNECTIONS = 2
"""PostgreSQL connections for requests that read many rows: replays, tests, lists of deliveries."""
EXPENSIVE_TIMEOUT = 10.0
"""Seconds for one statement of such a request."""
WAIT = 5.0
"""Maximum seconds that a request waits for a slot, and then for a connection."""
CLIENTS = connections.Limits(connections=2_000, header_timeout=10.0, write_timeout=10.0)

REQUESTS = Counter("crossdock_api_requests", "API requests answered", ("method", "route", "status"))
SECONDS = Histogram("crossdock_api_seconds", "Time of one API request", ("method", "route"))
UNSEEN = Counter("crossdock_api_refused", "API connections and requests refused before they were read", ("reason",))

Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiApp:
    """The API as a `deploy.process.Component`."""

    def __init__(self, config: Config, *, database_url: str, vault: Vault, port: int | None = None) -> None:
        """`port` overrides the configured one; 0 chooses a free one."""
        self._config = config
        self._database_url = database_url
        self._port = config.api.port if port is None else port
        self._context = Context(config, vault)
        self._authenticator = Authenticator(config)
        self._runner: web.AppRunner | None = None
        self._background = Background()
        connect = partial(Database, database_url, role=roles.API)
        self._database = connect(size=CONNECTIONS, name="crossdock api")
        self._expensive = connect(size=EXPENSIVE_CONNECTIONS, name="crossdock api (expensive)")
        watched = connect(size=1, name="crossdock api (watch)")
        self._watch = DatabaseWatch(watched, (self._database, self._expensive), log)
        self._limiter = SubscriberLimiter(limit=CONCURRENT_REQUESTS, wait_seconds=WAIT)
        self._expensive_limiter = SubscriberLimiter(limit=1, wait_seconds=WAIT)

    @property
    def port(self) -> int:
        """The port that the API listens on, once started."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen. While the database is unavailable, requests are answered 503."""
        app = web.Application(middlewares=[self._answer])
        for route in routes.V1:
            _add_route(app, route.method, route.path, self._serve(route))
        for method, path, serve in routes.BASIC:
            plain = routes.Route(method=method, path=path, serve=serve, summary="", gives={}, query=None)
            # With or without the slash, and never a redirect, on which clients lose their bodies.
            _add_route(app, method, path, self._serve(plain))
            _add_route(app, method, f"{path}/", self._serve(plain))
        _add_route(app, hdrs.METH_GET, openapi.PATH, _document)
        self._runner = await serving.serve(
            app,
            host=self._config.api.host,
            port=self._port,
            limits=CLIENTS,
            refused=UNSEEN,
            drain_timeout=self._config.process.drain_timeout,
        )
        await self._watch.check()
        self._background.start(self._watch.run(), name="api-database")
        log.info("listening", extra={"host": self._config.api.host, "port": self.port})

    async def stop(self) -> None:
        """Finish the requests in progress, then close all connections."""
        await self._background.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._watch.close(3)

    def problems(self) -> list[str]:
        """Return why requests cannot be served now; empty if they can."""
        problem = self._watch.problem
        return [*([] if problem is None else [f"PostgreSQL is unavailable: {problem}"]), *self._background.problems()]

    def reload(self, config: Config) -> None:
        """Use a new configuration: host and port from the next start on, everything else from the next request on."""
        self._config = config
        self._context.reload(config)
        self._authenticator.reload(config)

    @asynccontextmanager
    async def _connection(self, database: Database) -> AsyncIterator[Connection]:
        """Acquire a connection within WAIT seconds. Raises ProblemError: 503."""
        try:
            async with self._watch.connection(database, wait_seconds=WAIT) as connection:
                yield connection
        except NotOpenError:
            raise _unavailable() from None
        except BusyError:
            raise retry_later(503, "The API is busy; try again.") from None

    def _serve(self, route: routes.Route) -> Next:
        async def serve(request: web.Request) -> web.StreamResponse:
            caller = await self._authenticator.authenticate(request)
            request[SUBSCRIBER] = "operator" if caller.operator else caller.subscriber
            if route.query is not None:
                check_query(request, route.query)
            # The body is read before a connection is acquired: a slow client must not delay others.
            await read(request)
            limiter = self._expensive_limiter if route.expensive else self._limiter
            database = self._expensive if route.expensive else self._database
            async with (
                limiter.slot(caller.subscriber),
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
        """Turn errors into responses; count and log every request, without its query string."""
        started = time.perf_counter()
        resource = request.match_info.route.resource
        name = resource.canonical if resource is not None else ""
        reason: str | None = None
        try:
            response = await handler(request)
        except Exception as error:
            problem, reason = self._problem_of(error)
            response = problem.response(basic=request.path.startswith("/basic/"))
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
                "error": reason,
            },
        )
        return response

    def _problem_of(self, error: Exception) -> tuple[ProblemError, str | None]:
        """Return the response to an error, and the reason for the access log."""
        if isinstance(error, ProblemError):
            return error, error.detail
        if isinstance(error, web.HTTPException):
            return _from_aiohttp(error), None
        if isinstance(error, UndecryptableError):
            log.error("the secrets of a subscription cannot be decrypted", extra={"error": str(error)})
            detail = "Its secrets cannot be decrypted with the keys of this service; tell the operator, or rotate them."
            return ProblemError(503, detail), str(error)
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
            # One statement took too long, perhaps because of the request. Only a check shows whether the database does.
            self._watch.check_soon()
            return retry_later(503, "This took too long; request less, or try again."), reason
        if is_row_error(error):
            return ProblemError(400, "The request holds a value that cannot be stored."), reason
        if is_unavailable(error):
            self._watch.check_soon()
            return _unavailable(), reason
        log.error("internal error", exc_info=error)
        return ProblemError(500, "An internal error occurred; it has been logged."), reason


def _add_route(app: web.Application, method: str, path: str, serve: Next) -> None:
    """Serve a method of a path; HEAD wherever there is a GET (RFC 9110 §9.3.2), without the body."""
    app.router.add_route(method, path, serve)
    if method == hdrs.METH_GET:
        app.router.add_route(hdrs.METH_HEAD, path, serve)


async def _document(request: web.Request) -> web.Response:
    return web.Response(body=openapi.document(), content_type="application/json")


def _from_aiohttp(error: web.HTTPException) -> ProblemError:
    if error.status == 405:
        return ProblemError(405, "This method is not served here.", headers={hdrs.ALLOW: error.headers[hdrs.ALLOW]})
    return not_found() if error.status == 404 else ProblemError(error.status, error.reason)


def _unavailable() -> ProblemError:
    return retry_later(503, "The database is unavailable; try again.")
