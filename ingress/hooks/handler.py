"""One webhook request: find, read, verify, publish, answer. Turn the pages forwards only.

Nothing here decodes a body or knows the database. A 2xx leaves only when the broker has confirmed the message.
"""

import asyncio
import logging
import time

import msgspec
import orjson
from aiohttp import hdrs, web
from yarl import URL

from broker import identity, outgoing, publisher, replies
from ingress.hooks import body, metrics, outcomes, routes
from ingress.hooks.accesslog import AccessLog
from ingress.hooks.response import Accepted
from ingress.hooks.trace import Trace
from schemas import topology
from telemetry import traces

log = logging.getLogger("crossdock.ingress")

RETRY_AFTER = "5"
"""Seconds. The broker is usually back, or a worker free, well within it."""

SHARE_RETRY_AFTER = "1"
"""Seconds. What an account has under way is through in less, once it stops sending more."""


class Settings(msgspec.Struct, frozen=True):
    """What a reload may change while requests are under way."""

    routes: routes.Routes
    max_body: int
    body_timeout: float
    bounded: bool = False
    """Whether accounts have limits."""


class Query:
    """The query string, decoded only if a platform looks into it."""

    __slots__ = ("_url",)

    def __init__(self, url: URL) -> None:
        self._url = url

    def getall(self, key: str, default: list[str], /) -> list[str]:
        return self._url.query.getall(key, default)


class Handler:
    """Answers requests on behalf of one ingress process."""

    def __init__(
        self,
        settings: Settings,
        room: body.Room,
        publish: publisher.Publisher,
        pending: replies.Replies,
        log: AccessLog,
    ) -> None:
        self.settings = settings
        self.room = room
        self.idle = asyncio.Event()
        """Set while no request is under way."""
        self.idle.set()
        self._in_flight = 0
        self.publisher = publish
        self._replies = pending
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
        path = request.raw_path.partition("?")[0]
        route = self.settings.routes.find(path)
        message_id = identity.message_id()
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
            outcome = outcomes.refused(
                platform, 503, "internal error", request.headers, {hdrs.RETRY_AFTER: RETRY_AFTER}
            )
        finally:
            self.end()
        seconds = time.perf_counter() - started
        self.record(request.method, request.remote, route, path, outcome, message_id, size, seconds)
        if outcome.plain and Accepted.fits(request):
            return Accepted(message_id)
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
        headers = request.headers
        began = time.time()
        encoding = headers.get(hdrs.CONTENT_ENCODING)
        if encoding is not None and encoding.strip().lower() not in ("", "identity"):
            return outcomes.refused(platform, 415, "content encoding", request.headers), 0
        try:
            raw = await body.read(request, self.room, limit=settings.max_body, timeout=settings.body_timeout)
        except body.Refused as why:
            again: dict[str, str] = {hdrs.RETRY_AFTER: RETRY_AFTER} if why.status == 503 else {}
            return outcomes.refused(platform, why.status, why.reason, request.headers, again, close=True), 0
        secret = platform.verify(raw, headers, Query(request.rel_url), route.settings)
        if secret is None:
            return outcomes.refused(platform, platform.unauthorized, "signature", request.headers), len(raw)
        if not settings.bounded:
            return await self._pass_on(request, route, message_id, raw, secret, began), len(raw)
        crowded = route.share.enter()
        if crowded is not None:
            outcome = outcomes.refused(platform, 429, crowded, request.headers, {hdrs.RETRY_AFTER: SHARE_RETRY_AFTER})
            _sign(outcome, route, secret)
            return outcome, len(raw)
        try:
            return await self._pass_on(request, route, message_id, raw, secret, began), len(raw)
        finally:
            route.share.leave()

    async def _pass_on(
        self, request: web.BaseRequest, route: routes.Route, message_id: str, raw: bytes, secret: str, began: float
    ) -> outcomes.Outcome:
        """An authentic body: onto the queue, and back with what is to be said of it. `began`: Unix seconds."""
        headers = request.headers
        received = time.time()
        language = headers.get(hdrs.ACCEPT_LANGUAGE) if route.event.reply else None
        deadline = received + route.reply_timeout if route.reply_timeout is not None else None
        traceparent = headers.get("traceparent")
        trace = Trace(traces.tracer, route, message_id, traceparent, began) if traces.tracer else None
        traceparent = trace.traceparent if trace else identity.traceparent(traceparent)
        stamp = route.stamp(headers.get(hdrs.CONTENT_TYPE))
        properties = stamp(message_id, received, traceparent, deadline, language)
        if deadline is None:
            outcome = await self._accept(request, route, message_id, properties, raw, trace)
        else:
            outcome = await self._answer(request, route, message_id, properties, raw, deadline, trace)
            _sign(outcome, route, secret)
        outcome.traceparent = traceparent
        if trace:
            trace.answered(outcome.status, outcome.reason)
        return outcome

    async def _accept(
        self,
        request: web.BaseRequest,
        route: routes.Route,
        message_id: str,
        properties: bytes,
        raw: bytes,
        trace: Trace | None,
    ) -> outcomes.Outcome:
        """Safe with the broker: 200 and the id."""
        handed = time.perf_counter()
        try:
            await self.publisher.publish(topology.INBOUND, route.key, properties, message_id, raw)
        except Exception as error:
            outcome = outcomes.refused(route.platform, 503, "broker", request.headers, {hdrs.RETRY_AFTER: RETRY_AFTER})
            outcome.detail = str(outgoing.explain(error))
            if trace:
                trace.published(outcome.detail)
            return outcome
        metrics.CONFIRM.observe(time.perf_counter() - handed)
        if trace:
            trace.published()
        return outcomes.accepted(message_id)

    async def _answer(
        self,
        request: web.BaseRequest,
        route: routes.Route,
        message_id: str,
        properties: bytes,
        raw: bytes,
        deadline: float,
        trace: Trace | None,
    ) -> outcomes.Outcome:
        """Safe with the broker, and a worker's answer; without one in time, what the event says of that."""
        reply = route.event.reply
        assert reply is not None
        assert route.reply_timeout is not None
        until = time.perf_counter() + route.reply_timeout
        answer = self._replies.expect(message_id)
        try:
            outcome = await self._accept(request, route, message_id, properties, raw, trace)
            if outcome.status != 200:
                return outcome
            async with asyncio.timeout(max(0.0, until - time.perf_counter())):
                said = await answer
        except TimeoutError:
            reason = "no answer from a worker in time"
        except replies.Lost:
            reason = "connection lost while waiting for an answer"
        else:
            if said.status == 200 and reply.on_timeout == "accept":
                return outcome
            refused = None if said.status < 400 else "refused by a worker"
            headers = {"X-Crossdock-Id": message_id}
            return outcomes.Outcome(said.status, said.body, said.content_type, refused, headers=headers)
        finally:
            self._replies.forget(message_id)
        if reply.on_timeout == "accept":
            outcome.reason = reason
            return outcome
        return outcomes.refused(route.platform, 503, reason, request.headers, {hdrs.RETRY_AFTER: RETRY_AFTER})

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
            route.log if route else b'"path":%b' % orjson.dumps(path[:200]),
            status,
            seconds,
            size,
            message_id if status < 300 else None,
            reason,
            remote,
            method,
        )


def _sign(outcome: outcomes.Outcome, route: routes.Route, secret: str) -> None:
    """Where the platform's answers are signed: with the secret that fitted the request."""
    if route.platform.sign_answer is not None:
        outcome.headers = {
            **(outcome.headers or {}),
            **route.platform.sign_answer(outcome.body, secret, route.settings),
        }
