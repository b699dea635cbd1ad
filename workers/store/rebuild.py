"""Late posts: a document's versions are derived again from where the earliest late post falls, and its rows follow.

Nothing before that moment can change, so a document with a long history is not read from its beginning.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Record

from schemas import documents
from storage import tables
from storage.database import Connection
from storage.privacy import ERASED
from storage.sql import query
from workers.store import stored, versions
from workers.store.ids import version_id
from workers.store.prepare import Incoming
from workers.store.rows import (
    VERSION_COLUMNS,
    Row,
    columns,
    execute,
    newest_version_row,
    position_of,
    version_of,
    version_row,
)
from workers.store.versions import DocumentBatch, Receipt, StoredVersion, Version, flags, receipt


class History(msgspec.Struct):
    """What is stored of a document, from where its late posts fall."""

    batch: DocumentBatch
    start: Record | None = None
    """The version that the earliest late post falls into or follows; None: the post was received before all of them."""
    rows: dict[UUID, Record] = {}
    """The versions from `start` on, by id."""
    receipts: dict[Receipt, list[str]] = {}
    """The receipts from `start` on, each with the flags of its bytes."""
    occurrences: dict[bytes, int] = {}
    """The number of versions up to `start`, by digest."""

    @property
    def start_at(self) -> datetime | None:
        return None if self.start is None else self.start["received_at"]

    def derive_versions(self) -> list[Version]:
        """Return what the document's versions are from `start` on."""
        rows = list(self.rows.values())
        start = self.start
        if start is None:
            # Version 1 may be gone with its month: the rest keeps its numbers, and nothing is added in front of it.
            oldest = min(rows, key=position_of, default=None)
            start = oldest if oldest is not None and oldest["version"] > 1 else None
        previous = None if start is None else version_of(start)
        receipts = [receipt for receipt in self.receipts if previous is None or receipt > previous.first]
        derived = versions.derive_versions(
            self.batch.id_key,
            receipts,
            self.batch.document.reading.repeat_window,
            previous=previous,
            occurrences=None if previous is None else self._occurrences_before(previous),
        )
        return [self._with_stored_id(version) for version in derived]

    def _occurrences_before(self, previous: Version) -> dict[bytes, int]:
        """Return the number of versions by digest up to `previous`, which is included."""
        counts = dict(self.occurrences)
        for row in self.rows.values():
            counts[row["digest"]] = min(row["occurrence"], counts.get(row["digest"], row["occurrence"]))
        counts[previous.digest] = previous.occurrence + 1
        return counts

    def _with_stored_id(self, version: Version) -> Version:
        """Return the version under the id that it has, if a release stored it that derived ids from the whole key."""
        if version.id in self.rows or self.batch.id_key == self.batch.key:
            return version
        older_id = version_id(self.batch.key, version.digest, version.occurrence)
        return msgspec.structs.replace(version, id=older_id) if older_id in self.rows else version


async def rebuild_late(connection: Connection, batches: Sequence[DocumentBatch]) -> list[StoredVersion]:
    """Make the rows of these locked documents what their receipts require. Return the versions that are new.

    Raises asyncpg's errors.
    """
    if not batches:
        return []
    changes = RowChanges()
    for history in await load_histories(connection, batches):
        changes.add(history, history.derive_versions())
    await changes.apply(connection)
    return await stored.with_messages(connection, changes.new)


class RowChanges:
    """The changes that turn the stored rows of several documents into those of their derived versions."""

    def __init__(self) -> None:
        self.new: list[tuple[DocumentBatch, Version]] = []
        self._inserts: list[StoredVersion] = []
        self._copies: list[Row] = []
        self._moves: list[Row] = []
        self._deletes: list[Row] = []
        self._newest: list[Row] = []
        self._empty: list[int] = []

    def add(self, history: History, derived: Sequence[Version]) -> None:
        """Add the changes of one document, given what its versions are from the start of its history on."""
        batch, obsolete = history.batch, dict(history.rows)
        messages = {receipt(message).digest: message for message in batch.messages}
        sources = {row["digest"]: row for row in history.rows.values()}
        for version in derived:
            row = obsolete.pop(version.id, None)
            if row is not None:
                self._move(history, version, row)
                continue
            self.new.append((batch, version))
            # Equal digests have equal content: that of the batch if it has it, else that of another version.
            message = messages.get(version.digest)
            if message is not None:
                self._insert(history, version, message)
            else:
                self._copy(history, version, sources[version.digest])
        self._deletes += [(row["id"], row["received_at"]) for row in obsolete.values()]
        if derived:
            self._newest.append(newest_version_row(batch.document_id, derived[-1]))
        else:
            self._empty.append(batch.document_id)

    def _insert(self, history: History, version: Version, message: Incoming) -> None:
        """Add a version with the content of a message of the batch."""
        assert message.document is not None
        content_flags = _content_flags(history.receipts.get(version.first, ()), message.document.flags)
        document = msgspec.structs.replace(message.document, flags=content_flags)
        message = msgspec.structs.replace(message, document=document)
        self._inserts.append(StoredVersion(history.batch.document_id, message, version))

    def _copy(self, history: History, version: Version, source: Record) -> None:
        """Add a version with the content of another one."""
        self._copies.append(
            (
                version.id,
                version.first.received_at,
                version.first.message_id,
                version.number,
                version.times_received,
                version.last_received_at,
                version.occurrence,
                _flags(history, version, source),
                source["id"],
                source["received_at"],
            )
        )

    def _move(self, history: History, version: Version, row: Record) -> None:
        """Add the update of a row that is not what its version is."""
        values = (
            version.first.message_id,
            version.number,
            version.times_received,
            version.last_received_at,
            _flags(history, version, row),
        )
        stored_values = (
            row["message_id"],
            row["version"],
            row["times_received"],
            row["last_received_at"],
            ",".join(row["flags"]),
        )
        if values != stored_values:
            self._moves.append((version.id, row["received_at"], version.first.received_at, *values))

    async def apply(self, connection: Connection) -> None:
        """Write the changes. Raises asyncpg's errors.

        Copies come first, while their sources are where they were; the documents' own columns come last, because they
        are copied from versions.
        """
        await execute(connection, "copy_versions", self._copies)
        await execute(connection, "move_versions", self._moves)
        await execute(connection, "delete_versions", self._deletes)
        await tables.copy_flagged(
            connection, "versions", VERSION_COLUMNS, [version_row(version) for version in self._inserts]
        )
        await execute(connection, "newest_versions", self._newest)
        if self._empty:
            await connection.execute(query("store", "delete_documents"), self._empty)


def _flags(history: History, version: Version, source: Record) -> str:
    """Return the flags of a version, joined by commas.

    They are those of the bytes that it begins with.
    """
    content_flags = _content_flags(history.receipts[version.first], source["flags"])
    return ",".join(flags(content_flags, version, revisable=history.batch.document.reading.flag_revised))


def _content_flags(own: Iterable[str], source: Sequence[str]) -> tuple[str, ...]:
    """Return the flags of a version's content.

    `own`: those of the receipt that it begins with. `source`: those of the row or message that the content comes from,
    which alone says whether jsonb accepts it, and whether it was erased.
    """
    return (
        *(flag for flag in own if flag not in _OF_SOURCE),
        *(flag for flag in _OF_SOURCE if flag in source),
    )


_OF_SOURCE = (documents.NOT_JSONB, ERASED)


async def load_histories(connection: Connection, batches: Sequence[DocumentBatch]) -> list[History]:
    """Return what is stored of these documents, from where their late posts fall. Raises asyncpg's errors."""
    histories = {batch.document_id: History(batch, rows={}, receipts={}, occurrences={}) for batch in batches}
    await _find_starts(connection, histories)
    since = columns([(id_, history.start_at) for id_, history in histories.items()])
    for row in await connection.fetch(query("store", "versions_from"), *since):
        history = histories[row["document_id"]]
        if _is_from_start(history, row):
            history.rows[row["id"]] = row
            if history.start is not None and row["id"] == history.start["id"]:
                history.start = row
    for row in await connection.fetch(query("store", "receipts_from"), *since):
        history = histories[row["document_id"]]
        if _is_from_start(history, row):
            history.receipts[Receipt(row["received_at"], row["message_id"], row["digest"])] = row["flags"]
    await _load_occurrences(connection, histories)
    return list(histories.values())


def _is_from_start(history: History, row: Record) -> bool:
    return history.start is None or position_of(row) >= position_of(history.start)


async def _find_starts(connection: Connection, histories: Mapping[int, History]) -> None:
    """Find the version that each document's earliest late post falls into or follows; a merged document has none."""
    earliest = {
        id_: min(receipt(message) for message in history.batch.new_messages or history.batch.messages)
        for id_, history in histories.items()
        if not history.batch.is_merged
    }
    if earliest:
        positions = [(id_, post.received_at, post.message_id) for id_, post in earliest.items()]
        for row in await connection.fetch(query("store", "versions_at"), *columns(positions)):
            histories[row["document_id"]].start = row


async def _load_occurrences(connection: Connection, histories: Mapping[int, History]) -> None:
    """Find out how many versions have had the contents of the new messages, for documents whose history has a start."""
    with_start = {id_: history for id_, history in histories.items() if history.start is not None}
    if with_start:
        digests = {receipt(message).digest for history in with_start.values() for message in history.batch.new_messages}
        for row in await connection.fetch(query("store", "occurrences"), list(with_start), list(digests)):
            histories[row["document_id"]].occurrences[row["digest"]] = row["seen"]
