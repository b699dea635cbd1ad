"""Writes a batch in one transaction: one multi-row statement a table, everything repeatable.

Most messages are new documents: a row in `documents`, one in `receipts`, one in `versions`, and no row is touched
twice. Repeats count up their document. Whatever is less usual (a change, a late message) is worked out again from the
document's receipts, by the same pure function that the whole of it could be rebuilt with.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
import msgspec

from schemas import documents
from storage.sql import query
from workers.store import allocations, rebuild
from workers.store.allocations import Told
from workers.store.prepare import Incoming
from workers.store.rows import Group, Stored, columns, place_rows, receipt, receipt_rows, runs_of, version_rows

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

BAD_DATA = (
    asyncpg.DataError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.CharacterNotInRepertoireError,
    asyncpg.UntranslatableCharacterError,
    asyncpg.StatementTooComplexError,
)
"""Errors that are about a row; a connection that is away is about none."""


class Written(msgspec.Struct):
    """What has been committed and must be announced."""

    versions: list[Stored]
    """New versions, and those that a message delivered again stands for: they may not have been announced."""
    quarantined: int = 0
    told: list[Told] = []
    """News for manufacturers."""


async def write(connection: Connection, batch: Sequence[Incoming]) -> Written:
    """One transaction. Raises asyncpg's errors, with nothing written."""
    groups = _groups(batch)
    async with connection.transaction():
        bad = [message for message in batch if message.document is None]
        if bad:
            await _quarantine(connection, bad)
        written = Written([], quarantined=len(bad))
        if not groups:
            return written
        before = await _place(connection, groups)
        fresh = await _receipts(connection, groups)
        await _fresh(connection, groups, written)
        await _known(connection, groups, before, fresh, written)
        await _again(connection, groups, fresh, written)
        for group in groups:
            for message in group.messages:
                if message.allocations is not None:
                    told = await allocations.record(connection, message, group.id)
                    written.told += [told] if told else []
    return written


async def write_isolating(pool: asyncpg.Pool, batch: Sequence[Incoming]) -> Written:
    """`write`, with a bad row alone in the end: kept without its jsonb, or else in quarantine; the rest is stored.

    Raises asyncpg's errors that are not about a row.
    """
    try:
        async with pool.acquire() as connection:
            return await write(connection, batch)
    except BAD_DATA as error:
        if len(batch) > 1:
            half = len(batch) // 2
            first = await write_isolating(pool, batch[:half])
            second = await write_isolating(pool, batch[half:])
            return Written(
                first.versions + second.versions,
                first.quarantined + second.quarantined,
                first.told + second.told,
            )
        return await write_isolating(pool, [_less(batch[0], error)])


def _less(message: Incoming, error: Exception) -> Incoming:
    """The same message asking less of the database: no jsonb; then quarantine; then there is nothing left to give."""
    document = message.document
    if document is None:
        raise error
    if document.body is not None:
        poorer = msgspec.structs.replace(document, body=None, flags=(*document.flags, documents.NOT_JSONB))
        return msgspec.structs.replace(message, document=poorer)
    reason = f"the database refuses it: {error}".replace("\0", "\ufffd")[:2000]
    return msgspec.structs.replace(message, document=None, reason=reason)


def _groups(batch: Sequence[Incoming]) -> list[Group]:
    """By document, in the one order that everyone locks them in; a message that comes twice counts once."""
    found: dict[tuple[str, str, str, str], dict[UUID, Incoming]] = {}
    for message in batch:
        if message.document is None:
            continue
        reading, about = message.document.reading, message.envelope
        key = (reading.key, about.account, reading.type, about.platform)
        same = found.setdefault(key, {})
        other = same.get(message.message_id)
        if other is not None:
            # The request and the route worker's note on it, or one of them twice: both say what the other does not.
            message = msgspec.structs.replace(
                message, allocations=message.allocations or other.allocations, again=message.again or other.again
            )
        same[message.message_id] = message
    return [
        Group(platform, account, type_, key, list(found[key, account, type_, platform].values()))
        for key, account, type_, platform in sorted(found)
    ]


async def _quarantine(connection: Connection, bad: Sequence[Incoming]) -> None:
    unique = {message.message_id: message for message in bad}
    rows = [
        (
            name,
            message.envelope.received_at,
            message.envelope.platform,
            message.envelope.account,
            message.envelope.event,
            message.reason,
            message.envelope.content_type,
            message.envelope.traceparent,
            message.raw,
        )
        for name, message in sorted(unique.items())
    ]
    await connection.execute(query("store", "quarantine"), *columns(rows))


async def _place(connection: Connection, groups: list[Group]) -> dict[int, asyncpg.Record]:
    """Makes or locks every document. What the ones that were there said before, by id."""
    newest = [runs_of(group, [receipt(message) for message in group.messages])[-1] for group in groups]
    found = await connection.fetch(query("store", "place_documents"), *columns(place_rows(groups, newest)))
    by_key = {(row["key"], row["account"], row["type"], row["platform"]): row for row in found}
    before: dict[int, asyncpg.Record] = {}
    for group in groups:
        row = by_key[group.key, group.account, group.type, group.platform]
        group.id, group.fresh = row["id"], row["fresh"]
        before[group.id] = row
    return before


async def _receipts(connection: Connection, groups: list[Group]) -> set[UUID]:
    """Files every post. The message ids that weren't there already."""
    rows = await connection.fetch(query("store", "insert_receipts"), *columns(receipt_rows(groups)))
    return {row["message_id"] for row in rows}


async def _fresh(connection: Connection, groups: list[Group], written: Written) -> None:
    """Documents that are new: all there is of them is in this batch."""
    made: list[Stored] = []
    for group in groups:
        if group.fresh:
            by_id = {message.message_id: message for message in group.messages}
            runs = runs_of(group, [receipt(message) for message in group.messages])
            made += [Stored(group.id, by_id[run.first.message_id], run) for run in runs]
    if made:
        await connection.execute(query("store", "insert_versions"), *columns(version_rows(made)))
        written.versions += made


async def _known(
    connection: Connection,
    groups: list[Group],
    before: dict[int, asyncpg.Record],
    fresh: set[UUID],
    written: Written,
) -> None:
    """Documents that were there: counted up, or their versions worked out again."""
    counted: list[tuple[int, int, datetime]] = []
    changed: list[Group] = []
    for group in groups:
        new = [message for message in group.messages if message.message_id in fresh]
        if group.fresh or not new:
            continue
        row = before[group.id]
        if _repeats(row, new, group.window):
            counted.append((group.id, len(new), max(message.envelope.received_at for message in new)))
        else:
            changed.append(group)
    if counted:
        await connection.execute(query("store", "count_again"), *columns(counted))
    if changed:
        written.versions += await rebuild.rebuild(connection, changed)


def _repeats(row: asyncpg.Record, new: Sequence[Incoming], window: float | None) -> bool:
    """Whether these posts only say the newest version again."""
    last = row["last_received_at"]
    for message in sorted(new, key=lambda message: message.envelope.received_at):
        at = message.envelope.received_at
        assert message.document is not None
        if message.document.digest != row["digest"] or at <= row["received_at"]:
            return False
        if window is not None and (at - last).total_seconds() > window:
            return False
        last = max(last, at)
    return True


async def _again(connection: Connection, groups: list[Group], fresh: set[UUID], written: Written) -> None:
    """Messages that come again and are stored: whoever stored them may have died before announcing them."""
    old = [
        (group, message)
        for group in groups
        for message in group.messages
        if message.again and message.message_id not in fresh
    ]
    if not old:
        return
    pairs = [(group.id, message.message_id) for group, message in old]
    rows = await connection.fetch(query("store", "first_of"), *columns(pairs))
    known = {stored.id for stored in written.versions}
    written.versions += await rebuild.load(connection, groups, [row for row in rows if row["id"] not in known])
