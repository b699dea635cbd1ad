"""What we say of jsonb, asked of PostgreSQL itself."""

import asyncpg
import pytest

from schemas import canonical, documents, registry
from tests.support.jsonb import JSONB


async def _taken(database: asyncpg.Connection, raw: bytes) -> bool:
    try:
        await database.fetchval("SELECT $1::text::jsonb", raw.decode())
    except (asyncpg.DataError, asyncpg.StatementTooComplexError):
        return False
    return True


@pytest.mark.parametrize("raw", [raw for raw, takes in JSONB if takes], ids=lambda raw: repr(raw)[:30])
async def test_postgresql_accepts_json_that_is_classified_as_accepted(database: asyncpg.Connection, raw: bytes) -> None:
    assert canonical.form(raw).jsonb
    assert await _taken(database, raw)


async def test_postgresql_rejects_json_that_is_classified_as_rejected(database: asyncpg.Connection) -> None:
    """Where we are stricter than PostgreSQL, it is for others: no reader survives these."""
    stricter = [b"0e999999999999", b"1" * 4301]
    for raw, takes in JSONB:
        if not takes and raw not in stricter and not canonical.form(raw).deep:
            assert not await _taken(database, raw), raw[:40]


async def test_postgresql_accepts_every_example(database: asyncpg.Connection) -> None:
    for platform in registry.platforms().values():
        for event in platform.events:
            for example in event.examples:
                document = documents.describe(platform, event.name, registry.example(platform.name, example))
                assert document.body is not None
                assert await _taken(database, document.body.encode())
