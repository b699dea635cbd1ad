"""The events that announce erasures: written in the transaction that erases, and published after its commit."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID, uuid4

import asyncpg

from schemas import erasure
from storage.database import Connection
from storage.sql import query

EVENTS_PER_TRANSACTION = 200
"""Maximum number of events that are published, and confirmed, at a time."""


async def record(connection: Connection, versions: Sequence[asyncpg.Record]) -> None:
    """Write one event per document, given the ids of the versions that were erased, and its deliveries.

    To be called in the transaction that erases them. Raises asyncpg's errors.
    """
    event_ids: dict[int, list[UUID]] = defaultdict(list)
    for version in versions:
        event_ids[version["document_id"]].append(version["id"])
    if not event_ids:
        return
    rows = [
        (
            uuid4(),
            document["id"],
            document["version"],
            document["platform"],
            document["account"],
            document["key"],
            erasure.data(
                platform=document["platform"],
                account=document["account"],
                type=document["type"],
                key=document["key"],
                event_ids=event_ids[document["id"]],
            ),
        )
        for document in await connection.fetch(query("erasure", "documents"), list(event_ids))
    ]
    if not rows:
        return
    await connection.execute(query("erasure", "insert_events"), *[list(column) for column in zip(*rows, strict=True)])
    if await connection.fetch(query("erasure", "deliver_events"), [row[0] for row in rows]):
        await connection.execute(query("outbox", "wake"))


async def is_any_unpublished(connection: Connection) -> bool:
    """Return whether any event is to be published. Raises asyncpg's errors."""
    exists: bool = await connection.fetchval(query("erasure", "has_unpublished_events"))
    return exists


async def publish(connection: Connection, send: Callable[[Sequence[asyncpg.Record]], Awaitable[None]]) -> int:
    """Publish the oldest events by `send`, which returns once they are confirmed; return their number.

    An event whose removal is not committed is published again under the same id. Raises asyncpg's errors, and those of
    `send`.
    """
    async with connection.transaction():
        rows = await connection.fetch(query("erasure", "unpublished_events"), EVENTS_PER_TRANSACTION)
        if rows:
            await send(rows)
            await connection.execute(query("erasure", "published_events"), [row["id"] for row in rows])
    return len(rows)
