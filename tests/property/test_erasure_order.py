"""Whatever comes before, during and after an erasure: what was erased stays so, and nothing else changes."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import erasure
from storage import pool as pools
from storage.erasure import Selection
from tests.property.test_store_order import DELIVERIES
from tests.support.erasing import transfer
from tests.support.storing import rows
from workers.store import isolate
from workers.store.prepare import Incoming
from workers.store.versions import derive_versions, receipt

TABLES = "documents, receipts, versions, erased_contents, erasing, erasures, erased_events"
KEY = "STO1"

post = st.tuples(st.integers(0, 2), st.integers(0, 9))
"""Content, and when it was received, in seconds."""


def message(number: int, content: int, seconds: int) -> Incoming:
    return transfer(KEY, seconds=seconds, number=number, name=f"Name{content}")


def facts(events: list[dict[str, Any]]) -> dict[UUID, tuple[int, datetime, int]]:
    return {row["id"]: (row["version"], row["received_at"], row["times_received"]) for row in events}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """An erasure takes several transactions."""
    monkeypatch.setattr(erasure, "PIECE", 2)


@settings(DELIVERIES, max_examples=10)
@given(
    before=st.lists(post, min_size=1, max_size=6),
    during=st.lists(post, max_size=3),
    after=st.lists(post, max_size=6),
    again=st.booleans(),
)
async def test_erased_contents_stay_erased_and_versions_match_the_receipts(
    database_url: str,
    before: list[tuple[int, int]],
    during: list[tuple[int, int]],
    after: list[tuple[int, int]],
    again: bool,
) -> None:
    posts = [message(number, *drawn) for number, drawn in enumerate([*before, *during, *after], 1)]
    first, rest = posts[: len(before)], posts[len(before) :]
    pool = await pools.create_pool(database_url, size=3)
    try:
        await pool.execute(f"TRUNCATE {', '.join('crossdock.' + name for name in TABLES.split(', '))}")
        await isolate.write_isolating(pool, first)
        async with pool.acquire() as connection:
            id_ = await erasure.start(connection, Selection(platform="channelape", account="acme", key=KEY))
            writes = (isolate.write_isolating(pool, [post]) for post in rest[: len(during)])
            await asyncio.gather(erasure.run(connection, id_), *writes)
        contents = await pool.fetch("SELECT digest FROM crossdock.erased_contents")
        await isolate.write_isolating(pool, rest[len(during) :] + (posts if again else []))
        await _check(pool, posts, {row["digest"] for row in contents})
        assert {receipt(post).digest for post in first} <= {row["digest"] for row in contents}
        assert await pool.fetch("SELECT FROM crossdock.erasing") == []
    finally:
        await pool.close()


async def _check(pool: asyncpg.Pool, posts: list[Incoming], erased: set[bytes]) -> None:
    """Versions are what they would be without an erasure; whatever has an erased digest has no content."""
    document = ("channelape", "acme", "channelape.stock_transfer_order", KEY)
    derived = derive_versions(document, [receipt(post) for post in posts], None)
    expected = {version.id: (version.number, version.first.received_at, version.times_received) for version in derived}
    assert facts(await rows(pool, "events")) == expected
    for table in ("receipts", "versions"):
        # The body of a version is stored, or made from the bytes by the view.
        body = "(SELECT e.body FROM crossdock.events e WHERE e.id = versions.id)"
        content = "raw <> ''" if table == "receipts" else f"(body IS NOT NULL OR {body} IS NOT NULL)"
        for row in await pool.fetch(
            f"SELECT digest, 'erased' = ANY (flags) AS is_erased, {content} AS has_content FROM crossdock.{table}"  # noqa: S608
        ):
            assert (row["is_erased"], row["has_content"]) == (row["digest"] in erased, row["digest"] not in erased)
    newest = max(derived, key=lambda version: version.number)
    assert await pool.fetchval("SELECT erased FROM crossdock.documents") == (newest.digest in erased)
