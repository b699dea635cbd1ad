"""Read single stored events from the database."""

from datetime import datetime
from uuid import UUID

import msgspec

from schemas import documents, registry
from schemas.platform import UnreadableError
from storage.database import Connection
from storage.sql import query


class StoredEvent(msgspec.Struct, frozen=True):
    """One stored version, with the exact bytes that were received."""

    id: UUID
    version: int
    received_at: datetime
    platform: str
    account: str
    type: str
    key: str
    event: str
    """The webhook that it came with; empty for a part of an order that was announced on its own."""
    content_type: str | None
    traceparent: str | None
    raw: bytes
    is_erased: bool
    """Whether the content was erased; `raw` is empty then."""


async def get(connection: Connection, id_: UUID) -> StoredEvent | None:
    """Return the event with this id, or None if it does not exist or retention has deleted it.

    Raises asyncpg's errors.
    """
    row = await connection.fetchrow(query("events", "one"), id_)
    if row is None:
        row = await connection.fetchrow(query("events", "share"), id_)
    return None if row is None else StoredEvent(**row)


def data(event: StoredEvent) -> bytes | None:
    """Return the JSON that is sent on for an event; None if its body cannot be expressed as interoperable JSON."""
    if not event.event:  # a part of an order, which we have written
        return event.raw
    try:
        platform = registry.platforms()[event.platform]
        return documents.describe(platform, event.event, event.raw, event.content_type).data
    except (KeyError, UnreadableError):  # stored by a version that could read it
        return None
