"""The queries of the pages of transfers and events read indexes and a few rows, whether values are frequent or rare."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from bench import questions
from ingress.database import CHECK
from storage import delivery_lists, receipts, transfer_listing
from storage.database import plan_by_filters
from storage.deliveries import Selection
from storage.sql import query
from tests.conftest import Databases
from tests.integration.console.test_transfers import fill
from tests.integration.test_questions import large_tables, nodes
from tests.support.console import console

DOCUMENTS = 6_000
BLOCKS = 2_500
"""Pages of the database that a list of 50 rows may touch."""
NEWEST = datetime(2026, 11, 10, 12, tzinfo=UTC) + timedelta(seconds=DOCUMENTS / 2)
MIDDLE = NEWEST - timedelta(minutes=20)


@pytest_asyncio.fixture(scope="module")
async def filled(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    url = await databases.take()
    connection = await asyncpg.connect(url)
    await questions.fill(connection, DOCUMENTS)
    await connection.execute(
        "UPDATE crossdock.transfer_states SET state = 'over_received', account = 'acme' WHERE document_id <= 50"
    )
    await connection.execute("VACUUM ANALYZE crossdock.transfer_states")
    yield connection
    await connection.close()
    databases.give_back(url)


async def explain(connection: asyncpg.Connection, sql: str, *values: Any) -> list[dict[str, Any]]:
    """Return the nodes of the plan of a query that is run as the pages run it."""
    async with connection.transaction():
        await plan_by_filters(connection)
        text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *values)
    return list(nodes(json.loads(text)[0]["Plan"]))


async def check(connection: asyncpg.Connection, sql: str, *values: Any, blocks: int = BLOCKS) -> None:
    plan = await explain(connection, sql, *values)
    scans = {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}
    assert not scans & await large_tables(connection), values
    assert plan[0]["Shared Hit Blocks"] + plan[0]["Shared Read Blocks"] < blocks, values


@pytest.mark.parametrize("name", ["late", "others"])
async def test_a_list_of_transfers_reads_no_table(filled: asyncpg.Connection, name: str) -> None:
    sql = query("transfer_listing", name)
    accounts, locations, states = (
        (None, "rothys", "acme", "nobody"),
        (None, "819", "x"),
        (None, "received", "over_received"),
    )
    for account, location, state in product(accounts, locations, states):
        for place in ((None, None), (MIDDLE, 5000)):
            for more in ([] if name == "late" else [False], [] if name == "late" else [True]):
                await check(filled, sql, account, location, state, *place, 51, *more)


async def test_the_transfers_that_disagree_are_read_from_their_index(filled: asyncpg.Connection) -> None:
    await filled.execute("UPDATE crossdock.transfer_states SET flags = '{short}' WHERE document_id % 1000 = 70")
    sql = query("transfer_listing", "disagreements")
    for account, place in product((None, "rothys"), ((None, None), (MIDDLE, 5000))):
        await check(filled, sql, account, None, None, *place, 51, blocks=200)
    plan = await explain(filled, sql, None, None, None, None, None, 51)
    assert "transfer_states_disagreements" in {node.get("Index Name") for node in plan}


async def test_the_rows_of_rare_values_come_from_their_index(filled: asyncpg.Connection) -> None:
    for account, state in (("acme", None), (None, "over_received")):
        plan = await explain(filled, query("transfer_listing", "others"), account, None, state, None, None, 51, False)
        removed = sum(node.get("Rows Removed by Filter", 0) for node in plan)
        assert removed < 20, "the newest transfers of all were looked through"


async def test_numbers_about_transfers_read_no_table(filled: asyncpg.Connection) -> None:
    for account, location in ((None, None), ("acme", None), ("rothys", "819")):
        limits = (transfer_listing.ACCOUNTS, transfer_listing.LATE + 1, transfer_listing.NEWEST)
        await check(filled, query("transfer_listing", "counts"), account, location, *limits)
    rows = await filled.fetch(query("transfer_listing", "counts"), None, None, 200, 1001, 1000)
    assert {row["name"] for row in rows if row["kind"] == "account"} == {"acme", "rothys"}


async def test_one_transfer_reads_its_own_rows(filled: asyncpg.Connection) -> None:
    await check(filled, query("transfer_listing", "get"), None, questions.ORDER, blocks=50)
    await check(filled, query("transfer_listing", "documents"), 70, 200, 200, blocks=300)
    await check(filled, query("progress", "lines"), "rothys", questions.ORDER, 501, blocks=600)
    assert len(await filled.fetch(query("transfer_listing", "documents"), 70, 200, 200)) == 7
    assert len(await filled.fetch(query("progress", "lines"), "rothys", questions.ORDER, 501)) == 1


async def test_a_list_of_receipts_reads_no_table(filled: asyncpg.Connection) -> None:
    sql = query("receipts", "newest")
    for place, span in product(((None, None), (MIDDLE, UUID(int=5))), ((None, None), (None, MIDDLE), (MIDDLE, None))):
        await check(filled, sql, *place, *span, None, None, None, None, 51, 51, blocks=1000)
    for filters in (("channelape", None, None, None), (None, "acme", None, None), (None, None, "x", None)):
        await check(filled, sql, None, None, None, None, *filters, 500, 51, blocks=6000)
        # The whole window is as large as the tables here, and is looked up row by row all the same.
        await check(filled, sql, None, None, None, None, *filters, receipts.WINDOW, 51, blocks=300_000)


async def test_where_a_filter_ended_is_read_from_the_index_alone(filled: asyncpg.Connection) -> None:
    for place in ((None, None), (NEWEST, UUID(int=5))):
        plan = await explain(filled, query("receipts", "looked_back_to"), *place, None, None, 2000)
        assert {node["Node Type"] for node in plan if "Relation Name" in node} == {"Index Only Scan"}
        assert max(node["Actual Rows"] for node in plan) <= 2000
        await check(filled, query("receipts", "looked_back_to"), *place, MIDDLE, None, 2000)
    await check(filled, query("receipts", "senders"), receipts.SENDERS, blocks=200)


async def test_the_newest_failed_deliveries_are_read_without_all_that_ever_failed(filled: asyncpg.Connection) -> None:
    async with filled.transaction():
        await filled.execute("UPDATE crossdock.finished SET status = 'failed'")
        await filled.execute("ANALYZE crossdock.finished")
        subscription = await filled.fetchval("SELECT subscription_id FROM crossdock.finished LIMIT 1")
        for chosen in (Selection(status="failed"), Selection(status="failed", subscription=subscription)):
            recorder = Recorder(filled)
            listed = await delivery_lists.select(recorder, chosen, limit=51)  # type: ignore[arg-type]
            assert len(listed.rows) == 51
            plan = await explain(filled, *recorder.first)
            assert max(node["Actual Rows"] for node in plan) <= 60, chosen


class Recorder:
    """Executes queries, and remembers the first with its parameters."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.first: tuple[Any, ...] = ()

    async def fetch(self, *query_and_values: Any) -> list[asyncpg.Record]:
        self.first = self.first or query_and_values
        rows: list[asyncpg.Record] = await self._connection.fetch(*query_and_values)
        return rows


async def test_a_page_takes_at_most_six_statements(
    database_url: str, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(pool)
    statements: list[str] = []
    for name in ("execute", "fetch", "fetchrow", "fetchval"):
        original = getattr(asyncpg.pool.PoolConnectionProxy, name)

        async def counted(self: Any, sql: str, *values: Any, original: Any = original, **more: Any) -> Any:
            statements.append(sql)
            return await original(self, sql, *values, **more)

        monkeypatch.setattr(asyncpg.pool.PoolConnectionProxy, name, counted)
    async with console(database_url) as client:
        for path in ("transfers?account=acme", "transfers/STO1?account=acme", "events", "events?type=none"):
            await client.get(f"/console/{path}")  # also computes what is cached for all pages
            statements.clear()
            assert (await client.get(f"/console/{path}")).status == 200
            beside = {CHECK, query("jobs", "open")}  # by the tasks that always run
            own = [sql for sql in statements if "SET LOCAL" not in sql and sql not in beside]
            assert 1 <= len(own) <= 6, (path, own)
