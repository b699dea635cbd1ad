"""Create indexes on tables in use, without blocking those who write to them.

A migration `NNNN_name.online.sql` holds nothing but statements of the form `CREATE INDEX CONCURRENTLY name ON
crossdock.table …;`. They run one by one, each in transactions of its own. An index that was left unfinished when the
process died is dropped and created again, so the migration may be repeated from its beginning.

PostgreSQL has no such statement for a partitioned table. There, the index is first declared on the table alone, then
created on each partition, and attached. A partition that is added meanwhile gets it by itself.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import asyncpg

from storage.database import Connection
from storage.sql import query

Report = Callable[[str], None]
"""Shows a line of progress to a person."""

_STATEMENT = re.compile(r"CREATE INDEX CONCURRENTLY (\w+) ON crossdock\.(\w+) (.+)", re.DOTALL)


class Index(NamedTuple):
    """An index as it is declared."""

    name: str
    table: str
    definition: str
    """What follows the name of the table."""

    def on(self, partition: str) -> "Index":
        """Return the same index on a partition of its table."""
        return Index(f"{partition}{self.name.removeprefix(self.table)}", partition, self.definition)


def indexes(text: str) -> list[Index]:
    """Return the indexes that a migration creates. Raises ValueError if it holds any other statement."""
    statements = [" ".join(part.split()) for part in re.sub(r"--.*", "", text).split(";")]
    parsed = []
    for statement in filter(None, statements):
        match = _STATEMENT.fullmatch(statement)
        if match is None:
            raise ValueError(f"not CREATE INDEX CONCURRENTLY name ON crossdock.table …: {statement[:60]}")
        parsed.append(Index(*match.groups()))
    return parsed


async def create(connection: Connection, index: Index, report: Report) -> None:
    """Create an index unless it is there already, while its table is written to. Raises asyncpg's errors."""
    partitions = await connection.fetchval(query("online", "partitioned"), f"crossdock.{index.table}")
    if not partitions:
        await _create_concurrently(connection, index, report)
        return
    # IF NOT EXISTS would wait for all who write to the table before it looks.
    if await connection.fetchval(query("online", "is_valid"), f"crossdock.{index.name}") is None:
        await connection.execute(f"CREATE INDEX {index.name} ON ONLY crossdock.{index.table} {index.definition}")
    for row in await connection.fetch(
        query("online", "missing_on"), f"crossdock.{index.table}", f"crossdock.{index.name}"
    ):
        part = index.on(row["name"])
        try:
            await _create_concurrently(connection, part, report)
            await connection.execute(f'ALTER INDEX crossdock.{index.name} ATTACH PARTITION crossdock."{part.name}"')
        except asyncpg.UndefinedTableError:  # retention has dropped the month
            continue


async def create_at_once(connection: Connection, index: Index) -> None:
    """Create an index of an empty table. Raises asyncpg's errors."""
    await connection.execute(f"CREATE INDEX {index.name} ON crossdock.{index.table} {index.definition}")


async def _create_concurrently(connection: Connection, index: Index, report: Report) -> None:
    is_valid = await connection.fetchval(query("online", "is_valid"), f'crossdock."{index.name}"')
    if is_valid:
        return
    async with without_lock_timeout(connection):
        if is_valid is False:  # its creation was interrupted
            await connection.execute(f'DROP INDEX CONCURRENTLY IF EXISTS crossdock."{index.name}"')
        report(f"creating index {index.name}")
        await connection.execute(
            f'CREATE INDEX CONCURRENTLY "{index.name}" ON crossdock."{index.table}" {index.definition}'
        )


@asynccontextmanager
async def without_lock_timeout(connection: Connection) -> AsyncIterator[None]:
    """Wait for locks as long as it takes, in statements behind which no reader or writer waits."""
    before = await connection.fetchval("SELECT current_setting('lock_timeout')")
    await connection.execute("SET lock_timeout = 0")
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(f"SET lock_timeout = '{before}'")
