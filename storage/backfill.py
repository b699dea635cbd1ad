"""Complete the versions that older releases stored, in small pieces, while the pipeline runs.

Each version gets the platform, the account and the type of its document, and loses its body where that is the receipt's
bytes as JSON (migration 0151). What is complete shows in the rows themselves, so the work continues where it stopped
when the process dies. Space that bodies leave is used by the versions that follow; what past months have left over
returns to the system with `VACUUM FULL` of their partition, or when retention drops it.
"""

import asyncio
import time

import asyncpg

from storage.database import Connection
from storage.online import Report, without_lock_timeout
from storage.sql import query

PIECE_SECONDS = 0.02
"""Aimed duration of one piece: rows of a piece are locked for as long, and commits wait for the disk behind it."""
FIRST_PIECE = 16
"""Pages of the first piece; the following ones are as large as PIECE_SECONDS allows."""
MAX_PIECE = 512
REST = 2.0
"""Pause after each piece, as a share of its duration, so that the pipeline has its share of the database."""
VACUUM_SHARE = 10
"""A partition is vacuumed after each of so many parts, so that it does not grow."""
MIN_VACUUM_PAGES = 2048
MAX_PASSES = 20
"""Number of passes over a partition; each leaves only what was locked or stored meanwhile."""


class IncompleteError(Exception):
    """Versions without platform, account and type are still being stored; the text says what to do."""


async def complete(connection: Connection, report: Report) -> None:
    """Complete the versions of all partitions. Raises IncompleteError, and asyncpg's errors.

    It may be repeated, and reads every row once where nothing is left to do.
    """
    changed = False
    for row in await connection.fetch(query("backfill", "partitions")):
        try:
            changed = await _complete(connection, row["name"], report) or changed
        except asyncpg.UndefinedTableError:  # retention has dropped the month
            continue
    if changed:
        async with without_lock_timeout(connection):
            await connection.execute("ANALYZE crossdock.versions")


async def _complete(connection: Connection, partition: str, report: Report) -> bool:
    """Complete one partition; return whether anything was missing."""
    for number in range(MAX_PASSES):
        if not await connection.fetchval(_on(partition, "is_incomplete")):
            return number > 0
        await asyncio.sleep(number * 0.1)  # what was locked is free soon
        await _pass(connection, partition, report)
    raise IncompleteError(
        f"versions of an older release are still being stored in {partition}: stop its workers, and run "
        "`crossdock migrate --post` again"
    )


async def _pass(connection: Connection, partition: str, report: Report) -> None:
    """Go once through the pages that a partition has now."""
    sizes = {row["name"]: row["pages"] for row in await connection.fetch(query("backfill", "partitions"))}
    pages, size, begin, vacuumed, shown = sizes.get(partition, 0), FIRST_PIECE, 0, 0, -1
    statement = _on(partition, "piece")
    while begin < pages:
        end = min(begin + size, pages)
        started = time.monotonic()
        await connection.execute(statement, f"({begin},0)", f"({end},0)")
        elapsed = time.monotonic() - started
        size = max(1, min(MAX_PIECE, 2 * size, int(size * PIECE_SECONDS / max(elapsed, 0.001))))
        begin = end
        if begin - vacuumed >= max(pages // VACUUM_SHARE, MIN_VACUUM_PAGES) or begin == pages:
            await connection.execute(f'VACUUM (SKIP_LOCKED) crossdock."{partition}"')  # unless autovacuum does it now
            vacuumed = begin
        if 100 * begin // pages > shown:
            shown = 100 * begin // pages
            report(f"completing {partition}: {shown} %")
        await asyncio.sleep(elapsed * REST)


def _on(partition: str, name: str) -> str:
    """Return a query for one partition: PostgreSQL would not leave out the others by their names."""
    return query("backfill", name).replace("crossdock.partition", f'crossdock."{partition}"')
