"""One attempt of a delivery: sends its request, decides what becomes of the delivery, and reports both."""

import logging
import random
import time
from datetime import datetime

import msgspec

from schemas.outbound import Event, UntranslatableError
from telemetry import traces
from telemetry.logs import LineWriter
from workers.deliver import breaker, metrics
from workers.deliver.attempt.result import AttemptResult
from workers.deliver.attempt.sender import Sender
from workers.deliver.content import ERASED_REASON, LoadedDelivery
from workers.deliver.settings import SubscriptionSettings
from workers.deliver.writer import Result, Status

log = logging.getLogger("crossdock.deliver")

LINES = LineWriter()
"""The lines of attempts, of which each has one."""


async def send(sender: Sender, due: LoadedDelivery, settings: SubscriptionSettings) -> tuple[AttemptResult, bool]:
    """Return the result of the attempt, and whether a retry would be pointless."""
    if due.event is None:
        error = due.error or "the event is older than what is kept"
        is_final = due.error in (None, ERASED_REASON)
        return AttemptResult(outcome="blocked", duration_ms=0.0, error=error), is_final
    try:
        request = settings.dialect.request(settings.sent(due.event), settings.credentials, int(time.time()))
    except UntranslatableError as why:
        error = f"cannot be expressed in dialect {settings.dialect.name}: {why}"
        return AttemptResult(outcome="blocked", duration_ms=0.0, error=error), True
    except Exception:
        # This is a bug of ours. The delivery is retried by its schedule rather than at once and without end.
        names = {"delivery": str(due.id), "subscription": str(settings.id)}
        log.exception("request could not be made", extra=names)
        return AttemptResult(outcome="blocked", duration_ms=0.0, error="the request could not be made"), False
    span = traces.tracer and _span(traces.tracer, due, due.event, settings)
    if span:
        request = msgspec.structs.replace(request, headers={**request.headers, "traceparent": span.traceparent})
    owner = settings.subscriber or str(settings.id)  # each subscription of the operator counts as an owner
    answer = await sender.send(settings.url, request, success=settings.dialect.success, owner=owner)
    if span:
        status = {"http.response.status_code": answer.status_code} if answer.status_code else {}
        failed = None if answer.outcome == "delivered" else answer.outcome
        span.end({"crossdock.outcome": answer.outcome, **status}, error=failed)
    return answer, False


def decide(
    due: LoadedDelivery, settings: SubscriptionSettings, answer: AttemptResult, at: datetime, *, is_final: bool
) -> Result:
    """Return what to store about an attempt that started at `at`, and when the next one is due.

    If `is_final` is true, a delivery that was not delivered has failed, whatever its schedule.
    """
    attempt = due.waiting.attempts + 1
    status: Status = "delivered"
    wait = None
    if answer.outcome != "delivered":
        if not is_final:
            jitter = random.uniform(-1, 1)  # noqa: S311 - jitter, not a secret
            wait = settings.retry_policy.next_attempt(attempt, retry_after=answer.retry_after, jitter=jitter)
        status = "failed" if wait is None else "pending"
    return Result(
        id=due.id,
        attempt=attempt,
        at=at,
        outcome=answer.outcome,
        status_code=answer.status_code,
        duration_ms=answer.duration_ms,
        response=answer.response,
        error=answer.error,
        status=status,
        next_seconds=wait or 0.0,
    )


def observe(result: Result, due: LoadedDelivery, settings: SubscriptionSettings, breaker_state: breaker.State) -> None:
    """Count the attempt in the metrics, and log one line about it."""
    event = due.event
    counts = metrics.counts(settings.dialect.name)
    counts.attempt(result.outcome)
    counts.seconds.observe(result.duration_ms / 1000, event.traceparent if event else None)
    if result.status != "pending":
        counts.finished(result.status)
    if log.isEnabledFor(logging.INFO):
        LINES.add_fields(
            {
                "time": result.at,
                "level": "info",
                "logger": log.name,
                "message": "delivery attempted",
                "delivery": due.id,
                "subscription": settings.id,
                "event": event.id if event else None,
                "type": event.type if event else None,
                "dialect": settings.dialect.name,
                "attempt": result.attempt,
                "outcome": result.outcome,
                "status_code": result.status_code,
                "ms": round(result.duration_ms, 2),
                "error": result.error,
                "becomes": result.status,
                "next_s": round(result.next_seconds, 3) if result.status == "pending" else None,
                "breaker": breaker_state,
            }
        )


def _span(tracer: traces.Tracer, due: LoadedDelivery, event: Event, settings: SubscriptionSettings) -> traces.Span:
    """Begin the tracing span of one attempt.

    It names the subscription and not the URL, because the URL may contain a secret.
    """
    attributes: dict[str, str | int | float] = {
        "crossdock.delivery": str(due.id),
        "crossdock.subscription": str(settings.id),
        "crossdock.attempt": due.waiting.attempts + 1,
        "crossdock.event": event.id,
        "crossdock.type": event.type,
        "crossdock.dialect": settings.dialect.name,
        "http.request.method": "POST",
    }
    return tracer.begin(f"deliver {settings.dialect.name}", "client", event.traceparent, attributes)
