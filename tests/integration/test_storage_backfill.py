"""What was stored by a release that did not index is indexed while workers run, and after a kill from where it was."""

from typing import Any

import asyncpg
import pytest

from storage import find, identifiers, migrate
from tests.support.storing import at, incoming
from workers.store import backfill, isolate

KEYS = "SELECT document_id, received_at, keys FROM crossdock.identifiers ORDER BY document_id, received_at"


def order(n: int, seconds: float, **more: Any) -> Any:
    package = {"supplier_package": {"supplier_article_number": f"A{n}"}}
    body = {"id": f"I{n}", "supplier_customer_number": f"C{n}", "packages": [package], **more}
    return incoming("apicbase", "purchase_order", body, seconds=seconds, number=int((seconds + 3600) * 1000))


@pytest.fixture
async def stored(pool: asyncpg.Pool, database: asyncpg.Connection) -> list[Any]:
    """25 orders, of which two changed, as a release without identifiers leaves them; the rows that they should have."""
    batch = [order(n, n) for n in range(25)] + [order(3, 100), order(3, 101, status="changed")]
    await isolate.write_isolating(pool, batch)
    await isolate.write_isolating(pool, [order(4, 3.5, status="earlier")])
    rows = [tuple(row) for row in await database.fetch(KEYS)]
    await _as_before_the_migration(database)
    return rows


async def _as_before_the_migration(database: asyncpg.Connection) -> None:
    [migration] = [file for file in migrate.files() if file.name.endswith("_identifiers")]
    await database.execute("DROP TABLE crossdock.identifiers, crossdock.identifier_rounds")
    await database.execute("DROP FUNCTION crossdock.merge_identifiers")
    await database.execute(migration.text)


async def rounds(database: asyncpg.Connection) -> list[bool]:
    finished = await database.fetch("SELECT finished_at FROM crossdock.identifier_rounds ORDER BY round")
    return [row["finished_at"] is not None for row in finished]


async def test_everything_stored_is_indexed_as_if_it_had_been_from_the_start(
    pool: asyncpg.Pool, database: asyncpg.Connection, stored: list[Any]
) -> None:
    assert (await find.find(database, "C7")).documents == []
    assert [match.key for match in (await find.find(database, "I7")).documents] == ["I7"]
    assert (await find.find(database, "I7")).incomplete_before is not None
    pages = 0
    while await backfill.index_page(database, 4) is not None:
        pages += 1
    assert pages == 8
    assert [tuple(row) for row in await database.fetch(KEYS)] == stored
    assert await rounds(database) == [True, False]
    result = await find.find(database, "C7")
    assert ([match.key for match in result.documents], result.incomplete_before) == (["I7"], None)


async def test_the_newest_comes_first_and_a_kill_loses_nothing(
    pool: asyncpg.Pool, database: asyncpg.Connection, stored: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await backfill.index_page(database, 4)
    assert [match.key for match in (await find.find(database, "C20")).documents] == ["I20"]
    assert (await find.find(database, "C10")).documents == []
    before = [tuple(row) for row in await database.fetch(KEYS)]

    insert = identifiers.insert

    async def killed(*arguments: Any) -> None:
        await insert(*arguments)
        raise ConnectionResetError("killed between the rows and the position")

    with monkeypatch.context() as patched:
        patched.setattr(identifiers, "insert", killed)
        with pytest.raises(ConnectionResetError):
            await backfill.index_page(database, 4)
    assert [tuple(row) for row in await database.fetch(KEYS)] == before
    while await backfill.index_page(database, 4) is not None:
        pass
    assert [tuple(row) for row in await database.fetch(KEYS)] == stored


async def test_one_worker_at_a_time_and_new_documents_meanwhile(
    pool: asyncpg.Pool, database: asyncpg.Connection, stored: list[Any]
) -> None:
    async with database.transaction():
        await backfill.index_page(database, 4)
        async with pool.acquire() as other:
            assert await backfill.index_page(other) is None
        await isolate.write_isolating(pool, [order(50, 50), order(3, 102, status="changed again")])
    while await backfill.index_page(database, 4) is not None:
        pass
    rows = [tuple(row) for row in await database.fetch(KEYS)]
    assert len(rows) == len(stored) + 2
    assert set(map(str, stored)) < set(map(str, rows))


async def test_a_second_round_indexes_documents_that_older_workers_stored(
    pool: asyncpg.Pool, database: asyncpg.Connection, stored: list[Any]
) -> None:
    while await backfill.index_page(database) is not None:
        pass
    await isolate.write_isolating(pool, [order(60, 60), order(61, -60)])
    await database.execute("DELETE FROM crossdock.identifiers WHERE received_at IN ($1, $2)", at(60), at(-60))
    assert await backfill.index_page(database) is None
    await database.execute("UPDATE crossdock.identifier_rounds SET due_at = now()")
    while await backfill.index_page(database) is not None:
        pass
    assert await rounds(database) == [True, True]
    assert [tuple(row) for row in await database.fetch(KEYS)][: len(stored)] == stored
    for text in ("C60", "C61"):
        assert len((await find.find(database, text)).documents) == 1


async def test_large_bodies_are_read_a_few_at_a_time(
    pool: asyncpg.Pool, database: asyncpg.Connection, stored: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "PAGE_BYTES", 100)
    pages = 0
    while await backfill.index_page(database) is not None:
        pages += 1
    assert pages > 25
    assert [tuple(row) for row in await database.fetch(KEYS)] == stored


async def test_documents_that_are_no_longer_readable_are_skipped(
    pool: asyncpg.Pool, database: asyncpg.Connection, stored: list[Any]
) -> None:
    await database.execute("UPDATE crossdock.documents SET platform = 'former' WHERE key = 'I5'")
    await database.execute("UPDATE crossdock.receipts SET raw = 'no JSON' WHERE received_at = $1", at(6))
    await database.execute("DELETE FROM crossdock.documents WHERE key = 'I8'")
    while await backfill.index_page(database, 4) is not None:
        pass
    assert len(await database.fetch(KEYS)) == len(stored) - 3


async def test_a_new_database_has_nothing_to_index(database: asyncpg.Connection) -> None:
    assert await rounds(database) == []
    assert await backfill.index_page(database) is None


async def test_a_carton_whose_key_changes_meanwhile_is_indexed(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """What the first copy says is found, although its document was filed under its former key before its turn came."""

    def carton(seconds: float, tracking: str, **fields: str) -> Any:
        body = {"id": "S1", "trackingNumber": tracking, "additionalFields": fields}
        return incoming("channelape", "ship_confirmation", body, seconds=seconds, number=int(seconds) + 1)

    await isolate.write_isolating(pool, [carton(0, "T-1", CartonNumber="7")])
    await _as_before_the_migration(database)
    await isolate.write_isolating(pool, [carton(1, "T-2", CartonNumber="7", Sscc="S")])
    while await backfill.index_page(database, 4) is not None:
        pass
    for text in ("T-1", "T-2", "S1/7"):
        assert [match.key for match in (await find.find(database, text)).documents] == ["S1/S"], text
