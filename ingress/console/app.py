"""The component of the console process: it listens, guards, and runs each request in a transaction."""

import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import msgspec
from aiohttp import hdrs, web
from prometheus_client import Counter, Histogram

from ingress import connections, serving
from ingress.console import answers, audit, form, guard, refresh, render, trouble
from ingress.console.context import Context
from ingress.console.errors import ErrorView, ForbiddenError, PageError
from ingress.console.jobs import JobEngine
from ingress.console.overview import OverviewCache, Reader
from ingress.console.pages import login
from ingress.console.render import Chrome
from ingress.console.route import Route
from ingress.console.routes import ROUTES
from ingress.console.session import Operator
from ingress.console.visit import HOME, NOBODY, Page, Visit
from ingress.database import BusyError, DatabaseWatch, NotOpenError
from schemas.config import Config
from schemas.destinations.addresses import is_loopback
from storage import actions, roles
from storage.actions import Actor
from storage.database import Database, is_unavailable
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
CLIENTS = connections.Limits(connections=500, header_timeout=10.0, write_timeout=10.0)

REQUESTS = Counter("crossdock_console_requests", "Console requests answered", ("method", "route", "status"))
SECONDS = Histogram("crossdock_console_seconds", "Time of one console request", ("method", "route"))
UNSEEN = Counter("crossdock_console_refused", "Console connections refused before they were read", ("reason",))

Serve = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPERATOR = web.RequestKey("operator", Operator)


class NoOperatorError(Exception):
    """Nobody could log in."""

    def __init__(self) -> None:
        super().__init__(
            "no operator is configured, and CROSSDOCK_CONSOLE_TOKEN is not set: add [operators.NAME] with a token and "
            "a role to crossdock.toml"
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
        jobs_database = connect(size=1, name="crossdock console (jobs)")
        pools = (self._database, shared, jobs_database)
        self._watch = DatabaseWatch(connect(size=1, name="crossdock console (watch)"), pools, log)
        self._overview = OverviewCache(Reader(self._watch, shared, amqp_url, lambda: self._config))
        self.context = Context(config, vault, self._overview, amqp_url=amqp_url, console_token=console_token)
        if not self.context.sessions.operators:
            raise NoOperatorError
        self._jobs = JobEngine(self.context, self._watch, jobs_database)

    @property
    def port(self) -> int:
        """The port that the console listens on, once started."""
        assert self._runner is not None
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen. While the database is unavailable, every page says so."""
        app = web.Application(middlewares=[self._answer], client_max_size=form.MAX_FORM)
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._serve(route))
            if route.method == hdrs.METH_GET:
                app.router.add_route(hdrs.METH_HEAD, route.path, self._serve(route))
        app.router.add_get(f"{render.STATIC}/{{hash}}/{{name}}", answers.asset)
        self._runner = await serving.serve(
            app,
            host=self._config.console.host,
            port=self._port,
            limits=CLIENTS,
            refused=UNSEEN,
            drain_timeout=self._config.process.drain_timeout,
        )
        if not (is_loopback(self._config.console.host) or self._config.console.trusted_proxies):
            log.warning(
                "the console can be reached without HTTPS: name the proxy that ends it in [console] trusted_proxies",
                extra={"host": self._config.console.host},
            )
        await self._watch.check()
        self._background.start(self._watch.run(), name="console-database")
        self._background.start(self._jobs.run(), name="console-jobs")
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
            address = self.context.sessions.client(request)
            operator = self.context.sessions.current(request)
            if operator is not None:
                request[_OPERATOR] = operator
            if not is_page:
                guard.check_origin(request)
            if route.who != "nobody" and operator is None:
                return self._without_session(request, is_page=is_page)
            if route.who == "act" and operator is not None and operator.role != "act":
                await self._record_refused(Actor(operator.name, operator.role, address), route)
                raise ForbiddenError(
                    f"Your role is `{operator.role}`. Ask for the role `act` in [operators.{operator.name}]."
                )
            limit = form.MAX_LOGIN if operator is None else form.MAX_FORM
            fields = {} if is_page else await form.read(request, limit)
            if route.recognize is not None:
                operator = await route.recognize(self.context, address, fields)
            needs = None if operator is None else await self._overview.recent_count()
            # A link that logs in is a GET and records that it was used.
            is_read_only = is_page and route.who != "nobody"
            try:
                async with (
                    self._watch.connection(self._database, wait_seconds=WAIT) as connection,
                    connection.transaction(readonly=is_read_only),
                ):
                    timeout = STATEMENT_TIMEOUT if is_page else ACTION_TIMEOUT
                    await connection.execute(f"SET LOCAL statement_timeout = '{timeout}s'")
                    visit = Visit(request, self.context, connection, operator or NOBODY, address, fields)
                    response = await self._visit(visit, route, needs)
            except NotOpenError:
                raise trouble.unavailable(is_page=is_page) from None
            except BusyError:
                raise PageError(503, "The console is busy", "Nothing was changed. Try again in a moment.") from None
            for recorded in visit.recorded:
                audit.announce(recorded)
            return response

        return serve

    async def _visit(self, visit: Visit, route: Route, needs: int | None) -> web.StreamResponse:
        """Answer in the visit's transaction, with a whole page or with the region of it that is refreshed."""
        is_refresh = route.method == hdrs.METH_GET and refresh.is_refresh(visit.request)
        mark = await refresh.mark(visit, route, self._generation) if is_refresh else None
        if refresh.is_same(visit.request, mark):
            return refresh.unchanged(visit.request, self._chrome(visit, "", needs).state)
        answer = await route.serve(visit)
        if not isinstance(answer, Page):
            return answer
        chrome = self._chrome(visit, answer.title, needs, answer.path)
        html = render.page(answer.template, answer.view, chrome)
        if is_refresh and answer.status == 200:
            return refresh.region(visit.request, html, mark, chrome.state)
        return answers.html(html, answer.status)

    def _without_session(self, request: web.Request, *, is_page: bool) -> web.Response:
        """Return a page to the log-in form, and after that to where it was going."""
        if refresh.is_refresh(request):
            raise PageError(401, "You are logged out", "Load the page again to log in.")
        target = login.address(request.path_qs if is_page else HOME)
        if is_page and guard.is_from_elsewhere(request):
            # The browser has left out the cookie, and would leave it out of a redirect as well.
            chrome = self._bare_chrome(request, "One moment")
            return answers.html(render.page("onward.html", OnwardView(target), chrome), 200)
        return web.Response(status=303, headers={hdrs.LOCATION: target})

    def _bare_chrome(self, request: web.Request, title: str) -> Chrome:
        """Return the frame of a page that needs no database."""
        return Chrome(
            title=title,
            operator=request.get(_OPERATOR),
            environment=self._config.console.environment,
            path=request.path,
            now=datetime.now(UTC),
        )

    def _chrome(self, visit: Visit, title: str, needs: int | None, path: str = "") -> Chrome:
        return Chrome(
            title=title,
            operator=None if visit.operator is NOBODY else visit.operator,
            environment=self._config.console.environment,
            path=path or visit.request.path_qs,
            needs=needs,
            done=visit.request.query.get("done"),
            now=datetime.now(UTC),
        )

    async def _record_refused(self, actor: Actor, route: Route) -> None:
        """Record an action that the operator may not do. If that is impossible now, the log is all that has it."""
        audit.announce(audit.Recorded(actor=actor, action=route.action, outcome="refused"))
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
            if trouble.is_slow(error) or is_unavailable(error):
                self._watch.check_soon()
            is_page = request.method in (hdrs.METH_GET, hdrs.METH_HEAD)
            problem, reason = trouble.of(error, is_page=is_page)
            # A path that no route has was not served, so nobody has looked yet who asks for it.
            if _OPERATOR not in request and (operator := self.context.sessions.current(request)) is not None:
                request[_OPERATOR] = operator
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
        view = ErrorView(problem.status, problem.title, problem.advice, problem.reloads)
        needs = None if problem.status >= 500 else self._overview.known_count()
        chrome = msgspec.structs.replace(self._bare_chrome(request, problem.title), needs=needs)
        text = render.page("error.html", view, chrome)
        return answers.html(text, problem.status, problem.headers)


class OnwardView(msgspec.Struct, frozen=True):
    """Where a page leads at once."""

    target: str
