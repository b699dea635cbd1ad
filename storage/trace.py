"""Everything known of one order or document."""

from typing import Any
from uuid import UUID

import asyncpg

from storage.sql import query

PARTS = ("receipts", "versions", "allocations", "records")


async def trace(connection: asyncpg.Connection, key: str) -> dict[str, Any]:
    """`key`: a business key, an order number, or a message's or version's id. Empty lists where nothing is known."""
    try:
        id_ = UUID(key)
    except ValueError:
        id_ = None
    documents = []
    for row in await connection.fetch(query("trace", "documents"), key, id_):
        found: dict[str, Any] = {name: row[name] for name in ("platform", "account", "type", "key")}
        for part in PARTS:
            found[part] = [dict(one) for one in await connection.fetch(query("trace", part), row["id"])]
        documents.append(found)
    quarantined = [dict(one) for one in await connection.fetch(query("trace", "quarantine"), id_)] if id_ else []
    return {"key": key, "documents": documents, "quarantine": quarantined}
