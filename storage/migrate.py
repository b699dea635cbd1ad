"""Numbered SQL files, each applied once, in order, in a transaction of its own, by one process at a time.

`0009_name.sql` is a `pre` half: it only adds, so that the version before goes on working on what it makes. What takes
something away is a `post` half, `0010_name.post.sql`, numbered after all `pre` halves of its release: it is applied
when no process of the version before runs any more, and at the latest before the next release's `pre` halves.
"""

import asyncio
import hashlib
from datetime import UTC, datetime
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import asyncpg

from storage import maintenance
from storage import pool as pools

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x63_72_6F_73_73  # "cross": the advisory lock that starting processes queue up on

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS crossdock;
CREATE TABLE IF NOT EXISTS crossdock.migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
"""

LOCK_TIMEOUT = 2.0
"""Seconds that a migration waits for a table in use. Everyone who comes after it waits as long, so not for longer …"""
LOCK_ATTEMPTS = 30
"""… but again and again …"""
LOCK_PAUSE = 1.0
"""… with so many seconds in between."""


class MigrationError(Exception):
    """The database holds something else than these migrations made; the text says what to do."""


class Migration(NamedTuple):
    """One file."""

    name: str
    text: str

    @property
    def is_post(self) -> bool:
        return self.name.endswith(".post")

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def files() -> list[Migration]:
    """Every migration, in order."""
    return [Migration(file.stem, file.read_text(encoding="utf-8")) for file in sorted(_FOLDER.glob("*.sql"))]


async def migrate(url: str, *, post: bool = True) -> list[str]:
    """Applies what is missing and returns its names; makes the next months' partitions.

    Without `post`, the `post` halves of the newest release are left for later, unless the database is new. Safe by
    several processes at once. Raises MigrationError, OSError and asyncpg's errors.
    """
    connection = await pools.connect(url, name="crossdock migrate", timeout=10)
    try:
        await _check_encoding(connection)
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        applied = {
            row["name"]: row["checksum"]
            for row in await connection.fetch("SELECT name, checksum FROM crossdock.migrations")
        }
        for one in files():
            if applied.get(one.name, one.checksum) != one.checksum:
                raise MigrationError(f"migration {one.name} was applied with other contents: restore the file it had")
        missing = [one for one in files() if one.name not in applied]
        if applied and not post:
            missing = _without_last_posts(missing)
        for one in missing:
            await _apply(connection, one)
        await maintenance.make_partitions(connection, datetime.now(UTC))
        return [one.name for one in missing]
    finally:
        await connection.close()


async def _check_encoding(connection: asyncpg.Connection) -> None:
    """Names and bodies hold any character: in another encoding, storing would fail message by message."""
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        name = await connection.fetchval("SELECT current_database()")
        raise MigrationError(
            f"database {name} has the encoding {encoding} and must have UTF8: create one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in DATABASE_URL"
        )


def _without_last_posts(missing: list[Migration]) -> list[Migration]:
    """Those that another release's `pre` half comes after belong to a release that everyone has left behind."""
    return list(reversed(list(dropwhile(lambda one: one.is_post, reversed(missing)))))


async def _apply(connection: asyncpg.Connection, one: Migration) -> None:
    await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}s'")
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            async with connection.transaction():
                await connection.execute(one.text)
                await connection.execute(
                    "INSERT INTO crossdock.migrations (name, checksum) VALUES ($1, $2)", one.name, one.checksum
                )
            return
        except asyncpg.LockNotAvailableError:
            if attempt == LOCK_ATTEMPTS:
                raise MigrationError(
                    f"migration {one.name} waits for a table that is in use: end the long transaction that holds it "
                    "(pg_stat_activity shows which) and run `crossdock migrate` again"
                ) from None
        await asyncio.sleep(LOCK_PAUSE)


async def pending(url: str) -> list[str]:
    """Names of migrations that `migrate` would apply. Changes nothing."""
    connection = await pools.connect(url, name="crossdock migrate", timeout=10, writes=False)
    try:
        if not await connection.fetchval("SELECT to_regclass('crossdock.migrations') IS NOT NULL"):
            return [one.name for one in files()]
        applied = {row["name"] for row in await connection.fetch("SELECT name FROM crossdock.migrations")}
        return [one.name for one in files() if one.name not in applied]
    finally:
        await connection.close()
