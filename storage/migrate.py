"""Numbered SQL files, each applied once, in order, in a transaction of its own, by one process at a time."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from storage import maintenance

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x63_72_6F_73_73  # "cross": the advisory lock that starting processes queue up on

_LEDGER = """
CREATE SCHEMA IF NOT EXISTS crossdock;
CREATE TABLE IF NOT EXISTS crossdock.migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now()
);
"""


class MigrationError(Exception):
    """The database holds something else than these migrations made; the text says what to do."""


def files() -> list[tuple[str, str]]:
    """Name and text of every migration, in order."""
    return [(file.stem, file.read_text(encoding="utf-8")) for file in sorted(_FOLDER.glob("*.sql"))]


async def migrate(url: str) -> list[str]:
    """Applies what is missing and returns its names; makes the next months' partitions.

    Safe by several processes at once. Raises MigrationError, OSError and asyncpg's errors.
    """
    connection = await asyncpg.connect(url, timeout=10, target_session_attrs=SessionAttribute.read_write)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(_LEDGER)
        applied = {
            row["name"]: row["checksum"]
            for row in await connection.fetch("SELECT name, checksum FROM crossdock.migrations")
        }
        fresh = []
        for name, text in files():
            checksum = hashlib.sha256(text.encode()).hexdigest()
            if name in applied:
                if applied[name] != checksum:
                    raise MigrationError(f"migration {name} was applied with other contents: restore the file it had")
                continue
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute(
                    "INSERT INTO crossdock.migrations (name, checksum) VALUES ($1, $2)", name, checksum
                )
            fresh.append(name)
        await maintenance.make_partitions(connection, datetime.now(UTC))
        return fresh
    finally:
        await connection.close()


async def pending(url: str) -> list[str]:
    """Names of migrations that `migrate` would apply. Changes nothing."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        if not await connection.fetchval("SELECT to_regclass('crossdock.migrations') IS NOT NULL"):
            return [name for name, _ in files()]
        applied = {row["name"] for row in await connection.fetch("SELECT name FROM crossdock.migrations")}
        return [name for name, _ in files() if name not in applied]
    finally:
        await connection.close()
