"""Writes a batch in one transaction: one multi-row statement a table, everything repeatable.

Most messages are new documents: a row in `documents`, one in `receipts`, one in `versions`, and no row is touched
twice. Repeats count up their document, changes add a version. Only a post that was received before what is stored
already makes its document be worked out again, by the same pure function.
"""

from collections.abc import Sequence
from uuid import UUID

import asyncpg
import msgspec

from storage import tables
from storage.sql import query
from workers.store import aliases, allocations, outbox, rebuild, versions
from workers.store.allocations import ManufacturerNotice
from workers.store.outbox import NOBODY, Outbound
from workers.store.prepare import Incoming
from workers.store.rows import (
    RECEIPT_COLUMNS,
    VERSION_COLUMNS,
    DocumentBatch,
    Row,
    StoredVersion,
    columns,
    document_newest,
    document_row,
    receipt,
    receipt_row,
    version_row,
)
from workers.store.versions import Receipt, Version

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

COLLISIONS = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
"""The database gave one of two transactions way to the other: nothing is wrong with either."""
ATTEMPTS = 3

_NOBODY = UUID(int=0)


class Written(msgspec.Struct):
    """What has been committed and must be announced."""

    versions: list[StoredVersion]
    """New versions, and those that a message delivered again stands for: they may not have been announced."""
    quarantined: int = 0
    told: list[ManufacturerNotice] = []
    """News for manufacturers."""
    deliveries: int = 0
    """Webhooks that were decided with it."""
    held: set[UUID] = msgspec.field(default_factory=set)
    """Messages that can't be written now, while others can."""

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.versions + other.versions,
            self.quarantined + other.quarantined,
            self.told + other.told,
            self.deliveries + other.deliveries,
            self.held | other.held,
        )


async def write_retrying(pool: asyncpg.Pool, batch: Sequence[Incoming], outbound: Outbound) -> Written:
    """`write` on a connection of the pool, again after a collision with another transaction.

    Raises asyncpg's errors.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            async with pool.acquire() as connection:
                return await write(connection, batch, outbound)
        except COLLISIONS:
            if attempt == ATTEMPTS:
                raise
            batch = repeated(batch)
    raise AssertionError


def repeated(batch: Sequence[Incoming]) -> list[Incoming]:
    """Return the messages as ones that may have been stored before.

    An error at COMMIT does not prove that nothing was committed: the answer may be lost with the connection, or come
    from a proxy. The next try must announce what it finds stored.
    """
    return [msgspec.structs.replace(message, again=True) for message in batch]


async def write(connection: Connection, batch: Sequence[Incoming], outbound: Outbound = NOBODY) -> Written:
    """One transaction. Raises asyncpg's errors, with nothing written."""
    bad = {message.message_id: message for message in batch if message.document is None}
    written = Written([], quarantined=len(bad))
    async with connection.transaction():
        if bad:
            rows = [_quarantine_row(bad[name]) for name in sorted(bad)]
            await connection.execute(query("store", "quarantine"), *columns(rows))
        batch, merged = await aliases.recognise(connection, batch)
        groups = _groups(batch)
        if groups:
            for group in groups:
                group.merged = group.identity in merged
            newest = await _lock_documents(connection, groups)
            await _insert_receipts(connection, groups)
            late = await _append_versions(connection, groups, newest, written)
            if late:
                written.versions += await rebuild.rebuild(connection, late)
            new = list(written.versions)
            await _find_unannounced(connection, groups, written)
            written.told = await allocations.record(connection, groups)
            told = [one for one in written.told if one.fresh]
            written.deliveries = await outbox.decide(connection, new, told, outbound)
    return written


def _groups(batch: Sequence[Incoming]) -> list[DocumentBatch]:
    """By document, in the one order that everyone locks them in; a message that comes twice counts once."""
    found: dict[tuple[str, str, str, str], dict[UUID, Incoming]] = {}
    for message in batch:
        if message.document is None:
            continue
        reading, about = message.document.reading, message.envelope
        same = found.setdefault((about.platform, about.account, reading.type, reading.key), {})
        other = same.get(message.message_id)
        if other is not None:
            # The request and the route worker's note on it, or one of them twice: both say what the other does not.
            message = msgspec.structs.replace(
                message, allocations=message.allocations or other.allocations, again=message.again or other.again
            )
        same[message.message_id] = message
    return [DocumentBatch(identity, list(messages.values())) for identity, messages in sorted(found.items())]


async def _lock_documents(connection: Connection, groups: Sequence[DocumentBatch]) -> dict[int, Version]:
    """Makes or locks every document. The newest version of those that were there, by document."""
    for group in groups:
        group.runs = group.follow(group.messages)
    made = await connection.fetch(query("store", "claim_documents"), [document_row(one) for one in groups])
    by_version = {group.runs[-1].id: group for group in groups}
    for id_, version in made:
        group = by_version[version]
        group.id, group.made = id_, True
    newest: dict[int, Version] = {}
    if len(made) < len(groups):
        by_identity = {group.identity: group for group in groups}
        wanted = [group.identity for group in groups if not group.made]
        for row in await connection.fetch(query("store", "claimed_documents"), *columns(wanted)):
            by_identity[_identity(row)].id = row["id"]
            newest[row["id"]] = _newest(row)
    return newest


async def _insert_receipts(connection: Connection, groups: Sequence[DocumentBatch]) -> None:
    """Files every post; those that weren't there before are the groups' new ones."""
    messages = [(group.id, message) for group in groups for message in group.messages]
    messages.sort(key=lambda one: (one[1].envelope.received_at, one[1].message_id))  # as its key grows
    # A document that this batch made had no receipts; what was delivered before is looked for all the same, since
    # retention may have forgotten the document and not yet the receipt.
    asked = [
        (message.envelope.received_at, message.message_id)
        for group in groups
        for message in group.messages
        if message.again or not group.made
    ]
    there: set[UUID] = set()
    if asked:
        between = (min(asked)[0], max(asked)[0])
        filed = await connection.fetch(query("store", "receipts_there"), *columns(asked), *between)
        there = {row["message_id"] for row in filed}
    for group in groups:
        group.new = [one for one in group.messages if one.message_id not in there] if there else group.messages
    rows = [receipt_row(id_, message) for id_, message in messages if message.message_id not in there]
    await tables.copy(connection, "receipts", RECEIPT_COLUMNS, rows)


async def _append_versions(
    connection: Connection, groups: Sequence[DocumentBatch], newest: dict[int, Version], written: Written
) -> list[DocumentBatch]:
    """Everything that doesn't look back: new documents, repeats, changes. Returns the groups that must."""
    made: list[StoredVersion] = []
    late: list[DocumentBatch] = []
    ahead: list[DocumentBatch] = []
    for group in groups:
        if group.merged:
            late.append(group)
        elif group.made and len(group.new) == len(group.messages):
            made += group.stored(group.runs)
        elif group.new or group.made:
            before = newest.get(group.id)
            carries_on = before is not None and versions.follow(before, [receipt(one) for one in group.new])
            (ahead if carries_on else late).append(group)
    seen = await _count_occurrences(connection, [(group, newest[group.id]) for group in ahead])
    again, closed, newer = [], [], []
    for group in ahead:
        before = newest[group.id]
        said, *changes = group.follow(group.new, before, seen=seen.get(group.id))
        if not changes:
            again.append((group.id, said.times_received, said.last_received_at))
            continue
        if said.times_received > 1:
            closed.append((said.id, said.first.received_at, said.times_received, said.last_received_at))
        newer.append(document_newest(group.id, changes[-1]))
        made += group.stored(changes)
    await tables.copy(connection, "versions", VERSION_COLUMNS, [version_row(stored) for stored in made])
    for name, rows in (
        ("count_again", again),
        ("close_versions", closed),
        ("newest_versions", newer),
    ):
        if rows:
            await connection.execute(query("store", name), *columns(rows))
    written.versions += made
    return late


async def _count_occurrences(
    connection: Connection, ahead: Sequence[tuple[DocumentBatch, Version]]
) -> dict[int, dict[bytes, int]]:
    """How many versions each document has had of the contents that come now."""
    found = {group.id: {before.digest: 1} for group, before in ahead}
    asked = [group for group, before in ahead if before.version > 1 and _changes(group, before)]
    if asked:
        digests = {receipt(message).digest for group in asked for message in group.new}
        rows = await connection.fetch(query("store", "occurrences"), [group.id for group in asked], list(digests))
        for row in rows:
            found[row["document_id"]][row["digest"]] = row["seen"]
    return found


def _changes(group: DocumentBatch, before: Version) -> bool:
    """Whether there may be more than repeats; always, where even a repeat may be a new version."""
    return group.document.reading.repeat_window is not None or any(
        receipt(message).digest != before.digest for message in group.new
    )


async def _find_unannounced(connection: Connection, groups: Sequence[DocumentBatch], written: Written) -> None:
    """Messages that come again and are stored: whoever stored them may have died before announcing them."""
    places: list[Row] = []
    for group in groups:
        new = {message.message_id for message in group.new}
        places += [
            (group.id, message.envelope.received_at, message.message_id)
            for message in group.messages
            if message.again and message.message_id not in new
        ]
    if places:
        known = {stored.id for stored in written.versions}
        rows = {row["id"]: row for row in await connection.fetch(query("store", "begun_by"), *columns(places))}
        written.versions += await rebuild.load(connection, groups, [rows[id_] for id_ in rows if id_ not in known])


def _identity(row: asyncpg.Record) -> versions.Document:
    return row["platform"], row["account"], row["type"], row["key"]


def _newest(row: asyncpg.Record) -> Version:
    """A document's newest version, as far as it says; which message began it and how often there were others like it
    isn't asked."""
    return Version(
        id=row["version_id"],
        version=row["version"],
        digest=row["digest"],
        occurrence=0,
        first=Receipt(row["received_at"], _NOBODY, row["digest"]),
        last_received_at=row["last_received_at"],
        times_received=row["times_received"],
    )


def _quarantine_row(message: Incoming) -> Row:
    about = message.envelope
    return (
        message.message_id,
        about.received_at,
        about.platform,
        about.account,
        about.event,
        message.reason,
        about.content_type,
        about.traceparent,
        message.raw,
        message.stage,
        message.attempts,
        message.routing_key,
    )
