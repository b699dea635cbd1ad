"""Range replays: the stored events of a time, told again to one subscription (contract §7).

Asked for once, written a piece at a time by whoever comes by, each piece with the place where the next one begins: a
process that dies leaves nothing half done and nothing done twice.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import msgspec

from schemas.patterns import fits
from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

_FIXED, _VERSION_8 = 0xF000 << 64 | 0xC000 << 48, 0x8000 << 64 | 0x8000 << 48


class Scope(msgspec.Struct, frozen=True):
    """Which events a subscription is told of: all of these must fit."""

    types: list[str]
    """Patterns."""
    accounts: list[str]
    """Patterns of `platform/account`."""
    allowed: list[str]
    """Patterns of the accounts that its subscriber may see."""
    said: list[str] | None
    """Types that its dialect can say; None for all."""


def delivery_id(subscription: UUID, event: UUID, replay: UUID) -> UUID:
    """A UUID of version 8 (RFC 9562: our own content), the same however often a piece is written."""
    content = subscription.bytes + event.bytes + replay.bytes
    value = int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "big")
    return UUID(int=value & ~_FIXED | _VERSION_8)


def narrowed(types: list[str], asked: list[str]) -> list[str] | None:
    """What is asked for, where all of it is within `types`; None otherwise."""
    return asked if all(fits(one, types) for one in asked) else None


async def count(connection: Connection, scope: Scope, *, begin: datetime, end: datetime, key: str | None) -> int:
    """Events received from `begin` (inclusive) to `end` (exclusive): what a replay would send."""
    found: int = await connection.fetchval(
        query("replays", "count"), begin, end, key, scope.types, scope.accounts, scope.allowed, scope.said
    )
    return found


async def ask(
    connection: Connection,
    subscription: UUID,
    *,
    types: list[str],
    begin: datetime,
    end: datetime,
    key: str | None,
    count: int,
) -> UUID:
    """Files a replay, for a worker to write. Its id."""
    id_ = uuid4()
    await connection.execute(query("replays", "ask"), id_, subscription, begin, end, types, key, count)
    return id_


async def write_piece(
    connection: Connection,
    replay: UUID,
    limit: int,
    scope: Callable[[asyncpg.Record], tuple[list[str], list[str] | None]],
) -> bool:
    """Writes up to `limit` deliveries of a replay. True when all are written, or somebody else is at it.

    `scope`: of the subscription's row, the accounts that its subscriber may see and the types its dialect can say.
    """
    async with connection.transaction():
        row = await connection.fetchrow(query("replays", "take"), replay)
        if row is None:
            return True
        allowed, said = scope(row)
        events = await connection.fetch(
            query("replays", "piece"),
            row["from_at"],
            row["to_at"],
            row["key"],
            row["types"],
            row["accounts"],
            allowed,
            said,
            row["after_at"],
            row["after_id"],
            limit,
        )
        ids = [delivery_id(row["subscription_id"], event["id"], replay) for event in events]
        names = ("id", "received_at", "message_id", "document_id", "version", "type", "key")
        columns = [[event[name] for event in events] for name in names]
        await connection.execute(query("replays", "write"), row["subscription_id"], replay, ids, *columns)
        last = events[-1] if events else None
        done = len(events) < limit
        await connection.execute(
            query("replays", "advance"),
            replay,
            len(events),
            last["received_at"] if last else row["after_at"],
            last["message_id"] if last else row["after_id"],
            done,
        )
        await connection.execute(query("outbox", "wake"))
    return done


async def progress(connection: Connection, replay: UUID) -> tuple[int, int, int] | None:
    """How many events it is about, how many of them are written as deliveries, how many still wait; None: no such."""
    row = await connection.fetchrow(query("replays", "progress"), replay)
    return None if row is None else (row["count"], row["written"], row["waiting"])
