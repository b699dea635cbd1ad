"""Rows as the statements of `storage/queries/store.sql` take and return them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas.platform import Line, ParsedDocument
from storage import identifiers
from storage.database import Connection
from storage.sql import query
from workers.store.ids import DocumentKey
from workers.store.prepare import Incoming
from workers.store.versions import REPEAT_SUSPECTED, DocumentBatch, Receipt, StoredVersion, Version, flags

Value = str | bytes | int | datetime | UUID | Sequence[str] | None
Row = tuple[Value, ...]

_UNKNOWN = UUID(int=0)

_encode = msgspec.json.Encoder(decimal_format="number").encode


def columns(rows: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Return rows as one array per column, for unnest. There must be at least one row."""
    return [list(column) for column in zip(*rows, strict=True)]


async def execute(connection: Connection, name: str, rows: Sequence[Row]) -> None:
    """Execute a statement of `store.sql` with these rows, unless there are none. Raises asyncpg's errors."""
    if rows:
        await connection.execute(query("store", name), *columns(rows))


def quarantine_row(message: Incoming) -> Row:
    """Return the row of `quarantine`."""
    envelope = message.envelope
    return (
        message.message_id,
        envelope.received_at,
        envelope.platform,
        envelope.account,
        envelope.event,
        message.reason,
        envelope.content_type,
        envelope.traceparent,
        message.raw,
        message.stage,
        message.attempts,
        message.routing_key,
    )


def document_row(batch: DocumentBatch) -> Row:
    """Return the row of `claim_documents` (crossdock.new_document), as if the batch held everything of the document."""
    version = batch.versions[-1]
    document = batch.document if len(batch.messages) == 1 else batch.stored([version])[0].document
    reading = document.reading
    return (
        *batch.key,
        version.first.received_at,
        version.last_received_at,
        version.id,
        version.number,
        version.times_received,
        version.digest,
        reading.order_number,
        reading.order_ref,
        reading.warehouse_ref,
        reading.ship_from,
        reading.ship_to,
    )


def newest_version_row(document_id: int, version: Version) -> Row:
    """Return the row of `newest_versions`."""
    return (
        document_id,
        version.id,
        version.first.received_at,
        version.number,
        version.times_received,
        version.last_received_at,
    )


RECEIPT_COLUMNS = (
    "received_at",
    "message_id",
    "document_id",
    "digest",
    "event",
    "content_type",
    "traceparent",
    "raw",
    "flags",
)


def receipt_row(document_id: int, message: Incoming) -> Row:
    """Return the values of RECEIPT_COLUMNS."""
    envelope, document = message.envelope, message.document
    assert document is not None
    return (
        envelope.received_at,
        message.message_id,
        document_id,
        document.digest,
        envelope.event,
        envelope.content_type,
        envelope.traceparent,
        message.raw,
        document.flags,
    )


VERSION_COLUMNS = (
    "id",
    "document_id",
    "received_at",
    "last_received_at",
    "message_id",
    "version",
    "times_received",
    "occurrence",
    "digest",
    "shipped_at",
    "goods_received_at",
    "due_at",
    "order_number",
    "order_ref",
    "warehouse_ref",
    "carton",
    "ship_from",
    "ship_to",
    "placed_at",
    "lines",
    "body",
    "platform",
    "account",
    "type",
    "flags",
)


def version_row(stored: StoredVersion) -> Row:
    """Return the values of VERSION_COLUMNS."""
    version, document = stored.version, stored.document
    reading = document.reading
    return (
        version.id,
        stored.document_id,
        version.first.received_at,
        version.last_received_at,
        version.first.message_id,
        version.number,
        version.times_received,
        version.occurrence,
        version.digest,
        reading.shipped_at,
        reading.goods_received_at,
        reading.due_at,
        reading.order_number,
        reading.order_ref,
        reading.warehouse_ref,
        reading.carton,
        reading.ship_from,
        reading.ship_to,
        reading.placed_at,
        lines_json(reading.lines),
        stored_body(stored),
        stored.message.envelope.platform,
        stored.message.envelope.account,
        reading.type,
        flags(document.flags, version, revisable=reading.flag_revised),
    )


def stored_body(stored: StoredVersion) -> str | None:
    """Return the JSON for `body`, or None where the view `events` makes it from the bytes of the first receipt."""
    document, message = stored.document, stored.message
    if document.body is None or message.message_id != stored.version.first.message_id:
        return document.body
    if document.data is message.raw:  # nearly always
        return None
    # "surrogatepass": what cannot be encoded is left for the database to refuse, like any other value of a row.
    return None if document.body.encode(errors="surrogatepass") == message.raw else document.body


def identifier_rows(versions: Iterable[StoredVersion]) -> list[identifiers.Row]:
    """Return the rows by which people find the documents of these new versions."""
    return [
        identifier_row(version.document_id, version.version.first.received_at, version.document.reading)
        for version in versions
    ]


def identifier_row(document_id: int, received_at: datetime, reading: ParsedDocument) -> identifiers.Row:
    """Return the row by which people find the document of one version."""
    return document_id, received_at, reading.searchable_numbers(), reading.searchable_articles()


def lines_json(lines: Sequence[Line]) -> str:
    """Return the lines as JSON without members that are null; numbers are the exact decimals."""
    return _encode(lines).decode()


def key_of(row: asyncpg.Record) -> DocumentKey:
    """Return the key of a document from its row."""
    return row["platform"], row["account"], row["type"], row["key"]


def newest_version_of(row: asyncpg.Record) -> Version:
    """Return a document's newest version from the document's row.

    The row doesn't hold the message that the version began with, nor the number of its occurrences.
    """
    return Version(
        id=row["version_id"],
        number=row["version"],
        digest=row["digest"],
        occurrence=0,
        first=Receipt(row["received_at"], _UNKNOWN, row["digest"]),
        last_received_at=row["last_received_at"],
        times_received=row["times_received"],
    )


def version_of(row: asyncpg.Record) -> Version:
    """Return a version from its row, with its first receipt alone."""
    return Version(
        id=row["id"],
        number=row["version"],
        digest=row["digest"],
        occurrence=row["occurrence"],
        first=Receipt(row["received_at"], row["message_id"], row["digest"]),
        last_received_at=row["received_at"],
        is_repeat=REPEAT_SUSPECTED in row["flags"],
    )


def position_of(row: asyncpg.Record) -> tuple[datetime, UUID]:
    """Return what a version or receipt is sorted by within its document."""
    return row["received_at"], row["message_id"]
