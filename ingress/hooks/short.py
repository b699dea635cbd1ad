"""The short way of most posts: whole when it is read, and its sender wants to hear no more than that it is safe.

From the socket's bytes to the broker's confirm it is a few calls and one callback. What a library has to do for any
request (a task, a request and a response object, four turns of the loop) costs as much again. Whatever isn't plain
(another method, a body that is still arriving, an answer that a worker gives, limits, traces) goes the long way,
through `handler`, and hears the same.
"""

import asyncio
import logging
import time

from aiohttp import HttpVersion11, StreamReader, hdrs
from aiohttp.http import RawRequestMessage

from broker import identity, outgoing
from ingress.connections import Connection
from ingress.hooks import metrics, outcomes, response
from ingress.hooks.handler import RETRY_AFTER, Handler, Query
from ingress.hooks.routes import Route
from schemas import topology
from telemetry import traces

log = logging.getLogger("crossdock.ingress")


class Short:
    """Takes such posts on behalf of a handler, which has the settings and the counts."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def take(self, message: RawRequestMessage, body: StreamReader, sender: Connection) -> bool:
        """Takes a whole request, or leaves it as it is: False. Never raises once it has taken one."""
        settings = self._handler.settings
        headers = message.headers
        route = settings.routes.find(message.path.partition("?")[0])
        if (
            route is None
            or route.event.reply is not None
            or settings.bounded
            or traces.tracer
            or message.method != hdrs.METH_POST
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or hdrs.CONTENT_ENCODING in headers
            or hdrs.EXPECT in headers
            or body.exception() is not None
            or body.total_bytes > settings.max_body
            or sender.transport is None
            or not response.reads(sender.transport)
        ):
            return False
        self._handler.begin()
        _Post(self._handler, route, message, sender).pass_on(body.read_nowait())
        return True


class _Post:
    """One of them, until it is answered."""

    __slots__ = ("_handed", "_handler", "_id", "_message", "_route", "_sender", "_size", "_started", "_traceparent")

    def __init__(self, handler: Handler, route: Route, message: RawRequestMessage, sender: Connection) -> None:
        self._handler = handler
        self._route = route
        self._message = message
        self._sender = sender
        self._id = identity.message_id()
        self._size = 0
        self._started = self._handed = time.perf_counter()
        self._traceparent: str | None = None

    def pass_on(self, raw: bytes) -> None:
        """Verifies and publishes; the broker's confirm answers."""
        self._size = len(raw)
        route, message = self._route, self._message
        headers = message.headers
        try:
            if route.platform.verify(raw, headers, Query(message.url), route.settings) is None:
                self._refuse(route.platform.unauthorized, "signature")
                return
            self._traceparent = identity.traceparent(headers.get("traceparent"))
            stamp = route.stamp(headers.get(hdrs.CONTENT_TYPE))
            properties = stamp(self._id, time.time(), self._traceparent)
        except Exception:
            log.exception("request failed", extra={"path": route.path, "id": self._id})
            self._refuse(503, "internal error")
            return
        self._handed = time.perf_counter()
        try:
            publish = self._handler.publisher.publish
            publish(topology.INBOUND, route.key, properties, self._id, raw).add_done_callback(self._confirmed)
        except Exception as error:
            self._refuse(503, "broker", str(outgoing.explain(error)))

    def _confirmed(self, future: "asyncio.Future[object]") -> None:
        """Safe with the broker, or not."""
        error = future.exception()
        if error is not None:
            self._refuse(503, "broker", str(outgoing.explain(error)))
            return
        metrics.CONFIRM.observe(time.perf_counter() - self._handed)
        self._answer(outcomes.Outcome(200, b"", ""), response.accepted(self._id))

    def _refuse(self, status: int, reason: str, detail: str | None = None) -> None:
        again: dict[str, str] = {hdrs.RETRY_AFTER: RETRY_AFTER} if status == 503 else {}
        outcome = outcomes.refused(self._route.platform, status, reason, self._message.headers, again)
        outcome.detail = detail
        # In a turn of its own: the connection is told of an answer only after it has been told that a post was taken.
        asyncio.get_running_loop().call_soon(self._answer, outcome, response.refused(outcome))

    def _answer(self, outcome: outcomes.Outcome, block: bytes) -> None:
        outcome.traceparent = self._traceparent
        sender, route = self._sender, self._route
        peer = sender.peername
        remote = str(peer[0]) if isinstance(peer, (list, tuple)) else peer
        seconds = time.perf_counter() - self._started
        self._handler.end()
        try:
            self._handler.record(
                self._message.method, remote, route, route.path, outcome, self._id, self._size, seconds
            )
        finally:
            sender.answer(block)
