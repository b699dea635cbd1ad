"""Everything that is known about one order or document."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from schemas import invisible
from schemas.lenient import normalized
from storage.database import Connection
from storage.sql import query

PARTS = ("receipts", "versions", "allocations", "records", "deliveries")
_JSON = frozenset({"lines", "items", "announced"})
# asyncpg sends these as -infinity and infinity.
_EVER = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_NEAR = timedelta(days=1)
"""Maximum difference between the creation time in a message's id and its time of receipt."""


async def trace(connection: Connection, key: str) -> dict[str, Any]:
    """Return the history of a business key, an order number, or the id of a message or version.

    The result has this form:

        {"key", "documents": [{"platform", "account", "type", "key", "receipts", "versions", "allocations",
        "records", "deliveries"}], "quarantine"}

    Blanks and invisible characters at the ends of `key` are ignored, and accented letters are compared in Unicode's
    form NFC, as in business keys. The columns are those of `queries/trace.sql`. Lists are empty if nothing is known.
    """
    written, key = invisible.trimmed(key), normalized(key)
    if not key or "\0" in key:
        return {"key": key, "documents": [], "quarantine": []}
    try:
        id_ = UUID(key)
    except ValueError:
        id_ = None
    documents = []
    for row in await connection.fetch(query("trace", "documents"), key, id_, *_when(id_)):
        document: dict[str, Any] = {name: row[name] for name in ("platform", "account", "type", "key")}
        for part in PARTS:
            document[part] = [_plain(record) for record in await connection.fetch(query("trace", part), row["id"])]
        documents.append(document)
    quarantined = [_plain(record) for record in await connection.fetch(query("trace", "quarantine"), key, id_, written)]
    return {"key": key, "documents": documents, "quarantine": quarantined}


def _when(id_: UUID | None) -> tuple[datetime, datetime]:
    """Return the earliest and latest time at which a message with this id can have been received.

    The first 48 bits of a UUID of version 7 are its creation time; other ids do not limit the period.
    """
    if id_ is None or id_.version != 7:
        return _EVER
    try:
        created_at = datetime.fromtimestamp((id_.int >> 80) / 1000, UTC)
        return created_at - _NEAR, created_at + _NEAR
    except (OverflowError, ValueError, OSError):
        return _EVER


def _plain(row: asyncpg.Record) -> dict[str, Any]:
    return {
        name: msgspec.json.decode(value) if name in _JSON and value is not None else value
        for name, value in row.items()
    }
