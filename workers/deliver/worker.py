"""Webhooks out: lease subscriptions -> find what is due -> load its content -> send -> write the result.

No transaction is open during a call, and no row is written to take a delivery: a subscription is leased as a whole, so
that its rate, its limits and its breaker are exact. The lease of a worker that died runs out, and another sends what
was under way once more, with the same ids.
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
from schemas.dialects import dialect
from schemas.outbound import OPERATOR
from schemas.patterns import fits
from storage import pool as pools
from storage import sealed
from storage.database import UNAVAILABLE_ERRORS, Database, explain
from storage.sql import query
from storage.vault import Undecryptable, Vault
from telemetry.background import Background
from workers.deliver import backlog, content, metrics, places
from workers.deliver.attempt.sender import Sender
from workers.deliver.breaker import LONGEST_PAUSE, State
from workers.deliver.chores import BackgroundJobs
from workers.deliver.dispatcher import Dispatcher, Health, SubscriptionSettings
from workers.deliver.loader import BUDGET, Loader
from workers.deliver.shares import FairLimit
from workers.deliver.writer import AttemptWriter, Result

log = logging.getLogger("crossdock.deliver")

LEASE = 15.0
"""Seconds that a subscription stays with a worker that has stopped renewing its lease."""
RENEW = LEASE / 3
POLL = 1.0
"""Seconds between looks for what is due; a notification comes sooner, when it comes."""
IDLE = 10.0
"""Seconds without work after which a subscription is given back, for another worker to take."""
PLACES = 1000
"""Subscriptions that one worker sends for at a time, shared fairly by subscriber."""
ATTEMPTS = 8000
"""Attempts under way in one process, shared fairly by subscriber; fewer where the system allows fewer open files."""
OTHER_FILES = 300
"""Open files that are kept free for connections to the database, look-ups, logs and kept connections."""
UNSERVABLE = 60.0
"""Seconds until a subscription that can't be served (its secrets can't be decrypted, say) is looked at again."""
HELD_AT_ONCE = 1000
"""Deliveries of a subscriber who isn't configured any more that are put off in one statement."""
CHANNEL, CHANGES = "crossdock_outbox", "crossdock_subscriptions"
"""Notifications: something may be due; a subscription was changed."""
CANCELLED = "cancelled"
"""Payload of CHANNEL when a delivery was cancelled."""


class DeliverWorker:
    """Start, stop, problems, reload: what `deploy.process` runs."""

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
        """Subscriptions whose last attempts are under way; the lease is kept until then."""
        self._health: dict[UUID, tuple[float, Health]] = {}
        """What was learned of subscriptions that are left alone, and until when they are (monotonic seconds)."""
        self._unwritten: set[UUID] = set()
        """Deliveries whose result isn't in the database yet."""
        self._writer = AttemptWriter(self._database, self._unwritten.difference_update)
        self._loader = Loader(
            self._database,
            self._name,
            self.bytes_held,
            may_see=self._may_see,
            on_stale=self._on_changed,
            on_unavailable=self._on_unavailable,
        )
        self._hungry: set[Dispatcher] = set()
        self._look = asyncio.Event()
        """Something may be due."""
        self._feed = asyncio.Event()
        """A dispatcher has room."""
        self._changed = asyncio.Event()
        """A subscription was changed."""
        self._leaving: set[asyncio.Task[None]] = set()
        metrics.IN_FLIGHT.set_function(lambda: sum(one.in_flight for one in self._dispatchers.values()))
        metrics.LANES.set_function(lambda: len(self._dispatchers))
        for state in get_args(State):
            metrics.BREAKERS.labels(state).set_function(partial(self._breakers, state))

    async def start(self) -> None:
        """Begin to send. A database that isn't there yet is waited for."""
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
        """Start nothing more, finish what is under way in bounded time, give the subscriptions back.

        An attempt that isn't done by then is made again.
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
        """Return why a delivery would not be sent now; empty if it would."""
        found = [f"no use of PostgreSQL: {one}" for one in (self._database.problem, self._writer.problem) if one]
        return found + self._background.problems() + self._writing.problems()

    def reload(self, config: Config) -> None:
        """Use schedules, limits and subscribers from the next attempt on; the time-out and the networks from the next
        start on."""
        self._config = config
        self._on_changed()

    # What dispatchers need (`dispatcher.Host`).

    def record(self, result: Result) -> None:
        """Write the result of an attempt; until then its delivery is not taken again."""
        self._unwritten.add(result.id)
        self._writer.add(result)

    def needs_work(self, dispatcher: Dispatcher) -> None:
        """Look for deliveries that are due."""
        self._hungry.add(dispatcher)
        self._feed.set()

    def needs_content(self, dispatcher: Dispatcher) -> None:
        """Load the content of deliveries that are about to be attempted."""
        self._loader.request(dispatcher)

    def paused(self, settings: SubscriptionSettings, seconds: float) -> None:
        """Remember for all workers, and over restarts, that a server asked to be left alone."""
        self._leave(asyncio.get_running_loop().create_task(self._pause(settings, seconds), name="deliver-pause"))

    async def gone(self, settings: SubscriptionSettings) -> bool:
        """Disable a subscription that answered 410, if it still is the one that was called; return whether it was."""
        reason = "answered 410 Gone"
        try:
            pool = await self._database.pool()
            disabled = await pool.fetchval(
                query("outbox", "disable"), settings.id, reason, settings.url, settings.updated_at
            )
        except UNAVAILABLE_ERRORS as error:
            self._on_unavailable(error)
            return False  # it is sent to once more, and answers 410 once more
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
            self._on_unavailable(error)  # this worker knows all the same

    # Which subscriptions it sends for.

    async def _listen(self) -> None:
        """Receive notifications. They are only hints: `_lease` looks by itself as well."""
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
        """A subscription was changed: what was loaded ahead for it may not be what it wants."""
        self._expire()
        self._changed.set()

    def _expire(self) -> None:
        for dispatcher in list(self._dispatchers.values()):
            dispatcher.expire()

    async def _lease(self) -> None:
        """Take subscriptions that have something due and that nobody sends for; let all dispatchers look again."""
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
            self._hungry.update(self._dispatchers.values())
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
        """Return the subscriptions that would only wait, or whose last attempts are still under way."""
        now = time.monotonic()
        for id_ in [id_ for id_, (until, _) in self._health.items() if until + 2 * LONGEST_PAUSE < now]:
            del self._health[id_]
        return [*self._closing, *(id_ for id_, (until, _) in self._health.items() if until > now)]

    async def _make_places(self) -> None:
        """Let dispatchers that only wait, and subscribers with more than their share, give places to those without."""
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
        settings = self._settings(row)
        if settings is None:
            await self._leave_alone(row)
            return
        dispatcher = self._dispatchers.get(settings.id)
        if dispatcher is not None:
            dispatcher.change(settings)
            return
        _, health = self._health.pop(settings.id, (0.0, None))
        self._dispatchers[settings.id] = Dispatcher(settings, self._sender, self, health)

    def _settings(self, row: asyncpg.Record) -> SubscriptionSettings | None:
        """Return how to serve a subscription; None if it can't be served, which is logged."""
        if row["subscriber"] != OPERATOR and row["subscriber"] not in self._config.subscribers:
            names = {"subscription": str(row["id"]), "subscriber": row["subscriber"]}
            log.warning("subscription held: its subscriber is not in the configuration", extra=names)
            return None
        try:
            secrets = sealed.unseal(self._vault, row["id"], row["sealed"])
            spoken = dialect(row["dialect"])
        except (Undecryptable, LookupError) as error:
            log.error("subscription can't be served", extra={"subscription": str(row["id"]), "error": str(error)})
            return None
        delivery = self._config.delivery
        schedule = delivery.schedule if row["schedule"] is None else row["schedule"]
        return SubscriptionSettings(
            id=row["id"],
            subscriber=row["subscriber"],
            url=row["url"],
            updated_at=row["updated_at"],
            dialect=spoken,
            credentials=sealed.credentials(secrets, row["query_key"], time.time()),
            schedule=tuple(schedule),
            interval=delivery.channelape_interval,
            max_rate=row["max_rate"],
            max_in_flight=row["max_in_flight"],
        )

    def _may_see(self, subscriber: str, account: str) -> bool:
        """Return whether the present configuration lets a subscriber see an account."""
        if subscriber == OPERATOR:
            return True
        found = self._config.subscribers.get(subscriber)
        return found is not None and fits(account, found.accounts)

    async def _leave_alone(self, row: asyncpg.Record) -> None:
        """Give a subscription back that can't be served, and put off what is due for one whose subscriber is gone."""
        id_ = row["id"]
        self._close(id_)
        _, health = self._health.pop(id_, (0.0, None))
        self._health[id_] = time.monotonic() + UNSERVABLE, health or Health.fresh(row["max_rate"])
        pool = await self._database.pool()
        if row["subscriber"] != OPERATOR and row["subscriber"] not in self._config.subscribers:
            while ids := [due["id"] for due in await pool.fetch(query("outbox", "due_of"), id_, HELD_AT_ONCE)]:
                await pool.execute(query("outbox", "hold"), ids)
        if id_ not in self._closing:
            await pool.execute(query("outbox", "release"), self._name, [id_])

    async def _renew(self) -> None:
        """Keep what is ours, by its newest settings; let go of what isn't any more, or has long had nothing to do."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW):
                    await self._changed.wait()
            self._changed.clear()
            self._look.set()  # one that was enabled again may have something due
            now = time.monotonic()
            idle = [id_ for id_, one in self._dispatchers.items() if one.is_idle and now - one.busy_at > IDLE]
            asked = list(self._dispatchers)
            try:
                pool = await self._database.pool()
                rows = await pool.fetch(query("outbox", "renew"), self._name, LEASE, [*asked, *self._closing])
                kept = {row["id"]: row for row in rows}
                for id_ in asked:
                    if id_ not in self._dispatchers:
                        continue  # closed meanwhile
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
        self._hungry.discard(dispatcher)
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
        """Let a task run to its end beside the rest; `stop` waits for it."""
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _let_go(self, id_: UUID, attempts: list[asyncio.Task[None]]) -> None:
        """Give a subscription back once nothing is under way for it; a lease that is left behind runs out by itself."""
        try:
            if attempts:
                await asyncio.wait(attempts)
            with suppress(Exception):
                await (await self._database.pool()).execute(query("outbox", "release"), self._name, [id_])
        finally:
            self._closing.pop(id_, None)

    # What is due for them.

    async def _fetch(self) -> None:
        """Find what is due for the dispatchers that have room, all with one query."""
        while True:
            await self._feed.wait()
            self._feed.clear()
            # Whoever is half empty is looked at with those that ask: one query for many costs little more than for one.
            self._hungry.update(one for one in self._dispatchers.values() if one.is_half_empty)
            dispatchers = [one for one in self._hungry if one.settings.id in self._dispatchers and one.free_slots > 0]
            self._hungry.clear()
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
                self._hungry.update(dispatchers)
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
        """Return the subscriptions that wait for their server: more workers would not send to them any sooner."""
        now = time.monotonic()
        resting = [id_ for id_, (until, _) in self._health.items() if until > now]
        return resting + [id_ for id_, one in self._dispatchers.items() if one.breaker != "closed"]

    def _on_unavailable(self, error: BaseException) -> None:
        log.warning("held up", extra={"reason": self._database.failed(error)})


def _sender(config: Config) -> Sender:
    delivery = config.delivery
    return Sender(Guard(delivery.allow_networks, delivery.allow_http), delivery.timeout)


def _max_attempts() -> int:
    """Allow as many open files as the system lets us, and return how many attempts may be under way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ATTEMPTS + OTHER_FILES
    if soft < wanted:
        with suppress(ValueError, OSError):  # some systems say that there is no limit, and have one
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard) if hard >= 0 else wanted, hard))
            soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(100, min(ATTEMPTS, soft - OTHER_FILES))
