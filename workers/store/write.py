"""Writes a batch in one transaction of nine steps, each of which may be repeated (docs/ARCHITECTURE.md).

Most messages are new documents: a row in `documents`, one in `receipts`, one in `versions`, and no row is touched
twice. Repeats count up in their document, and changes add a version. Only a post that was received before what is
stored already makes the versions of its document be derived again, by the same pure function.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import msgspec

from storage import identifiers, tables
from storage.database import Connection
from storage.sql import query
from workers.store import aliases, allocations, erased, outbox, rebuild, stored, transfers, versions
from workers.store.allocations import ManufacturerNotice
from workers.store.outbox import NO_SUBSCRIBERS, Outbound
from workers.store.prepare import Incoming
from workers.store.rows import (
    RECEIPT_COLUMNS,
    VERSION_COLUMNS,
    Row,
    columns,
    document_row,
    execute,
    identifier_rows,
    key_of,
    newest_version_of,
    newest_version_row,
    quarantine_row,
    receipt_row,
    version_row,
)
from workers.store.versions import DocumentBatch, StoredVersion, Version, receipt

RETRYABLE_ERRORS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""Errors with which PostgreSQL ends one of two transactions in favor of the other; nothing is wrong with either."""
ATTEMPTS = 3


class WriteResult(msgspec.Struct):
    """What was committed, and must be announced."""

    versions: list[StoredVersion]
    """New versions, and those of redelivered messages, which may not have been announced."""
    quarantined: int = 0
    """Number of messages that were quarantined."""
    notices: list[ManufacturerNotice] = []
    deliveries: int = 0
    """Number of deliveries to subscribers that were enqueued."""
    held: set[UUID] = msgspec.field(default_factory=set)
    """Messages that can't be written now, while others can."""

    def __add__(self, other: "WriteResult") -> "WriteResult":
        return WriteResult(
            self.versions + other.versions,
            self.quarantined + other.quarantined,
            self.notices + other.notices,
            self.deliveries + other.deliveries,
            self.held | other.held,
        )


async def write_retrying(pool: asyncpg.Pool, batch: Sequence[Incoming], outbound: Outbound) -> WriteResult:
    """Write a batch on a connection of the pool, again after a collision with another transaction.

    Raises asyncpg's errors.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with pool.acquire() as connection:
                return await write(connection, batch, outbound)
        except RETRYABLE_ERRORS:
            if attempt == ATTEMPTS:
                raise
            batch = mark_possibly_stored(batch)
    raise AssertionError("unreachable: the last attempt returns or raises")


def mark_possibly_stored(batch: Sequence[Incoming]) -> list[Incoming]:
    """Return the messages marked as possibly stored.

    An error at COMMIT does not prove that nothing was committed: the response may be lost with the connection, or come
    from a proxy. The next try must announce what it finds stored.
    """
    return [msgspec.structs.replace(message, may_be_stored=True) for message in batch]


async def write(connection: Connection, batch: Sequence[Incoming], outbound: Outbound = NO_SUBSCRIBERS) -> WriteResult:
    """Write a batch in one transaction. Raises asyncpg's errors, with nothing written."""
    async with connection.transaction():
        # 1. Quarantine the messages that have no document.
        quarantined = await quarantine(connection, batch)
        # 2. Recognise cartons, whose identifiers may lead to another key, and merge documents.
        batch, merged = await aliases.recognise(connection, batch)
        # 3. Lock the documents, and erase the content that was erased before.
        documents = versions.group_by_document(batch, merged)
        if not documents:
            return WriteResult([], quarantined)
        newest = await lock_documents(connection, documents)
        await erased.erase_again(connection, documents)
        # 4. Insert the receipts that are not stored yet.
        await insert_receipts(connection, documents)
        # 5. Add, count or rebuild versions; their identifiers follow after step 6.
        new, to_rebuild = await append_versions(connection, documents, newest)
        new += await rebuild.rebuild_late(connection, to_rebuild)
        # 6. Note the documents whose transfers may have changed.
        await transfers.note_changes(connection, new, to_rebuild)
        await identifiers.insert(connection, identifier_rows(new))
        new = [version for version in new if not erased.is_erased(version.document)]
        # 7. Find what is stored and may not have been announced.
        unannounced = await find_unannounced(connection, documents, new)
        # 8. Record allocations, and determine which manufacturers to notify.
        notices = await allocations.record_allocations(connection, documents)
        notices = [notice for notice in notices if not erased.is_erased(notice.message.document)]
        # 9. Enqueue the deliveries of everything that is new.
        deliveries = await outbox.enqueue_deliveries(connection, new, notices, outbound)
    return WriteResult(new + unannounced, quarantined, notices, deliveries)


async def quarantine(connection: Connection, batch: Sequence[Incoming]) -> int:
    """Insert the messages that have no document into the quarantine; return their number."""
    unreadable = {message.message_id: message for message in batch if message.document is None}
    if unreadable:
        rows = [quarantine_row(unreadable[message_id]) for message_id in sorted(unreadable)]
        await execute(connection, "quarantine", rows)
    return len(unreadable)


async def lock_documents(connection: Connection, documents: Sequence[DocumentBatch]) -> dict[int, Version]:
    """Create or lock every document. Return the newest version of each that existed before, by document id."""
    for document in documents:
        document.versions = document.derive_versions(document.messages)
    created = await connection.fetch(
        query("store", "claim_documents"), [document_row(document) for document in documents]
    )
    by_version = {document.versions[-1].id: document for document in documents}
    for document_id, version_id in created:
        document = by_version[version_id]
        document.document_id, document.is_created = document_id, True
    newest: dict[int, Version] = {}
    if len(created) < len(documents):
        by_key = {document.key: document for document in documents}
        existing = [document.key for document in documents if not document.is_created]
        for row in await connection.fetch(query("store", "read_locked_documents"), *columns(existing)):
            document = by_key[key_of(row)]
            document.document_id, document.has_erased = row["id"], row["has_erased"]
            newest[row["id"]] = newest_version_of(row)
    return newest


async def insert_receipts(connection: Connection, documents: Sequence[DocumentBatch]) -> None:
    """Insert the receipts that are not stored yet, and note their messages as the documents' new ones."""
    messages = [(document.document_id, message) for document in documents for message in document.messages]
    messages.sort(key=lambda entry: (entry[1].envelope.received_at, entry[1].message_id))  # as the table's key grows
    # A document that this batch created had no receipts. A message that was delivered before is looked up all the
    # same, since retention may have dropped its document and not yet its receipt.
    candidates = [
        (message.envelope.received_at, message.message_id)
        for document in documents
        for message in document.messages
        if message.may_be_stored or not document.is_created
    ]
    existing: set[UUID] = set()
    if candidates:
        first, last = min(candidates)[0], max(candidates)[0]
        rows = await connection.fetch(query("store", "existing_receipts"), *columns(candidates), first, last)
        existing = {row["message_id"] for row in rows}
    for document in documents:
        document.new_messages = (
            [message for message in document.messages if message.message_id not in existing]
            if existing
            else document.messages
        )
    receipts = [receipt_row(id_, message) for id_, message in messages if message.message_id not in existing]
    await tables.copy_flagged(connection, "receipts", RECEIPT_COLUMNS, receipts)


async def append_versions(
    connection: Connection, documents: Sequence[DocumentBatch], newest: Mapping[int, Version]
) -> tuple[list[StoredVersion], list[DocumentBatch]]:
    """Write the versions of all documents whose new receipts only continue from what is stored.

    Return the new versions, and the documents that must be rebuilt instead. `newest`: from `lock_documents`.
    """
    new: list[StoredVersion] = []
    to_rebuild: list[DocumentBatch] = []
    to_append: list[DocumentBatch] = []
    for document in documents:
        if document.is_merged:
            to_rebuild.append(document)
        elif document.is_created and len(document.new_messages) == len(document.messages):
            new += document.stored(document.versions)
        elif document.new_messages or document.is_created:
            previous = newest.get(document.document_id)
            receipts = [receipt(message) for message in document.new_messages]
            in_order = previous is not None and versions.is_continuation(previous, receipts)
            (to_append if in_order else to_rebuild).append(document)
    repeat_rows, closed_rows, newest_rows = [], [], []
    occurrences = await count_occurrences(connection, to_append, newest)
    for document in to_append:
        id_ = document.document_id
        last, *changes = document.derive_versions(document.new_messages, newest[id_], occurrences[id_])
        if not changes:
            repeat_rows.append((id_, last.times_received, last.last_received_at))
            continue
        if last.times_received > 1:
            closed_rows.append((last.id, last.first.received_at, last.times_received, last.last_received_at))
        newest_rows.append(newest_version_row(id_, changes[-1]))
        new += document.stored(changes)
    await tables.copy_flagged(connection, "versions", VERSION_COLUMNS, [version_row(version) for version in new])
    await execute(connection, "add_repeats", repeat_rows)
    await execute(connection, "close_versions", closed_rows)
    await execute(connection, "newest_versions", newest_rows)
    return new, to_rebuild


async def count_occurrences(
    connection: Connection, documents: Sequence[DocumentBatch], newest: Mapping[int, Version]
) -> dict[int, dict[bytes, int]]:
    """Return, by document id and digest, how many versions have had the contents of the new messages so far."""
    counts = {document.document_id: {newest[document.document_id].digest: 1} for document in documents}
    changing = [document for document in documents if _may_change(document, newest[document.document_id])]
    if changing:
        digests = {receipt(message).digest for document in changing for message in document.new_messages}
        ids = [document.document_id for document in changing]
        for row in await connection.fetch(query("store", "occurrences"), ids, list(digests)):
            counts[row["document_id"]][row["digest"]] = row["seen"]
    return counts


def _may_change(document: DocumentBatch, newest: Version) -> bool:
    """Return whether earlier versions matter: there are any, and the new messages may be more than repeats.

    Where there is a repeat window, even a repeat may be a new version.
    """
    return newest.number > 1 and (
        document.document.reading.repeat_window is not None
        or any(receipt(message).digest != newest.digest for message in document.new_messages)
    )


async def find_unannounced(
    connection: Connection, documents: Sequence[DocumentBatch], new: Sequence[StoredVersion]
) -> list[StoredVersion]:
    """Return the versions of redelivered messages that are stored, except those in `new`.

    The worker that stored them may have died before it announced them.
    """
    positions: list[Row] = []
    for document in documents:
        new_ids = {message.message_id for message in document.new_messages}
        positions += [
            (document.document_id, message.envelope.received_at, message.message_id)
            for message in document.messages
            if message.may_be_stored and message.message_id not in new_ids
        ]
    if not positions:
        return []
    known = {version.id for version in new}
    rows = {
        row["id"]: row for row in await connection.fetch(query("store", "versions_to_reannounce"), *columns(positions))
    }
    return await stored.load(connection, documents, [row for id_, row in rows.items() if id_ not in known])
