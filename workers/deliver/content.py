"""What a delivery says: its event, read when its attempt is about to start, and not before."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.outbound import Event
from schemas.platform import Unreadable
from storage.database import Connection
from storage.sql import query


class Waiting(msgspec.Struct, eq=False):
    """A delivery that is due. Its content stays in the database until its attempt is about to start."""

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
    """Whether the newest copy of the document is sent, rather than this version."""
    is_part: bool
    """Whether its body is its own (a manufacturer's part of an order), rather than a receipt's."""
    size: int = 0
    """Bytes of its body, once it has been measured because it was too large to be read at once."""
    reserved: int = 0
    """Bytes of the process's budget that it holds."""


class Due(msgspec.Struct, frozen=True, eq=False):
    """A delivery with its content, ready to be sent; without an event if retention has taken it."""

    id: UUID
    waiting: Waiting
    event: Event | None
    loaded_at: float
    """Monotonic seconds."""
    error: str | None = None
    """Why there is no event, if retention is not the reason."""


class Loaded(msgspec.Struct, frozen=True):
    """What the database said of one delivery."""

    updated_at: datetime | None
    """Of its subscription; None where that could not be read."""
    account: str | None
    """`platform/account`; None if retention has taken it."""
    size: int
    due: Due | None
    """None if the body is larger than was allowed."""


def waiting(row: asyncpg.Record, *, newest: bool) -> Waiting:
    """Make a Waiting of a row of `outbox.due`."""
    return Waiting(
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


async def load(connection: Connection, items: Sequence[Waiting], worker: UUID, now: float) -> dict[UUID, Loaded]:
    """Return the content of those that are still to be sent by `worker`. Raises asyncpg's errors.

    A body of more bytes than the item has reserved is only measured. One body that several items share is read once;
    where its reader is missing from the result, the others are measured and come again.
    """
    found: dict[UUID, Loaded] = {}
    for name, chosen in (
        ("contents", [item for item in items if not item.newest]),
        ("newest_contents", [item for item in items if item.newest]),
    ):
        if chosen:
            readers = _readers(chosen)
            allowed = [item.reserved if readers[item] is item else -1 for item in chosen]
            rows = await connection.fetch(query("outbox", name), [item.id for item in chosen], allowed, worker)
            _collect(found, readers, rows, now)
    return found


def _readers(items: Sequence[Waiting]) -> dict[Waiting, Waiting]:
    """Return for each item the one whose row returns its body: the same event goes to several subscriptions."""
    readers: dict[Hashable, Waiting] = {}
    return {
        item: item if item.is_part else readers.setdefault(item.document_id if item.newest else item.message_id, item)
        for item in items
    }


def _collect(
    found: dict[UUID, Loaded], readers: Mapping[Waiting, Waiting], rows: Sequence[asyncpg.Record], now: float
) -> None:
    by_id = {row["id"]: row for row in rows}
    for item, reader in readers.items():
        own = by_id.get(item.id)
        if own is None:
            continue
        row = by_id.get(reader.id)
        updated_at = own["updated_at"]
        if row is None:
            found[item.id] = Loaded(updated_at, None, 0, None)  # its reader was cancelled: it comes again
        elif row["message_id"] is None:
            found[item.id] = Loaded(updated_at, None, 0, Due(item.id, item, None, now))
        else:
            raw, size = row["raw"], row["size"]
            version = row["version"] if item.newest else own["version"]
            due = (
                Due(item.id, item, _event(item, row, raw, version), now)
                if raw is not None and size <= item.reserved
                else None
            )
            found[item.id] = Loaded(updated_at, f"{row['platform']}/{row['account']}", size, due)


def _event(item: Waiting, row: asyncpg.Record, raw: bytes, version: int) -> Event:
    data: bytes | None = raw
    if row["flags"] and not item.is_part:
        # Something was wrong with it, as JSON: what others can read of it is worked out again.
        try:
            platform = registry.platforms()[row["platform"]]
            data = documents.describe(platform, row["event"], raw, row["content_type"]).data
        except (Unreadable, KeyError):
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
