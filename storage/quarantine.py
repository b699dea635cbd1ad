"""List, replay and discard the authentic messages that could not be processed."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from storage.database import Connection
from storage.sql import query

STAGES = ("unreadable", "refused", "failed", "unrouted")
PIECE = 200
"""Maximum number of messages that are replayed in one transaction."""
PIECE_BYTES = 16 * 1024 * 1024
"""Maximum bytes of their bodies, unless a single body is larger."""
PAGE = 2000
"""Maximum number of messages that `pages` reads at a time."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of the messages that need attention; None matches any value."""

    stage: str | None = None
    platform: str | None = None
    account: str | None = None
    reason: str | None = None
    """Part of the reason, ignoring case."""

    @property
    def values(self) -> tuple[str | None, ...]:
        return (self.stage, self.platform, self.account, self.reason)


EVERYTHING = Selection()


class StageCount(NamedTuple):
    """Number and age of the messages that need attention at one stage."""

    messages: int
    oldest_seconds: float
    """Seconds since the oldest of them was received; 0 if there are none."""


async def entries(
    connection: Connection, *, everything: bool, limit: int, selection: Selection = EVERYTHING
) -> list[asyncpg.Record]:
    """Return messages, newest first; `everything` includes those that were replayed or discarded."""
    return await connection.fetch(query("quarantine", "list"), everything, limit, *selection.values)


async def show(connection: Connection, id_: UUID) -> asyncpg.Record | None:
    """Return one message with its raw bytes, or None."""
    return await connection.fetchrow(query("quarantine", "show"), id_)


async def sizes(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the body size in bytes of each of these messages that exists."""
    return {row["id"]: row["bytes"] for row in await connection.fetch(query("quarantine", "existing"), ids)}


async def pages(connection: Connection, selection: Selection) -> AsyncIterator[list[tuple[UUID, int]]]:
    """Yield ids and sizes of the selected messages that need attention, oldest first.

    Each message is yielded once, even if it fails again.
    """
    after: datetime | None = None
    last: UUID | None = None
    while True:
        rows = await connection.fetch(query("quarantine", "select_open"), *selection.values, after, last, PAGE)
        if not rows:
            return
        after, last = rows[-1]["received_at"], rows[-1]["id"]
        yield [(row["id"], row["bytes"]) for row in rows]


def pieces(messages: Sequence[tuple[UUID, int]]) -> list[list[UUID]]:
    """Split messages, given by id and size, into lists of bounded length and total size."""
    result: list[list[UUID]] = []
    size = 0
    for id_, length in messages:
        if not result or len(result[-1]) == PIECE or size + length > PIECE_BYTES:
            result.append([])
            size = 0
        result[-1].append(id_)
        size += length
    return result


async def lock(connection: Connection, ids: Sequence[UUID], *, again: bool) -> list[asyncpg.Record]:
    """Lock these messages and return them with their raw bytes.

    Call it in a transaction that commits when the broker has confirmed them. `again`: include those that were replayed
    or discarded before.
    """
    return await connection.fetch(query("quarantine", "lock"), ids, again)


async def mark_all_replayed(connection: Connection, ids: Sequence[UUID]) -> None:
    """Mark messages as replayed, in a transaction that commits when the broker has confirmed them."""
    await connection.execute(query("quarantine", "all_replayed"), ids)


async def discard_all(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Mark messages as discarded and keep their bytes; return the ids of those that were not discarded before."""
    return [row["id"] for row in await connection.fetch(query("quarantine", "discard_all"), ids)]


async def count_open(connection: Connection, selection: Selection = EVERYTHING) -> int:
    """Return the number of selected messages that need attention."""
    return int(await connection.fetchval(query("quarantine", "count_matching"), *selection.values) or 0)


async def by_stage(connection: Connection) -> dict[str, StageCount]:
    """Return number and age of the messages that need attention, by stage.

    These are the metrics `crossdock_quarantine_messages` and `crossdock_quarantine_oldest_seconds`.
    """
    counts = dict.fromkeys(STAGES, StageCount(0, 0.0))
    for row in await connection.fetch(query("quarantine", "by_stage")):
        counts[row["stage"]] = StageCount(row["messages"], max(0.0, row["oldest_seconds"]))
    return counts
