"""The store worker's part in erasures (contract §11): it finishes what another process has left, and announces it."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import asyncpg

from broker.outgoing import Outgoing
from broker.publisher import Publisher
from schemas import cloudevents, erasure, topology
from schemas.config import Storage
from storage import erased_events
from storage import erasure as erasing
from storage.database import explain
from workers.store import announce

log = logging.getLogger("crossdock.store")

INTERVAL = 2.0
"""Seconds between queries for events to publish."""
RESUME_INTERVAL = 10.0
"""Seconds between queries for erasures that no process works on, which are resumed after a minute."""
ROUND_INTERVAL = 600.0
"""Seconds between queries of whether a round of `[storage] body_days` is due."""


class Erasures:
    """Two tasks of the store worker; several workers may run them at the same time."""

    def __init__(
        self, pool: Callable[[], Awaitable[asyncpg.Pool]], publisher: Publisher, storage: Callable[[], Storage]
    ) -> None:
        """`storage`: returns the present section of the configuration."""
        self._pool = pool
        self._publisher = publisher
        self._storage = storage
        self._round_due = 0.0

    async def run(self) -> None:
        """Finish erasures, and erase by age, until cancelled."""
        await self._repeat(lambda: RESUME_INTERVAL, self._finish, self._erase_by_age)

    async def publish_events(self) -> None:
        """Publish events of erasures until cancelled: in a task of its own, because a round by age may take hours."""
        await self._repeat(lambda: INTERVAL, self._publish)

    async def _repeat(self, interval: Callable[[], float], *steps: Callable[[], Awaitable[None]]) -> None:
        last_error: str | None = None
        while True:
            error: str | None = None
            for step in steps:
                try:
                    await step()
                except Exception as failure:
                    error = explain(failure)
            if error != last_error and error is not None:  # once, because it may last as long as an outage
                log.warning("erasures are blocked", extra={"error": error})
            last_error = error
            await asyncio.sleep(interval())

    async def _publish(self) -> None:
        async with (await self._pool()).acquire() as connection:
            if not await erased_events.is_any_unpublished(connection):
                return  # nearly always, and without a transaction
            while await erased_events.publish(connection, self._send) == erased_events.EVENTS_PER_TRANSACTION:
                pass

    async def _finish(self) -> None:
        """Resume erasures that no process works on; one that fails doesn't keep the others from it."""
        failure: Exception | None = None
        async with (await self._pool()).acquire() as connection:
            for id_, is_check in await erasing.stalled(connection):
                try:
                    if is_check:
                        await erasing.check(connection, id_)
                    else:
                        log.info("erasure resumed", extra={"erasure": str(id_)})
                        await erasing.run(connection, id_)
                except Exception as error:
                    failure = error
        if failure is not None:
            raise failure

    async def _erase_by_age(self) -> None:
        """Erase what is older than `body_days`, once a day. Retention deletes what is older than `retention_days`."""
        storage = self._storage()
        if storage.body_days is None or storage.body_days >= storage.retention_days:
            return
        if time.monotonic() < self._round_due:
            return
        async with (await self._pool()).acquire() as connection:
            id_ = await erasing.start_round(connection, storage.body_days, datetime.now(UTC))
            if id_ is not None:
                await erasing.run(connection, id_)
        self._round_due = time.monotonic() + ROUND_INTERVAL

    async def _send(self, rows: Sequence[asyncpg.Record]) -> None:
        """Publish events, and return when they are confirmed. Raises the publisher's errors."""
        await self._publisher.publish_all([event(row) for row in rows])


def event(row: asyncpg.Record) -> Outgoing:
    """Return the event of a row of `erased_events`, the same each time that it is published."""
    id_ = str(row["id"])
    body = cloudevents.encode(
        id=id_,
        platform=row["platform"],
        account=row["account"],
        type=erasure.TYPE,
        key=row["key"],
        received_at=row["erased_at"],
        version=row["version"],
        traceparent=None,
        data=row["data"],
        raw=row["data"],
    )
    return announce.outgoing(topology.event_key(erasure.TYPE, row["account"]), id_, None, body)
