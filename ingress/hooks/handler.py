"""One webhook request: find its URL, read its body, hand it on (`post`), answer, log and count."""

import asyncio
import logging
import time

import msgspec
import orjson
from aiohttp import hdrs, web

from broker import ids
from ingress.hooks import body, metrics, outcomes, query, routes
from ingress.hooks.accesslog import AccessLog
from ingress.hooks.request import Broker, WebhookRequest
from ingress.hooks.response import Accepted
from schemas import encodings

log = logging.getLogger("crossdock.ingress")


class Settings(msgspec.Struct, frozen=True):
    """What a reload may change while requests are under way."""

    routes: routes.Routes
    max_body: int
    body_timeout: float
    bounded: bool = False
    """Whether accounts have limits."""


class GeneralRequest(WebhookRequest):
    """For the request's task."""

    __slots__ = ("outcome",)

    def __init__(self, behind: Broker, route: routes.Route, message_id: str, request: web.BaseRequest, bounded: bool):
        super().__init__(behind, route, message_id, request.headers, request.raw_path, bounded=bounded)
        self.outcome: asyncio.Future[outcomes.Outcome] = asyncio.get_running_loop().create_future()

    def ended(self, outcome: outcomes.Outcome) -> None:
        if not self.outcome.done():  # nobody waits any more
            self.outcome.set_result(outcome)

    def failed(self) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(RuntimeError("no outcome"))

    def left(self) -> None:
        """The handler counts its own."""


class Handler:
    """Answers requests on behalf of one ingress process."""

    def __init__(self, settings: Settings, room: body.BodyBudget, behind: Broker, log: AccessLog) -> None:
        self.settings = settings
        self.room = room
        self.behind = behind
        self.idle = asyncio.Event()
        """Set while no request is under way."""
        self.idle.set()
        self._in_flight = 0
        self._log = log

    def begin(self) -> None:
        """One more is under way."""
        self._in_flight += 1
        self.idle.clear()

    def end(self) -> None:
        """It is answered, or about to be in this turn of the loop."""
        self._in_flight -= 1
        if not self._in_flight:
            self.idle.set()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Never raises: whatever goes wrong is an answer, a log line and a count."""
        started = time.perf_counter()
        self.begin()
        path = query.path(request.raw_path)
        route = self.settings.routes.find(path)
        message_id = ids.message_id()
        size = 0
        try:
            if route is None:
                outcome = outcomes.refused(routes.platform_of(path), 404, "unknown path", request.headers)
            elif request.method != hdrs.METH_POST:
                outcome = outcomes.refused(route.platform, 405, "method", request.headers, {hdrs.ALLOW: hdrs.METH_POST})
            else:
                outcome, size = await self._hook(request, route, message_id)
        except Exception:
            # A fault of ours: nothing was confirmed, so the sender must hear that it should send again.
            log.exception("request failed", extra={"path": path[:200], "id": message_id})
            platform = route.platform if route else None
            outcome = outcomes.refused(platform, 503, "internal error", request.headers)
        finally:
            self.end()
        seconds = time.perf_counter() - started
        self.record(request.method, request.remote, route, path, outcome, message_id, size, seconds)
        if outcome.plain and Accepted.fits(request):
            return Accepted(message_id)
        outcome = outcomes.with_body(outcome, message_id)
        headers = outcome.headers or {}
        headers[hdrs.CONTENT_TYPE] = outcome.content_type
        response = web.Response(body=outcome.body, status=outcome.status, headers=headers)
        if outcome.close:
            response.force_close()
        return response

    async def _hook(
        self, request: web.BaseRequest, route: routes.Route, message_id: str
    ) -> tuple[outcomes.Outcome, int]:
        platform, settings = route.platform, self.settings
        began = time.time()
        codings = request.headers.getall(hdrs.CONTENT_ENCODING, ())
        if encodings.is_encoded(codings):
            return outcomes.refused(platform, 415, "content encoding", request.headers), 0
        try:
            raw = await body.read(request, self.room, limit=settings.max_body, timeout=settings.body_timeout)
        except body.BodyRefusedError as why:
            return outcomes.refused(platform, why.status, why.reason, request.headers, close=True), 0
        if codings and encodings.is_unreadable(codings, raw):
            return outcomes.refused(platform, 415, "content encoding", request.headers), len(raw)
        post = GeneralRequest(self.behind, route, message_id, request, settings.bounded)
        post.begin(raw, began)
        return await post.outcome, len(raw)

    def record(
        self,
        method: str,
        remote: str | None,
        route: routes.Route | None,
        path: str,
        outcome: outcomes.Outcome,
        message_id: str,
        size: int,
        seconds: float,
    ) -> None:
        """One line and the counts. The reason is for the operator; the sender isn't told."""
        counts = route.counts if route else metrics.UNKNOWN
        status = outcome.status
        counts.request(status)
        counts.seconds.observe(seconds, outcome.traceparent)
        reason = outcome.reason
        if status == 200:
            counts.bytes.inc(size)
        if reason is not None:
            names = (route.platform.name, route.account) if route else ("", "")
            metrics.REFUSED.labels(*names, reason).inc()
            reason = f"{reason}: {outcome.detail}" if outcome.detail else reason
        self._log.line(
            route.log if route else f'"path":{orjson.dumps(path[:200]).decode()}',
            status,
            seconds,
            size,
            message_id if status < 300 else None,
            reason,
            remote,
            method,
        )
