"""The content of deliveries: their events, read from the database only when an attempt is about to start."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents, erasure, registry
from schemas.outbound import Event
from schemas.platform import UnreadableError
from storage.database import Connection
from storage.privacy import ERASED
from storage.sql import query

ERASED_REASON = "the content was erased"
"""Why a delivery is not sent whose event was erased; `storage/queries/erasure.sql` writes the same text."""


class DueDelivery(msgspec.Struct, eq=False):
    """A due delivery whose content is still in the database."""

    id: UUID
    subscription_id: UUID
    event_id: UUID
    message_id: UUID
    document_id: int
    type: str
    key: str
    attempts: int
    due_at: datetime
    newest: bool
    """Whether to send the newest copy of the document instead of this version."""
    is_part: bool
    """Whether the delivery has a body of its own (a manufacturer's part of an order) instead of a receipt's."""
    size: int = 0
    """Size of the body in bytes if it was larger than `reserved`, so that it was only measured; otherwise 0."""
    reserved: int = 0
    """Bytes of the process's memory budget that are reserved for the body."""


class LoadedDelivery(msgspec.Struct, frozen=True, eq=False):
    """A delivery whose content is loaded; it has no event if the retention period has passed or it was erased."""

    id: UUID
    waiting: DueDelivery
    event: Event | None
    loaded_at: float
    """Time of the query, in monotonic seconds."""
    error: str | None = None
    """Why the event is missing, if not because of the retention period."""


class LoadResult(msgspec.Struct, frozen=True):
    """The result of loading one delivery from the database."""

    updated_at: datetime | None
    """When the subscription was last changed; None if its row could not be read."""
    account: str | None
    """The event's account as `platform/account`; None if it was not read or the retention period has passed."""
    size: int
    due: LoadedDelivery | None
    """The delivery with its content; None if the body was not read, for example because it exceeds `reserved`."""


def due_delivery(row: asyncpg.Record, *, newest: bool) -> DueDelivery:
    """Convert a row of the query `outbox.due` to a DueDelivery."""
    return DueDelivery(
        row["id"],
        row["subscription_id"],
        row["event_id"],
        row["message_id"],
        row["document_id"],
        row["type"],
        row["key"],
        row["attempts"],
        row["next_attempt_at"],
        newest and not row["has_payload"],
        row["has_payload"],
    )


async def load(
    connection: Connection, items: Sequence[DueDelivery], worker: UUID, now: float
) -> dict[UUID, LoadResult]:
    """Return the content of the deliveries that `worker` still has to send, by delivery ID.

    A body that is larger than the bytes that its item has reserved is only measured. A body that several items share is
    read once, by one of them (its reader). If the reader was cancelled, the others get no content and must be loaded
    again. Raises asyncpg's errors.
    """
    loaded: dict[UUID, LoadResult] = {}
    for name, chosen in (
        ("contents", [item for item in items if not item.newest]),
        ("newest_contents", [item for item in items if item.newest]),
    ):
        if chosen:
            readers = _readers(chosen)
            allowed = [item.reserved if readers[item] is item else -1 for item in chosen]
            rows = await connection.fetch(query("outbox", name), [item.id for item in chosen], allowed, worker)
            _collect(loaded, readers, rows, now)
    return loaded


def _readers(items: Sequence[DueDelivery]) -> dict[DueDelivery, DueDelivery]:
    """Return, for each item, the item whose row returns its body.

    One event may have several deliveries, and its body is read once.
    """
    readers: dict[Hashable, DueDelivery] = {}
    return {
        item: item if item.is_part else readers.setdefault(item.document_id if item.newest else item.message_id, item)
        for item in items
    }


def _collect(
    loaded: dict[UUID, LoadResult],
    readers: Mapping[DueDelivery, DueDelivery],
    rows: Sequence[asyncpg.Record],
    now: float,
) -> None:
    by_id = {row["id"]: row for row in rows}
    for item, reader in readers.items():
        own = by_id.get(item.id)
        if own is None:
            continue
        row = by_id.get(reader.id)
        updated_at = own["updated_at"]
        if row is None:
            # Its reader was cancelled, so it must be loaded again.
            loaded[item.id] = LoadResult(updated_at, None, 0, None)
        elif row["message_id"] is None:
            loaded[item.id] = LoadResult(updated_at, None, 0, LoadedDelivery(item.id, item, None, now))
        elif ERASED in row["flags"] and item.type != erasure.TYPE:
            account = f"{row['platform']}/{row['account']}"
            blocked = LoadedDelivery(item.id, item, None, now, ERASED_REASON)
            loaded[item.id] = LoadResult(updated_at, account, 0, blocked)
        else:
            raw, size = row["raw"], row["size"]
            version = row["version"] if item.newest else own["version"]
            due = (
                LoadedDelivery(item.id, item, _event(item, row, raw, version), now)
                if raw is not None and size <= item.reserved
                else None
            )
            loaded[item.id] = LoadResult(updated_at, f"{row['platform']}/{row['account']}", size, due)


def _event(item: DueDelivery, row: asyncpg.Record, raw: bytes, version: int) -> Event:
    data: bytes | None = raw
    if row["flags"] and not item.is_part:
        # The body was not valid JSON or had to be repaired, so the readable form is derived again.
        try:
            platform = registry.platforms()[row["platform"]]
            data = documents.describe(platform, row["event"], raw, row["content_type"]).data
        except (UnreadableError, KeyError):
            data = None
    return Event(
        id=str(item.event_id),
        platform=row["platform"],
        account=row["account"],
        type=item.type,
        key=item.key,
        version=version,
        received_at=row["received_at"],
        traceparent=row["traceparent"],
        raw=raw,
        data=data,
    )
