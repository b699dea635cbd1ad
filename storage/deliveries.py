"""Deliveries seen and steered: listed, shown with their attempts, tried again, cancelled."""

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from storage.replays import Scope, find_sources
from storage.sql import query

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

UNSUCCESSFUL = ("failed", "cancelled", "superseded")
NEWEST_DOCUMENTS = 100
"""Documents of each platform, account and type among which a test delivery looks for the newest event."""

FIELDS = (
    "id",
    "subscription_id",
    "event_id",
    "type",
    "key",
    "version",
    "status",
    "attempts",
    "next_attempt_at",
    "created_at",
    "finished_at",
)


class RefusedError(Exception):
    """A delivery cannot be sent again; the text says why."""


async def listing(
    connection: Connection,
    *,
    subscriber: str | None,
    subscription: UUID | None = None,
    status: str | None = None,
    key: str | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """The newest first; `subscriber` None sees all. Rows of FIELDS."""
    place = before or (None, None)
    if key is not None:
        name = "listing_of_key"
    elif subscription is not None and status in UNSUCCESSFUL:
        name = "listing_unsuccessful"
    else:
        name = "listing"
    rows = await connection.fetch(query("deliveries", name), subscription, subscriber, status, key, *place, limit)
    return [_plain(row) for row in rows]


async def get(connection: Connection, id_: UUID, subscriber: str | None) -> dict[str, Any] | None:
    """One, or None if there is none or it is somebody else's."""
    row = await connection.fetchrow(query("deliveries", "get"), id_, subscriber)
    return None if row is None else _plain(row)


async def attempts(connection: Connection, id_: UUID) -> list[dict[str, Any]]:
    """The oldest first; `response` as text, with U+FFFD for what is none."""
    rows = await connection.fetch(query("deliveries", "attempts"), id_)
    return [{**row, "response": row["response"].decode("utf-8", "replace")} for row in rows]


async def retry(
    connection: Connection,
    id_: UUID,
    subscriber: str | None,
    *,
    may_send: Callable[[str, str], str | None] = lambda subscriber, account: None,
) -> dict[str, Any] | None:
    """Make a delivery due now, whatever became of it. None if there is none.

    `may_send`: returns why it may not be sent now, given its subscriber and its account (`platform/account`).
    Raises RefusedError with that reason, or because its subscription is gone.
    """
    async with connection.transaction():
        found = await get(connection, id_, subscriber)
        if found is None:
            return None
        sender = await connection.fetchrow(query("deliveries", "sender"), id_)
        if sender is None or sender["is_gone"]:
            raise RefusedError("its subscription has been deleted")
        if sender["account"] is None:
            raise RefusedError("its event is older than what is kept")
        reason = may_send(sender["subscriber"], sender["account"])
        if reason is not None:
            raise RefusedError(reason)
        if found["status"] == "pending":
            await connection.execute(query("deliveries", "due_now"), id_)
        else:
            await connection.execute(query("deliveries", "back_to_outbox"), id_, found["finished_at"])
        await connection.execute(query("outbox", "wake"))
        return await get(connection, id_, subscriber)


async def cancel(connection: Connection, id_: UUID, subscriber: str | None) -> dict[str, Any] | None:
    """Sent no more; one that has ended stays as it is. None if there is none."""
    async with connection.transaction():
        found = await get(connection, id_, subscriber)
        if found is None or found["status"] != "pending":
            return found
        await connection.execute(query("deliveries", "cancel"), id_)
        await connection.execute(query("deliveries", "cancelled"))
        return await get(connection, id_, subscriber)


async def test(connection: Connection, subscription: UUID, scope: Scope) -> UUID | None:
    """A delivery of the newest event that fits; None if nothing stored does."""
    async with connection.transaction():
        sources = await find_sources(connection, scope)
        found: UUID | None = await connection.fetchval(
            query("deliveries", "test"),
            uuid4(),
            subscription,
            sources.platforms,
            sources.accounts,
            sources.types,
            NEWEST_DOCUMENTS,
        )
        if found is not None:
            await connection.execute(query("outbox", "wake"))
    return found


async def counts(connection: Connection) -> dict[str, Any]:
    """What waits, what of it is due and for how many seconds, what failed in the last day; how many subscriptions."""
    row = await connection.fetchrow(query("deliveries", "counts"))
    assert row is not None
    return dict(row)


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {name: row[name] for name in FIELDS}
