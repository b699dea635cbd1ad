"""Numbered SQL migrations, each applied once, in order and in its own transaction, by one process at a time.

`0009_name.sql` is a `pre` half: it only adds, so that the previous release continues to work on the result. Whatever
removes something is a `post` half, `0010_name.post.sql`, numbered after all `pre` halves of its release. It is applied
when no process of the previous release is running any more, and at the latest before the `pre` halves of the next
release. `0011_name.online.sql` is a `pre` half, too: it creates indexes on tables in use (`storage/online.py`).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import asyncpg

from storage import backfill, maintenance, online, roles
from storage import pool as pools

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x63_72_6F_73_73  # "cross": the advisory lock that starting processes queue up on

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS crossdock;
CREATE TABLE IF NOT EXISTS crossdock.migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
"""

_EARLIER = {
    "0021_cartons": "85a2253be873a400e8926a4397e47e2ed4d8e3051c60d0ec1bc2e93e41043d6f",
    "0040_api": "6cbaaedc9b3844dd78a8a4674b89f67cf4b6ec629434dbaf1903d61bda4e5966",
    "0120_transfers": "e9214f287c40483c0d59268d5854f6cc16190ec0a44c1e23da9b0ceb851eb3ba",
    "0160_smaller.post": "2aeaff46c566a82aa74825894d4a56f0054d6ca54aac02699f249193388e636a",
}
"""Checksums of earlier texts of migrations. They had the same result, but took hours where much was stored (0021), or
kept everybody from storing for seconds (0040, 0120)."""
LOCK_TIMEOUT = 2.0
"""Seconds that a migration waits for a table in use; all later statements on that table wait as long."""
LOCK_ATTEMPTS = 30
"""Number of attempts to get the lock."""
LOCK_PAUSE = 1.0
"""Seconds between two attempts."""
TURN_PAUSE = 0.2
"""Seconds between two looks whether another process has finished migrating."""


class MigrationError(Exception):
    """The database differs from what these migrations created; the text states what to do."""


class Migration(NamedTuple):
    """One migration file, by its name without `.sql`."""

    name: str
    text: str

    @property
    def is_post(self) -> bool:
        return self.name.endswith(".post")

    @property
    def is_online(self) -> bool:
        return self.name.endswith(".online")

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def files() -> list[Migration]:
    """Return every migration, in order."""
    return [Migration(file.stem, file.read_text(encoding="utf-8")) for file in sorted(_FOLDER.glob("*.sql"))]


async def migrate(url: str, *, post: bool = True, report: online.Report = lambda line: None) -> list[str]:
    """Apply the missing migrations and return their names; create the partitions of the next months.

    Makes the roles if the user may, and grants what they need. All that it creates belongs to the schema's owner.
    Without `post`, the `post` halves of the newest release are postponed, unless the database is new. Several processes
    may run it at the same time. `report` is called with lines of progress. Raises MigrationError, OSError and asyncpg's
    errors.
    """
    connection = await pools.connect(url, name="crossdock migrate", timeout=10)
    try:
        await _check_encoding(connection)
        await _take_turn(connection)
        await connection.execute(_LEDGER)
        await roles.create_missing(connection)
        await roles.become_owner(connection)
        applied = {
            row["name"]: row["checksum"]
            for row in await connection.fetch("SELECT name, checksum FROM crossdock.migrations")
        }
        for migration in files():
            known = (migration.checksum, _EARLIER.get(migration.name))
            if applied.get(migration.name, migration.checksum) not in known:
                raise MigrationError(
                    f"migration {migration.name} was applied with other contents: restore the file it had"
                )
        missing = [migration for migration in files() if migration.name not in applied]
        if applied and not post:
            missing = _without_last_posts(missing)
        for migration in missing:
            if migration.is_post and applied:
                await roles.grant_missing(connection)  # workers of this release may start before the end
                await _complete(connection, report)
            if migration.is_online and applied:
                await _apply_online(connection, migration, report)
            else:
                await _apply(connection, migration)
        await roles.grant_missing(connection)
        await maintenance.make_partitions(connection, datetime.now(UTC))
        return [migration.name for migration in missing]
    finally:
        await connection.close()


async def _check_encoding(connection: asyncpg.Connection) -> None:
    """Raise MigrationError unless the database encoding is UTF8.

    Names and bodies may contain any character; in another encoding, storing them would fail for individual messages.
    """
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        name = await connection.fetchval("SELECT current_database()")
        raise MigrationError(
            f"database {name} has the encoding {encoding} and must have UTF8: create one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in DATABASE_URL"
        )


def _without_last_posts(missing: list[Migration]) -> list[Migration]:
    """Return the missing migrations without the `post` halves at their end.

    A `post` half that is followed by the `pre` half of a later release stays in the list, because no process of its own
    previous release runs any more.
    """
    return list(reversed(list(dropwhile(lambda migration: migration.is_post, reversed(missing)))))


async def _take_turn(connection: asyncpg.Connection) -> None:
    """Wait until no other process migrates.

    A statement that waited for the lock would hold a snapshot, and creating an index concurrently waits for everyone's
    snapshots: the two would wait for each other.
    """
    while True:
        if await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            return
        await asyncio.sleep(TURN_PAUSE)


async def _apply(connection: asyncpg.Connection, migration: Migration) -> None:
    """Apply a migration in one transaction. Raises MigrationError if a table stays in use."""

    async def run() -> None:
        async with connection.transaction():
            if migration.is_online:  # the database is new, and its tables are empty
                for index in online.indexes(migration.text):
                    await online.create_at_once(connection, index)
            else:
                await connection.execute(migration.text)
            await _record(connection, migration)

    await _retry_on_lock(connection, migration.name, run)


async def _apply_online(connection: asyncpg.Connection, migration: Migration, report: online.Report) -> None:
    """Create the indexes of a migration one by one. Raises MigrationError if a table stays in use."""
    for index in online.indexes(migration.text):

        async def run(index: online.Index = index) -> None:
            await online.create(connection, index, report)

        await _retry_on_lock(connection, migration.name, run)
    await _record(connection, migration)


async def _complete(connection: asyncpg.Connection, report: online.Report) -> None:
    """Complete what older releases stored, which `post` halves rely on. Raises MigrationError if there is no end."""
    try:
        await backfill.complete(connection, report)
    except backfill.IncompleteError as error:
        raise MigrationError(str(error)) from None


async def _record(connection: asyncpg.Connection, migration: Migration) -> None:
    await connection.execute(
        "INSERT INTO crossdock.migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
    )


async def _retry_on_lock(connection: asyncpg.Connection, name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run a step of a migration until it gets its locks, at most LOCK_ATTEMPTS times. Raises MigrationError."""
    await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            await run()
            return
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == LOCK_ATTEMPTS:
                raise MigrationError(
                    f"migration {name} waits for a table that is in use: end the long transaction that "
                    "holds it (pg_stat_activity shows which) and run `crossdock migrate` again"
                ) from None
        await asyncio.sleep(LOCK_PAUSE)


async def pending(url: str) -> list[str]:
    """Return the names of the migrations that `migrate` would apply, without changing anything."""
    connection = await pools.connect(url, name="crossdock migrate", timeout=10, writes=False)
    try:
        if not await connection.fetchval("SELECT to_regclass('crossdock.migrations') IS NOT NULL"):
            return [migration.name for migration in files()]
        applied = {row["name"] for row in await connection.fetch("SELECT name FROM crossdock.migrations")}
        return [migration.name for migration in files() if migration.name not in applied]
    finally:
        await connection.close()
