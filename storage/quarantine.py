"""Authentic messages that could not be processed: listed, replayed, discarded."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

STAGES = ("unreadable", "refused", "failed", "unrouted")
PIECE = 200
"""Messages that are replayed in one transaction."""
PIECE_BYTES = 16 * 1024 * 1024
"""Bytes of their bodies, unless a single one is larger."""
DISCARD_PIECE = 2000


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which of the messages that wait are meant; None: all values."""

    stage: str | None = None
    platform: str | None = None
    account: str | None = None
    reason: str | None = None
    """Part of the reason, in any case of its letters."""

    @property
    def values(self) -> tuple[str | None, ...]:
        return (self.stage, self.platform, self.account, self.reason)


EVERYTHING = Selection()


class StageCount(NamedTuple):
    """How much waits for a person at one stage."""

    messages: int
    oldest_seconds: float
    """Since the oldest of them was received; 0 without any."""


async def entries(
    connection: Connection, *, everything: bool, limit: int, selection: Selection = EVERYTHING
) -> list[asyncpg.Record]:
    """Return the newest first; `everything` includes what was replayed or discarded."""
    return await connection.fetch(query("quarantine", "list"), everything, limit, *selection.values)


async def show(connection: Connection, id_: UUID) -> asyncpg.Record | None:
    """Return one message with its raw bytes."""
    return await connection.fetchrow(query("quarantine", "show"), id_)


async def open_ids(connection: Connection) -> list[UUID]:
    """Return the ids of all that wait for a person, oldest first."""
    return [row["id"] for row in await connection.fetch(query("quarantine", "open_ids"))]


async def sizes(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Return the bytes of each of these messages that exists."""
    return {row["id"]: row["bytes"] for row in await connection.fetch(query("quarantine", "existing"), ids)}


async def pages(connection: Connection, selection: Selection) -> AsyncIterator[list[tuple[UUID, int]]]:
    """Yield ids and sizes of what waits and matches, oldest first; each message once, also if it fails again."""
    after: datetime | None = None
    last: UUID | None = None
    while True:
        rows = await connection.fetch(query("quarantine", "select_open"), *selection.values, after, last, DISCARD_PIECE)
        if not rows:
            return
        after, last = rows[-1]["received_at"], rows[-1]["id"]
        yield [(row["id"], row["bytes"]) for row in rows]


def pieces(messages: Sequence[tuple[UUID, int]]) -> list[list[UUID]]:
    """Split messages, given by id and size, into pieces of bounded number and bytes."""
    found: list[list[UUID]] = []
    size = 0
    for id_, length in messages:
        if not found or len(found[-1]) == PIECE or size + length > PIECE_BYTES:
            found.append([])
            size = 0
        found[-1].append(id_)
        size += length
    return found


async def lock(connection: Connection, ids: Sequence[UUID], *, again: bool) -> list[asyncpg.Record]:
    """Return these messages with their raw bytes, locked. In a transaction that commits when the broker has confirmed.

    `again`: also those that were replayed or discarded before.
    """
    return await connection.fetch(query("quarantine", "lock"), ids, again)


async def mark_replayed(connection: Connection, id_: UUID) -> None:
    """In a transaction that commits when the broker has confirmed the message."""
    await connection.execute(query("quarantine", "replayed"), id_)


async def mark_all_replayed(connection: Connection, ids: Sequence[UUID]) -> None:
    """In a transaction that commits when the broker has confirmed the messages."""
    await connection.execute(query("quarantine", "all_replayed"), ids)


async def discard(connection: Connection, id_: UUID) -> bool:
    """Take one off the list; its bytes are kept. Return False if there is none such."""
    return await connection.fetchval(query("quarantine", "discard"), id_) is not None


async def discard_all(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """Take these off the list; return the ids of those that were on it."""
    return [row["id"] for row in await connection.fetch(query("quarantine", "discard_all"), ids)]


async def count_open(connection: Connection, selection: Selection = EVERYTHING) -> int:
    """Return how many wait for a person."""
    return int(await connection.fetchval(query("quarantine", "count_matching"), *selection.values) or 0)


async def by_stage(connection: Connection) -> dict[str, StageCount]:
    """Return how much waits at each stage: for `crossdock_quarantine_messages` and `…_oldest_seconds`."""
    found = dict.fromkeys(STAGES, StageCount(0, 0.0))
    for row in await connection.fetch(query("quarantine", "by_stage")):
        found[row["stage"]] = StageCount(row["messages"], max(0.0, row["oldest_seconds"]))
    return found
