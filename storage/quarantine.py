"""Authentic messages that could not be processed: looked at, replayed, discarded."""

from uuid import UUID

import asyncpg

from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


async def entries(connection: Connection, *, everything: bool, limit: int) -> list[asyncpg.Record]:
    """Newest first; `everything` includes what was replayed or discarded."""
    return await connection.fetch(query("quarantine", "list"), everything, limit)


async def show(connection: Connection, id_: UUID) -> asyncpg.Record | None:
    """One, with its raw bytes."""
    return await connection.fetchrow(query("quarantine", "show"), id_)


async def open_ids(connection: Connection) -> list[UUID]:
    """All that wait for a person, oldest first."""
    return [row["id"] for row in await connection.fetch(query("quarantine", "open_ids"))]


async def mark_replayed(connection: Connection, id_: UUID) -> None:
    """In a transaction that commits when the broker has confirmed the message."""
    await connection.execute(query("quarantine", "replayed"), id_)


async def discard(connection: Connection, id_: UUID) -> bool:
    """Kept, but out of the way. False if there is none such."""
    return await connection.fetchval(query("quarantine", "discard"), id_) is not None


async def count_open(connection: Connection) -> int:
    """How many wait for a person."""
    return int(await connection.fetchval(query("quarantine", "count_open")) or 0)
