"""The time of receipt that a message is stored under if its ingress's clock is far ahead of the database's.

What was received later is newer, so a message that is too far ahead is stored under the present, and flagged
(`schemas.clocks`). The present differs each time that the message is delivered, so the first choice is kept
(`crossdock.moments`): a message that is delivered twice is stored once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import msgspec

from schemas import clocks, envelope
from storage.database import explain
from storage.sql import query
from workers.store import metrics
from workers.store.prepare import Incoming

log = logging.getLogger("crossdock.store")

INTERVAL = 15.0
"""Seconds between queries of the database's clock, and of whether any moment is kept.

It is less than MAX_AHEAD, so that a copy of a message for which another worker has just kept a moment is either still
ahead itself, or looked up.
"""
assert INTERVAL < clocks.MAX_AHEAD


class Moments:
    """Decides under which time of receipt messages are stored."""

    def __init__(self, pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
        self._pool = pool
        self._offset = timedelta()
        """The time by which the database's clock is ahead of ours."""
        self._is_used = True
        """Whether a message may have been stored under another moment than its own."""

    async def run(self) -> None:
        """Compare the clocks regularly, until cancelled."""
        while True:
            try:
                await self.compare_clocks(await self._pool())
            except Exception as error:
                log.debug("clocks not compared", extra={"error": explain(error)})
            await asyncio.sleep(INTERVAL)

    async def compare_clocks(self, pool: asyncpg.Pool) -> None:
        """Compare the clocks once. Raises asyncpg's errors."""
        before = datetime.now(UTC)
        (row,) = await pool.fetch(query("moments", "look"))
        self._offset = row["now"] - (before + (datetime.now(UTC) - before) / 2)
        self._is_used = row["is_used"]

    async def correct(self, pool: asyncpg.Pool, batch: Sequence[Incoming]) -> Sequence[Incoming]:
        """Return the messages with the moments that they are stored under. Raises asyncpg's errors."""
        present = envelope.now() + self._offset
        newest = max(message.envelope.received_at for message in batch)
        metrics.CLOCK_AHEAD.set(max(0.0, (newest - present).total_seconds()))
        ahead = {
            message.message_id: present
            for message in batch
            if message.document is not None and clocks.is_ahead(message.envelope.received_at, present)
        }
        moments: dict[UUID, datetime] = {}
        if self._is_used:
            rows = await pool.fetch(query("moments", "filed"), [message.message_id for message in batch])
            moments = {row["message_id"]: row["received_at"] for row in rows}
        if new := {id_: moment for id_, moment in ahead.items() if id_ not in moments}:
            self._is_used = True
            seconds = round((newest - present).total_seconds(), 3)
            log.warning("an ingress's clock is ahead", extra={"messages": len(new), "seconds": seconds})
            rows = await pool.fetch(query("moments", "file"), list(new), list(new.values()))
            moments |= {row["message_id"]: row["received_at"] for row in rows}
        if not moments:
            return batch
        return [
            message if (moment := moments.get(message.message_id)) is None else _with_moment(message, moment)
            for message in batch
        ]


def _with_moment(message: Incoming, moment: datetime) -> Incoming:
    document = message.document
    if document is None:
        return message
    changed = msgspec.structs.replace(message.envelope, received_at=moment)
    flagged = msgspec.structs.replace(document, flags=(*document.flags, clocks.CLOCK_AHEAD))
    return msgspec.structs.replace(message, envelope=changed, document=flagged)
