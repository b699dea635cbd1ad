"""What the route worker answered, written beside the order, and what the manufacturers are to be told of it."""

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from schemas.platforms.ustore.record import ItemAllocation
from storage.sql import query
from workers.store.prepare import Incoming
from workers.store.versions import hashed

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[ItemAllocation]).decode


class Told(msgspec.Struct, frozen=True):
    """News for manufacturers: one message each."""

    message: Incoming
    version_id: UUID
    version: int
    manufacturers: tuple[str, ...]


def event_id(version_id: UUID, manufacturer: str, items: Sequence[str]) -> UUID:
    """Of a manufacturer's message: the same whenever the same items of the same version go the same way."""
    text = "\0".join((manufacturer, *items)).encode("utf-8", "surrogatepass")
    return hashed(version_id.bytes + text)


async def record(connection: Connection, message: Incoming, document_id: int) -> Told | None:
    """Files one record; None when it says nothing that wasn't said. Within the batch's transaction."""
    assert message.allocations is not None
    at, name = message.envelope.received_at, message.message_id
    version = await connection.fetchrow(query("store", "version_at"), document_id, at, name)
    if version is None:
        return None
    records = await connection.fetch(query("store", "version_records"), document_id, version["id"])
    told: tuple[str, ...] | None = None
    previous: list[ItemAllocation] = []
    for row in records:
        if row["message_id"] == name:
            told = tuple(row["announced"])  # delivered again: say again what was to be said
        elif (row["received_at"], row["message_id"]) < (at, name):
            previous = _decode(row["items"])
    if told is None:
        told = news(previous, message.allocations)
        items = _encode(list(message.allocations)).decode()
        await connection.execute(query("store", "insert_record"), document_id, at, name, version["id"], items, told)
        newest = await connection.fetchval(query("store", "newest_record"), document_id)
        if newest == name:
            await connection.execute(query("store", "clear_items"), document_id)
            await connection.execute(query("store", "insert_items"), document_id, at, *_columns(message.allocations))
    return Told(message, version["id"], version["version"], told) if told else None


def news(before: Sequence[ItemAllocation], now: Sequence[ItemAllocation]) -> tuple[str, ...]:
    """Manufacturers whose items are not what they were; one that lost all of them hears nothing."""
    old, new = _by_manufacturer(before), _by_manufacturer(now)
    return tuple(name for name, items in new.items() if old.get(name) != items)


def _by_manufacturer(items: Sequence[ItemAllocation]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for item in items:
        found[item.manufacturer].append(item.item)
    return found


def _columns(items: Sequence[ItemAllocation]) -> tuple[list[str], list[str], list[str], list[str | None]]:
    return (
        [item.item for item in items],
        [item.manufacturer for item in items],
        [item.rule for item in items],
        [item.detail for item in items],
    )
