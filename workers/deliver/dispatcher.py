"""The dispatcher of one subscription: its limits, rate, pause and circuit breaker, isolated from all others."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from workers.deliver import delivery, metrics
from workers.deliver.attempt.result import AttemptResult
from workers.deliver.attempt.sender import Sender
from workers.deliver.breaker import State
from workers.deliver.content import DueDelivery, LoadedDelivery
from workers.deliver.deliveries import Deliveries
from workers.deliver.health import Health
from workers.deliver.notifications import Notifications
from workers.deliver.rate import Bucket
from workers.deliver.settings import SubscriptionSettings
from workers.deliver.shares import FairLimit
from workers.deliver.writer import Result

READY = 8
"""Due deliveries that are queued, without content, for each attempt that may be under way.

They keep a fast subscriber busy while the next ones are fetched.
"""
REFILL_BELOW = 1 / 2
"""A dispatcher requests more deliveries once at most this part of its READY ones is left."""
JOIN_BELOW = 5 / 8
"""A dispatcher with at most this part left joins the query that another one has requested, which costs little more."""
AHEAD = 4
"""Contents loaded ahead for each attempt that may be under way, if the subscriber's server responds fast.

Nothing is loaded ahead unless the worker is being notified of cancelled deliveries and changed subscriptions.
"""
LOAD_BELOW = 1 / 2
"""More content is loaded ahead once at most this part of it is left, because one query for many is cheaper."""
FRESH = 0.25
"""Seconds after which content that was loaded ahead is loaded again, whether or not a notification arrived."""
FAST = 0.1
"""Content is loaded ahead if the mean duration of an attempt is below this many seconds.

For slower subscribers, the time of one more query makes no difference.
"""
SMOOTHING = 1 / 8
"""Weight of the latest attempt in the moving average of their duration."""


class DispatcherHost(Protocol):
    """The interface that a dispatcher requires of the worker that runs it."""

    attempts: FairLimit
    """Limit on attempts under way, shared by all dispatchers."""
    bytes_in_use: FairLimit
    """Limit on the bytes of content in memory, shared by all dispatchers."""
    notifications: Notifications
    """Of cancelled deliveries and changed subscriptions; while they are not active, nothing is loaded ahead."""

    def record(self, result: Result) -> None:
        """Write the result of an attempt to the database."""

    request_deliveries: Callable[["Dispatcher"], None]
    """Fetch deliveries that are due, and enqueue them."""
    request_content: Callable[["Dispatcher"], None]
    """Load the content of the deliveries that `take_for_loading` returns."""

    def on_pause_requested(self, settings: SubscriptionSettings, seconds: float) -> None:
        """Store that the server asked for a pause, so that it outlasts this process."""

    async def on_gone(self, settings: SubscriptionSettings) -> bool:
        """Handle a 410 response; return whether the subscription was disabled because of it."""
        ...


class Dispatcher:
    """Sends the deliveries of one subscription until `close` is called."""

    def __init__(
        self, settings: SubscriptionSettings, sender: Sender, host: DispatcherHost, health: Health | None = None
    ) -> None:
        """Start with `health`, the state that an earlier dispatcher of the subscription left, if there was one."""
        now = time.monotonic()
        self.settings = settings
        self._sender = sender
        self._host = host
        self.health = health or Health.fresh(settings.max_rate)
        self._deliveries = Deliveries(self._release)
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._seconds = FAST
        """Moving average of the duration of an attempt, in seconds."""
        self.waits_for_settings = False
        """Whether the subscription was changed and its new settings have not arrived yet."""
        self._closed = False
        self.all_due_fetched = False
        """Whether the last fetch returned fewer deliveries than requested, so that no more are due for now."""
        self.busy_at = now
        """Monotonic time at which an attempt last started or ended; at first, the time of creation."""

    @property
    def subscriber(self) -> str:
        return self.settings.subscriber

    @property
    def free_slots(self) -> int:
        """The number of due deliveries that can be enqueued now."""
        now = time.monotonic()
        deliveries = self._deliveries
        queued = len(deliveries.waiting) + len(deliveries.loading) + len(deliveries.loaded)
        if self._closed or self.health.paused_until > now:
            return 0
        if self.breaker != "closed":
            return 1 - queued - len(self._tasks) if self.health.breaker.allows(now) else 0
        return max(0, self._ready - queued)

    @property
    def _ready(self) -> int:
        return self.settings.max_in_flight * READY

    @property
    def is_half_empty(self) -> bool:
        """Whether the dispatcher will soon need more deliveries, and more may be due."""
        return not self.all_due_fetched and len(self._deliveries.waiting) <= self._ready * JOIN_BELOW

    @property
    def under_way(self) -> list[UUID]:
        """The IDs of all deliveries that the dispatcher holds, whether their attempts have started or not."""
        return [*self._tasks, *self._deliveries.ids]

    @property
    def in_flight(self) -> int:
        """The number of attempts under way."""
        return len(self._tasks)

    @property
    def is_idle(self) -> bool:
        return not self._tasks and self._deliveries.is_empty

    @property
    def breaker(self) -> State:
        return self.health.breaker.state

    def seconds_until_next_attempt(self, now: float) -> float:
        """Return the number of seconds until an attempt may start; 0 if one is under way or may start now."""
        return 0.0 if self._tasks else self.health.wait(now)

    def change(self, settings: SubscriptionSettings) -> None:
        """Apply new settings from the next attempt on."""
        if settings.max_rate != self.settings.max_rate:
            self.health.bucket = Bucket(settings.max_rate, time.monotonic())
        if settings.url != self.settings.url:
            self.health.paused_until = 0.0  # the pause was requested by the server of the old URL
        was_waiting, self.waits_for_settings = self.waits_for_settings, False
        self.settings = settings
        if was_waiting:
            self.dispatch()

    def enqueue(self, items: Sequence[DueDelivery]) -> None:
        """Queue deliveries that are due, in the given order."""
        self._deliveries.waiting.extend(items)
        self.dispatch()

    def close(self) -> list[asyncio.Task[None]]:
        """Start no more attempts; return the tasks of those that are under way."""
        self._closed = True
        self._deliveries.clear()
        self._cancel_timer()
        self._host.attempts.forget(self.subscriber, self)
        return list(self._tasks.values())

    # Methods that the loader calls.

    def take_for_loading(self, limit: int) -> list[DueDelivery]:
        """Return at most `limit` deliveries whose content is needed now.

        Each of them must then be passed to `receive`, `put_back` or `drop`.
        """
        return self._deliveries.take_for_loading(min(limit, self._count_to_load(time.monotonic())))

    def receive(self, dues: Sequence[LoadedDelivery]) -> None:
        """Accept deliveries whose content was loaded."""
        if self._closed:
            for due in dues:
                self._deliveries.drop(due.waiting)
            return
        self._deliveries.receive(dues)
        self.dispatch()

    def put_back(self, items: Sequence[DueDelivery]) -> None:
        """Return deliveries without content to the head of the queue, and release the memory reserved for them."""
        if self._closed:
            for item in items:
                self._deliveries.drop(item)
        else:
            self._deliveries.put_back(items)

    def drop(self, item: DueDelivery) -> None:
        """Remove a delivery that must not be sent any more."""
        self._deliveries.drop(item)

    def wait_for_settings(self) -> None:
        """Start no attempt until `change` is called with the subscription's present settings."""
        self.waits_for_settings = True

    def invalidate_loaded(self) -> None:
        """Discard the content that was loaded ahead and load it again.

        Called when a delivery was cancelled, a subscription was changed, or notifications may have been missed.
        """
        self._deliveries.put_back_loaded()
        self.dispatch()

    # Starting attempts.

    def dispatch(self) -> None:
        """Start all attempts that may start, request what is missing, and schedule another call if a wait is needed."""
        self._cancel_timer()
        if self._closed:
            return
        deliveries = self._deliveries
        now = time.monotonic()
        wait = 0.0
        while len(self._tasks) < self.settings.max_in_flight and not self.waits_for_settings:
            wait = self.health.wait(now)
            if wait > 0 or not self._start_next(now):
                break
        if wait > 0:
            if self.health.paused_until > now:
                deliveries.clear()  # they are fetched again after the pause
            elif wait > FRESH:
                deliveries.put_back_loaded()
            if deliveries.waiting or deliveries.loaded:
                self._timer = asyncio.get_running_loop().call_later(max(wait, 0.001), self.dispatch)
        elif deliveries.waiting and self._count_to_load_now() > 0:
            self._host.request_content(self)
        if not self.all_due_fetched and len(deliveries.waiting) <= self._ready * REFILL_BELOW:
            self._host.request_deliveries(self)

    def _start_next(self, now: float) -> bool:
        """Start one attempt whose content is loaded; return whether one was started."""
        deliveries = self._deliveries
        while deliveries.loaded:
            due = deliveries.loaded[0]
            if now - due.loaded_at > FRESH:
                deliveries.put_back_first()
                continue
            if not self._host.attempts.try_take(self.subscriber):
                self._host.attempts.when_free(self.subscriber, self, self.dispatch)
                return False
            deliveries.loaded.popleft()
            self.health.started(now)
            self.busy_at = now
            task = asyncio.get_running_loop().create_task(self._attempt(due), name=f"deliver-{due.id}")
            self._tasks[due.id] = task
            return True
        return False

    def _count_to_load(self, now: float) -> int:
        """Return how many contents to load now.

        No more are loaded than attempts may start at once, except for fast subscribers (see AHEAD).
        """
        if self._closed or self.waits_for_settings or self.health.wait(now) > 0:
            return 0
        return self._count_to_load_now()

    def _count_to_load_now(self) -> int:
        """Return how many contents to load, if the caller knows that an attempt may start now."""
        if self.waits_for_settings:
            return 0
        deliveries = self._deliveries
        coming = len(deliveries.loading) + len(deliveries.loaded)
        if self.breaker != "closed":  # a single attempt, to probe the server
            return min(1 - coming - len(self._tasks), len(deliveries.waiting))
        count = self.settings.max_in_flight - len(self._tasks) - coming
        available = self.health.bucket.available(time.monotonic())
        if available is not None:
            count = min(count, available - coming)
        elif self._host.notifications.is_active and self._seconds < FAST and not self.settings.dialect.newest:
            ahead = self.settings.max_in_flight * AHEAD
            if count <= 0 and coming > ahead * LOAD_BELOW:
                return 0  # enough is loaded for now
            count += ahead
        return max(0, min(count, len(deliveries.waiting)))

    def _release(self, item: DueDelivery) -> None:
        reserved, item.reserved = item.reserved, 0
        self._host.bytes_in_use.release(self.subscriber, reserved, part=self.settings.id)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The attempt of one delivery.

    async def _attempt(self, due: LoadedDelivery) -> None:
        at, started = datetime.now(UTC), time.monotonic()
        traceparent = due.event.traceparent if due.event else None
        metrics.LAG.observe(max(0.0, (at - due.waiting.due_at).total_seconds()), traceparent)
        settings = self.settings
        health = self.health
        answer: AttemptResult | None = None
        is_final = False
        try:
            answer, is_final = await delivery.send(self._sender, due, settings)
        finally:
            now = time.monotonic()
            health.ended(answer, now)
            self._seconds += (now - started - self._seconds) * SMOOTHING
            self.busy_at = now
            try:
                if answer is not None:
                    if answer.gone:
                        is_final = await self._host.on_gone(settings)
                    if answer.retry_after is not None:
                        self._pause(settings, answer.retry_after, now)
                    result = delivery.decide(due, settings, answer, at, is_final=is_final)
                    self._host.record(result)
                    delivery.observe(result, due, settings, self.breaker)
            finally:
                self._tasks.pop(due.id, None)
                self._release(due.waiting)
                self._host.attempts.release(settings.subscriber)
                if not self._closed:
                    self.dispatch()

    def _pause(self, settings: SubscriptionSettings, seconds: float, now: float) -> None:
        """Pause the whole subscription for the time that the server asked for.

        The deliveries that wait meanwhile lose no attempt.
        """
        if settings.url != self.settings.url:
            return
        self.health.paused_until = max(self.health.paused_until, now + seconds)
        self._host.on_pause_requested(settings, seconds)
