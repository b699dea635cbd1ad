"""One subscription's deliveries: so many under way, so many a second, and a breaker. Its trouble is its own.

A lane starts what is handed to it as soon as its limits let it, and asks for more when it runs low.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from schemas.outbound import Credentials, Dialect, Event, Untranslatable
from telemetry import traces
from workers.deliver import attemptlog, breaker, metrics
from workers.deliver.attempt.answer import Answer
from workers.deliver.attempt.sender import Sender
from workers.deliver.breaker import Breaker
from workers.deliver.content import Due
from workers.deliver.ledger import Result
from workers.deliver.rate import Bucket
from workers.deliver.schedule import next_attempt

log = logging.getLogger("crossdock.deliver")

READY = 4
"""Deliveries kept at hand, per one that may be under way: what a fast subscriber takes while the next are fetched."""


class Terms(msgspec.Struct, frozen=True):
    """What a subscription asks for."""

    id: UUID
    url: str
    dialect: Dialect
    credentials: Credentials
    schedule: tuple[float, ...]
    """Seconds."""
    interval: float
    """Seconds between attempts of a dialect that never gives up."""
    max_rate: float | None
    max_in_flight: int


class Lane:
    """Runs until `close`."""

    def __init__(
        self,
        terms: Terms,
        sender: Sender,
        record: Callable[[Result], None],
        hungry: Callable[["Lane"], None],
        gone: Callable[["Lane"], None],
    ) -> None:
        """`record` takes results, `hungry` is told that there is room, `gone` that the subscriber answered 410."""
        self.terms = terms
        self._sender = sender
        self._record = record
        self._hungry = hungry
        self._gone = gone
        self._queue: deque[Due] = deque()
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._bucket = Bucket(terms.max_rate, time.monotonic())
        self._breaker = Breaker()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self.drained = False
        """The last look found less than there was room for: nothing more is due until something happens."""
        self.busy_at = time.monotonic()
        """When it last had something to do."""

    @property
    def room(self) -> int:
        """How many deliveries it would take now."""
        if self._closed:
            return 0
        if self._breaker.state != "closed":
            return 1 - len(self._queue) - len(self._tasks) if self._breaker.allows(time.monotonic()) else 0
        return max(0, self._ready - len(self._queue))

    @property
    def _ready(self) -> int:
        """How many it keeps at hand. Where the newest copy is sent, none is kept long."""
        return self.terms.max_in_flight * (1 if self.terms.dialect.newest else READY)

    @property
    def under_way(self) -> list[UUID]:
        """What it holds, started or not."""
        return [*self._tasks, *(due.id for due in self._queue)]

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        return len(self._tasks)

    @property
    def idle(self) -> bool:
        return not self._tasks and not self._queue

    @property
    def breaker(self) -> breaker.State:
        """What its breaker says."""
        return self._breaker.state

    def change(self, terms: Terms) -> None:
        """From the next attempt on."""
        if terms.max_rate != self.terms.max_rate:
            self._bucket = Bucket(terms.max_rate, time.monotonic())
        self.terms = terms

    def give(self, due: list[Due]) -> None:
        """Takes what is due, in order."""
        self._queue.extend(due)
        self.pump()

    def close(self) -> list[asyncio.Task[None]]:
        """Starts nothing more; what is under way."""
        self._closed = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
        return list(self._tasks.values())

    def pump(self) -> None:
        """Starts what may start, and comes back when more may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = time.monotonic()
        while self._queue and not self._closed and len(self._tasks) < self.terms.max_in_flight:
            wait = max(self._breaker.opens_at(now), self._bucket.delay(now))
            if wait > 0 or not self._breaker.allows(now):
                self._timer = asyncio.get_running_loop().call_later(max(wait, 0.001), self.pump)
                break
            due = self._queue.popleft()
            self._bucket.take(now)
            self._breaker.started(now)
            self.busy_at = now
            task = asyncio.get_running_loop().create_task(self._attempt(due), name=f"deliver-{due.id}")
            self._tasks[due.id] = task
        if not self.drained and len(self._queue) <= self._ready // 2:
            self._hungry(self)

    async def _attempt(self, due: Due) -> None:
        at = datetime.now(UTC)
        traceparent = due.event.traceparent if due.event else None
        metrics.LAG.observe(max(0.0, (at - due.due_at).total_seconds()), traceparent)
        terms = self.terms
        answer: Answer | None = None
        final = False
        try:
            answer, final = await self._send(due, terms)
        finally:
            now = time.monotonic()
            if answer is None or answer.outcome == "blocked":
                self._breaker.abandoned(now)
            elif breaker.counts(answer.outcome, answer.status_code):
                self._breaker.failed(now)
            else:
                self._breaker.succeeded()
            self.busy_at = now
            try:
                if answer is not None:
                    self._conclude(due, terms, answer, at, final)
            finally:
                self._tasks.pop(due.id, None)
                if not self._closed:
                    self.pump()

    async def _send(self, due: Due, terms: Terms) -> tuple[Answer, bool]:
        """The answer, and whether trying again is pointless."""
        if due.event is None:
            return Answer(outcome="blocked", duration_ms=0.0, error="the event is older than what is kept"), True
        try:
            request = terms.dialect.request(due.event, terms.credentials, int(time.time()))
        except Untranslatable as why:
            error = f"can't be said in dialect {terms.dialect.name}: {why}"
            return Answer(outcome="blocked", duration_ms=0.0, error=error), True
        except Exception:
            # A fault of ours: it is tried again by the schedule, and not at once and for ever.
            log.exception("request could not be made", extra={"delivery": str(due.id), "subscription": str(terms.id)})
            return Answer(outcome="blocked", duration_ms=0.0, error="the request could not be made"), False
        span = traces.tracer and _span(traces.tracer, due, due.event, terms)
        if span:
            request = msgspec.structs.replace(request, headers={**request.headers, "traceparent": span.traceparent})
        answer = await self._sender.send(terms.url, request, success=terms.dialect.success)
        if span:
            status = {"http.response.status_code": answer.status_code} if answer.status_code else {}
            failed = None if answer.outcome == "delivered" else answer.outcome
            span.end({"crossdock.outcome": answer.outcome, **status}, error=failed)
        return answer, answer.gone

    def _conclude(self, due: Due, terms: Terms, answer: Answer, at: datetime, final: bool) -> None:
        attempt = due.attempts + 1
        dialect = terms.dialect
        wait = None
        if answer.outcome != "delivered" and not final:
            wait = next_attempt(
                terms.schedule,
                attempt,
                forever=dialect.forever,
                interval=terms.interval,
                retry_after=answer.retry_after,
                jitter=random.uniform(-1, 1),  # noqa: S311 - jitter, not a secret
            )
        status = "delivered" if answer.outcome == "delivered" else "failed" if wait is None else "pending"
        self._record(
            Result(
                id=due.id,
                attempt=attempt,
                at=at,
                outcome=answer.outcome,
                status_code=answer.status_code,
                duration_ms=answer.duration_ms,
                response=answer.response,
                error=answer.error,
                status=status,  # type: ignore[arg-type]
                next_seconds=wait or 0.0,
            )
        )
        counts = metrics.counts(dialect.name)
        counts.attempt(answer.outcome)
        counts.seconds.observe(answer.duration_ms / 1000, due.event.traceparent if due.event else None)
        if status != "pending":
            counts.finished(status)
        if log.isEnabledFor(logging.INFO):
            attemptlog.LINES.line(
                {
                    "time": at,
                    "level": "info",
                    "logger": log.name,
                    "message": "delivery attempted",
                    "delivery": due.id,
                    "subscription": terms.id,
                    "event": due.event.id if due.event else None,
                    "type": due.event.type if due.event else None,
                    "dialect": dialect.name,
                    "attempt": attempt,
                    "outcome": answer.outcome,
                    "status_code": answer.status_code,
                    "ms": round(answer.duration_ms, 2),
                    "error": answer.error,
                    "becomes": status,
                    "next_s": None if wait is None else round(wait, 3),
                    "breaker": self._breaker.state,
                }
            )
        if answer.gone:
            self._gone(self)


def _span(tracer: traces.Tracer, due: Due, event: Event, terms: Terms) -> traces.Span:
    """Of one attempt. Where it goes is the subscription; the URL may be a secret."""
    about: dict[str, str | int | float] = {
        "crossdock.delivery": str(due.id),
        "crossdock.subscription": str(terms.id),
        "crossdock.attempt": due.attempts + 1,
        "crossdock.event": event.id,
        "crossdock.type": event.type,
        "crossdock.dialect": terms.dialect.name,
        "http.request.method": "POST",
    }
    return tracer.begin(f"deliver {terms.dialect.name}", "client", event.traceparent, about)
