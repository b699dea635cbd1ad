"""The deliver worker: lease subscriptions -> find due deliveries -> load their content -> send -> write the results.

A subscription is leased as a whole, so its rate, limits and circuit breaker are exact, and no row is written to claim a
delivery. No transaction is open during an HTTP request. When a worker dies, its leases expire. Another worker then
sends again what was under way, with the same IDs.
"""

import asyncio
import logging
import resource
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import get_args
from uuid import UUID, uuid4

import asyncpg

from schemas.config import Config
from schemas.destinations.guard import Guard
from storage import pool as pools
from storage.database import UNAVAILABLE_ERRORS, Database, explain
from storage.sql import query
from storage.vault import Vault
from telemetry.background import Background
from workers.deliver import backlog, content, metrics, places, settings
from workers.deliver.attempt.sender import Sender
from workers.deliver.background_jobs import BackgroundJobs
from workers.deliver.breaker import LONGEST_PAUSE, State
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.health import Health
from workers.deliver.loader import BUDGET, Loader
from workers.deliver.settings import SubscriptionSettings
from workers.deliver.shares import FairLimit
from workers.deliver.writer import AttemptWriter, Result

log = logging.getLogger("crossdock.deliver")

LEASE = 15.0
"""Seconds until the lease of a subscription expires, if the worker that holds it does not renew it."""
RENEW = LEASE / 3
"""Seconds between renewals of the leases."""
POLL = 1.0
"""Seconds between queries for due deliveries; a notification triggers one sooner."""
IDLE = 10.0
"""Seconds without work after which the lease of a subscription is released, so that another worker may take it."""
PLACES = 1000
"""Maximum number of subscriptions that one worker leases at a time, shared fairly among subscribers."""
ATTEMPTS = 8000
"""Maximum number of attempts under way in one process, shared fairly among subscribers.

It is lower if the operating system allows fewer open files.
"""
OTHER_FILES = 300
"""Open files reserved for database connections, name look-ups, logs and idle connections to subscribers."""
UNSERVABLE = 60.0
"""Seconds until a subscription that cannot be served is tried again, for example if its secrets cannot be decrypted."""
HELD_AT_ONCE = 1000
"""Deliveries that are postponed in one statement, if their subscriber is not in the configuration any more."""
CHANNEL, CHANGES = "crossdock_outbox", "crossdock_subscriptions"
"""Notification channels: a delivery may be due; a subscription was changed."""
CANCELLED = "cancelled"
"""Payload of a notification on CHANNEL if a delivery was cancelled."""


class DeliverWorker:
    """The component that `deploy.process` runs as `crossdock worker deliver`."""

    def __init__(self, config: Config, *, database_url: str, vault: Vault) -> None:
        self._config = config
        self._database_url = database_url
        self._vault = vault
        self._name = uuid4()
        self._sender = _sender(config)
        self._database = Database(database_url, size=4)
        self._background = Background()
        self._writing = Background()
        self.attempts = FairLimit(_max_attempts())
        self.bytes_held = FairLimit(BUDGET)
        self.is_notified = False
        self._dispatchers: dict[UUID, Dispatcher] = {}
        self._closing: dict[UUID, asyncio.Task[None]] = {}
        """Closed subscriptions whose last attempts are still under way; their leases are kept until these end."""
        self._health: dict[UUID, tuple[float, Health]] = {}
        """State of the servers of closed subscriptions, and the monotonic time until which not to lease them again."""
        self._unwritten: set[UUID] = set()
        """Deliveries whose result has not been written to the database yet."""
        self._writer = AttemptWriter(self._database, self._unwritten.difference_update)
        self._loader = Loader(
            self._database,
            self._name,
            self.bytes_held,
            config=lambda: self._config,
            on_stale=self._on_changed,
            on_unavailable=self._on_unavailable,
        )
        self._needing_work: set[Dispatcher] = set()
        self._look = asyncio.Event()
        """Set when a delivery may be due."""
        self._feed = asyncio.Event()
        """Set when a dispatcher needs more deliveries."""
        self._changed = asyncio.Event()
        """Set when a subscription was changed."""
        self._leaving: set[asyncio.Task[None]] = set()
        metrics.IN_FLIGHT.set_function(lambda: sum(one.in_flight for one in self._dispatchers.values()))
        metrics.LANES.set_function(lambda: len(self._dispatchers))
        for state in get_args(State):
            metrics.BREAKERS.labels(state).set_function(partial(self._breakers, state))

    async def start(self) -> None:
        """Start to send deliveries; if the database is unavailable, wait for it in the background."""
        await self._sender.start()
        self._writer.start(self._writing)
        jobs = BackgroundJobs(
            self._database, self._vault, lambda: self._config, on_due=self._look.set, on_error=self._on_unavailable
        )
        for name, task in {
            "listen": self._listen(),
            "lease": self._lease(),
            "renew": self._renew(),
            "fetch": self._fetch(),
            "load": self._loader.run(),
            "replay": jobs.replay(),
            "reseal": jobs.reseal(),
            "sweep": jobs.sweep(),
            "backlog": backlog.watch(self._database, self._name, self._left_alone),
        }.items():
            self._background.start(task, name=f"deliver-{name}")
        self._look.set()

    async def stop(self) -> None:
        """Start no more attempts, wait for those under way, write their results and release all leases.

        The wait is limited to `[process] drain_timeout`. An attempt that has not finished by then is cancelled, and
        repeated by another worker or after a restart.
        """
        await self._background.stop()
        attempts = [task for one in self._dispatchers.values() for task in one.close()] + list(self._leaving)
        if attempts:
            _, late = await asyncio.wait(attempts, timeout=self._config.process.drain_timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._writer.drain(3.0)
        await self._writing.stop()
        if self._database.is_open:
            with suppress(Exception):
                async with asyncio.timeout(3):
                    held = [*self._dispatchers, *self._closing]
                    await (await self._database.pool()).execute(query("outbox", "release"), self._name, held)
        await self._database.close(3)
        await self._sender.close()

    def problems(self) -> list[str]:
        """Return the reasons why no delivery can be sent now; an empty list if there are none."""
        found = [f"no use of PostgreSQL: {one}" for one in (self._database.problem, self._writer.problem) if one]
        return found + self._background.problems() + self._writing.problems()

    def reload(self, config: Config) -> None:
        """Apply a new configuration.

        Schedules, limits and subscribers apply from the next attempt on. The time-out and the allowed networks apply
        only after a restart of the process.
        """
        self._config = config
        self._on_changed()

    # The interface for dispatchers (`dispatcher.DispatcherHost`).

    def record(self, result: Result) -> None:
        """Write the result of an attempt; its delivery is not fetched again before that is done."""
        self._unwritten.add(result.id)
        self._writer.add(result)

    def needs_work(self, dispatcher: Dispatcher) -> None:
        """Fetch deliveries that are due, and enqueue them in the dispatcher."""
        self._needing_work.add(dispatcher)
        self._feed.set()

    def needs_content(self, dispatcher: Dispatcher) -> None:
        """Load the content of deliveries that are about to be attempted."""
        self._loader.request(dispatcher)

    def paused(self, settings: SubscriptionSettings, seconds: float) -> None:
        """Store, for all workers and across restarts, that a server asked for a pause."""
        self._leave(asyncio.get_running_loop().create_task(self._pause(settings, seconds), name="deliver-pause"))

    async def gone(self, settings: SubscriptionSettings) -> bool:
        """Disable a subscription whose server answered 410; return whether it was disabled.

        Nothing is changed if the subscription was changed since its settings were read, or if the database is
        unavailable.
        """
        reason = "answered 410 Gone"
        try:
            pool = await self._database.pool()
            disabled = await pool.fetchval(
                query("outbox", "disable"), settings.id, reason, settings.url, settings.updated_at
            )
        except UNAVAILABLE_ERRORS as error:
            self._on_unavailable(error)
            return False  # the next attempt will be answered 410 too
        if disabled is None:
            self._on_changed()
            return False
        log.warning("subscription disabled", extra={"subscription": str(settings.id), "reason": reason})
        metrics.DISABLED.inc()
        self._close(settings.id)
        return True

    async def _pause(self, settings: SubscriptionSettings, seconds: float) -> None:
        try:
            pool = await self._database.pool()
            await pool.execute(query("outbox", "pause"), settings.id, seconds, settings.url)
        except UNAVAILABLE_ERRORS as error:
            self._on_unavailable(error)  # the dispatcher of this worker pauses in any case

    # Leases: the subscriptions that this worker sends for.

    async def _listen(self) -> None:
        """Receive notifications; they only save time, since `_lease` queries the database regularly in any case."""
        while True:
            closed = asyncio.Event()
            try:
                connection = await pools.connect(self._database_url, name="crossdock deliver")
                try:
                    connection.add_termination_listener(lambda _, closed=closed: closed.set())
                    await connection.add_listener(CHANNEL, self._on_notification)
                    await connection.add_listener(CHANGES, lambda *_: self._on_changed())
                    self._look.set()
                    self.is_notified = True
                    await closed.wait()
                finally:
                    self.is_notified = False
                    self._expire()
                    with suppress(Exception):
                        await connection.close(timeout=1)
            except UNAVAILABLE_ERRORS as error:
                log.warning("not listening", extra={"error": explain(error)})
            await asyncio.sleep(POLL)

    def _on_notification(self, *arguments: object) -> None:
        if arguments[-1] == CANCELLED:
            self._expire()
        self._look.set()

    def _on_changed(self) -> None:
        """Read the settings of all leased subscriptions again, and the content that was loaded ahead for them."""
        self._expire()
        self._changed.set()

    def _expire(self) -> None:
        for dispatcher in list(self._dispatchers.values()):
            dispatcher.expire()

    async def _lease(self) -> None:
        """Lease subscriptions that have due deliveries and no worker, and let all dispatchers fetch again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._look.wait()
            self._look.clear()
            try:
                await self._make_places()
                for row in await self._take_subscriptions():
                    await self._open(row)
                self._database.worked()
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
                await asyncio.sleep(POLL)
                continue
            for dispatcher in self._dispatchers.values():
                dispatcher.exhausted = False
            self._needing_work.update(self._dispatchers.values())
            self._feed.set()

    async def _take_subscriptions(self) -> list[asyncpg.Record]:
        free = PLACES - len(self._dispatchers)
        if free <= 0:
            return []
        held = Counter(dispatcher.subscriber for dispatcher in self._dispatchers.values())
        pool = await self._database.pool()
        found: list[asyncpg.Record] = await pool.fetch(
            query("outbox", "lease"), self._name, LEASE, free, list(held), list(held.values()), self._left_for_now()
        )
        return found

    def _left_for_now(self) -> list[UUID]:
        """Return the subscriptions not to lease now: they would only wait, or their last attempts are under way."""
        now = time.monotonic()
        for id_ in [id_ for id_, (until, _) in self._health.items() if until + 2 * LONGEST_PAUSE < now]:
            del self._health[id_]
        return [*self._closing, *(id_ for id_, (until, _) in self._health.items() if until > now)]

    async def _make_places(self) -> None:
        """Close dispatchers so that subscriptions that wait for a place get one.

        Dispatchers that are idle or only wait are closed first, then those of subscribers with more than their share.
        """
        if len(self._dispatchers) < PLACES:
            return
        pool = await self._database.pool()
        rows = await pool.fetch(query("outbox", "crowd"), self._left_for_now())
        if rows:
            waiting = {row["subscriber"]: row["waiting"] for row in rows}
            holders = list(self._dispatchers.values())
            for dispatcher in places.to_give_up(holders, waiting, PLACES, time.monotonic()):
                self._close(dispatcher.settings.id)

    async def _open(self, row: asyncpg.Record) -> None:
        current = settings.read(row, self._config, self._vault)
        if current is None:
            await self._leave_alone(row)
            return
        dispatcher = self._dispatchers.get(current.id)
        if dispatcher is not None:
            dispatcher.change(current)
            return
        _, health = self._health.pop(current.id, (0.0, None))
        self._dispatchers[current.id] = Dispatcher(current, self._sender, self, health)

    async def _leave_alone(self, row: asyncpg.Record) -> None:
        """Release a subscription that cannot be served.

        If its subscriber is not in the configuration any more, its due deliveries are held (see `hold` in outbox.sql).
        """
        id_ = row["id"]
        self._close(id_)
        _, health = self._health.pop(id_, (0.0, None))
        self._health[id_] = time.monotonic() + UNSERVABLE, health or Health.fresh(row["max_rate"])
        pool = await self._database.pool()
        if not settings.is_configured(row["subscriber"], self._config):
            while ids := [due["id"] for due in await pool.fetch(query("outbox", "due_of"), id_, HELD_AT_ONCE)]:
                await pool.execute(query("outbox", "hold"), ids)
        if id_ not in self._closing:
            await pool.execute(query("outbox", "release"), self._name, [id_])

    async def _renew(self) -> None:
        """Renew leases and apply changed settings; close dispatchers that are idle, disabled or no longer leased."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW):
                    await self._changed.wait()
            self._changed.clear()
            self._look.set()  # a subscription that was enabled again may have due deliveries
            now = time.monotonic()
            idle = [id_ for id_, one in self._dispatchers.items() if one.is_idle and now - one.busy_at > IDLE]
            asked = list(self._dispatchers)
            try:
                pool = await self._database.pool()
                rows = await pool.fetch(query("outbox", "renew"), self._name, LEASE, [*asked, *self._closing])
                kept = {row["id"]: row for row in rows}
                for id_ in asked:
                    if id_ not in self._dispatchers:
                        continue  # closed in the meantime
                    if id_ in idle or id_ not in kept:
                        self._close(id_)
                    else:
                        await self._open(kept[id_])
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
                await asyncio.sleep(POLL)

    def _close(self, id_: UUID) -> None:
        dispatcher = self._dispatchers.pop(id_, None)
        if dispatcher is None:
            return
        self._needing_work.discard(dispatcher)
        now = time.monotonic()
        if dispatcher.breaker != "closed" or dispatcher.health.wait(now) > 0:
            self._health[id_] = now + dispatcher.health.wait(now), dispatcher.health
        attempts = dispatcher.close()
        for task in attempts:
            self._leave(task)
        task = asyncio.get_running_loop().create_task(self._let_go(id_, attempts), name="deliver-let-go")
        self._closing[id_] = task
        self._leave(task)

    def _leave(self, task: asyncio.Task[None]) -> None:
        """Keep a reference to a task that runs to its end by itself; `stop` waits for it."""
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _let_go(self, id_: UUID, attempts: list[asyncio.Task[None]]) -> None:
        """Release a lease once no attempt of its subscription is under way; if that fails, the lease expires."""
        try:
            if attempts:
                await asyncio.wait(attempts)
            with suppress(Exception):
                await (await self._database.pool()).execute(query("outbox", "release"), self._name, [id_])
        finally:
            self._closing.pop(id_, None)

    # Due deliveries of the leased subscriptions.

    async def _fetch(self) -> None:
        """Fetch due deliveries for all dispatchers with free slots, in a single query."""
        while True:
            await self._feed.wait()
            self._feed.clear()
            # Include dispatchers that are half empty: one query for many costs little more than a query for one.
            self._needing_work.update(one for one in self._dispatchers.values() if one.is_half_empty)
            known = (one for one in self._needing_work if one.settings.id in self._dispatchers)
            dispatchers = [one for one in known if one.free_slots > 0]
            self._needing_work.clear()
            if not dispatchers:
                continue
            held = list(self._unwritten.union(*(one.under_way for one in dispatchers)))
            rooms = [one.free_slots for one in dispatchers]
            try:
                pool = await self._database.pool()
                ids = [one.settings.id for one in dispatchers]
                rows = await pool.fetch(query("outbox", "due"), ids, rooms, held, self._name)
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
                self._needing_work.update(dispatchers)
                await asyncio.sleep(POLL)
                self._feed.set()
                continue
            found: dict[UUID, list[asyncpg.Record]] = {}
            for row in rows:
                found.setdefault(row["subscription_id"], []).append(row)
            for dispatcher, room in zip(dispatchers, rooms, strict=True):
                due = found.get(dispatcher.settings.id, [])
                dispatcher.exhausted = len(due) < room
                if due and self._dispatchers.get(dispatcher.settings.id) is dispatcher:
                    newest = dispatcher.settings.dialect.newest
                    dispatcher.enqueue([content.waiting(row, newest=newest) for row in due])

    def _breakers(self, state: State) -> int:
        return sum(one.breaker == state for one in self._dispatchers.values())

    def _left_alone(self) -> list[UUID]:
        """Return the subscriptions that wait for their own server, so that more workers would not help them."""
        now = time.monotonic()
        resting = [id_ for id_, (until, _) in self._health.items() if until > now]
        return resting + [id_ for id_, one in self._dispatchers.items() if one.breaker != "closed"]

    def _on_unavailable(self, error: BaseException) -> None:
        log.warning("held up", extra={"reason": self._database.failed(error)})


def _sender(config: Config) -> Sender:
    delivery = config.delivery
    return Sender(Guard(delivery.allow_networks, delivery.allow_http), delivery.timeout)


def _max_attempts() -> int:
    """Raise the limit on open files as far as needed and allowed; return how many attempts may be under way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ATTEMPTS + OTHER_FILES
    if soft < wanted:
        with suppress(ValueError, OSError):  # some systems report no limit although they have one
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(100, min(ATTEMPTS, soft - OTHER_FILES))
