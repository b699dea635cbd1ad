"""The unusual cases: a document's versions worked out again from all its receipts, and rows changed to match."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.documents import Document
from schemas.envelope import Envelope
from storage.sql import query
from workers.store.prepare import Incoming
from workers.store.rows import Group, Stored, columns, flags, runs_of, version_rows
from workers.store.versions import Receipt, Run

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
Place = tuple[Any, UUID]
"""A receipt's key: received_at and message_id."""


async def rebuild(connection: Connection, groups: Sequence[Group]) -> list[Stored]:
    """Makes the rows of these locked documents what their receipts say. The versions that weren't there before."""
    ids = [group.id for group in groups]
    receipts: dict[int, list[Receipt]] = defaultdict(list)
    content: dict[UUID, list[str]] = {}
    for post in await connection.fetch(query("store", "receipts_of"), ids):
        receipts[post["document_id"]].append(Receipt(post["received_at"], post["message_id"], post["digest"]))
        content[post["message_id"]] = post["flags"]
    there: dict[int, dict[UUID, asyncpg.Record]] = defaultdict(dict)
    for one in await connection.fetch(query("store", "versions_of"), ids):
        there[one["document_id"]][one["id"]] = one
    made: list[tuple[Group, Run, bool]] = []
    gone: list[tuple[Any, ...]] = []
    kept: list[tuple[Any, ...]] = []
    newest: list[tuple[Any, ...]] = []
    for group in groups:
        document = group.messages[0].document
        assert document is not None
        old = there[group.id]
        runs = runs_of(group, receipts[group.id])
        for run in runs:
            row: asyncpg.Record | None = old.pop(run.id) if run.id in old else None
            if row is not None and row["message_id"] == run.first.message_id:
                text = flags(content[run.first.message_id], run, revisable=document.reading.flag_revised)
                place = (run.id, run.first.received_at)
                kept.append((*place, run.version, run.last_received_at, run.times_received, text))
                continue
            if row is not None:
                gone.append((row["id"], row["received_at"]))
            made.append((group, run, row is None))
        gone += [(one["id"], one["received_at"]) for one in old.values()]
        last = runs[-1]
        head = (group.id, last.first.received_at)
        newest.append((*head, last.last_received_at, last.id, last.version, last.times_received))
    for name, rows in (("delete_versions", gone), ("renumber_versions", kept)):
        if rows:
            await connection.execute(query("store", name), *columns(rows))
    stored = await _with_messages(connection, made)
    if stored:
        await connection.execute(query("store", "insert_versions"), *columns(version_rows(stored)))
    await connection.execute(query("store", "newest_versions"), *columns(newest))
    return [fresh for fresh, (_, _, new) in zip(stored, made, strict=True) if new]


async def load(connection: Connection, groups: Sequence[Group], rows: Iterable[asyncpg.Record]) -> list[Stored]:
    """Versions that are there already, with what was received, to be announced again."""
    by_id = {group.id: group for group in groups}
    wanted = []
    for row in rows:
        first = Receipt(row["received_at"], row["message_id"], b"")
        run = Run(row["id"], row["version"], b"", 0, first, row["received_at"], 1, repeated=False)
        wanted.append((by_id[row["document_id"]], run, False))
    return await _with_messages(connection, wanted)


async def _with_messages(connection: Connection, wanted: Sequence[tuple[Group, Run, bool]]) -> list[Stored]:
    """Each version with the message it begins with: from the batch, or from its receipt."""
    found = {message.message_id: message for group, _, _ in wanted for message in group.messages}
    missing = {run.first.message_id: (group, run) for group, run, _ in wanted if run.first.message_id not in found}
    if missing:
        places = [(run.first.received_at, name) for name, (_, run) in missing.items()]
        for row in await connection.fetch(query("store", "receipt_bodies"), *columns(places)):
            found[row["message_id"]] = _message(missing[row["message_id"]][0], row)
    return [Stored(group.id, found[run.first.message_id], run) for group, run, _ in wanted]


def _message(group: Group, row: asyncpg.Record) -> Incoming:
    about = Envelope(
        message_id=str(row["message_id"]),
        platform=group.platform,
        account=group.account,
        event=row["event"],
        received_at=row["received_at"],
        content_type=row["content_type"],
        traceparent=row["traceparent"],
    )
    document = documents.describe(registry.platforms()[group.platform], row["event"], row["raw"])
    return Incoming(about, row["message_id"], row["raw"], _as_stored(document, row["flags"]))


def _as_stored(document: Document, flagged: Sequence[str]) -> Document:
    """As it was when PostgreSQL refused its jsonb, which reading it again doesn't show."""
    if documents.NOT_JSONB in flagged and documents.NOT_JSONB not in document.flags:
        return msgspec.structs.replace(document, body=None, flags=tuple(flagged))
    return document
