"""Fills the database with many deliveries of one stored event, and reads the forms of the console."""

import re
from html import unescape
from uuid import UUID

import asyncpg

from tests.support.delivering import receipt, store
from tests.support.pipeline import until

FAILED = """
INSERT INTO crossdock.finished (id, subscription_id, finished_at, created_at, received_at, event_id, message_id,
    document_id, version, attempts, type, key, status)
SELECT gen_random_uuid(), $1, now(), now() - make_interval(secs => $2 - n % 7), v.received_at, v.id, v.message_id,
    v.document_id, v.version, 3, $3, 'R' || n, $4
FROM generate_series(1, $2) AS n, (SELECT * FROM crossdock.versions LIMIT 1) AS v
RETURNING id
"""
"""Several have the same time."""


async def event(pool: asyncpg.Pool) -> None:
    """Store an event that deliveries can be of."""
    await store(pool, receipt("R"))


async def ended(
    database: asyncpg.Connection, subscription: UUID, count: int, *, type_: str, status: str = "failed"
) -> set[UUID]:
    """Make deliveries of the stored event that have ended, and return their ids."""
    return {row["id"] for row in await database.fetch(FAILED, subscription, count, type_, status)}


async def pending(database: asyncpg.Connection) -> set[UUID]:
    """Return the ids of the deliveries that wait."""
    return {row["id"] for row in await database.fetch("SELECT id FROM crossdock.outbox")}


async def finished(database: asyncpg.Connection) -> asyncpg.Record:
    """Wait until the only job is finished, and return it."""

    async def row() -> asyncpg.Record | None:
        return await database.fetchrow("SELECT * FROM crossdock.jobs WHERE finished_at IS NOT NULL")

    record: asyncpg.Record = await until(row, what="the end of the job")
    return record


def hidden(html: str) -> list[tuple[str, str]]:
    """Return the hidden fields of the form in a page that asks for confirmation."""
    pairs = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', html)
    return [(unescape(name), unescape(value)) for name, value in pairs]
