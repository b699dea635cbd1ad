"""What a delivery says: its event, read when its attempt is about to start, and not before."""

from collections.abc import Hashable, Sequence
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
    received_at: datetime
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

    waiting: Waiting
    attempts: int
    event: Event | None
    loaded_at: float
    """Monotonic seconds."""
    error: str | None = None
    """Why there is no event, if retention is not the reason."""

    @property
    def id(self) -> UUID:
        return self.waiting.id


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
        row["received_at"],
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
    exact = [item for item in items if not item.newest]
    newest = [item for item in items if item.newest]
    found: dict[UUID, Loaded] = {}
    if exact:
        rows = await connection.fetch(
            query("outbox", "contents"),
            [item.id for item in exact],
            [item.received_at for item in exact],
            [item.message_id for item in exact],
            _allowed(exact, [None if item.is_part else item.message_id for item in exact]),
            worker,
        )
        _collect(found, exact, rows, now)
    if newest:
        rows = await connection.fetch(
            query("outbox", "newest_contents"),
            [item.id for item in newest],
            [item.document_id for item in newest],
            _allowed(newest, [item.document_id for item in newest]),
            worker,
        )
        _collect(found, newest, rows, now)
    return found


def _allowed(items: Sequence[Waiting], bodies: Sequence[Hashable]) -> list[int]:
    """Return the largest body that each item may return: -1 where another item already returns the same body."""
    seen: set[Hashable] = set()
    allowed = []
    for item, body in zip(items, bodies, strict=True):
        allowed.append(item.reserved if body is None or body not in seen else -1)
        seen.add(body)
    return allowed


def _collect(found: dict[UUID, Loaded], items: Sequence[Waiting], rows: Sequence[asyncpg.Record], now: float) -> None:
    by_id = {row["id"]: row for row in rows}
    bodies: dict[UUID, bytes] = {}
    for item in items:
        row = by_id.get(item.id)
        if row is not None and row["raw"] is not None and not item.is_part:
            bodies[row["message_id"]] = row["raw"]
    for item in items:
        row = by_id.get(item.id)
        if row is None:
            continue
        if row["message_id"] is None:
            found[item.id] = Loaded(row["updated_at"], None, 0, Due(item, row["attempts"], None, now))
            continue
        raw = row["raw"]
        if raw is None and not item.is_part and row["size"] <= item.reserved:
            raw = bodies.get(row["message_id"])
        due = None if raw is None else Due(item, row["attempts"], _event(item, row, raw), now)
        found[item.id] = Loaded(row["updated_at"], f"{row['platform']}/{row['account']}", row["size"], due)


def _event(item: Waiting, row: asyncpg.Record, raw: bytes) -> Event:
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
        version=row["version"],
        received_at=row["received_at"],
        traceparent=row["traceparent"],
        raw=raw,
        data=data,
    )
