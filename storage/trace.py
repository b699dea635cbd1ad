"""Everything that is known about one order or document."""

from typing import Any

import asyncpg
import msgspec

from schemas import invisible
from storage import find
from storage.database import Connection
from storage.sql import query

PARTS = ("receipts", "versions", "allocations", "records", "deliveries")
_JSON = frozenset({"lines", "items", "announced"})


async def trace(connection: Connection, key: str) -> dict[str, Any]:
    """Return the history of every document that `storage.find` finds by a text, the oldest first.

    The result has this form:

        {"key", "documents": [{"platform", "account", "type", "key", "receipts", "versions", "allocations",
        "records", "deliveries"}], "quarantine"}

    `key` is compared as in `storage.find`. The columns are those of `queries/trace.sql`. Lists are empty
    if nothing is known.
    """
    written = invisible.trimmed(key)
    result = await find.find(connection, key)
    key = result.text
    if not key:
        return {"key": key, "documents": [], "quarantine": []}
    documents = []
    for match in reversed(result.documents):
        document: dict[str, Any] = {name: getattr(match, name) for name in ("platform", "account", "type", "key")}
        for part in PARTS:
            document[part] = [_plain(record) for record in await connection.fetch(query("trace", part), match.id)]
        documents.append(document)
    ids = [row.id for row in result.quarantine]
    quarantined = await connection.fetch(query("trace", "quarantine"), key, ids, written)
    return {"key": key, "documents": documents, "quarantine": [_plain(record) for record in quarantined]}


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value) if name in _JSON and value is not None else value
        for name, value in row.items()
    }
