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

    def covers(self, account: str, type_: str) -> bool:
        """Return whether events of an account (`platform/account`) and a type are among them."""
        return (
            fits(type_, self.types)
            and fits(account, self.accounts)
            and fits(account, self.allowed)
            and (self.said is None or type_ in self.said)
        )


class Sources(msgspec.Struct, frozen=True):
    """Where events come from, a column each."""

    platforms: list[str]
    accounts: list[str]
    types: list[str]


class Counted(msgspec.Struct, frozen=True):
    """How many events there are."""

    count: int
    is_exact: bool
    """Whether these are all; otherwise `count` is where counting stopped."""


MOST_COUNTED = 10_000
"""Events that are counted at most."""
FEW_DOCUMENTS = 5_000
"""Documents up to which each is looked up by itself, so that a count over any span of time is exact."""
EXAMINED = 50_000
"""Receipts that a count by time looks at, at most."""
EXAMINED_PER_PIECE = 20_000
"""Receipts that one piece of a replay looks at, at most: where few of them fit, a piece still takes a moment only."""


def delivery_id(subscription: UUID, event: UUID, replay: UUID) -> UUID:
    """A UUID of version 8 (RFC 9562: our own content), the same however often a piece is written."""
    content = subscription.bytes + event.bytes + replay.bytes
    value = int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "big")
    return UUID(int=value & ~_FIXED | _VERSION_8)


def narrowed(types: list[str], asked: list[str]) -> list[str] | None:
    """What is asked for, where all of it is within `types`; None otherwise."""
    return asked if all(fits(one, types) for one in asked) else None


async def find_sources(connection: Connection, scope: Scope) -> Sources:
    """Return the sources of events that the scope covers. Patterns meet the few names that exist, and never rows."""
    found = [
        (row["platform"], row["account"], row["type"])
        for row in await connection.fetch(query("replays", "sources"))
        if scope.covers(f"{row['platform']}/{row['account']}", row["type"])
    ]
    return Sources(*([one[n] for one in found] for n in range(3)))


async def count(connection: Connection, scope: Scope, *, begin: datetime, end: datetime, key: str | None) -> Counted:
    """Count the events received from `begin` (inclusive) to `end` (exclusive): what a replay would send.

    Takes a bounded time: stops at MOST_COUNTED events, or once EXAMINED receipts have been looked at.
    """
    sources = await find_sources(connection, scope)
    where = (sources.platforms, sources.accounts, sources.types)
    limit = MOST_COUNTED + 1
    if key is not None:
        found: int = await connection.fetchval(query("replays", "count_of_key"), *where, begin, end, limit, key)
    elif await connection.fetchval(query("replays", "count_documents"), *where, FEW_DOCUMENTS + 1) <= FEW_DOCUMENTS:
        found = await connection.fetchval(query("replays", "count_by_document"), *where, begin, end, limit)
    else:
        row = await connection.fetchrow(query("replays", "count_by_time"), *where, begin, end, limit, EXAMINED)
        assert row is not None
        return Counted(min(row["found"], MOST_COUNTED), row["found"] < limit and row["examined"] < EXAMINED)
    return Counted(min(found, MOST_COUNTED), found < limit)


async def count_open(connection: Connection, subscriber: str) -> int:
    """Return how many replays of a subscriber are still to be written."""
    found: int = await connection.fetchval(query("replays", "count_open"), subscriber)
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
        sources = await find_sources(connection, Scope(row["types"], row["accounts"], allowed, said))
        found = await connection.fetch(
            query("replays", "piece"),
            sources.platforms,
            sources.accounts,
            sources.types,
            row["from_at"],
            row["to_at"],
            row["after_at"],
            row["after_id"],
            row["key"],
            limit,
            EXAMINED_PER_PIECE,
        )
        events = [event for event in found if event["id"] is not None]
        ids = [delivery_id(row["subscription_id"], event["id"], replay) for event in events]
        names = ("id", "received_at", "message_id", "document_id", "version", "type", "key")
        columns = [[event[name] for event in events] for name in names]
        await connection.execute(query("replays", "write"), row["subscription_id"], replay, ids, *columns)
        if len(events) == limit:
            after_at, after_id, done = events[-1]["received_at"], events[-1]["message_id"], False
        elif found:
            after_at, after_id = found[0]["last_at"], found[0]["last_id"]
            done = found[0]["examined"] < EXAMINED_PER_PIECE
        else:
            after_at, after_id, done = row["after_at"], row["after_id"], True
        await connection.execute(query("replays", "advance"), replay, len(events), after_at, after_id, done)
        await connection.execute(query("outbox", "wake"))
    return done


async def progress(connection: Connection, replay: UUID) -> tuple[int, int, int] | None:
    """How many events it is about, how many of them are written as deliveries, how many still wait; None: no such."""
    row = await connection.fetchrow(query("replays", "progress"), replay)
    return None if row is None else (row["count"], row["written"], row["waiting"])
