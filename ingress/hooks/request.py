"""One webhook whose body has been read: verify, publish, wait for the confirm and for a worker's answer, respond.

A `WebhookRequest` is a state machine of callbacks without a task: the publisher, the replies and a timer call it, each
in the turn of the event loop that received what it waits for. `Phase` names its states. It ends with `_finish`, or with
`_fail` after an error of ours: callbacks catch theirs, most by `_guarded`; `begin` answers its own with 503, and
`_decide_error` catches those of making a refusal. Nothing here decodes a body or knows the database, and the outcome is
a 2xx only when the broker has confirmed the message.

Two kinds of senders wait for a worker. A shopper of uStore waits for manufacturers: one message goes to the store
worker and to the route worker, and after `answer_timeout` the answer is 503, whatever the broker has confirmed. A
customer of Apicbase waits for a verdict: the route worker alone receives a question first, and the verdict that the
customer receives then travels with the order to the store worker, in one message. So there is one verdict per order,
and no process that dies in between can separate it from the order.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum
from functools import wraps
from typing import TypeVar, cast

import msgspec
from aiohttp import hdrs

from broker import ids, outgoing
from broker.outgoing import TooLargeError, UnroutableError
from broker.publisher import Publisher
from broker.replies import Answer, Replies
from ingress.hooks import metrics, outcomes
from ingress.hooks.clock import ReceiveClock
from ingress.hooks.concurrency import ConcurrencyLimiter
from ingress.hooks.metrics import RequestSpans
from ingress.hooks.outcomes import Outcome
from ingress.hooks.question import Question
from ingress.hooks.routes import Query, Route
from schemas import envelope, topology
from telemetry import traces

log = logging.getLogger("crossdock.ingress")

LATE = "no answer from a worker in time"
LOST = "connection lost while waiting for an answer"
NO_ROUTE = "no answer: no queue takes questions"
UNCONFIRMED = "no confirm within the time that the sender waits"

Method = TypeVar("Method", bound=Callable[..., None])


class Phase(Enum):
    """The states of a request, in the order in which they are reached; each may be skipped, none is returned to."""

    NEW = 0
    """Nothing is published yet."""
    ASKING = 1
    """The question to the workers is published and not confirmed (only where a verdict comes first)."""
    AWAITING_VERDICT = 2
    """The question is confirmed, so that a worker will answer it."""
    PUBLISHING = 3
    """The message that is stored is published and not confirmed."""
    AWAITING_ANSWER = 4
    """The message is safe with the broker; the sender still waits for a worker's answer."""
    DECIDED = 5
    """The outcome is decided; the request finishes in a later turn of the loop."""
    FINISHED = 6
    """The outcome was passed on."""


# Module constants, because looking a member up in its enum costs more than the comparison.
NEW, ASKING, AWAITING_VERDICT, PUBLISHING, AWAITING_ANSWER, DECIDED, FINISHED = Phase


class Broker(msgspec.Struct, frozen=True):
    """What a request needs for publishing."""

    publisher: Publisher
    replies: Replies
    clock: ReceiveClock


def _guarded(method: Method) -> Method:
    """Decorate a callback so that an error of ours ends the request.

    It must not reach the caller, which is reading a socket for many other requests.
    """

    @wraps(method)
    def call(self: "WebhookRequest", *args: object, **kwargs: object) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception:
            self._fail()

    return cast(Method, call)


class WebhookRequest(ABC):
    """One post, until `on_outcome` or `on_error` was called. It is the listener of its own message's confirm."""

    __slots__ = (
        "_answer",
        "_has_account_limits",
        "_headers",
        "_limiter",
        "_no_answer",
        "_phase",
        "_published_at",
        "_question",
        "_received",
        "_released",
        "_secret",
        "_spans",
        "_target",
        "_traceparent",
        "broker",
        "id",
        "route",
    )

    def __init__(
        self,
        broker: Broker,
        route: Route,
        message_id: str,
        headers: Mapping[str, str],
        target: str,
        *,
        has_account_limits: bool,
    ) -> None:
        """`target`: the request target as received. `has_account_limits`: whether accounts have limits."""
        self.route = route
        self.id = message_id
        self.broker = broker
        self._headers = headers
        self._target = target
        self._has_account_limits = has_account_limits
        self._phase = NEW
        self._released = False
        self._limiter: ConcurrencyLimiter | None = None
        """The account's limiter, while this request counts there."""
        self._secret: str | None = None
        """The secret that verified the signature; the response is signed with it."""
        self._traceparent: str | None = None
        self._spans: RequestSpans | None = None
        self._published_at = 0.0
        """When the message was handed to the publisher, by the performance counter."""
        self._received = 0.0
        """When the body had been read, in Unix seconds."""
        self._question: Question | None = None
        """The question to the workers, until the answer no longer matters."""
        self._answer: Answer | None = None
        self._no_answer: str | None = None
        """Why there will be no answer: the label of a metric."""

    @abstractmethod
    def on_release(self) -> None:
        """Called once, immediately before `on_outcome` or `on_error`: the request is no longer under way."""

    @abstractmethod
    def on_outcome(self, outcome: Outcome) -> None:
        """Called with the outcome, at most once, in a later turn of the loop than `begin`."""

    @abstractmethod
    def on_error(self) -> None:
        """Called when an error of ours left no outcome, or `on_outcome` raised; no waiter may be left behind."""

    # What calls this from outside: the handler, the publisher, the replies and the timer.

    def begin(self, raw: bytes, began: float) -> None:
        """Process the body as it was read. `began`: Unix seconds when the headers had arrived. Never raises."""
        try:
            self._verify_and_publish(raw, began)
        except Exception:
            # The fault is ours and nothing was confirmed, so the sender has to send the message again.
            self._log_failure()
            self._decide_error(503, "internal error")

    def done(self) -> bool:
        """Return whether the outcome is decided, so that publishing the message would be useless."""
        return self._phase is DECIDED or self._phase is FINISHED

    def set_result(self, nothing: None) -> None:
        """Handle the broker's confirm of the message that is stored."""
        if self._phase is not PUBLISHING:
            return
        try:  # every request comes here and to `_finish`, and `_guarded` would repack their arguments
            metrics.CONFIRM.observe(time.perf_counter() - self._published_at)
            if self._spans:
                self._spans.published()
            if self.route.reply_timeout is None:
                self._finish(outcomes.accepted(self._traceparent))
            else:
                self._phase = AWAITING_ANSWER
                self._finish_if_answered()
        except Exception:
            self._fail()

    @_guarded
    def set_exception(self, error: Exception) -> None:
        """Handle that the message is not known to be safe."""
        self._publish_failed(error)

    @_guarded
    def answered(self, answer: Answer) -> None:
        """Handle a worker's answer; the first one counts."""
        self._answer = self._answer or answer
        self._proceed()

    @_guarded
    def lost(self, *, ask_again: bool) -> None:
        """Handle the loss of the connection over which an answer would arrive.

        A message that was not confirmed is sent again by the publisher, and may still be answered.
        """
        if self._phase is not AWAITING_VERDICT and self._phase is not AWAITING_ANSWER:
            return
        if ask_again and self._question is not None:
            self._question.ask()
            return
        self._no_answer = LOST
        self._proceed()

    @_guarded
    def question_confirmed(self) -> None:
        """Handle the broker's confirm of the question to the workers."""
        if self._phase is ASKING:
            self._phase = AWAITING_VERDICT
            if self._no_answer is not None:
                self._proceed()

    @_guarded
    def question_failed(self, error: Exception) -> None:
        """Handle that the question is not known to have reached the workers' queue."""
        if self._phase is AWAITING_VERDICT:
            self._no_answer = LOST
            self._proceed()
        elif self._phase is ASKING and isinstance(error, UnroutableError):
            # No queue takes questions; the order itself has a queue of its own.
            self._no_answer = NO_ROUTE
            self._proceed()
        elif self._phase is ASKING:
            # The broker has confirmed nothing for `confirm_timeout`: the sender waits no longer.
            self._publish_failed(error)
        # In AWAITING_ANSWER a question was repeated: what was confirmed stays so, and the sender waits for its time.

    @_guarded
    def timed_out(self) -> None:
        """Stop waiting for an answer, whether or not the broker has confirmed the message."""
        self._no_answer = LATE
        if self._phase is not PUBLISHING:
            self._proceed()
            return
        if self._spans:
            self._spans.published(UNCONFIRMED)
        self._finish(self._worker_refusal() or self._error_outcome(503, "broker", UNCONFIRMED))

    # The steps.

    def _verify_and_publish(self, raw: bytes, began: float) -> None:
        route, headers = self.route, self._headers
        platform = route.platform
        secret = platform.verify(raw, headers, Query(self._target), route.settings)
        if secret is None:
            self._decide_error(platform.unauthorized, "signature")
            return
        self._secret = secret
        if self._has_account_limits:
            reason = route.limiter.acquire()
            if reason is not None:
                self._decide_error(429, reason)
                return
            self._limiter = route.limiter
        received = self._received = self.broker.clock.now()
        traceparent = headers.get("traceparent")
        if traces.tracer:
            spans = RequestSpans(traces.tracer, platform.name, route.account, route.name, self.id, traceparent, began)
            self._spans, traceparent = spans, spans.traceparent
        else:
            traceparent = ids.traceparent(traceparent)
        self._traceparent = traceparent
        content_type = headers.get(hdrs.CONTENT_TYPE)
        if route.reply_timeout is None:
            self._publish(route.stamp(content_type)(self.id, received, traceparent), raw)
            return
        stamp = route.stamp_question(content_type)
        until, language, clock = received + route.reply_timeout, headers.get(hdrs.ACCEPT_LANGUAGE), time.monotonic()
        properties = stamp(self.id, received, traceparent, until, language, clock)
        try:
            self._question = Question(self, route.reply_timeout, properties, raw)
        except outgoing.BrokerUnavailableError as error:
            self._publish_failed(error)
            return
        if route.asks_first:
            self._phase = ASKING
            self._question.ask()
        else:
            self._publish(properties, raw)

    def _publish(self, properties: bytes, raw: bytes) -> None:
        """Publish the message that is stored; its confirm makes it safe."""
        self._phase = PUBLISHING
        self._published_at = time.perf_counter()
        try:
            self.broker.publisher.publish_for(self, topology.INBOUND, self.route.key, properties, self.id, raw)
        except Exception as error:
            self._publish_failed(error)

    def _publish_failed(self, error: Exception) -> None:
        if self.done():
            return
        detail = str(outgoing.explain(error))
        if self._spans:
            self._spans.published(detail)
        refusal = self._worker_refusal()
        if isinstance(error, TooLargeError):
            self._decide_error(413, "larger than the broker accepts", detail)
        elif refusal is not None:
            self._decide(refusal)  # a refusal promises nothing, so it needs no confirm; it says what to correct
        else:
            self._decide_error(503, "broker", detail)

    def _proceed(self) -> None:
        """Continue after an answer arrived, or after it became known that none will."""
        if self._phase is AWAITING_ANSWER:
            self._finish_if_answered()
            return
        # An unconfirmed question that timed out is confirmed soon, or the sender is asked to send the order again.
        can_publish = self._answer is not None or self._no_answer is not LATE
        if self._phase is AWAITING_VERDICT or (self._phase is ASKING and can_publish):
            self._publish_with_verdict()

    def _publish_with_verdict(self) -> None:
        """Publish the order with the verdict that its sender receives once the broker has confirmed it."""
        question, answer, route = self._question, self._answer, self.route
        assert question is not None
        assert self._traceparent is not None
        self._close_question()
        verdict = envelope.ACCEPTED if answer is None or answer.status < 400 else _refusal_detail(answer)
        stamp = route.stamp(self._headers.get(hdrs.CONTENT_TYPE))
        self._publish(stamp(self.id, self._received, self._traceparent, verdict=verdict), question.body)

    def _finish_if_answered(self) -> None:
        if self._answer is not None or self._no_answer is not None:
            self._finish(self._answer_outcome())

    # The outcome.

    def _answer_outcome(self) -> Outcome:
        """Return the outcome of a message that is safe: a worker's answer, or what the event gives instead of one."""
        reply, answer = self.route.event.reply, self._answer
        assert reply is not None
        accepts_without = reply.on_timeout == "accept"
        if answer is not None and (answer.status != 200 or not accepts_without):
            reason = None if answer.status < 400 else "refused by a worker"
            headers = {"X-Crossdock-Id": self.id}
            return Outcome(
                answer.status, answer.body, answer.content_type, reason, headers=headers, traceparent=self._traceparent
            )
        reason = self._no_answer or LATE
        if accepts_without:
            return outcomes.accepted(self._traceparent, reason if answer is None else None)
        return self._error_outcome(503, reason)

    def _worker_refusal(self) -> Outcome | None:
        """Return the outcome of an order that a worker has refused, which is valid without the broker's confirm."""
        return self._answer_outcome() if self._answer is not None and self._answer.status >= 400 else None

    def _error_outcome(self, status: int, reason: str, detail: str | None = None) -> Outcome:
        platform, traceparent = self.route.platform, self._traceparent
        return outcomes.refused(platform, status, reason, self._headers, detail=detail, traceparent=traceparent)

    def _decide_error(self, status: int, reason: str, detail: str | None = None) -> None:
        try:
            self._decide(self._error_outcome(status, reason, detail))
        except Exception:
            self._log_failure()
            self._phase = DECIDED
            asyncio.get_running_loop().call_soon(self._fail)

    def _decide(self, outcome: Outcome) -> None:
        """Finish with this outcome in a later turn of the loop, because this one may still be inside `begin`."""
        self._phase = DECIDED
        asyncio.get_running_loop().call_soon(self._finish, outcome)

    def _finish(self, outcome: Outcome) -> None:
        """Release what the request holds, complete the outcome, and pass it on. Never raises."""
        try:
            self._phase = FINISHED
            self._release()
            sign = self.route.platform.sign_answer
            if sign is not None and self._secret is not None:
                outcome = outcomes.with_body(outcome, self.id)
                signature = sign(outcome.body, self._secret, self.route.settings)
                outcome = msgspec.structs.replace(outcome, headers={**outcome.headers, **signature})
            if self._spans:
                self._spans.answered(outcome.status, outcome.reason)
            self.on_outcome(outcome)
        except Exception:
            self._fail()

    def _fail(self) -> None:
        """End the request after an error of ours: log it, and leave no waiter behind."""
        self._log_failure()
        self._phase = FINISHED
        self._release()
        self.on_error()

    def _log_failure(self) -> None:
        log.exception("request failed", extra={"path": self.route.path, "id": self.id})

    def _release(self) -> None:
        """Give back what the question holds, and the account's place; further calls do nothing."""
        if self._released:
            return
        self._released = True
        if self._question is not None:
            self._close_question()
        if self._limiter is not None:
            self._limiter.release()
        self.on_release()

    def _close_question(self) -> None:
        """Stop waiting for an answer, because the response has been decided."""
        question, self._question = self._question, None
        if question is not None:
            question.close()


def _refusal_detail(answer: Answer) -> str:
    """Return why a worker refused an order, in the words that its sender receives."""
    try:
        detail = msgspec.json.decode(answer.body, type=_Problem).detail
    except (msgspec.DecodeError, UnicodeDecodeError):
        detail = ""
    return detail[: envelope.VERDICT_LENGTH] or f"refused with status {answer.status}"


class _Problem(msgspec.Struct):
    """The member of problem+json (RFC 9457) that matters here."""

    detail: str
