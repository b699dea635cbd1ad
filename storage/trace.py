"""Everything known of one order or document."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from storage.sql import query

PARTS = ("receipts", "versions", "allocations", "records", "deliveries")
_JSON = frozenset({"lines", "items", "announced"})
_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))  # asyncpg: minus and plus infinity
_NEAR = timedelta(days=1)
"""How far a message's own idea of when it was made may be from when it was received."""


async def trace(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, key: str) -> dict[str, Any]:
    """`key`: a business key, an order number, or a message's or version's id. Empty lists where nothing is known.

    `{"key", "documents": [{"platform", "account", "type", "key", "receipts", "versions", "allocations", "records",
    "deliveries"}],
    "quarantine"}`; the columns are those of `queries/trace.sql`.
    """
    if "\0" in key:
        return {"key": key, "documents": [], "quarantine": []}
    try:
        id_ = UUID(key)
    except ValueError:
        id_ = None
    documents = []
    for row in await connection.fetch(query("trace", "documents"), key, id_, *_when(id_)):
        found: dict[str, Any] = {name: row[name] for name in ("platform", "account", "type", "key")}
        for part in PARTS:
            found[part] = [_plain(one) for one in await connection.fetch(query("trace", part), row["id"])]
        documents.append(found)
    quarantined = [_plain(one) for one in await connection.fetch(query("trace", "quarantine"), key, id_)]
    return {"key": key, "documents": documents, "quarantine": quarantined}


def _when(id_: UUID | None) -> tuple[datetime, datetime]:
    """Between when and when a message of this id was received: its first 48 bits say, if it is of version 7."""
    if id_ is None or id_.version != 7:
        return _EVER
    try:
        made = datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
        return made - _NEAR, made + _NEAR
    except (OverflowError, ValueError, OSError):
        return _EVER


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value) if name in _JSON and value is not None else value
        for name, value in row.items()
    }
