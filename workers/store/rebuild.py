"""Late posts: a document's versions worked out again from where the earliest of them falls, and rows changed to match.

Nothing before that moment can change, so a document with a long history is not read from its beginning.
"""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.documents import Document
from schemas.envelope import Envelope
from schemas.platform import UnreadableError
from storage import tables
from storage.sql import query
from workers.store import versions
from workers.store.prepare import Incoming
from workers.store.rows import (
    REPEAT_SUSPECTED,
    VERSION_COLUMNS,
    DocumentBatch,
    Row,
    StoredVersion,
    columns,
    document_newest,
    flags,
    receipt,
    version_row,
)
from workers.store.versions import Receipt, Version

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Record = asyncpg.Record


class OlderVersions(msgspec.Struct):
    """What is stored of a document, from where its late posts fall."""

    group: DocumentBatch
    start: Record | None = None
    """The version that the earliest late post falls into or behind; none: it was received before all."""
    rows: dict[UUID, Record] = {}
    posts: dict[Receipt, list[str]] = {}
    """Receipts, and the flags of each one's bytes."""
    seen: dict[bytes, int] = {}
    """Versions so far by digest, at the start."""

    def runs(self) -> list[Version]:
        """What its versions are, from the start on."""
        start, known = self.start, list(self.rows.values())
        if start is None:
            # Version 1 may be gone with its month: what is left keeps its numbers, and is not added to in front.
            oldest = min(known, key=_place, default=None)
            start = oldest if oldest is not None and oldest["version"] > 1 else None
        before = None if start is None else _run(start)
        seen = dict(self.seen)
        for row in known:
            seen[row["digest"]] = min(row["occurrence"], seen.get(row["digest"], row["occurrence"]))
        if before is None:
            seen = {}
        else:
            seen[before.digest] = before.occurrence + 1
        window = self.group.document.reading.repeat_window
        after = [post for post in self.posts if before is None or post > before.first]
        found = versions.runs(self.group.origin, after, window, before=before, seen=seen)
        return [self._known(run) for run in found]

    def _known(self, run: Version) -> Version:
        """Under the id that it has, if a release stored it that made ids of the whole key."""
        if run.id in self.rows or self.group.origin == self.group.identity:
            return run
        older = versions.identity(self.group.identity, run.digest, run.occurrence)
        return msgspec.structs.replace(run, id=older) if older in self.rows else run


class Contents(msgspec.Struct, frozen=True):
    """Where a version's content can be had from, by digest."""

    messages: dict[bytes, Incoming]
    rows: dict[bytes, Record]


async def rebuild(connection: Connection, groups: Sequence[DocumentBatch]) -> list[StoredVersion]:
    """Makes the rows of these locked documents what their receipts say. The versions that weren't there before.

    Raises asyncpg's errors.
    """
    written = _Changes()
    for past in await _read(connection, groups):
        runs = past.runs()
        written.compare(past, runs)
    await written.apply(connection)
    return await with_messages(connection, written.made)


class _Changes:
    """What has to be done to the rows."""

    def __init__(self) -> None:
        self.made: list[tuple[DocumentBatch, Version]] = []
        self._inserts: list[StoredVersion] = []
        self._copies: list[Row] = []
        self._moves: list[Row] = []
        self._gone: list[Row] = []
        self._newest: list[Row] = []
        self._empty: list[int] = []

    def compare(self, past: OlderVersions, runs: Sequence[Version]) -> None:
        group, left = past.group, dict(past.rows)
        contents = Contents(
            {receipt(message).digest: message for message in group.messages},
            {row["digest"]: row for row in past.rows.values()},
        )
        for run in runs:
            row = left.pop(run.id, None)
            if row is None:
                self.made.append((group, run))
                self._insert(past, run, contents)
            else:
                self._move(past, run, row)
        self._gone += [(row["id"], row["received_at"]) for row in left.values()]
        if runs:
            self._newest.append(document_newest(group.id, runs[-1]))
        else:
            self._empty.append(group.id)

    def _insert(self, past: OlderVersions, run: Version, contents: Contents) -> None:
        """Equal digests have equal content: the batch's own if it has it, else another version's."""
        message = contents.messages.get(run.digest)
        said = past.posts.get(run.first, ())
        if message is not None and message.document is not None:
            not_jsonb = (documents.NOT_JSONB,) if documents.NOT_JSONB in message.document.flags else ()
            document = msgspec.structs.replace(message.document, flags=(*_degrade(said), *not_jsonb))
            self._inserts.append(StoredVersion(past.group.id, msgspec.structs.replace(message, document=document), run))
            return
        source = contents.rows[run.digest]
        place = (run.first.received_at, run.first.message_id)
        text = ",".join(_flags(past, run, source))
        counts = (run.version, run.times_received, run.last_received_at, run.occurrence)
        self._copies.append((run.id, *place, *counts, text, source["id"], source["received_at"]))

    def _move(self, past: OlderVersions, run: Version, row: Record) -> None:
        text = ",".join(_flags(past, run, row))
        is_ = (run.first.message_id, run.version, run.times_received, run.last_received_at, text)
        was = (row["message_id"], row["version"], row["times_received"], row["last_received_at"])
        if is_ != (*was, ",".join(row["flags"])):
            self._moves.append((run.id, row["received_at"], run.first.received_at, *is_))

    async def apply(self, connection: Connection) -> None:
        """Copies first: they are found where their sources have been. What documents say last: it is looked up."""
        for name, rows in (
            ("copy_versions", self._copies),
            ("move_versions", self._moves),
            ("delete_versions", self._gone),
        ):
            if rows:
                await connection.execute(query("store", name), *columns(rows))
        rows = [version_row(stored) for stored in self._inserts]
        await tables.copy(connection, "versions", VERSION_COLUMNS, rows)
        if self._newest:
            await connection.execute(query("store", "newest_versions"), *columns(self._newest))
        if self._empty:
            await connection.execute(query("store", "delete_documents"), self._empty)


def _flags(past: OlderVersions, run: Version, row: Record) -> list[str]:
    """Those of the bytes it begins with; whether jsonb takes it is the content's, and known from a row that has it."""
    not_jsonb = (documents.NOT_JSONB,) if documents.NOT_JSONB in row["flags"] else ()
    return flags(
        (*_degrade(past.posts[run.first]), *not_jsonb), run, revisable=past.group.document.reading.flag_revised
    )


def _degrade(said: Iterable[str]) -> Iterator[str]:
    return (flag for flag in said if flag != documents.NOT_JSONB)


async def _read(connection: Connection, groups: Sequence[DocumentBatch]) -> list[OlderVersions]:
    pasts = {group.id: OlderVersions(group, rows={}, posts={}, seen={}) for group in groups}
    partly = [group for group in groups if not group.merged]
    earliest = [(group.id, min(receipt(one) for one in group.new or group.messages)) for group in partly]
    places = [(id_, post.received_at, post.message_id) for id_, post in earliest]
    if places:
        for row in await connection.fetch(query("store", "versions_at"), *columns(places)):
            pasts[row["document_id"]].start = row
    since = columns([(id_, past.start and past.start["received_at"]) for id_, past in pasts.items()])
    for row in await connection.fetch(query("store", "versions_from"), *since):
        past = pasts[row["document_id"]]
        if past.start is None or _place(row) >= _place(past.start):
            past.rows[row["id"]] = row
            if past.start is not None and row["id"] == past.start["id"]:
                past.start = row
    for row in await connection.fetch(query("store", "receipts_from"), *since):
        past = pasts[row["document_id"]]
        if past.start is None or _place(row) >= _place(past.start):
            past.posts[Receipt(row["received_at"], row["message_id"], row["digest"])] = row["flags"]
    asked = [group for group in groups if pasts[group.id].start is not None]
    if asked:
        digests = {receipt(message).digest for group in asked for message in group.new}
        rows = await connection.fetch(query("store", "occurrences"), [group.id for group in asked], list(digests))
        for row in rows:
            pasts[row["document_id"]].seen[row["digest"]] = row["seen"]
    return list(pasts.values())


def _place(row: Record) -> tuple[object, UUID]:
    return row["received_at"], row["message_id"]


def _run(row: Record) -> Version:
    """A stored version with its first receipt alone."""
    return Version(
        id=row["id"],
        version=row["version"],
        digest=row["digest"],
        occurrence=row["occurrence"],
        first=Receipt(row["received_at"], row["message_id"], row["digest"]),
        last_received_at=row["received_at"],
        repeated=REPEAT_SUSPECTED in row["flags"],
    )


async def load(connection: Connection, groups: Sequence[DocumentBatch], rows: Iterable[Record]) -> list[StoredVersion]:
    """Versions that are there already, with what was received, to be announced again."""
    by_id = {group.id: group for group in groups}
    wanted = []
    for row in rows:
        first = Receipt(row["received_at"], row["message_id"], b"")
        wanted.append(
            (by_id[row["document_id"]], Version(row["id"], row["version"], b"", 0, first, row["received_at"]))
        )
    return await with_messages(connection, wanted)


async def with_messages(connection: Connection, wanted: Sequence[tuple[DocumentBatch, Version]]) -> list[StoredVersion]:
    """Each version with the message it begins with: from the batch, or from its receipt."""
    found = {message.message_id: message for group, _ in wanted for message in group.messages}
    missing = {run.first.message_id: (group, run) for group, run in wanted if run.first.message_id not in found}
    if missing:
        places = [(run.first.received_at, name) for name, (_, run) in missing.items()]
        for row in await connection.fetch(query("store", "receipt_bodies"), *columns(places)):
            found[row["message_id"]] = _message(missing[row["message_id"]][0], row)
    return [StoredVersion(group.id, found[run.first.message_id], run) for group, run in wanted]


def _message(group: DocumentBatch, row: Record) -> Incoming:
    platform, account, *_ = group.identity
    about = Envelope(
        message_id=str(row["message_id"]),
        platform=platform,
        account=account,
        event=row["event"],
        received_at=row["received_at"],
        content_type=row["content_type"],
        traceparent=row["traceparent"],
    )
    try:
        document = documents.describe(registry.platforms()[platform], row["event"], row["raw"], row["content_type"])
    except UnreadableError:  # an older release read it: what is left is its type, its key and its bytes
        document = Document(group.document.reading, b"", None, None)
    if document.reading.key != group.identity[3]:  # it was recognised by an alias
        reading = msgspec.structs.replace(document.reading, key=group.identity[3])
        document = msgspec.structs.replace(document, reading=reading)
    return Incoming(about, row["message_id"], row["raw"], document)
