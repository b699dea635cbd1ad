"""Versions that are stored already, with the messages that they begin with."""

from collections.abc import Iterable, Sequence

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.documents import Document
from schemas.envelope import Envelope
from schemas.platform import UnreadableError
from storage.database import Connection
from storage.privacy import ERASED
from storage.sql import query
from workers.store.prepare import Incoming
from workers.store.rows import columns
from workers.store.versions import DocumentBatch, Receipt, StoredVersion, Version


async def load(
    connection: Connection, batches: Sequence[DocumentBatch], rows: Iterable[asyncpg.Record]
) -> list[StoredVersion]:
    """Return the versions of the rows of `versions_to_reannounce`. Raises asyncpg's errors."""
    by_id = {batch.document_id: batch for batch in batches}
    versions = []
    for row in rows:
        first = Receipt(row["received_at"], row["message_id"], b"")
        version = Version(row["id"], row["version"], b"", 0, first, row["received_at"])
        versions.append((by_id[row["document_id"]], version))
    return await with_messages(connection, versions)


async def with_messages(
    connection: Connection, versions: Sequence[tuple[DocumentBatch, Version]]
) -> list[StoredVersion]:
    """Return each version with the message that it begins with, from the batch or else from its receipt.

    Raises asyncpg's errors.
    """
    messages = {message.message_id: message for batch, _ in versions for message in batch.messages}
    missing = {
        version.first.message_id: (batch, version)
        for batch, version in versions
        if version.first.message_id not in messages
    }
    if missing:
        positions = [(version.first.received_at, message_id) for message_id, (_, version) in missing.items()]
        for row in await connection.fetch(query("store", "receipt_bodies"), *columns(positions)):
            batch, _ = missing[row["message_id"]]
            messages[row["message_id"]] = _message(batch, row)
    return [
        StoredVersion(batch.document_id, messages[version.first.message_id], version) for batch, version in versions
    ]


def _message(batch: DocumentBatch, row: asyncpg.Record) -> Incoming:
    """Return the message of a receipt, with its body read again."""
    platform, account, _, key = batch.key
    envelope = Envelope(
        message_id=str(row["message_id"]),
        platform=platform,
        account=account,
        event=row["event"],
        received_at=row["received_at"],
        content_type=row["content_type"],
        traceparent=row["traceparent"],
    )
    if ERASED in row["flags"]:
        document = Document(batch.document.reading, b"", None, None, (ERASED,))
        return Incoming(envelope, row["message_id"], b"", document)
    try:
        document = documents.describe(registry.platforms()[platform], row["event"], row["raw"], row["content_type"])
    except UnreadableError:  # an older release read it: what is left is its type, its key and its bytes
        document = Document(batch.document.reading, b"", None, None)
    if document.reading.key != key:  # it was recognised by an alias
        reading = msgspec.structs.replace(document.reading, key=key)
        document = msgspec.structs.replace(document, reading=reading)
    return Incoming(envelope, row["message_id"], row["raw"], document)
