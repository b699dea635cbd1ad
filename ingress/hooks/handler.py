"""The two ways of a webhook through the ingress: the fast path and the general path.

Most posts are whole when they are read, and take the fast path: from the socket's bytes to the response's they are a
few calls and callbacks. What a library has to do for any request (a task, a request and a response object, four turns
of the loop) costs as much again. Any other request (another method, a body that still arrives or is encoded, a sender
that does not read its responses) takes the general path. Both make a `WebhookRequest`, and give the same responses.
"""

import asyncio
import logging
import time

import msgspec
import orjson
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import RawRequestMessage

from broker import ids
from ingress.connections import Connection
from ingress.hooks import body, metrics, outcomes, routes
from ingress.hooks.outcomes import Outcome
from ingress.hooks.request import Broker, WebhookRequest
from ingress.hooks.routes import Route
from schemas import encodings

log = logging.getLogger("crossdock.ingress")


class Settings(msgspec.Struct, frozen=True):
    """What a reload may change while requests are under way."""

    routes: routes.Routes
    max_body: int
    body_timeout: float
    has_account_limits: bool = False


class Handler:
    """Answers the requests of one ingress process."""

    def __init__(
        self, settings: Settings, budget: body.BodyBudget, broker: Broker, access_log: metrics.AccessLog
    ) -> None:
        self.settings = settings
        self.budget = budget
        self.broker = broker
        self.idle = asyncio.Event()
        """Set while no request is under way."""
        self.idle.set()
        self._in_flight = 0
        self._access_log = access_log

    def count_in(self) -> None:
        """Count one more request under way."""
        self._in_flight += 1
        self.idle.clear()

    def count_out(self) -> None:
        """Stop counting a request that is answered, or will be in this turn of the loop."""
        self._in_flight -= 1
        if not self._in_flight:
            self.idle.set()

    def try_fast_path(self, message: RawRequestMessage, raw: bytes, connection: Connection) -> bool:
        """Take a whole request and return True, or leave it as it is and return False.

        Once it has taken a request it does not raise.
        """
        settings = self.settings
        headers = message.headers
        route = settings.routes.find(message.path.partition("?")[0])  # an absolute target takes the general path
        if (
            route is None
            or message.method != hdrs.METH_POST
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or hdrs.CONTENT_ENCODING in headers
            or hdrs.EXPECT in headers
            or len(raw) > settings.max_body
            or connection.transport is None
            or not outcomes.can_take_more(connection.transport)
        ):
            return False
        self.count_in()
        FastPathRequest(self, route, message, connection, len(raw)).begin(raw, time.time())
        return True

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a request on the general path. Never raises: an error becomes a response, a log line and a count."""
        started = time.perf_counter()
        self.count_in()
        path = routes.path_of(request.raw_path)
        route = self.settings.routes.find(path)
        message_id = ids.message_id()
        size = 0
        try:
            if route is None:
                outcome = outcomes.refused(routes.platform_of(path), 404, "unknown path", request.headers)
            elif request.method != hdrs.METH_POST:
                allow = {str(hdrs.ALLOW): hdrs.METH_POST}
                outcome = outcomes.refused(route.platform, 405, "method", request.headers, headers=allow)
            else:
                outcome, size = await self._accept(request, route, message_id)
        except Exception:
            # The fault is ours and nothing was confirmed, so the sender has to send the message again.
            log.exception("request failed", extra={"path": path[:200], "id": message_id})
            platform = route.platform if route else None
            outcome = outcomes.refused(platform, 503, "internal error", request.headers)
        finally:
            self.count_out()
        seconds = time.perf_counter() - started
        self.record(request.method, request.remote, route, path, outcome, message_id, size, seconds)
        return outcomes.library_response(outcome, message_id, request)

    async def _accept(self, request: web.BaseRequest, route: Route, message_id: str) -> tuple[Outcome, int]:
        """Return the outcome of a post, and the size of its body in bytes."""
        platform, settings = route.platform, self.settings
        began = time.time()
        codings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
        if encodings.is_encoded(codings):
            return outcomes.refused(platform, 415, "content encoding", request.headers), 0
        try:
            raw = await body.read(request, self.budget, limit=settings.max_body, timeout=settings.body_timeout)
        except body.BodyRefusedError as error:
            return outcomes.refused(platform, error.status, error.reason, request.headers, close=True), 0
        if codings and encodings.is_unreadable(codings, raw):
            return outcomes.refused(platform, 415, "content encoding", request.headers), len(raw)
        webhook = GeneralRequest(self, route, message_id, request)
        webhook.begin(raw, began)
        return await webhook.outcome, len(raw)

    def record(
        self,
        method: str,
        remote: str | None,
        route: Route | None,
        path: str,
        outcome: Outcome,
        message_id: str,
        size: int,
        seconds: float,
    ) -> None:
        """Log and count one request. The reason of a refusal is for the operator; the sender does not receive it."""
        counts = route.metrics if route else metrics.UNKNOWN
        status = outcome.status
        counts.request(status)
        counts.seconds.observe(seconds, outcome.traceparent)
        reason = outcome.reason
        if status == 200:
            counts.bytes.inc(size)
        if reason is not None:
            labels = (route.platform.name, route.account) if route else ("", "")
            metrics.REFUSED.labels(*labels, reason).inc()
            reason = f"{reason}: {outcome.detail}" if outcome.detail else reason
        self._access_log.line(
            route.log if route else f'"path":{orjson.dumps(path[:200]).decode()}',
            status,
            seconds,
            size,
            message_id if status < 300 else None,
            reason,
            remote,
            method,
        )


class FastPathRequest(WebhookRequest):
    """A post that is answered on the connection that it came on."""

    __slots__ = ("_connection", "_handler", "_method", "_peer", "_size", "_started")

    def __init__(
        self, handler: Handler, route: Route, message: RawRequestMessage, connection: Connection, size: int
    ) -> None:
        self._started = time.perf_counter()
        has_account_limits = handler.settings.has_account_limits
        super().__init__(
            handler.broker,
            route,
            ids.message_id(),
            message.headers,
            message.path,
            has_account_limits=has_account_limits,
        )
        self._handler = handler
        self._method = message.method
        self._connection = connection
        self._peer = connection.peername  # the address is not available once the connection is closed
        self._size = size

    def on_release(self) -> None:
        self._handler.count_out()

    def on_outcome(self, outcome: Outcome) -> None:
        route, peer = self.route, self._peer
        remote = str(peer[0]) if isinstance(peer, (list, tuple)) else peer
        seconds = time.perf_counter() - self._started
        try:
            self._handler.record(self._method, remote, route, route.path, outcome, self.id, self._size, seconds)
        finally:
            self._connection.answer(outcomes.encode(outcome, self.id))

    def on_error(self) -> None:
        self._connection.force_close()


class GeneralRequest(WebhookRequest):
    """A post whose outcome the library's task awaits; the handler counts and records it."""

    __slots__ = ("outcome",)

    def __init__(self, handler: Handler, route: Route, message_id: str, request: web.BaseRequest) -> None:
        has_account_limits = handler.settings.has_account_limits
        super().__init__(
            handler.broker, route, message_id, request.headers, request.raw_path, has_account_limits=has_account_limits
        )
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def on_release(self) -> None:
        """Do nothing: the handler counts this request itself."""

    def on_outcome(self, outcome: Outcome) -> None:
        if not self.outcome.done():  # else the task was cancelled
            self.outcome.set_result(outcome)

    def on_error(self) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(RuntimeError("the request ended without an outcome"))
