"""Indexes what was stored before documents could be found by their numbers and articles (`storage.identifiers`).

A job of the store worker and not of `crossdock migrate`: a migration ends before the new version starts, and work that
takes time for each event must not delay that. The job goes through all receipts, the newest first, a few at a time, and
rests in between. Its position is committed together with the rows, so it continues where it was after a kill. One
worker at a time does it. A second round, a day later, indexes what workers of the previous release stored while the
first was under way.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

import asyncpg
import msgspec

from schemas import documents, registry
from schemas.platform import ParsedDocument, UnreadableError
from storage import identifiers
from storage.database import Connection, explain
from storage.sql import query
from workers.store.jobs import Pool
from workers.store.rows import columns, identifier_row

log = logging.getLogger("crossdock.store")

PAGE = 100
"""Receipts per transaction: a few milliseconds, in which the worker's event loop does nothing else."""
PAGE_BYTES = 4 * 1024 * 1024
"""Maximum bytes of their bodies, unless a single body is larger."""
REST = 4.0
"""Pause after each transaction, as a multiple of the time that it took."""
CHECK_INTERVAL = 60.0
"""Seconds between checks whether a round is due."""
RETRY_INTERVAL = 5.0
"""Seconds between tries while the database is unavailable."""
LOG_INTERVAL = 60.0
"""Seconds between lines in the log that say how far it is."""


async def run(pool: Pool) -> None:
    """Index a page at a time, until cancelled."""
    logged_at = 0.0
    while True:
        started = time.monotonic()
        try:
            async with (await pool()).acquire() as connection:
                reached = await index_page(connection)
            pause = CHECK_INTERVAL if reached is None else (time.monotonic() - started) * REST
        except Exception as error:
            log.warning("stored documents could not be indexed", extra={"error": explain(error)})
            reached, pause = None, RETRY_INTERVAL
        if reached is not None and started - logged_at >= LOG_INTERVAL:
            log.info("indexing stored documents", extra={"round": reached["round"], "before": reached["before_at"]})
            logged_at = started
        await asyncio.sleep(pause)


async def index_page(connection: Connection, limit: int = PAGE) -> asyncpg.Record | None:
    """Index the next receipts, at most `limit`, in one transaction, and return the position before them.

    Return None if no round is due, or another worker works on it. Raises asyncpg's errors.
    """
    async with connection.transaction():
        position = await connection.fetchrow(query("identifiers", "next_round"))
        if position is None:
            return None
        before = (position["before_at"], position["before_id"])
        page = _within_bytes(await connection.fetch(query("identifiers", "page"), *before, limit))
        if page:
            await identifiers.insert(connection, await _rows(connection, page))
            last = page[-1]
            await connection.execute(
                query("identifiers", "save_round"), position["round"], last["received_at"], last["message_id"]
            )
        else:
            await connection.execute(query("identifiers", "finish_round"), position["round"])
            log.info("stored documents are indexed", extra={"round": position["round"]})
        return position


def _within_bytes(page: Sequence[asyncpg.Record]) -> Sequence[asyncpg.Record]:
    """Return the first rows of a page, whose bodies have at most PAGE_BYTES together, and at least one row."""
    size = 0
    for index, row in enumerate(page):
        size += row["bytes"] if row["is_missing"] else 0
        if size > PAGE_BYTES and index > 0:
            return page[:index]
    return page


async def _rows(connection: Connection, page: Sequence[asyncpg.Record]) -> list[identifiers.Row]:
    """Return the rows of the versions that are not indexed yet."""
    missing = {row["message_id"]: row for row in page if row["is_missing"]}
    if not missing:
        return []
    positions = columns([(row["received_at"], row["message_id"]) for row in missing.values()])
    rows: list[identifiers.Row] = []
    for receipt in await connection.fetch(query("store", "receipt_bodies"), *positions):
        row = missing[receipt["message_id"]]
        reading = _reading(row, receipt)
        if reading is not None:
            rows.append(identifier_row(row["document_id"], row["received_at"], reading))
    return rows


def _reading(row: asyncpg.Record, receipt: asyncpg.Record) -> ParsedDocument | None:
    """Return what a stored body says, or None if only an earlier release could read it."""
    try:
        platform = registry.platforms()[row["platform"]]
        reading = documents.describe(platform, receipt["event"], receipt["raw"], receipt["content_type"]).reading
    except (KeyError, UnreadableError):
        return None
    if reading.key == row["key"]:
        return reading
    # It was recognised by an alias; its document may have had this copy's key before.
    return msgspec.structs.replace(reading, key=row["key"], numbers=(*reading.numbers, reading.key))
