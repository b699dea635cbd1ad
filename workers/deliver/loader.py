"""Loads the content of deliveries whose attempts are about to start, in one query and within a memory budget.

Only what is loaded is sent. A delivery that was cancelled or superseded is no longer found, and one that its subscriber
may no longer see is postponed.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from uuid import UUID

from schemas.config import Config
from schemas.outbound import allowed_accounts
from schemas.patterns import fits
from storage.database import UNAVAILABLE_ERRORS, Database, explain, is_row_error
from storage.sql import query
from workers.deliver import content
from workers.deliver.content import DueDelivery, LoadedDelivery, LoadResult
from workers.deliver.dispatcher import Dispatcher
from workers.deliver.shares import FairLimit

log = logging.getLogger("crossdock.deliver")

BUDGET = 64 * 1024 * 1024
"""Maximum bytes of content in one process, from loading until the end of the attempt.

Each subscriber may always hold one body beyond it. The request that is built from a body takes about as much memory
again.
"""
INLINE = 64 * 1024
"""Bodies of up to this many bytes are read without being measured first."""
AT_ONCE = 256
"""Maximum number of deliveries in one query."""
PAUSE = 1.0
"""Seconds between attempts while the database is unavailable."""


class Loader:
    """Loads the content that dispatchers request, for many of them at once."""

    def __init__(
        self,
        database: Database,
        worker: UUID,
        bytes_in_use: FairLimit,
        *,
        config: Callable[[], Config],
        on_stale: Callable[[], None],
        on_unavailable: Callable[[BaseException], None],
    ) -> None:
        """Create a loader for the deliveries of `worker`; `run` does the work.

        `config` returns the present configuration. `on_stale` is called if a subscription was changed since its
        settings were read. `on_unavailable` is called with the error if the database is unavailable.
        """
        self._database = database
        self._worker = worker
        self._bytes_in_use = bytes_in_use
        self._config = config
        self._on_stale = on_stale
        self._on_unavailable = on_unavailable
        self._requests: dict[Dispatcher, None] = {}
        self._arrived = asyncio.Event()

    def request(self, dispatcher: Dispatcher) -> None:
        """Request content for a dispatcher; it is loaded together with what other dispatchers need."""
        self._requests[dispatcher] = None
        self._arrived.set()

    async def run(self) -> None:
        """Load requested content until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            taken = self._take()
            if self._requests:
                self._arrived.set()
            if taken and not await self._load(taken):
                for dispatcher in set(taken.values()):
                    self.request(dispatcher)
                await asyncio.sleep(PAUSE)

    def _take(self) -> dict[DueDelivery, Dispatcher]:
        taken: dict[DueDelivery, Dispatcher] = {}
        while self._requests and len(taken) < AT_ONCE:
            dispatcher = next(iter(self._requests))
            del self._requests[dispatcher]
            refused: list[DueDelivery] = []
            for item in dispatcher.take_for_loading(AT_ONCE - len(taken)):
                need = item.size or INLINE
                subscription = dispatcher.settings.id
                if not refused and self._bytes_in_use.try_take(dispatcher.subscriber, need, part=subscription):
                    item.reserved = need
                    taken[item] = dispatcher
                else:
                    refused.append(item)
            if refused:
                dispatcher.put_back(refused)
                self._bytes_in_use.when_free(dispatcher.subscriber, dispatcher, dispatcher.dispatch)
        return taken

    async def _load(self, taken: dict[DueDelivery, Dispatcher]) -> bool:
        """Load the content and pass it to the dispatchers; return False if the database was unavailable."""
        try:
            loaded = await self._read(list(taken))
            config = self._config()
            postponed = [item.id for item in taken if _is_postponed(taken[item], loaded.get(item.id), config)]
            if postponed:
                await (await self._database.pool()).execute(query("outbox", "postpone"), postponed)
                what = "deliveries postponed: their subscriber may not see the account"
                log.warning(what, extra={"deliveries": len(postponed)})
        except UNAVAILABLE_ERRORS as error:
            self._on_unavailable(error)
            for item, dispatcher in taken.items():
                dispatcher.put_back([item])
            return False
        self._distribute(taken, loaded, set(postponed))
        return True

    def _distribute(
        self, taken: dict[DueDelivery, Dispatcher], loaded: dict[UUID, LoadResult], postponed: set[UUID]
    ) -> None:
        """Pass the content to the dispatchers; return deliveries that must be loaded again, and drop the others."""
        ready: dict[Dispatcher, list[LoadedDelivery]] = {}
        again: dict[Dispatcher, list[DueDelivery]] = {}
        for item, dispatcher in taken.items():
            result = loaded.get(item.id)
            if result is None or item.id in postponed:
                dispatcher.drop(item)
            elif result.updated_at is not None and result.updated_at != dispatcher.settings.updated_at:
                dispatcher.wait_for_settings()
                again.setdefault(dispatcher, []).append(item)
            elif result.due is None:
                item.size = result.size
                again.setdefault(dispatcher, []).append(item)
            else:
                spare, item.reserved = item.reserved - result.size, result.size
                self._bytes_in_use.release(dispatcher.subscriber, spare, part=dispatcher.settings.id)
                ready.setdefault(dispatcher, []).append(result.due)
        for dispatcher, items in again.items():
            dispatcher.put_back(items)
        if any(dispatcher.waits_for_settings for dispatcher in again):
            self._on_stale()
        for dispatcher in dict.fromkeys(taken.values()):
            if dispatcher in ready:
                dispatcher.receive(ready[dispatcher])
            else:
                dispatcher.dispatch()

    async def _read(self, items: Sequence[DueDelivery]) -> dict[UUID, LoadResult]:
        """Read the content of items; if PostgreSQL rejects one of the rows, split the items in halves to isolate it.

        Raises UNAVAILABLE_ERRORS if the database is unavailable.
        """
        try:
            pool = await self._database.pool()
            async with pool.acquire() as connection:
                loaded = await content.load(connection, items, self._worker, time.monotonic())
            self._database.worked()
            return loaded
        except UNAVAILABLE_ERRORS as error:
            if not is_row_error(error):
                raise
            if len(items) > 1:
                half = len(items) // 2
                return await self._read(items[:half]) | await self._read(items[half:])
            (item,) = items
            log.error("content cannot be read", extra={"delivery": str(item.id), "error": explain(error)})
            due = LoadedDelivery(item.id, item, None, time.monotonic(), "its content cannot be read from the database")
            return {item.id: LoadResult(None, None, 0, due)}


def _is_postponed(dispatcher: Dispatcher, loaded: LoadResult | None, config: Config) -> bool:
    """Return whether the subscriber may not see the account of a delivery's event."""
    account = None if loaded is None else loaded.account
    return account is not None and not fits(account, allowed_accounts(dispatcher.subscriber, config))
