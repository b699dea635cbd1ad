"""List, show, retry and cancel deliveries, and show their attempts."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal, TypedDict
from uuid import UUID, uuid4

import asyncpg
import msgspec

from schemas.lenient import normalized
from storage import matching
from storage.database import Connection
from storage.replays import Scope, find_sources
from storage.sql import query

UNSUCCESSFUL = ("failed", "cancelled", "superseded")
NEWEST_DOCUMENTS = 100
"""Number of newest documents per platform, account and type in which a test delivery looks for an event."""
MOST_FILTERED = 200
"""Maximum number of newest events among which it looks for one that matches a filter."""

Status = Literal["pending", "delivered", "failed", "cancelled", "superseded"]


class DeliveryRow(TypedDict):
    """One delivery as it is listed."""

    id: UUID
    subscription_id: UUID
    event_id: UUID
    type: str
    key: str
    version: int
    status: Status
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    finished_at: datetime | None


class AttemptRow(TypedDict):
    """One attempt of a delivery; `duration_ms` is in milliseconds."""

    attempt: int
    at: datetime
    outcome: str
    status_code: int | None
    duration_ms: float
    response: str
    """The start of the response's body, decoded as UTF-8 with U+FFFD in place of invalid bytes."""
    error: str | None


class RefusedError(Exception):
    """A delivery cannot be sent again; the text states why."""


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """A selection of deliveries; None matches any value.

    The console lists what it selects, and a job works it off.
    """

    status: Status | None = None
    subscription: UUID | None = None
    type: str | None = None
    account: str | None = None
    """An account as `platform/account`."""
    key: str | None = None
    since: datetime | None = None
    """Ended at or after this time; created, if it is pending."""
    until: datetime | None = None
    """Ended before this time; created, if it is pending."""

    def in_words(self) -> str:
        """Return what is selected, for people and for the list of actions."""
        ended = "created" if self.status == "pending" else "ended"
        parts = [
            f"{self.status} deliveries",
            f"of subscription {self.subscription}" if self.subscription else "of all subscriptions",
            f"of type {self.type}" if self.type else "",
            f"of account {self.account}" if self.account else "",
            f"of key {self.key}" if self.key else "",
            f"{ended} from {self.since:%Y-%m-%d %H:%M:%S}" if self.since else "",
            f"{ended} before {self.until:%Y-%m-%d %H:%M:%S} UTC" if self.until else "",
        ]
        return ", ".join(filter(None, parts))


async def listing(
    connection: Connection,
    *,
    subscriber: str | None,
    subscription: UUID | None = None,
    status: str | None = None,
    key: str | None = None,
    before: tuple[datetime, UUID] | None = None,
    limit: int = 100,
) -> list[DeliveryRow]:
    """Return deliveries, newest first; `subscriber` None includes all subscribers.

    `key` is compared as stored keys are: without blanks at its ends, in Unicode's form NFC.
    """
    place = before or (None, None)
    if key is not None:
        name, key = "listing_of_key", normalized(key)
    elif subscription is not None and status in UNSUCCESSFUL:
        name = "listing_unsuccessful"
    else:
        name = "listing"
    rows = await connection.fetch(query("deliveries", name), subscription, subscriber, status, key, *place, limit)
    return [plain(row) for row in rows]


async def get(connection: Connection, id_: UUID, subscriber: str | None) -> DeliveryRow | None:
    """Return one delivery, or None if it does not exist or belongs to another subscriber."""
    row = await connection.fetchrow(query("deliveries", "get"), id_, subscriber)
    return None if row is None else plain(row)


async def attempts(connection: Connection, id_: UUID) -> list[AttemptRow]:
    """Return the attempts of a delivery, oldest first."""
    return [
        AttemptRow(
            attempt=row["attempt"],
            at=row["at"],
            outcome=row["outcome"],
            status_code=row["status_code"],
            duration_ms=row["duration_ms"],
            response=row["response"].decode("utf-8", "replace"),
            error=row["error"],
        )
        for row in await connection.fetch(query("deliveries", "attempts"), id_)
    ]


async def retry(
    connection: Connection,
    id_: UUID,
    subscriber: str | None,
    *,
    may_send: Callable[[str, str], str | None] = lambda subscriber, account: None,
) -> DeliveryRow | None:
    """Make a delivery due now, whatever its status; return it, or None if it does not exist.

    `may_send`: returns why it may not be sent now, given its subscriber and its account (`platform/account`), or None.
    Raises RefusedError with that reason, or because its subscription was deleted or its event is no longer stored.
    """
    async with connection.transaction():
        delivery = await get(connection, id_, subscriber)
        if delivery is None:
            return None
        sender = await connection.fetchrow(query("deliveries", "sender"), id_)
        if sender is None or sender["is_gone"]:
            raise RefusedError("its subscription has been deleted")
        if sender["account"] is None:
            raise RefusedError("its event is older than what is kept")
        reason = may_send(sender["subscriber"], sender["account"])
        if reason is not None:
            raise RefusedError(reason)
        if delivery["status"] == "pending":
            await connection.execute(query("deliveries", "due_now"), id_)
        else:
            await connection.execute(query("deliveries", "back_to_outbox"), id_, delivery["finished_at"])
        await connection.execute(query("outbox", "wake"))
        return await get(connection, id_, subscriber)


async def cancel(connection: Connection, id_: UUID, subscriber: str | None) -> DeliveryRow | None:
    """Cancel a delivery unless it has finished; return it, or None if it does not exist."""
    async with connection.transaction():
        delivery = await get(connection, id_, subscriber)
        if delivery is None or delivery["status"] != "pending":
            return delivery
        await connection.execute(query("deliveries", "cancel"), id_)
        await connection.execute(query("deliveries", "cancelled"))
        return await get(connection, id_, subscriber)


class NewestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The stored event that a test sends once more."""

    event_id: UUID
    type: str
    key: str
    version: int
    received_at: datetime


async def test(connection: Connection, subscription: UUID, scope: Scope) -> UUID | None:
    """Create a delivery of the newest matching event and return its id; None if no stored event matches."""
    async with connection.transaction():
        if (row := await _newest(connection, scope)) is None:
            return None
        delivery_id = uuid4()
        names = ("received_at", "id", "message_id", "document_id", "version", "type", "key")
        await connection.execute(query("deliveries", "test"), delivery_id, subscription, *(row[name] for name in names))
        await connection.execute(query("outbox", "wake"))
    return delivery_id


async def newest_for_test(connection: Connection, scope: Scope) -> NewestEvent | None:
    """Return the event that `test` sends now; None if no stored event matches."""
    row = await _newest(connection, scope)
    if row is None:
        return None
    return NewestEvent(
        event_id=row["id"],
        type=row["type"],
        key=row["key"],
        version=row["version"],
        received_at=row["received_at"],
    )


async def _newest(connection: Connection, scope: Scope) -> asyncpg.Record | None:
    """Return the newest event of a scope; with a filter, the newest of MOST_FILTERED that matches."""
    sources = await find_sources(connection, scope)
    limit = 1 if scope.filter is None else MOST_FILTERED
    rows = await connection.fetch(
        query("deliveries", "newest_for_test"),
        sources.platforms,
        sources.accounts,
        sources.types,
        max(NEWEST_DOCUMENTS, limit),
        limit,
    )
    if scope.filter is None:
        return rows[0] if rows else None
    for row in rows:
        if await matching.matching(connection, scope.filter, [row]):
            return row
    return None


def plain(row: asyncpg.Record) -> DeliveryRow:
    """Return a delivery as it is listed."""
    return DeliveryRow(
        id=row["id"],
        subscription_id=row["subscription_id"],
        event_id=row["event_id"],
        type=row["type"],
        key=row["key"],
        version=row["version"],
        status=row["status"],
        attempts=row["attempts"],
        next_attempt_at=row["next_attempt_at"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
    )
