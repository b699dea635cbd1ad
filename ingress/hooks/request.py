"""One webhook whose body has been read: verify, publish, wait for the confirm and for a worker's answer, say what came
of it. Callbacks all the way, no task: each is called in the turn of the loop that received what it waits for.

Nothing here decodes a body or knows the database. A 2xx is said only when the broker has confirmed the message.

Two kinds of senders wait for a worker. A shopper of uStore waits for manufacturers: one message goes to the store and
to the route worker, and past `answer_timeout` the answer is 503, whatever the broker has confirmed. A customer of
Apicbase waits for a verdict: the route worker alone is asked first, and what the customer is told then travels with the
order to the store worker, in one message. So there is one verdict per order, and nothing that is killed in between can
part it from the order.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

import msgspec
from aiohttp import hdrs

from broker import ids, outgoing
from broker.outgoing import TooLargeError, UnroutableError
from broker.publisher import Publisher
from broker.replies import Answer, Replies
from ingress.hooks import metrics, outcomes
from ingress.hooks.clock import ReceiveClock
from ingress.hooks.concurrency import ConcurrencyLimiter
from ingress.hooks.outcomes import Outcome
from ingress.hooks.query import Query
from ingress.hooks.routes import Route
from ingress.hooks.trace import Trace
from schemas import envelope, topology
from schemas.platform import Reply
from telemetry import traces

log = logging.getLogger("crossdock.ingress")

LATE = "no answer from a worker in time"
LOST = "connection lost while waiting for an answer"
NO_ROUTE = "no answer: no queue takes questions"
UNCONFIRMED = "no confirm within the time that the sender waits"


class Broker(msgspec.Struct, frozen=True):
    """What lies behind the door."""

    publisher: Publisher
    replies: Replies
    clock: ReceiveClock


class WebhookRequest(ABC):
    """Until it has `ended` or `failed`. What publisher and replies call doesn't raise: they are reading a socket."""

    __slots__ = (
        "_answer",
        "_behind",
        "_handed",
        "_has_left",
        "_headers",
        "_is_asked",
        "_is_bounded",
        "_is_over",
        "_is_safe",
        "_limiter",
        "_question",
        "_received",
        "_secret",
        "_target",
        "_timer",
        "_trace",
        "_traceparent",
        "_why_none",
        "id",
        "route",
    )

    def __init__(
        self, behind: Broker, route: Route, message_id: str, headers: Mapping[str, str], target: str, *, bounded: bool
    ) -> None:
        """`target`: the request target as received. `bounded`: whether accounts have limits."""
        self.route = route
        self.id = message_id
        self._behind = behind
        self._headers = headers
        self._target = target
        self._is_bounded = bounded
        self._limiter: ConcurrencyLimiter | None = None
        """Once it has entered, until it has left."""
        self._secret: str | None = None
        """The one that fitted."""
        self._traceparent: str | None = None
        self._trace: Trace | None = None
        self._handed = 0.0
        """To the publisher, by the performance counter."""
        self._received = 0.0
        """When the body had been read, in Unix seconds."""
        self._question: tuple[bytes, bytes] | None = None
        """Properties and body of the message that a worker is to answer, until what the sender is told is decided."""
        self._is_asked = False
        """The broker has confirmed the question to a worker."""
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
        self._go_on()

    def lost(self, *, ask_again: bool) -> None:
        """The connection that an answer would come through is gone. What wasn't confirmed is sent again, and may still
        be answered."""
        if not (self._is_safe or self._is_asked) or self._is_over:
            return
        if ask_again and self._question is not None:
            self._publish_question(*self._question)
            return
        self._why_none = LOST
        self._go_on()

    def asked(self) -> None:
        """The broker has confirmed the question to a worker."""
        self._is_asked = True
        if self._why_none is not None:
            self._go_on()

    def not_asked(self, error: Exception) -> None:
        """The question didn't reach the workers' queue, as far as we know."""
        try:
            if self._is_safe:
                pass  # asked once more: what was confirmed stays so, and the sender waits for its time
            elif self._is_asked:
                self._why_none = LOST
                self._go_on()
            elif isinstance(error, UnroutableError) and self._question is not None:
                # Nobody is there to ask; the order itself has a queue of its own.
                self._why_none = NO_ROUTE
                self._go_on()
            else:
                # The broker has confirmed nothing for `confirm_timeout`: the sender waits no longer.
                self._unsafe(error)
        except Exception:
            self._fault()

    @property
    def is_asking(self) -> bool:
        """Whether an answer to the question would still be of use."""
        return self._question is not None and not self._is_over

    def _publish(self, raw: bytes, began: float) -> None:
        route, headers = self.route, self._headers
        platform = route.platform
        secret = platform.verify(raw, headers, Query(self._target), route.settings)
        if secret is None:
            self._refuse(platform.unauthorized, "signature")
            return
        self._secret = secret
        if self._is_bounded:
            crowded = route.limiter.enter()
            if crowded is not None:
                self._refuse(429, crowded)
                return
            self._limiter = route.limiter
        received = self._received = self._behind.clock.now()
        traceparent = headers.get("traceparent")
        if traces.tracer:
            self._trace = Trace(traces.tracer, route, self.id, traceparent, began)
            traceparent = self._trace.traceparent
        else:
            traceparent = ids.traceparent(traceparent)
        self._traceparent = traceparent
        content_type = headers.get(hdrs.CONTENT_TYPE)
        if route.reply_timeout is None:
            properties = route.stamp(content_type)(self.id, received, traceparent)
            self._send(properties, raw)
            return
        stamp = route.stamp_question(content_type)
        until, language, clock = received + route.reply_timeout, headers.get(hdrs.ACCEPT_LANGUAGE), time.monotonic()
        properties = stamp(self.id, received, traceparent, until, language, clock)
        self._behind.replies.expect(self.id, self)
        self._timer = asyncio.get_running_loop().call_later(route.reply_timeout, self._too_late)
        try:
            self._behind.publisher.hold(len(raw))
        except outgoing.BrokerUnavailableError as error:
            self._unsafe(error)
            return
        self._question = (properties, raw)
        if route.asks_first:
            # The workers alone, for a verdict, before the order goes anywhere else.
            self._publish_question(properties, raw)
        else:
            self._send(properties, raw)

    def _send(self, properties: bytes, raw: bytes) -> None:
        """Publish the message that is stored; its confirm makes it safe."""
        self._handed = time.perf_counter()
        try:
            self._behind.publisher.publish_for(self, topology.INBOUND, self.route.key, properties, self.id, raw)
        except Exception as error:
            self._unsafe(error)

    def _publish_question(self, properties: bytes, raw: bytes) -> None:
        """Ask the workers, and nobody else."""
        try:
            publish = self._behind.publisher.publish_for
            publish(_Question(self), "", self.route.questions, properties, self.id, raw)
        except Exception as error:
            self.not_asked(error)

    def _commit(self) -> None:
        """Publish the order with what its sender will be told, once the broker has confirmed it."""
        question, answer, route = self._question, self._answer, self.route
        assert question is not None
        assert self._traceparent is not None
        self._forget_question()
        verdict = envelope.ACCEPTED if answer is None or answer.status < 400 else _reason(answer)
        stamp = route.stamp(self._headers.get(hdrs.CONTENT_TYPE))
        self._send(stamp(self.id, self._received, self._traceparent, verdict=verdict), question[1])

    def _forget_question(self) -> None:
        """An answer that comes from now on is ignored: what the sender is told has been decided."""
        question, self._question = self._question, None
        if question is not None:
            self._behind.publisher.release(len(question[1]))
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._behind.replies.forget(self.id)

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
        if isinstance(error, TooLargeError):
            self._refuse(413, "larger than the broker accepts", detail)
        elif self._is_refusal():
            # Not a promise, so that it needs no confirm; the customer is told what to correct.
            self._is_over = True
            asyncio.get_running_loop().call_soon(self._end_refused)
        else:
            self._refuse(503, "broker", detail)

    def _is_refusal(self) -> bool:
        return self._answer is not None and self._answer.status >= 400

    def _end_refused(self) -> None:
        try:
            reply = self.route.event.reply
            assert reply is not None
            self._end(self._said(reply, self._answer, LATE))
        except Exception:
            self._fault()

    def _too_late(self) -> None:
        """The sender waits no longer, whether or not the broker has confirmed the message."""
        self._why_none = LATE
        if self._is_safe or self.route.asks_first:
            self._go_on()
        elif not self._is_over:
            self._is_over = True
            if self._trace:
                self._trace.published(UNCONFIRMED)
            if self._is_refusal():
                self._end_refused()
            else:
                self._turn_away(503, "broker", UNCONFIRMED)

    def _go_on(self) -> None:
        """There is an answer, or there will be none: an order that waited for it is published now."""
        if self._is_over:
            return
        try:
            if self._question is None or not self.route.asks_first:
                self._decide()
            elif self._answer is not None or self._is_asked or self._why_none is not LATE:
                self._commit()
            # Else the broker has not even confirmed the question: it does so soon, or the sender is told to come again.
        except Exception:
            self._fault()

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
                outcome = outcomes.with_body(outcome, self.id)
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
            self._forget_question()
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            limiter.leave()
        if not self._has_left:
            self._has_left = True
            self.left()

    def _fault(self) -> None:
        """Of ours, while it is told of something: who tells is reading a socket, and must not hear of it."""
        log.exception("request failed", extra={"path": self.route.path, "id": self.id})
        self._is_over = True
        self._leave()
        self.failed()


class _Question:
    """Hears of the confirm of a question to the workers, for the request that asked it."""

    __slots__ = ("_post",)

    def __init__(self, post: WebhookRequest) -> None:
        self._post = post

    def done(self) -> bool:
        """Whether nobody needs the answer any more."""
        return not self._post.is_asking

    def set_result(self, nothing: None) -> None:
        self._post.asked()

    def set_exception(self, error: Exception) -> None:
        self._post.not_asked(error)


def _reason(answer: Answer) -> str:
    """Why a worker refused an order, in the words that its sender is told."""
    try:
        detail = msgspec.json.decode(answer.body, type=_Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        detail = ""
    return detail[: envelope.VERDICT_LENGTH] or f"refused with status {answer.status}"


class _Problem(msgspec.Struct):
    """As much as matters of problem+json (RFC 9457)."""

    detail: str
