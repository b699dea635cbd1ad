"""Webhooks out: lease subscriptions -> fetch what is due -> send -> write what came of it.

No transaction is open during a call, and no row is written to take a delivery: a subscription is leased as a whole, so
that its rate, its limits and its breaker are exact. The lease of a worker that died runs out, and another sends what
was under way once more, with the same ids.
"""

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import get_args
from uuid import UUID, uuid4

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from schemas.config import Config
from schemas.destinations.guard import Guard
from schemas.dialects import dialect
from storage import pool as pools
from storage import sealed
from storage.sql import query
from storage.vault import Undecryptable, Vault
from workers.deliver import backlog, content, metrics
from workers.deliver.attempt.sender import Sender
from workers.deliver.breaker import State
from workers.deliver.chores import Chores
from workers.deliver.lane import Lane, Terms
from workers.deliver.ledger import Ledger, Result

log = logging.getLogger("crossdock.deliver")

LEASE = 15.0
"""Seconds that a subscription stays with a worker that says nothing more."""
RENEW = LEASE / 3
POLL = 1.0
"""Seconds between looks for what is due; a notification comes sooner, when it comes."""
IDLE = 10.0
"""Seconds without work after which a subscription is given back, for another worker to take."""
LANES = 1000
"""Subscriptions that one worker sends for at a time."""
CHANNEL, CHANGES = "crossdock_outbox", "crossdock_subscriptions"
"""What is notified: something may be due; a subscription is not what it was."""


class DeliverWorker:
    """Start, stop, problems, reload: what `deploy.process` runs."""

    def __init__(self, config: Config, *, database_url: str, vault: Vault) -> None:
        self._config = config
        self._database_url = database_url
        self._vault = vault
        self._name = uuid4()
        self._sender = _sender(config)
        self._pool_: asyncpg.Pool | None = None
        self._pool_lock = asyncio.Lock()
        self._lanes: dict[UUID, Lane] = {}
        self._unwritten: set[UUID] = set()
        """Deliveries whose result isn't in the database yet."""
        self._ledger = Ledger(self._pool, self._on_written)
        self._hungry: set[Lane] = set()
        self._look = asyncio.Event()
        """Something may be due."""
        self._feed = asyncio.Event()
        """A lane has room."""
        self._changed = asyncio.Event()
        """A subscription is not what it was."""
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()
        self._problem: str | None = "not connected yet"
        metrics.IN_FLIGHT.set_function(lambda: sum(lane.in_flight for lane in self._lanes.values()))
        metrics.LANES.set_function(lambda: len(self._lanes))
        for state in get_args(State):
            metrics.BREAKERS.labels(state).set_function(partial(self._breakers, state))

    async def start(self) -> None:
        """Begins to send. A database that isn't there yet is waited for."""
        await self._sender.start()
        self._ledger.start()
        loop = asyncio.get_running_loop()
        chores = Chores(self._pool, self._vault, lambda: self._config, due=self._look.set, away=self._away)
        rounds = (self._listen, self._lease, self._renew, self._fetch, chores.replay, chores.reseal)
        self._tasks = [loop.create_task(one(), name=f"deliver-{one.__name__.strip('_')}") for one in rounds]
        watching = backlog.watch(self._pool, self._name, self._left_alone)
        self._tasks.append(loop.create_task(watching, name="deliver-backlog"))
        self._look.set()

    async def stop(self) -> None:
        """Starts nothing more, finishes what is under way in bounded time, gives the subscriptions back.

        An attempt that isn't done by then is made again.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        attempts = [task for lane in self._lanes.values() for task in lane.close()] + list(self._leaving)
        if attempts:
            _, late = await asyncio.wait(attempts, timeout=self._config.process.drain_timeout)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._ledger.stop(3.0)
        if self._pool_ is not None:
            with suppress(Exception):
                async with asyncio.timeout(3):
                    await self._pool_.execute(query("outbox", "release"), self._name, list(self._lanes))
                    await self._pool_.close()
        await self._sender.close()

    def problems(self) -> list[str]:
        """Empty when a delivery would be sent now."""
        return [f"no use of PostgreSQL: {one}" for one in (self._problem, self._ledger.problem) if one is not None]

    def reload(self, config: Config) -> None:
        """Schedules and limits of the next attempts; the time-out and the networks with the next start."""
        self._config = config

    def _breakers(self, state: State) -> int:
        return sum(lane.breaker == state for lane in self._lanes.values())

    def _left_alone(self) -> list[UUID]:
        """Subscriptions that are waited for: more workers would not send to them any sooner."""
        return [id_ for id_, lane in self._lanes.items() if lane.breaker != "closed"]

    async def _pool(self) -> asyncpg.Pool:
        async with self._pool_lock:
            if self._pool_ is None:
                self._pool_ = await pools.create_pool(self._database_url, size=4)
            return self._pool_

    async def _listen(self) -> None:
        """Hears of new deliveries. Only a hint: `_lease` looks for itself as well."""
        while True:
            closed = asyncio.Event()
            try:
                connection = await asyncpg.connect(
                    self._database_url, timeout=5, target_session_attrs=SessionAttribute.read_write
                )
                try:
                    connection.add_termination_listener(lambda _, closed=closed: closed.set())
                    await connection.add_listener(CHANNEL, lambda *_: self._look.set())
                    await connection.add_listener(CHANGES, lambda *_: self._changed.set())
                    self._look.set()
                    await closed.wait()
                finally:
                    with suppress(Exception):
                        await connection.close(timeout=1)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("not listening", extra={"error": f"{type(error).__name__}: {error}"})
            await asyncio.sleep(POLL)

    async def _lease(self) -> None:
        """Takes subscriptions that have something due and are nobody's; tells all lanes to look again."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await self._look.wait()
            self._look.clear()
            try:
                pool = await self._pool()
                free = LANES - len(self._lanes)
                rows = await pool.fetch(query("outbox", "lease"), self._name, LEASE, free) if free > 0 else []
                self._problem = None
            except Exception as error:
                self._away(error)
                await asyncio.sleep(POLL)
                continue
            for row in rows:
                self._open(row)
            for lane in self._lanes.values():
                lane.drained = False
            self._hungry.update(self._lanes.values())
            self._feed.set()

    def _open(self, row: asyncpg.Record) -> None:
        terms = self._terms(row)
        if terms is None:
            return
        lane = self._lanes.get(terms.id)
        if lane is not None:
            lane.change(terms)
            return
        self._lanes[terms.id] = Lane(terms, self._sender, self._on_result, self._on_hungry, self._on_gone)

    def _terms(self, row: asyncpg.Record) -> Terms | None:
        """None if nothing can be sent for it; why is in the log."""
        try:
            secrets = sealed.unseal(self._vault, row["id"], row["sealed"])
            spoken = dialect(row["dialect"])
        except (Undecryptable, LookupError) as error:
            log.error("subscription can't be served", extra={"subscription": str(row["id"]), "error": str(error)})
            return None
        delivery = self._config.delivery
        schedule = delivery.schedule if row["schedule"] is None else row["schedule"]
        return Terms(
            id=row["id"],
            url=row["url"],
            dialect=spoken,
            credentials=sealed.credentials(secrets, row["query_key"], time.time()),
            schedule=tuple(schedule),
            interval=delivery.channelape_interval,
            max_rate=row["max_rate"],
            max_in_flight=row["max_in_flight"],
        )

    async def _renew(self) -> None:
        """Keeps what is ours, by its newest terms; lets go what isn't any more, or has long had nothing to do."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW):
                    await self._changed.wait()
            self._changed.clear()
            self._look.set()  # one that was enabled again may have something due
            now = time.monotonic()
            idle = [id_ for id_, lane in self._lanes.items() if lane.idle and now - lane.busy_at > IDLE]
            try:
                pool = await self._pool()
                rows = await pool.fetch(query("outbox", "renew"), self._name, LEASE, list(self._lanes))
            except Exception as error:
                self._away(error)
                continue
            kept = {row["id"]: row for row in rows}
            for id_ in list(self._lanes):
                if id_ in idle or id_ not in kept:
                    self._close(id_)
                else:
                    self._open(kept[id_])

    def _close(self, id_: UUID) -> None:
        lane = self._lanes.pop(id_, None)
        if lane is not None:
            self._hungry.discard(lane)
            attempts = lane.close()
            for task in attempts:
                self._leave(task)
            self._leave(asyncio.get_running_loop().create_task(self._let_go(id_, attempts)))

    def _leave(self, task: asyncio.Task[None]) -> None:
        """It runs to its end beside the rest, and `stop` waits for it."""
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _let_go(self, id_: UUID, attempts: list[asyncio.Task[None]]) -> None:
        """Gives it back once nothing is under way for it; a lease that is left behind runs out by itself."""
        if attempts:
            await asyncio.wait(attempts)
        if id_ not in self._lanes:
            with suppress(Exception):
                await (await self._pool()).execute(query("outbox", "release"), self._name, [id_])

    async def _fetch(self) -> None:
        """Feeds the lanes that have room, all with one query."""
        while True:
            await self._feed.wait()
            self._feed.clear()
            lanes = [lane for lane in self._hungry if lane.terms.id in self._lanes and lane.room > 0]
            self._hungry.clear()
            if not lanes:
                continue
            held = list(self._unwritten.union(*(lane.under_way for lane in lanes)))
            rooms = [lane.room for lane in lanes]
            try:
                pool = await self._pool()
                async with pool.acquire() as connection:
                    ids = [lane.terms.id for lane in lanes]
                    rows = await connection.fetch(query("outbox", "due"), ids, rooms, held, self._name)
                    newest = frozenset(lane.terms.id for lane in lanes if lane.terms.dialect.newest)
                    found = await content.load(connection, rows, newest)
            except Exception as error:
                self._away(error)
                self._hungry.update(lanes)
                await asyncio.sleep(POLL)
                self._feed.set()
                continue
            given: dict[UUID, list[content.Due]] = {}
            for due in found:
                given.setdefault(due.subscription_id, []).append(due)
            for lane, room in zip(lanes, rooms, strict=True):
                there = given.get(lane.terms.id, [])
                lane.drained = len(there) < room
                if there and self._lanes.get(lane.terms.id) is lane:
                    lane.give(there)

    def _on_result(self, result: Result) -> None:
        self._unwritten.add(result.id)
        self._ledger.put(result)

    def _on_written(self, ids: Iterable[UUID]) -> None:
        self._unwritten.difference_update(ids)

    def _on_hungry(self, lane: Lane) -> None:
        self._hungry.add(lane)
        self._feed.set()

    def _on_gone(self, lane: Lane) -> None:
        self._close(lane.terms.id)
        self._leave(asyncio.get_running_loop().create_task(self._disable(lane.terms.id)))

    async def _disable(self, id_: UUID) -> None:
        reason = "answered 410 Gone"
        log.warning("subscription disabled", extra={"subscription": str(id_), "reason": reason})
        metrics.DISABLED.inc()
        try:
            pool = await self._pool()
            await pool.execute(query("outbox", "disable"), id_, reason)
            await pool.execute(query("outbox", "release"), self._name, [id_])
        except Exception as error:
            # It will be sent to, and answer 410, once more.
            self._away(error)

    def _away(self, error: Exception) -> None:
        self._problem = f"{type(error).__name__}: {error}"
        log.warning("held up", extra={"reason": self._problem})


def _sender(config: Config) -> Sender:
    delivery = config.delivery
    return Sender(Guard(delivery.allow_networks, delivery.allow_http), delivery.timeout)
