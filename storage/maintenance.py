"""Create the partitions of the coming months and drop those past their retention, without large DELETEs.

Retention works on whole months, by the time when each version was first received. A document whose newest version is
dropped with its month is deleted; if it is received again, it starts at version 1.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg

from storage import activity
from storage.database import Connection
from storage.sql import query

PARENTS = ("identifiers", "versions", "receipts", "finished", "attempts")
"""The partitioned tables; a table that refers to another one comes first."""
STRAYS = (
    "forget_stray_identifiers",
    "forget_stray_receipts",
    "forget_stray_versions",
    "forget_stray_finished",
    "forget_stray_attempts",
)
MONTHS_AHEAD = 2
ROWS_AT_A_TIME = 5000
UNPOLLED = timedelta(days=90)
"""Known orders of an account are deleted after it has not been polled for this long."""
RECORDS_KEPT = timedelta(days=1)
"""Redundant allocation records are kept for this long, because their messages may still be redelivered."""
PARTS = 24
"""Number of parts into which documents are divided to look for redundant records.

Maintenance runs every hour and checks one part, so each document is checked once a day.
"""
LOCK_TIMEOUT = "2s"
"""Maximum time to wait for a table; a waiting statement blocks all later ones, so we try again later."""
PATIENCE = 50
"""Number of checks, 0.1 s apart, for documents that are still being written when they should be deleted."""
IN_USE = (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError)
_LOCK = 0x63_72_6F_73_74
"""Advisory lock for one process at a time; there is nothing left to do for the others."""


async def keep(pool: asyncpg.Pool, *, retention_days: int, now: datetime | None = None) -> list[str]:
    """Create and drop the partitions that are due at `now`; return one line per change or postponement.

    Does nothing while another process does the same. Raises asyncpg's errors.
    """
    now = (now or datetime.now(UTC)).astimezone(UTC)
    async with pool.acquire() as connection, _only_process(connection) as is_alone:
        if not is_alone:
            return []
        oldest = first_of_month(now - timedelta(days=retention_days))
        done = await drop_old(connection, oldest)
        await _delete_all(connection, "forget_idempotent", now)
        await forget_what_only_grows(connection, now, oldest)
        return done + await make_partitions(connection, now, since=oldest)


@asynccontextmanager
async def _only_process(connection: asyncpg.pool.PoolConnectionProxy) -> AsyncIterator[bool]:
    """Take the lock for one process at a time, and yield whether it was free.

    A connection that may still hold it is closed, because its pool would keep the lock.
    """
    try:
        is_locked = await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK)
        try:
            yield is_locked
        finally:
            if is_locked:
                await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    except BaseException:
        connection.terminate()
        raise


def first_of_month(moment: datetime) -> datetime:
    """Return the first instant of the month of `moment`, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def make_partitions(connection: Connection, now: datetime, *, since: datetime | None = None) -> list[str]:
    """Create the partitions of this month and MONTHS_AHEAD more; return one line per change or postponement.

    Also creates those of rows that were stored before their month had a partition. Rows from before `since` are left
    where they are, because they are about to be deleted.
    """
    expected = [first_of_month(now)]
    for _ in range(MONTHS_AHEAD):
        expected.append(first_of_month(expected[-1] + timedelta(days=32)))
    strays = [row["month"] for row in await connection.fetch(query("maintenance", "stray_months"))]
    expected += [month for month in strays if month not in expected and (since is None or month >= since)]
    done: list[str] = []
    # Every store worker looks each hour, and nearly always finds them all.
    for parent, month in await connection.fetch(query("maintenance", "missing_partitions"), PARENTS, expected):
        try:
            async with connection.transaction():
                await _hurry(connection)
                if await connection.fetchval(query("maintenance", "make_partition"), parent, month):
                    done.append(f"made {parent} for {month:%Y-%m}")
        except IN_USE:
            done.append(f"put off: {parent} for {month:%Y-%m} is in use")
    return done


async def drop_old(connection: Connection, before: datetime) -> list[str]:
    """Delete what was received before `before`, the first instant of a month; return one line per change.

    Documents are deleted first, so that none is left without its version; then whole months are dropped; then rows
    outside any month's partition are deleted, a bounded number at a time.
    """
    names: list[str] = []
    for parent in PARENTS:
        names += [row[0] for row in await connection.fetch(query("maintenance", "partitions_before"), parent, before)]
    strays = any(row["month"] < before for row in await connection.fetch(query("maintenance", "stray_months")))
    done: list[str] = []
    if names or strays:
        if not await _forget_documents(connection, before):
            return ["put off: documents that should go are being written"]
        await _delete_all(connection, "forget_shipments", before)
        done += [await _drop(connection, name) for name in names]
        for name in STRAYS:
            await _delete_all(connection, name, before)
        await _delete_all(connection, "forget_outbox", before)
    await _delete_all(connection, "forget_quarantined", before)
    await _delete_all(connection, "forget_moments", before)
    return done


async def forget_what_only_grows(connection: Connection, now: datetime, oldest: datetime) -> None:
    """Delete rows that nothing else removes, a bounded number at a time.

    `oldest`: the start of the retention period.
    """
    await _delete_all(connection, "forget_subscriptions", oldest)
    await _delete_all(connection, "forget_replays", oldest)
    await _delete_all(connection, "forget_polled", now - UNPOLLED)
    await _delete_all(connection, "forget_poll_limits", now - UNPOLLED)
    await _delete_all(connection, "forget_erasures", oldest)
    await _delete_all(connection, "forget_erased_events", oldest)
    await _delete_all(connection, "forget_actions", oldest)
    await _delete_all(connection, "forget_jobs", oldest)
    await activity.forget(connection, now)
    first, last = await connection.fetchval(query("maintenance", "id_range"))
    size = -(-(last + 1 - first) // PARTS)
    if size > 0:
        begin = first + size * (int(now.timestamp() // 3600) % PARTS)
        await forget_repeated_records(connection, range(begin, min(begin + size, last + 1)), now)


async def forget_repeated_records(connection: Connection, documents: range, now: datetime) -> None:
    """Delete allocation records that add nothing to those before and after them."""
    for low in range(documents.start, documents.stop, ROWS_AT_A_TIME):
        high = min(low + ROWS_AT_A_TIME, documents.stop) - 1
        await connection.execute(query("maintenance", "forget_repeated_records"), low, high, now - RECORDS_KEPT)


async def _drop(connection: Connection, name: str) -> str:
    """Drop one table in its own transaction.

    A transaction that dropped several could deadlock with readers, which lock the tables in another order.
    """
    try:
        async with connection.transaction():
            await _hurry(connection)
            await connection.execute(query("maintenance", "drop_partition"), name)
    except IN_USE:
        return f"put off: {name} is in use"
    return f"dropped {name}"


async def _forget_documents(connection: Connection, before: datetime) -> bool:
    """Delete the documents of a period; return False if some could not be deleted."""
    first, last = await connection.fetchval(query("maintenance", "id_range"))
    for low in range(first, last + 1, ROWS_AT_A_TIME):
        window = (low, low + ROWS_AT_A_TIME - 1, before)
        for _ in range(PATIENCE):
            await connection.execute(query("maintenance", "forget_documents"), *window)
            if not await connection.fetchval(query("maintenance", "documents_left"), *window):
                break
            await asyncio.sleep(0.1)
        else:
            return False
    return True


async def _delete_all(connection: Connection, name: str, *before: object) -> None:
    while _count(await connection.execute(query("maintenance", name), *before, ROWS_AT_A_TIME)) == ROWS_AT_A_TIME:
        pass


async def _hurry(connection: Connection) -> None:
    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


def _count(status: str) -> int:
    """Return the row count of a command status: `DELETE 12` -> 12."""
    return int(status.rsplit(" ", 1)[-1])
