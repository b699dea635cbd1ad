"""Partitions: next months' made ahead, those past their retention dropped. Never a huge DELETE."""

from datetime import UTC, datetime, timedelta

import asyncpg

from storage.sql import query

PARENTS = ("receipts", "versions")
MONTHS_AHEAD = 2
DOCUMENTS_AT_A_TIME = 1000
_LOCK = 0x63_72_6F_73_74
"""One process at a time; the others have nothing to add."""


async def keep(pool: asyncpg.Pool, *, retention_days: int, now: datetime | None = None) -> list[str]:
    """Makes and drops what is due at `now`; what was done, a line each. Raises asyncpg's errors."""
    now = now or datetime.now(UTC)
    async with pool.acquire() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return []
        try:
            done = await _make(connection, now)
            return done + await _drop(connection, now - timedelta(days=retention_days))
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)


async def _make(connection: asyncpg.pool.PoolConnectionProxy, now: datetime) -> list[str]:
    done: list[str] = []
    month = now.replace(day=1)
    for _ in range(MONTHS_AHEAD + 1):
        done += [
            f"made {parent} for {month:%Y-%m}"
            for parent in PARENTS
            if await connection.fetchval(query("maintenance", "make_partition"), parent, month)
        ]
        month = (month + timedelta(days=32)).replace(day=1)
    return done


async def _drop(connection: asyncpg.pool.PoolConnectionProxy, before: datetime) -> list[str]:
    done = []
    for parent in PARENTS:
        for row in await connection.fetch(query("maintenance", "partitions_before"), parent, before):
            await connection.execute(f'DROP TABLE crossdock."{row[0]}"')
            done.append(f"dropped {row[0]}")
    month = before.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    await connection.execute(query("maintenance", "drop_documents"), month, DOCUMENTS_AT_A_TIME)
    return done
