"""The kept rows of `crossdock.transfers`: what must be computed, computing it, and counting what is late.

A store transaction notes the documents that it changed, and everything else may happen at any later time: a change is
deleted in the transaction that computes its transfers, from what is stored at that moment.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

from storage.database import Connection
from storage.sql import query

PIECE = 1000
"""Number of changed documents whose transfers are computed in one transaction; a change of more is not divided."""
TIMEOUT = 600.0
"""Maximum seconds for one computation, as in `queries/transfers.sql`."""
PASS_INTERVAL = timedelta(days=1)
"""Time between two passes over all documents.

The first pass fills the table with what was stored before it existed. Later ones repair what changed without a note,
because a worker of an earlier release stored it, or a person changed it.
"""
RETRY_AFTER = timedelta(minutes=5)
"""Time after which a change that could not be computed is tried again."""
_LOCK = 0x63_72_6F_73_75


class Work(NamedTuple):
    """What one transaction has done."""

    documents: int
    """Number of documents whose transfers were computed."""
    changed: int
    """Number of transfers that are different now."""


class LateCount(NamedTuple):
    """The late transfers of one account."""

    account: str
    transfers: int
    longest_seconds: float
    """Seconds since the time by which the goods of the oldest were expected."""


class Progress(NamedTuple):
    """How far the kept rows are behind what is stored."""

    behind_seconds: float
    """Age of the oldest change that is noted and not computed yet; 0 if there is none."""
    filled: float
    """The part of the documents, from 0 to 1, that the pass under way has covered; 1 if none is under way."""


async def note(connection: Connection, document_ids: Sequence[int]) -> None:
    """Note documents whose newest version has changed, in the transaction that changes it. Raises asyncpg's errors."""
    await connection.execute(query("transfers", "note"), document_ids)


async def apply_changes(connection: Connection, limit: int = PIECE) -> Work | None:
    """Compute the transfers of the oldest changes, of about `limit` documents.

    Returns None if there are no changes, or if another process computes transfers. Raises asyncpg's errors, with the
    changes kept.
    """
    if not await connection.fetchval(query("transfers", "has_changes")):
        return None
    async with connection.transaction():
        if not await connection.fetchval(query("transfers", "lock"), _LOCK):
            return None
        document_ids = await connection.fetchval(query("transfers", "take_changes"), limit)
        if not document_ids:
            return None
        await connection.execute(query("transfers", "settings"))
        transfer_ids = await connection.fetchval(query("transfers", "affected"), document_ids, timeout=TIMEOUT)
        return Work(len(document_ids), await _refresh(connection, transfer_ids or []))


async def fill(connection: Connection, limit: int = PIECE) -> Work | None:
    """Compute the transfers of the next `limit` documents of the pass under way.

    The position is stored in the same transaction, so that a pass continues where it was interrupted. Returns None if
    no pass is under way, or if another process computes transfers. Raises asyncpg's errors.
    """
    async with connection.transaction():
        if not await connection.fetchval(query("transfers", "lock"), _LOCK):
            return None
        piece = await connection.fetchrow(query("transfers", "fill_next"), limit)
        if piece is None:
            await connection.execute(query("transfers", "fill_again"), PASS_INTERVAL)
            return None
        await connection.execute(query("transfers", "fill_forget"), piece["first_id"], piece["last_id"])
        if not piece["ids"]:
            await connection.execute(query("transfers", "fill_finish"))
            return None
        await connection.execute(query("transfers", "settings"))
        changed = await _refresh(connection, piece["ids"])
        await connection.execute(query("transfers", "fill_continue"), piece["last_id"] + 1)
        return Work(len(piece["ids"]), changed)


async def _refresh(connection: Connection, ids: Sequence[int]) -> int:
    changed: int = await connection.fetchval(query("transfers", "refresh"), ids, timeout=TIMEOUT)
    return changed


async def postpone(connection: Connection) -> None:
    """Leave the oldest change alone for RETRY_AFTER, because it cannot be computed. Raises asyncpg's errors."""
    await connection.execute(query("transfers", "postpone"), RETRY_AFTER)


async def skip(connection: Connection) -> None:
    """Go past the next document of the pass under way, because it cannot be computed; the next pass tries it again.

    Raises asyncpg's errors.
    """
    async with connection.transaction():
        if not await connection.fetchval(query("transfers", "lock"), _LOCK):
            return
        piece = await connection.fetchrow(query("transfers", "fill_next"), 1)
        if piece is not None and piece["ids"]:
            await connection.execute(query("transfers", "fill_continue"), piece["last_id"] + 1)


async def late(connection: Connection) -> list[LateCount]:
    """Return the number of late transfers of every account that has any. Raises asyncpg's errors."""
    return [LateCount(**row) for row in await connection.fetch(query("transfers", "late"))]


async def progress(connection: Connection) -> Progress:
    """Return how far the kept rows are behind what is stored. Raises asyncpg's errors."""
    row = await connection.fetchrow(query("transfers", "progress"))
    assert row is not None
    return Progress(**row)
