"""Range replays: the stored events of a period, sent again to one subscription (contract §7).

A replay is requested once and written in pieces by whichever worker gets to it. Each piece also stores where the next
one begins, so that a process that dies leaves nothing half done and nothing done twice.
"""

import hashlib
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

import asyncpg
import msgspec

from schemas import filters
from schemas.filters import Filter
from schemas.lenient import normalized
from schemas.patterns import fits
from storage import matching
from storage.database import Connection
from storage.sql import query

_FIXED, _VERSION_8 = 0xF000 << 64 | 0xC000 << 48, 0x8000 << 64 | 0x8000 << 48


class Scope(msgspec.Struct, frozen=True):
    """The events that a subscription receives; an event must match every field."""

    types: list[str]
    """Patterns of event types."""
    accounts: list[str]
    """Patterns of accounts (`platform/account`)."""
    allowed: list[str]
    """Patterns of the accounts that its subscriber may see."""
    supported: list[str] | None
    """Event types that its dialect supports; None for all."""
    filter: Filter | None = None
    """What their content must be; None for anything."""

    def covers(self, account: str, type_: str) -> bool:
        """Return whether events of an account (`platform/account`) and a type are in the scope."""
        return (
            fits(type_, self.types)
            and fits(account, self.accounts)
            and fits(account, self.allowed)
            and (self.supported is None or type_ in self.supported)
        )


class Sources(msgspec.Struct, frozen=True):
    """Sources of events as parallel columns of platform, account and type."""

    platforms: list[str]
    accounts: list[str]
    types: list[str]


class Counted(msgspec.Struct, frozen=True):
    """The result of counting events, which may have stopped at a limit."""

    count: int
    is_exact: bool
    """Whether all events were counted; otherwise `count` is where counting stopped."""


MOST_COUNTED = 10_000
"""Maximum number of events that are counted."""
MOST_READ = 1_000
"""Maximum number of events that are read in order to count those that match a filter."""
FEW_DOCUMENTS = 5_000
"""Up to this many documents, each is looked up individually, so that a count over any period is exact."""
EXAMINED = 50_000
"""Maximum number of receipts that a count by time examines."""
EXAMINED_PER_PIECE = 20_000
"""Maximum number of receipts that one piece of a replay examines.

A piece therefore stays short even if few receipts match.
"""


def delivery_id(subscription: UUID, event: UUID, replay: UUID) -> UUID:
    """Return the UUID of a replayed delivery, which is the same however often a piece is written.

    It has version 8 (RFC 9562: custom content).
    """
    content = subscription.bytes + event.bytes + replay.bytes
    value = int.from_bytes(hashlib.blake2b(content, digest_size=16).digest(), "big")
    return UUID(int=value & ~_FIXED | _VERSION_8)


def narrowed(types: list[str], requested: list[str]) -> list[str] | None:
    """Return the requested types if all of them are within `types`, otherwise None."""
    return requested if all(fits(type_, types) for type_ in requested) else None


async def find_sources(connection: Connection, scope: Scope) -> Sources:
    """Return the sources of the events in the scope.

    Patterns are matched against the few existing names, never against rows.
    """
    every = await all_sources(connection)
    rows = [
        (platform, account, type_)
        for platform, account, type_ in zip(every.platforms, every.accounts, every.types, strict=True)
        if scope.covers(f"{platform}/{account}", type_)
    ]
    return Sources(*([row[n] for row in rows] for n in range(3)))


async def all_sources(connection: Connection) -> Sources:
    """Return the sources of all stored events: every platform, account and type that exists."""
    rows = await connection.fetch(query("replays", "sources"))
    return Sources(*([row[name] for row in rows] for name in ("platform", "account", "type")))


async def count(connection: Connection, scope: Scope, *, begin: datetime, end: datetime, key: str | None) -> Counted:
    """Count the events received from `begin` (inclusive) to `end` (exclusive): those that a replay would send.

    The time is bounded: counting stops at MOST_COUNTED events, or after EXAMINED receipts. `key` is compared as stored
    keys are: without blanks at its ends, in Unicode's form NFC.
    """
    sources = await find_sources(connection, scope)
    where = (sources.platforms, sources.accounts, sources.types)
    if scope.filter is not None:
        return await _count_matching(connection, scope.filter, where, (begin, end), key)
    limit = MOST_COUNTED + 1
    if key is not None:
        events: int = await connection.fetchval(
            query("replays", "count_of_key"), *where, begin, end, limit, normalized(key)
        )
    elif await connection.fetchval(query("replays", "count_documents"), *where, FEW_DOCUMENTS + 1) <= FEW_DOCUMENTS:
        events = await connection.fetchval(query("replays", "count_by_document"), *where, begin, end, limit)
    else:
        row = await connection.fetchrow(query("replays", "count_by_time"), *where, begin, end, limit, EXAMINED)
        assert row is not None
        return Counted(min(row["found"], MOST_COUNTED), row["found"] < limit and row["examined"] < EXAMINED)
    return Counted(min(events, MOST_COUNTED), events < limit)


async def _count_matching(
    connection: Connection,
    filter_: Filter,
    sources: tuple[list[str], list[str], list[str]],
    period: tuple[datetime, datetime],
    key: str | None,
) -> Counted:
    """Count the events that match a filter among the first MOST_READ of a period."""
    key = None if key is None else normalized(key)
    rows = await connection.fetch(
        query("replays", "piece"), *sources, *period, None, None, key, MOST_READ, EXAMINED_PER_PIECE
    )
    events = [row for row in rows if row["id"] is not None]
    is_all = len(events) < MOST_READ and (not rows or rows[0]["examined"] < EXAMINED_PER_PIECE)
    return Counted(len(await matching.matching(connection, filter_, events)), is_all)


async def count_open(connection: Connection, subscriber: str) -> int:
    """Return how many replays of a subscriber are not yet completely written."""
    open_replays: int = await connection.fetchval(query("replays", "count_open"), subscriber)
    return open_replays


async def create(
    connection: Connection,
    subscription: UUID,
    *,
    types: list[str],
    begin: datetime,
    end: datetime,
    key: str | None,
    count: int,
    id_: UUID | None = None,
) -> UUID:
    """Store a replay for a worker to write, and return its id. `key` is compared as in `count`.

    `id_`: the replay's id, if the caller chose it; a replay that exists already is not stored again.
    """
    id_, key = id_ or uuid4(), None if key is None else normalized(key)
    await connection.execute(query("replays", "create"), id_, subscription, begin, end, types, key, count)
    return id_


async def write_piece(
    connection: Connection,
    replay: UUID,
    limit: int,
    scope: Callable[[asyncpg.Record], tuple[list[str], list[str] | None]],
) -> bool:
    """Write up to `limit` deliveries of a replay; return True if there is nothing left to do here.

    That is the case when all are written, when the replay or its subscription no longer exists, or while another
    process is writing it. `scope`: returns, for the subscription's row, the accounts that its subscriber may see and
    the types that its dialect supports.
    """
    async with connection.transaction():
        row = await connection.fetchrow(query("replays", "take"), replay)
        if row is None:
            return True
        allowed, supported = scope(row)
        sources = await find_sources(connection, Scope(row["types"], row["accounts"], allowed, supported))
        rows = await connection.fetch(
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
        events = read = [event for event in rows if event["id"] is not None]
        if (filter_ := filters.stored(row["filter"])) is not None:
            matching_ids = await matching.matching(connection, filter_, read)
            events = [event for event in read if event["id"] in matching_ids]
        ids = [delivery_id(row["subscription_id"], event["id"], replay) for event in events]
        names = ("id", "received_at", "message_id", "document_id", "version", "type", "key")
        columns = [[event[name] for event in events] for name in names]
        await connection.execute(query("replays", "write"), row["subscription_id"], replay, ids, *columns)
        if len(read) == limit:
            after_at, after_id, done = read[-1]["received_at"], read[-1]["message_id"], False
        elif rows:
            after_at, after_id = rows[0]["last_at"], rows[0]["last_id"]
            done = rows[0]["examined"] < EXAMINED_PER_PIECE
        else:
            after_at, after_id, done = row["after_at"], row["after_id"], True
        await connection.execute(query("replays", "advance"), replay, len(events), after_at, after_id, done)
        await connection.execute(query("outbox", "wake"))
    return done


async def progress(connection: Connection, replay: UUID) -> tuple[int, int, int] | None:
    """Return how many events a replay covers, how many are written as deliveries, and how many of these wait.

    Returns None if the replay does not exist.
    """
    row = await connection.fetchrow(query("replays", "progress"), replay)
    return None if row is None else (row["count"], row["written"], row["waiting"])


async def stop(connection: Connection, replay: UUID) -> int | None:
    """Stop a replay: nothing more of it is written, and those of its deliveries that wait are cancelled.

    Returns how many were cancelled, or None if the replay does not exist. An attempt in progress is still made.
    """
    async with connection.transaction():
        # Waits for a piece that is being written; its deliveries are then cancelled together with the others.
        if await connection.fetchval(query("replays", "stop"), replay) is None:
            return None
        cancelled: int = await connection.fetchval(query("replays", "cancel_waiting"), replay)
        await connection.execute(query("deliveries", "cancelled"))
    return cancelled


class ReplayState(msgspec.Struct, frozen=True, kw_only=True):
    """A replay and how far it is."""

    id: UUID
    subscription_id: UUID
    created_at: datetime
    from_at: datetime
    to_at: datetime
    types: list[str]
    key: str | None
    count: int
    """Events; while it is being written there may be more, because counting stops at a limit."""
    written: int
    waiting: int
    """How many of its deliveries wait."""
    finished_at: datetime | None
    """When everything was written."""
    stopped_at: datetime | None

    @property
    def sent(self) -> int:
        """The deliveries that have ended."""
        return max(0, self.written - self.waiting)

    @property
    def is_open(self) -> bool:
        """Whether anything of it is still to be written or sent."""
        return self.finished_at is None or self.waiting > 0


async def listing(connection: Connection, subscription: UUID, limit: int) -> list[ReplayState]:
    """Return the newest replays of a subscription."""
    rows = await connection.fetch(query("replays", "listing"), subscription, limit)
    return [ReplayState(**{name: row[name] for name in ReplayState.__struct_fields__}) for row in rows]
