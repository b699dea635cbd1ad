"""Fetches due deliveries, without their content, for the dispatchers that have room for more."""

import asyncio
from collections.abc import Callable, Mapping
from uuid import UUID

import asyncpg

from storage.database import UNAVAILABLE_ERRORS, Database
from storage.sql import query
from workers.deliver import content
from workers.deliver.dispatcher import Dispatcher

PAUSE = 1.0
"""Seconds until the next query while the database is unavailable."""


class Feeder:
    """Fetches for many dispatchers in a single query."""

    def __init__(
        self,
        database: Database,
        worker: UUID,
        dispatchers: Mapping[UUID, Dispatcher],
        unwritten: set[UUID],
        *,
        on_unavailable: Callable[[BaseException], None],
    ) -> None:
        """Create a feeder for the dispatchers of `worker`; `run` does the work.

        `dispatchers` are those of the leased subscriptions, by subscription ID. `unwritten` are the deliveries that are
        not fetched, because their result has not been written yet. `on_unavailable` is called with the error if the
        database is unavailable.
        """
        self._database = database
        self._worker = worker
        self._dispatchers = dispatchers
        self._unwritten = unwritten
        self._on_unavailable = on_unavailable
        self._requests: set[Dispatcher] = set()
        self._arrived = asyncio.Event()

    def request(self, dispatcher: Dispatcher) -> None:
        """Request due deliveries for a dispatcher; they are fetched together with those of other dispatchers."""
        self._requests.add(dispatcher)
        self._arrived.set()

    def request_all(self) -> None:
        """Request due deliveries for all dispatchers, even for those whose last fetch returned all that were due."""
        for dispatcher in self._dispatchers.values():
            dispatcher.all_due_fetched = False
        self._requests.update(self._dispatchers.values())
        self._arrived.set()

    def forget(self, dispatcher: Dispatcher) -> None:
        """Drop the request of a dispatcher that is being closed."""
        self._requests.discard(dispatcher)

    async def run(self) -> None:
        """Fetch requested deliveries until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            dispatchers = self._take()
            if not dispatchers:
                continue
            free_slots = [dispatcher.free_slots for dispatcher in dispatchers]
            try:
                rows = await self._fetch(dispatchers, free_slots)
            except UNAVAILABLE_ERRORS as error:
                self._on_unavailable(error)
                self._requests.update(dispatchers)
                await asyncio.sleep(PAUSE)
                self._arrived.set()
                continue
            for dispatcher, slots in zip(dispatchers, free_slots, strict=True):
                due = rows.get(dispatcher.settings.id, [])
                dispatcher.all_due_fetched = len(due) < slots
                if due and self._dispatchers.get(dispatcher.settings.id) is dispatcher:
                    newest = dispatcher.settings.dialect.newest
                    dispatcher.enqueue([content.due_delivery(row, newest=newest) for row in due])

    def _take(self) -> list[Dispatcher]:
        """Return the dispatchers that requested deliveries or are half empty, and have free slots.

        One query for many dispatchers costs little more than a query for one.
        """
        self._requests.update(dispatcher for dispatcher in self._dispatchers.values() if dispatcher.is_half_empty)
        leased = (dispatcher for dispatcher in self._requests if dispatcher.settings.id in self._dispatchers)
        dispatchers = [dispatcher for dispatcher in leased if dispatcher.free_slots > 0]
        self._requests.clear()
        return dispatchers

    async def _fetch(self, dispatchers: list[Dispatcher], free_slots: list[int]) -> dict[UUID, list[asyncpg.Record]]:
        """Return the rows of due deliveries by subscription, at most as many of each as its dispatcher has slots."""
        held = list(self._unwritten.union(*(dispatcher.under_way for dispatcher in dispatchers)))
        ids = [dispatcher.settings.id for dispatcher in dispatchers]
        pool = await self._database.pool()
        rows: dict[UUID, list[asyncpg.Record]] = {}
        for row in await pool.fetch(query("outbox", "due"), ids, free_slots, held, self._worker):
            rows.setdefault(row["subscription_id"], []).append(row)
        return rows
