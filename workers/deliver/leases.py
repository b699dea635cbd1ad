"""The leases of one worker: which subscriptions it sends for, each with a dispatcher.

A subscription is leased as a whole, so its rate, limits and circuit breaker are exact. A lease expires if it is not
renewed, so that another worker takes over the subscriptions of one that died.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import asyncpg

from schemas.config import Config
from storage.database import UNAVAILABLE_ERRORS, Database
from storage.sql import query
from storage.vault import Vault
from workers.deliver import places, settings
from workers.deliver.breaker import LONGEST_PAUSE
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.feeder import Feeder
from workers.deliver.health import Health
from workers.deliver.settings import SubscriptionSettings

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
UNSERVABLE = 60.0
"""Seconds until a subscription that cannot be served is tried again, for example if its secrets cannot be decrypted."""
POSTPONED_AT_ONCE = 1000
"""Deliveries that are postponed in one statement, if their subscriber is not in the configuration any more."""


class Leases:
    """Takes, renews and releases leases, and opens and closes the dispatchers of the leased subscriptions."""

    def __init__(
        self,
        database: Database,
        worker: UUID,
        dispatchers: dict[UUID, Dispatcher],
        feeder: Feeder,
        vault: Vault,
        *,
        config: Callable[[], Config],
        create: Callable[[SubscriptionSettings, Health | None], Dispatcher],
        on_unavailable: Callable[[BaseException], None],
    ) -> None:
        """Prepare the leases of `worker` without taking any; `take` and `renew` do the work.

        `dispatchers` holds those of the leased subscriptions, by subscription ID. `config` returns the present
        configuration. `create` makes a dispatcher, which continues with the given health if there is one.
        `on_unavailable` is called with the error if the database is unavailable.
        """
        self._database = database
        self._worker = worker
        self._dispatchers = dispatchers
        self._feeder = feeder
        self._vault = vault
        self._config = config
        self._create = create
        self._on_unavailable = on_unavailable
        self._closing: dict[UUID, asyncio.Task[None]] = {}
        """Closed subscriptions whose last attempts are still under way; their leases are kept until these end."""
        self._health: dict[UUID, tuple[float, Health]] = {}
        """By closed subscription: the monotonic time until which not to lease it again, and the state of its server."""
        self._is_due = asyncio.Event()
        self._is_changed = asyncio.Event()
        self.finishing: set[asyncio.Task[None]] = set()
        """Tasks that end by themselves and are waited for when the worker stops."""

    @property
    def leased(self) -> list[UUID]:
        """The subscriptions that this worker has leased."""
        return [*self._dispatchers, *self._closing]

    def on_due(self) -> None:
        """Look for subscriptions to lease now, because a delivery may be due."""
        self._is_due.set()

    def on_changed(self) -> None:
        """Read the settings of all leased subscriptions again, and the content that was loaded ahead for them."""
        self.invalidate_loaded()
        self._is_changed.set()

    def invalidate_loaded(self) -> None:
        """Read the content that was loaded ahead again, because a delivery may have been cancelled."""
        for dispatcher in list(self._dispatchers.values()):
            dispatcher.invalidate_loaded()

    def track(self, task: asyncio.Task[None]) -> None:
        """Keep a reference to a task that ends by itself, so that the worker waits for it when it stops."""
        self.finishing.add(task)
        task.add_done_callback(self.finishing.discard)

    # Taking leases.

    async def take(self) -> None:
        """Lease subscriptions that have due deliveries and no worker, and let all dispatchers fetch again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._is_due.wait()
            self._is_due.clear()
            try:
                await self._free_places()
                for row in await self._take_due():
                    await self._apply(row)
                self._database.worked()
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
                await asyncio.sleep(POLL)
            else:
                self._feeder.request_all()

    async def _take_due(self) -> list[asyncpg.Record]:
        """Lease subscriptions with due deliveries, as far as there are places; return their rows."""
        free = PLACES - len(self._dispatchers)
        if free <= 0:
            return []
        leased = Counter(dispatcher.subscriber for dispatcher in self._dispatchers.values())
        pool = await self._database.pool()
        rows: list[asyncpg.Record] = await pool.fetch(
            query("outbox", "lease"), self._worker, LEASE, free, list(leased), list(leased.values()), self._unleasable()
        )
        return rows

    def _unleasable(self) -> list[UUID]:
        """Return the subscriptions not to lease now: they would only wait, or their last attempts are under way."""
        now = time.monotonic()
        for id_ in [id_ for id_, (until, _) in self._health.items() if until + 2 * LONGEST_PAUSE < now]:
            del self._health[id_]
        return [*self._closing, *(id_ for id_, (until, _) in self._health.items() if until > now)]

    async def _free_places(self) -> None:
        """Close dispatchers so that subscriptions that wait for a place get one.

        Dispatchers that are idle or only wait are closed first, then those of subscribers with more than their share.
        """
        if len(self._dispatchers) < PLACES:
            return
        pool = await self._database.pool()
        rows = await pool.fetch(query("outbox", "waiting_subscriptions"), self._unleasable())
        if rows:
            waiting = {row["subscriber"]: row["waiting"] for row in rows}
            holders = list(self._dispatchers.values())
            for dispatcher in places.choose_to_close(holders, waiting, PLACES, time.monotonic()):
                self.close(dispatcher.settings.id)

    async def _apply(self, row: asyncpg.Record) -> None:
        """Open a dispatcher for a leased subscription, or apply the settings of its row to the one that is open."""
        current = settings.read(row, self._config(), self._vault)
        if current is None:
            await self._release_unservable(row)
            return
        dispatcher = self._dispatchers.get(current.id)
        if dispatcher is not None:
            dispatcher.change(current)
            return
        _, health = self._health.pop(current.id, (0.0, None))
        self._dispatchers[current.id] = self._create(current, health)

    async def _release_unservable(self, row: asyncpg.Record) -> None:
        """Release a subscription that cannot be served.

        If its subscriber is not configured any more, its due deliveries are postponed (see `postpone` in outbox.sql).
        """
        id_ = row["id"]
        self.close(id_)
        _, health = self._health.pop(id_, (0.0, None))
        self._health[id_] = time.monotonic() + UNSERVABLE, health or Health.fresh(row["max_rate"])
        pool = await self._database.pool()
        if not settings.is_configured(row["subscriber"], self._config()):
            while ids := [due["id"] for due in await pool.fetch(query("outbox", "due_of"), id_, POSTPONED_AT_ONCE)]:
                await pool.execute(query("outbox", "postpone"), ids)
        if id_ not in self._closing:
            await pool.execute(query("outbox", "release"), self._worker, [id_])

    # Keeping leases.

    async def renew(self) -> None:
        """Renew leases and apply changed settings; close dispatchers that are idle, disabled or no longer leased."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW):
                    await self._is_changed.wait()
            self._is_changed.clear()
            self._is_due.set()  # a subscription that was enabled again may have due deliveries
            try:
                await self._renew()
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
                await asyncio.sleep(POLL)

    async def _renew(self) -> None:
        now = time.monotonic()
        leased = list(self._dispatchers)
        idle = {
            id_
            for id_, dispatcher in self._dispatchers.items()
            if dispatcher.is_idle and now - dispatcher.busy_at > IDLE
        }
        pool = await self._database.pool()
        rows = await pool.fetch(query("outbox", "renew"), self._worker, LEASE, [*leased, *self._closing])
        renewed = {row["id"]: row for row in rows}
        for id_ in leased:
            if id_ not in self._dispatchers:
                continue  # closed in the meantime
            if id_ in idle or id_ not in renewed:
                self.close(id_)
            else:
                await self._apply(renewed[id_])

    # Releasing leases.

    def close(self, id_: UUID) -> None:
        """Close the dispatcher of a subscription; the lease is released once no attempt is under way."""
        dispatcher = self._dispatchers.pop(id_, None)
        if dispatcher is None:
            return
        self._feeder.forget(dispatcher)
        now = time.monotonic()
        if dispatcher.breaker != "closed" or dispatcher.health.wait(now) > 0:
            self._health[id_] = now + dispatcher.health.wait(now), dispatcher.health
        attempts = dispatcher.close()
        for task in attempts:
            self.track(task)
        task = asyncio.get_running_loop().create_task(self._release_after(attempts, id_), name="deliver-release")
        self._closing[id_] = task
        self.track(task)

    async def _release_after(self, attempts: list[asyncio.Task[None]], id_: UUID) -> None:
        """Release a lease once no attempt of its subscription is under way; if that fails, the lease expires."""
        try:
            if attempts:
                await asyncio.wait(attempts)
            with suppress(Exception):
                await (await self._database.pool()).execute(query("outbox", "release"), self._worker, [id_])
        finally:
            self._closing.pop(id_, None)

    def waiting_for_servers(self) -> list[UUID]:
        """Return the subscriptions that wait for their own server, so that more workers would not help them."""
        now = time.monotonic()
        closed = [id_ for id_, (until, _) in self._health.items() if until > now]
        return closed + [id_ for id_, dispatcher in self._dispatchers.items() if dispatcher.breaker != "closed"]
