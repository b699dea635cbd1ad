"""One webhook whose body has been read: verify, publish, wait for the confirm and for a worker's answer, say what came
of it. Callbacks all the way, no task: each is called in the turn of the loop that received what it waits for.

Nothing here decodes a body or knows the database. A 2xx is said only when the broker has confirmed the message.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

import msgspec
from aiohttp import hdrs
from yarl import URL

from broker import identity, outgoing
from broker.publisher import Publisher
from broker.replies import Answer, Replies
from ingress.hooks import metrics, outcomes
from ingress.hooks.outcomes import Outcome
from ingress.hooks.routes import Route
from ingress.hooks.shares import Share
from ingress.hooks.trace import Trace
from schemas import topology
from schemas.platform import Reply
from telemetry import traces

log = logging.getLogger("crossdock.ingress")

LATE = "no answer from a worker in time"
LOST = "connection lost while waiting for an answer"


class Behind(msgspec.Struct, frozen=True):
    """What lies behind the door."""

    publisher: Publisher
    replies: Replies


class Query:
    """The query string, decoded only if a platform looks into it."""

    __slots__ = ("_url",)

    def __init__(self, url: URL) -> None:
        self._url = url

    def getall(self, key: str, default: list[str], /) -> list[str]:
        return self._url.query.getall(key, default)


class Post(ABC):
    """Until it has `ended` or `failed`. What publisher and replies call doesn't raise: they are reading a socket."""

    __slots__ = (
        "_answer",
        "_behind",
        "_handed",
        "_has_left",
        "_headers",
        "_is_bounded",
        "_is_over",
        "_is_safe",
        "_secret",
        "_share",
        "_timer",
        "_trace",
        "_traceparent",
        "_url",
        "_why_none",
        "id",
        "route",
    )

    def __init__(
        self, behind: Behind, route: Route, message_id: str, headers: Mapping[str, str], url: URL, *, bounded: bool
    ) -> None:
        """`bounded`: whether accounts have limits."""
        self.route = route
        self.id = message_id
        self._behind = behind
        self._headers = headers
        self._url = url
        self._is_bounded = bounded
        self._share: Share | None = None
        """Once it has entered, until it has left."""
        self._secret: str | None = None
        """The one that fitted."""
        self._traceparent: str | None = None
        self._trace: Trace | None = None
        self._handed = 0.0
        """To the publisher, by the performance counter."""
        self._is_safe = False
        self._has_left = False
        self._is_over = False
        """What came of it is decided, if not yet said."""
        self._answer: Answer | None = None
        self._why_none: str | None = None
        """Why there will be no answer any more."""
        self._timer: asyncio.TimerHandle | None = None

    @abstractmethod
    def ended(self, outcome: Outcome) -> None:
        """Hears what came of it: once, in a later turn of the loop than `begin`."""

    @abstractmethod
    def failed(self) -> None:
        """Hears that something of ours raised on the way to saying it, `ended` perhaps: nothing may be left waiting."""

    @abstractmethod
    def left(self) -> None:
        """It is under way no more: once, right before either."""

    def begin(self, raw: bytes, began: float) -> None:
        """With the body as it was read. `began`: Unix seconds when its headers were there. Never raises."""
        try:
            self._publish(raw, began)
        except Exception:
            # A fault of ours: nothing was confirmed, so the sender must hear that it should send again.
            log.exception("request failed", extra={"path": self.route.path, "id": self.id})
            self._refuse(503, "internal error")

    def done(self) -> bool:
        """Whether publishing it is of no use any more."""
        return self._is_over

    def set_result(self, nothing: None) -> None:
        """The broker has confirmed it."""
        try:
            self._confirmed()
        except Exception:
            self._fault()

    def set_exception(self, error: Exception) -> None:
        """It isn't safe, as far as we know."""
        try:
            self._unsafe(error)
        except Exception:
            self._fault()

    def answered(self, answer: Answer) -> None:
        """A worker has said what the sender shall be told."""
        self._answer = self._answer or answer
        self._decide()

    def lost(self) -> None:
        """The connection that an answer would come through is gone. What wasn't confirmed is sent again, and may still
        be answered."""
        if self._is_safe:
            self._why_none = LOST
            self._decide()

    def _publish(self, raw: bytes, began: float) -> None:
        route, headers = self.route, self._headers
        platform = route.platform
        secret = platform.verify(raw, headers, Query(self._url), route.settings)
        if secret is None:
            self._refuse(platform.unauthorized, "signature")
            return
        self._secret = secret
        if self._is_bounded:
            crowded = route.share.enter()
            if crowded is not None:
                self._refuse(429, crowded)
                return
            self._share = route.share
        received = time.time()
        traceparent = headers.get("traceparent")
        if traces.tracer:
            self._trace = Trace(traces.tracer, route, self.id, traceparent, began)
            traceparent = self._trace.traceparent
        else:
            traceparent = identity.traceparent(traceparent)
        self._traceparent = traceparent
        stamp = route.stamp(headers.get(hdrs.CONTENT_TYPE))
        if route.reply_timeout is None:
            properties = stamp(self.id, received, traceparent)
        else:
            language = headers.get(hdrs.ACCEPT_LANGUAGE)
            properties = stamp(self.id, received, traceparent, received + route.reply_timeout, language)
            self._behind.replies.expect(self.id, self)
            self._timer = asyncio.get_running_loop().call_later(route.reply_timeout, self._too_late)
        self._handed = time.perf_counter()
        try:
            self._behind.publisher.publish_for(self, topology.INBOUND, route.key, properties, self.id, raw)
        except Exception as error:
            self._unsafe(error)

    def _confirmed(self) -> None:
        if self._is_over:
            return
        metrics.CONFIRM.observe(time.perf_counter() - self._handed)
        if self._trace:
            self._trace.published()
        if self.route.reply_timeout is None:
            self._end(outcomes.accepted())
        else:
            self._is_safe = True
            self._decide()

    def _unsafe(self, error: Exception) -> None:
        if self._is_over:
            return
        detail = str(outgoing.explain(error))
        if self._trace:
            self._trace.published(detail)
        self._refuse(503, "broker", detail)

    def _too_late(self) -> None:
        self._why_none = LATE
        self._decide()

    def _decide(self) -> None:
        """Once it is safe with the broker: a worker's answer, or what the event says of having none."""
        reply, answer, why = self.route.event.reply, self._answer, self._why_none
        if self._is_over or not self._is_safe or reply is None or (answer is None and why is None):
            return
        try:
            self._end(self._said(reply, answer, why or LATE))
        except Exception:
            self._fault()

    def _said(self, reply: Reply, answer: Answer | None, why: str) -> Outcome:
        if answer is not None and (answer.status != 200 or reply.on_timeout != "accept"):
            refused = None if answer.status < 400 else "refused by a worker"
            about = {"X-Crossdock-Id": self.id}
            return Outcome(answer.status, answer.body, answer.content_type, refused, headers=about)
        if reply.on_timeout == "accept":
            outcome = outcomes.accepted()
            outcome.reason = why if answer is None else None
            return outcome
        return outcomes.refused(self.route.platform, 503, why, self._headers)

    def _refuse(self, status: int, reason: str, detail: str | None = None) -> None:
        self._is_over = True
        asyncio.get_running_loop().call_soon(self._turn_away, status, reason, detail)

    def _turn_away(self, status: int, reason: str, detail: str | None) -> None:
        try:
            outcome = outcomes.refused(self.route.platform, status, reason, self._headers)
            outcome.detail = detail
            self._end(outcome)
        except Exception:
            self._fault()

    def _end(self, outcome: Outcome) -> None:
        self._is_over = True
        try:
            self._leave()
            sign = self.route.platform.sign_answer
            if sign is not None and self._secret is not None:
                outcome = outcomes.spelled(outcome, self.id)
                signature = sign(outcome.body, self._secret, self.route.settings)  # with the secret that fitted
                outcome.headers = {**(outcome.headers or {}), **signature}
            outcome.traceparent = self._traceparent
            if self._trace:
                self._trace.answered(outcome.status, outcome.reason)
            self.ended(outcome)
        except Exception:
            self._fault()

    def _leave(self) -> None:
        """Once it is over, however often it is called."""
        if self._timer is not None:
            self._timer.cancel()
            self._behind.replies.forget(self.id)
        share, self._share, self._timer = self._share, None, None
        if share is not None:
            share.leave()
        if not self._has_left:
            self._has_left = True
            self.left()

    def _fault(self) -> None:
        """Of ours, while it is told of something: who tells is reading a socket, and must not hear of it."""
        log.exception("request failed", extra={"path": self.route.path, "id": self.id})
        self._is_over = True
        self._leave()
        self.failed()
