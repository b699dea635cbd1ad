"""What a delivery says: its event, read when it is sent."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.outbound import Event
from schemas.platform import Unreadable
from storage.sql import query


class Due(msgspec.Struct, frozen=True):
    """A row of the outbox, with its event; without one, retention has taken it."""

    id: UUID
    subscription_id: UUID
    attempts: int
    due_at: datetime
    event: Event | None


async def load(
    connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy,
    rows: Sequence[asyncpg.Record],
    newest: frozenset[UUID],
) -> list[Due]:
    """The rows with their events. `newest`: subscriptions that get the newest copy of a document. Raises asyncpg's."""
    if not rows:
        return []
    latest = [row for row in rows if row["subscription_id"] in newest and row["payload"] is None]
    exact = [row for row in rows if row["subscription_id"] not in newest or row["payload"] is not None]
    bodies: dict[UUID, asyncpg.Record] = {}
    copies: dict[int, asyncpg.Record] = {}
    if exact:
        places = {row["message_id"]: row["received_at"] for row in exact}
        found = await connection.fetch(query("outbox", "bodies"), list(places.values()), list(places))
        bodies = {row["message_id"]: row for row in found}
    if latest:
        ids = list({row["document_id"] for row in latest})
        found = await connection.fetch(query("outbox", "newest_bodies"), ids)
        copies = {row["document_id"]: row for row in found}
    due = []
    for row in rows:
        use_newest = row["subscription_id"] in newest and row["payload"] is None
        body = copies.get(row["document_id"]) if use_newest else bodies.get(row["message_id"])
        event = None if body is None else _event(row, body, body["version"] if use_newest else row["version"])
        due.append(Due(row["id"], row["subscription_id"], row["attempts"], row["next_attempt_at"], event))
    return due


def _event(row: asyncpg.Record, body: asyncpg.Record, version: int) -> Event:
    raw: bytes = body["raw"]
    data: bytes | None = raw
    if row["payload"] is not None:
        raw = data = row["payload"]
    elif body["flags"]:
        # Something was wrong with it, as JSON: what others can read of it is worked out again.
        try:
            platform = registry.platforms()[body["platform"]]
            data = documents.describe(platform, body["event"], raw, body["content_type"]).data
        except (Unreadable, KeyError):
            data = None
    return Event(
        id=str(row["event_id"]),
        platform=body["platform"],
        account=body["account"],
        type=row["type"],
        key=row["key"],
        version=version,
        received_at=body["received_at"],
        traceparent=body["traceparent"],
        raw=raw,
        data=data,
    )
