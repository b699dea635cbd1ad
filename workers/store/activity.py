"""Counts each account's messages by hour, so that an account that falls silent can raise an alert.

Counts are written every few seconds, outside the batches' transactions, so that storing never waits for them. What is
counted and not written yet when a worker dies is missing from these statistics only.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime

import asyncpg

from schemas.envelope import Envelope
from storage import activity
from storage.activity import ActivityCounts
from storage.database import Connection, explain
from workers.store import metrics

log = logging.getLogger("crossdock.store")

WRITE_INTERVAL = 5.0
"""Seconds between two writes of the counts."""
METRICS_INTERVAL = 60.0
"""Seconds between two updates of the metrics."""


class ActivityCounter:
    """Counts stored messages; `run` writes the counts and keeps the metrics."""

    def __init__(self, pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
        self._pool = pool
        self._counts: dict[tuple[str, str, datetime], ActivityCounts] = {}
        """By platform, account and hour."""

    def count(self, messages: Iterable[Envelope]) -> None:
        """Count messages that were stored."""
        moments: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        for message in messages:
            moments[message.platform, message.account].append(message.received_at)
        for (platform, account), times in moments.items():
            if _hour(min(times)) == _hour(max(times)):
                self._add(platform, account, times)
            else:
                for moment in times:
                    self._add(platform, account, [moment])

    def _add(self, platform: str, account: str, moments: Sequence[datetime]) -> None:
        """Count messages of the same hour."""
        first, last = min(moments), max(moments)
        counts = self._counts.setdefault((platform, account, _hour(first)), ActivityCounts(0, first, last))
        counts.count += len(moments)
        counts.first_at, counts.last_at = min(counts.first_at, first), max(counts.last_at, last)

    async def run(self) -> None:
        """Write the counts and keep the metrics until cancelled.

        Errors are logged at debug level only, because `/readyz` reports a database that is unavailable.
        """
        measured = -METRICS_INTERVAL
        while True:
            await asyncio.sleep(WRITE_INTERVAL)
            try:
                pool = await self._pool()
                async with pool.acquire() as connection:
                    await self.write(connection)
                    now = time.monotonic()
                    if now - measured >= METRICS_INTERVAL:
                        measured = now
                        await _update_metrics(connection)
            except Exception as error:
                log.debug("arrivals not written", extra={"error": explain(error)})

    async def write(self, connection: Connection) -> None:
        """Write what was counted since the last time; keep it if that fails. Raises asyncpg's errors."""
        counted, self._counts = self._counts, {}
        try:
            await activity.add(
                connection,
                [(*key, counts.count, counts.first_at, counts.last_at) for key, counts in counted.items()],
            )
        except BaseException:
            for key, counts in self._counts.items():
                earlier = counted.setdefault(key, counts)
                if earlier is not counts:
                    earlier.count += counts.count
                    earlier.first_at = min(earlier.first_at, counts.first_at)
                    earlier.last_at = max(earlier.last_at, counts.last_at)
            self._counts = counted
            raise


async def _update_metrics(connection: Connection) -> None:
    for account in await activity.by_account(connection):
        metrics.SILENCE.labels(account.platform, account.account).set(account.since)
        metrics.USUAL_INTERVAL.labels(account.platform, account.account).set(account.usual)
        if account.limit is not None:
            metrics.SILENCE_LIMIT.labels(account.platform, account.account).set(account.limit)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
