"""`DATABASE_URL` that names a primary and its replica: whoever writes finds the one that takes it."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio

from deploy.cli import servers as cli
from storage import migrate
from storage import pool as pools
from tests.faults.replica import Pair

RECOVERING = "SELECT pg_is_in_recovery()"


@pytest_asyncio.fixture
async def pair(servers: Path) -> AsyncIterator[Pair]:
    folder = servers / f"pair-{uuid4().hex[:6]}"
    folder.mkdir()
    pair = Pair(folder)
    try:
        await pair.start()
        yield pair
    finally:
        await pair.stop()


async def _wrote(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By every way in which we connect."""
    monkeypatch.setenv("DATABASE_URL", url)
    await migrate.migrate(url)
    async with cli.database(None) as connection:
        assert not await connection.fetchval(RECOVERING)
    pool = await pools.create_pool(url, size=1)
    try:
        assert not await pool.fetchval(RECOVERING)
    finally:
        await pool.close()


async def test_the_server_that_accepts_writes_is_used(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    url = pair.url(pair.replica, pair.primary)
    connection = await asyncpg.connect(url)
    assert await connection.fetchval(RECOVERING)  # whoever doesn't ask for it gets the first that is named
    await connection.close()
    await _wrote(url, monkeypatch)
    await pair.promote()
    await _wrote(pair.url(pair.primary, pair.replica), monkeypatch)


async def test_a_replica_alone_can_be_read(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", pair.replica.url)
    async with cli.database(None) as connection:
        assert await connection.fetchval(RECOVERING)
