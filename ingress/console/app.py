"""The component of the console process: it listens, guards, and runs each request in a transaction."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from urllib.parse import parse_qs
from uuid import uuid4

import asyncpg
import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from prometheus_client import Counter, Histogram

from ingress import connections, sockets
from ingress.console import guard, notices, refresh, render
from ingress.console.context import Context
from ingress.console.errors import ForbiddenError, PageError
from ingress.console.overview import OverviewCache, Reader
from ingress.console.pages import login
from ingress.console.render import Chrome
from ingress.console.route import Route
from ingress.console.routes import ROUTES
from ingress.console.session import Operator
from ingress.console.visit import NOBODY, Page, Visit
from ingress.database import BusyError, DatabaseWatch, NotOpenError
from ingress.protocol import AppRunner
from schemas.config import Config
from storage import actions, roles
from storage.actions import Actor
from storage.database import Database, is_row_error, is_unavailable
from storage.vault import Vault
from telemetry.background import Background

log = logging.getLogger("crossdock.console")

CONNECTIONS = 2
"""PostgreSQL connections for pages and actions: viewers must not slow the pipeline."""
STATEMENT_TIMEOUT = 2.0
"""Seconds for one statement of a page."""
ACTION_TIMEOUT = 10.0
"""Seconds for one statement of an action."""
WAIT = 5.0
"""Maximum seconds that a request waits for a connection."""
MAX_FORM = 256 * 1024
"""Maximum bytes of a form: 5,000 ticked rows."""
MAX_FIELDS = 6000
"""Maximum fields of a form."""
CLIENTS = connections.Limits(connections=500, header_timeout=10.0, write_timeout=10.0)

REQUESTS = Counter("crossdock_console_requests", "Console requests answered", ("method", "route", "status"))
SECONDS = Histogram("crossdock_console_seconds", "Time of one console request", ("method", "route"))
ACTIONS = Counter("crossdock_console_actions", "Actions of operators", ("action", "outcome"))
UNSEEN = Counter("crossdock_console_refused", "Console connections refused before they were read", ("reason",))

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPERATOR = web.RequestKey("operator", Operator)


class NoOperatorError(Exception):
    """Nobody could log in."""

    def __init__(self) -> None:
        super().__init__(
            "no operator is configured: add [operators.NAME] with a token and a role to crossdock.toml, or set "
            "[api] operator_token"
        )


class ConsoleApp:
    """The console as a `deploy.process.Component`."""

    def __init__(
        self,
        config: Config,
        *,
        database_url: str,
        vault: Vault,
        amqp_url: str | None = None,
        console_token: str | None = None,
        port: int | None = None,
    ) -> None:
        """`port` overrides the configured one; 0 chooses a free one. Raises NoOperatorError."""
        self._config = config
        self._port = config.console.port if port is None else port
        self._generation = uuid4().hex
        self._runner: web.AppRunner | None = None
        self._background = Background()
        connect = partial(Database, database_url, role=roles.CONSOLE)
        self._database = connect(size=CONNECTIONS, name="crossdock console")
        # Pages hold a connection of the first pool while they wait for what is read once for all of them.
        shared = connect(size=1, name="crossdock console (overview)")
        pools = (self._database, shared)
        self._watch = DatabaseWatch(connect(size=1, name="crossdock console (watch)"), pools, log)
        self._overview = OverviewCache(Reader(self._watch, shared, amqp_url, lambda: self._config.store.shards))
        self.context = Context(config, vault, self._overview, amqp_url=amqp_url, console_token=console_token)
        if not self.context.sessions.operators:
            raise NoOperatorError

    @property
    def port(self) -> int:
        """The port that the console listens on, once started."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen. While the database is unavailable, every page says so."""
        app = web.Application(middlewares=[self._answer], client_max_size=MAX_FORM)
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._serve(route))
            if route.method == hdrs.METH_GET:
                app.router.add_route(hdrs.METH_HEAD, route.path, self._serve(route))
        app.router.add_get(f"{render.STATIC}/{{hash}}/{{name}}", _asset)
        limits = msgspec.structs.replace(CLIENTS, connections=connections.raise_fd_limit(CLIENTS.connections))
        self._runner = AppRunner(
            app,
            partial(connections.Server, limits=limits, on_refused=lambda reason: UNSEEN.labels(reason).inc()),
            access_log=None,  # the library's would contain the query string
            shutdown_timeout=self._config.process.drain_timeout,
            auto_decompress=False,
            keepalive_timeout=connections.KEEPALIVE,
            lingering_time=connections.LINGER,
        )
        await self._runner.setup()
        for listener in await sockets.bind(self._config.console.host, self._port):
            await web.SockSite(self._runner, listener).start()
        await self._watch.check()
        self._background.start(self._watch.run(), name="console-database")
        log.info("listening", extra={"host": self._config.console.host, "port": self.port})

    async def stop(self) -> None:
        """Finish the requests in progress, then close all connections."""
        await self._background.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._overview.stop()
        await self._watch.close(3)

    def problems(self) -> list[str]:
        """Return why pages cannot be served now; empty if they can."""
        problem = self._watch.problem
        return [*([] if problem is None else [f"PostgreSQL is unavailable: {problem}"]), *self._background.problems()]

    def reload(self, config: Config) -> None:
        """Use a new configuration: host and port from the next start on, everything else from the next request on."""
        self._config = config
        self.context.reload(config)
        self._generation = uuid4().hex

    def _serve(self, route: Route) -> Serve:
        is_page = route.method == hdrs.METH_GET

        async def serve(request: web.Request) -> web.StreamResponse:
            sessions = self.context.sessions
            address = sessions.client(request)
            operator = sessions.current(request)
            if operator is not None:
                request[_OPERATOR] = operator
            if not is_page:
                guard.check_origin(request)
            if route.who != "nobody" and operator is None:
                if refresh.is_refresh(request):
                    raise PageError(401, "You are logged out", "Load the page again to log in.")
                return _to_login(request, is_page=is_page)
            form = {} if is_page else await _form(request)
            if route.who == "act" and operator is not None and operator.role != "act":
                await self._record_refused(Actor(operator.name, operator.role, address), route)
                raise ForbiddenError(
                    f"Your role is `{operator.role}`. Ask for the role `act` in [operators.{operator.name}]."
                )
            state = None if operator is None else await self._overview.recent()
            needs = None if state is None else state.count
            is_refresh = is_page and refresh.is_refresh(request)
            # A link that logs in is a GET and records that it was used.
            is_read_only = is_page and route.who != "nobody"
            try:
                async with (
                    self._watch.connection(self._database, wait_seconds=WAIT) as connection,
                    connection.transaction(readonly=is_read_only),
                ):
                    seconds = STATEMENT_TIMEOUT if is_page else ACTION_TIMEOUT
                    await connection.execute(f"SET LOCAL statement_timeout = '{seconds}s'")
                    visit = Visit(request, self.context, connection, operator or NOBODY, address, form)
                    mark = await refresh.mark(visit, route, self._generation) if is_refresh else None
                    if refresh.is_same(request, mark):
                        return refresh.unchanged(request, self._chrome(visit, "", needs).state)
                    answer = await route.serve(visit)
                    if not isinstance(answer, Page):
                        return answer
                    chrome = self._chrome(visit, answer.title, needs)
                    html = render.page(answer.template, answer.view, chrome)
                    if is_refresh and answer.status == 200:
                        return refresh.region(request, html, mark, chrome.state)
                    return _html(html, answer.status)
            except NotOpenError:
                raise _unavailable() from None
            except BusyError:
                raise PageError(503, "The console is busy", "Try again in a moment.") from None

        return serve

    def _chrome(self, visit: Visit, title: str, needs: int | None) -> Chrome:
        return Chrome(
            title=title,
            operator=None if visit.operator is NOBODY else visit.operator,
            environment=self._config.console.environment,
            path=visit.request.path_qs,
            needs=needs,
            notice=notices.text(visit.request.query.get("done")),
            now=datetime.now(UTC),
        )

    async def _record_refused(self, actor: Actor, route: Route) -> None:
        """Record an action that the operator may not do. If that is impossible now, the log is all that has it."""
        log.warning("action refused", extra={"operator": actor.operator, "action": route.action})
        ACTIONS.labels(route.action, "refused").inc()
        try:
            async with self._watch.connection(self._database, wait_seconds=WAIT) as connection:
                await actions.record(connection, actor, route.action, outcome="refused")
        except Exception as error:
            log.error("a refused action could not be recorded", extra={"error": str(error)})

    @web.middleware
    async def _answer(self, request: web.Request, handler: Serve) -> web.StreamResponse:
        """Turn errors into pages; count and log every request, without its query string."""
        started = time.perf_counter()
        resource = request.match_info.route.resource
        name = resource.canonical if resource is not None else ""
        reason: str | None = None
        try:
            response = await handler(request)
        except Exception as error:
            problem, reason = self._problem_of(error)
            response = self._error_page(request, problem)
        for header, value in guard.HEADERS.items():
            response.headers[header] = value
        response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
        seconds = time.perf_counter() - started
        REQUESTS.labels(request.method if name else "", name, response.status).inc()
        SECONDS.labels(request.method if name else "", name).observe(seconds)
        operator = request.get(_OPERATOR)
        log.info(
            "request",
            extra={
                "method": request.method[:20],
                "path": request.path[:200],
                "status": response.status,
                "ms": round(seconds * 1000, 2),
                "operator": None if operator is None else operator.name,
                "remote": self.context.sessions.client(request),
                "error": reason,
            },
        )
        return response

    def _error_page(self, request: web.Request, problem: PageError) -> web.Response:
        known = None if problem.status >= 500 else self._overview.known()
        chrome = Chrome(
            title=problem.title,
            operator=request.get(_OPERATOR),
            environment=self._config.console.environment,
            path=request.path_qs,
            needs=None if known is None else known.count,
            now=datetime.now(UTC),
        )
        view = ErrorView(problem.status, problem.title, problem.advice)
        return _html(render.page("error.html", view, chrome), problem.status, problem.headers)

    def _problem_of(self, error: Exception) -> tuple[PageError, str | None]:
        """Return the page for an error, and the reason for the log."""
        if isinstance(error, PageError):
            return error, error.title
        if isinstance(error, web.HTTPException):
            return _from_aiohttp(error), None
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
            self._watch.check_soon()
            return PageError(503, "This is more than can be shown", "Narrow it: a filter, or a shorter period."), reason
        if is_row_error(error):
            return PageError(400, "The request holds a value that cannot be stored", "Enter something else."), reason
        if is_unavailable(error):
            self._watch.check_soon()
            return _unavailable(), reason
        log.error("internal error", exc_info=error)
        return PageError(500, "An internal error occurred", "It has been logged. Nothing was changed."), reason


class ErrorView(msgspec.Struct, frozen=True):
    """What is wrong, and what to do."""

    status: int
    title: str
    advice: str


def _html(text: str, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    response = web.Response(
        status=status, body=text.encode("utf-8", "replace"), content_type="text/html", charset="utf-8", headers=headers
    )
    response.enable_compression()
    return response


def _to_login(request: web.Request, *, is_page: bool) -> web.Response:
    """Return a page to the log-in form, and after that to where it was going."""
    target = request.path_qs if is_page else login.HOME
    return web.Response(status=303, headers={hdrs.LOCATION: login.address(target)})


async def _form(request: web.Request) -> dict[str, Sequence[str]]:
    """Return the fields of a form. Raises PageError: 400, 413, 415."""
    if request.content_type != "application/x-www-form-urlencoded":
        raise PageError(415, "This is not a form", "Send application/x-www-form-urlencoded.")
    if (request.content_length or 0) > MAX_FORM:
        raise _too_large()
    try:
        raw = await request.read()
        fields = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except web.HTTPRequestEntityTooLarge:
        raise _too_large() from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError, ValueError):
        raise PageError(400, "The form cannot be read", "Go back, load the page again, and send it anew.") from None
    return dict(fields)


def _too_large() -> PageError:
    return PageError(413, "The form is too large", "Tick fewer rows, or use what the filter matches.")


async def _asset(request: web.Request) -> web.Response:
    """Serve a file of the style or the behaviour. A missing one is never answered with HTML."""
    asset = render.assets().get(request.match_info["name"])
    if asset is None or asset.url != request.path:
        return web.Response(status=404, text="There is no such file.\n", headers={hdrs.CACHE_CONTROL: "no-store"})
    response = web.Response(body=asset.content, content_type=asset.media_type, charset="utf-8")
    response.headers[hdrs.CACHE_CONTROL] = "public, max-age=31536000, immutable"
    response.enable_compression()
    return response


def _from_aiohttp(error: web.HTTPException) -> PageError:
    if error.status == 405:
        headers = {"Allow": error.headers[hdrs.ALLOW]}
        return PageError(405, "This is not done so", "Use the buttons of the pages.", headers=headers)
    if error.status == 404:
        return PageError(404, "There is no such page", "The search box above finds any number that you have in hand.")
    return PageError(error.status, error.reason, "Go back and try again.")


def _unavailable() -> PageError:
    return PageError(
        503,
        "The database is unavailable",
        "Webhooks are still accepted and kept in RabbitMQ. This page tries again by itself.",
        headers={"Retry-After": "5"},
    )
