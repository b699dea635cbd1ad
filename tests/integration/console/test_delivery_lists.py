"""What lists of deliveries and subscriptions read, and that no row is lost between their pages."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from storage import delivery_lists, replays, subscription_lists
from storage.deliveries import Selection
from tests.conftest import Databases
from tests.support.ledger import ENDED, deliver
from tests.support.receiver import subscribe
from tests.support.storing import START


@pytest.mark.parametrize("status", ["pending", "failed", "delivered", None])
@pytest.mark.parametrize("of_subscription", [False, True])
async def test_no_delivery_is_lost_between_pages_of_equal_times(
    database: asyncpg.Connection, status: Any, of_subscription: bool
) -> None:
    subscription = await subscribe(database, "https://a.example/hook")
    await database.execute(
        """INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, created_at, received_at, event_id,
        message_id, document_id, type, key, version)
        SELECT gen_random_uuid(), $1, $2, $2, $2, gen_random_uuid(), gen_random_uuid(), 1, 't', 'k', 1
        FROM generate_series(1, 230)""",
        subscription,
        START,
    )
    await database.execute(
        """INSERT INTO crossdock.finished (id, subscription_id, created_at, received_at, event_id, message_id,
        document_id, type, key, version, attempts, status, finished_at)
        SELECT gen_random_uuid(), $1, $2::timestamptz, $2, gen_random_uuid(), gen_random_uuid(), 1, 't', 'k', 1, 1,
               CASE n % 2 WHEN 0 THEN 'failed' ELSE 'delivered' END, $2::timestamptz + n * interval '9 days'
        FROM generate_series(1, 230) n""",
        subscription,
        START,
    )
    expected = {
        row["id"]
        for row in await database.fetch(
            "SELECT id FROM crossdock.deliveries WHERE $1::text IS NULL OR status = $1", status
        )
    }
    selection = Selection(status=status, subscription=subscription if of_subscription else None)
    seen: list[UUID] = []
    before = None
    for _ in range(100):
        page = await delivery_lists.select(database, selection, before=before, limit=51, examined=60)
        rows = page.rows[:50]
        seen += [row.row["id"] for row in rows]
        before = (rows[-1].row["created_at"], rows[-1].row["id"]) if len(page.rows) > 50 else page.examined_to
        if before is None:
            break
        await deliver(database, subscription, 1, status=status or "failed", minutes=1)  # newer than the whole list
    assert len(seen) == len(set(seen))
    assert set(seen) == expected


@pytest_asyncio.fixture(scope="module")
async def filled(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A database with deliveries of every status, most of them delivered."""
    url = await databases.take()
    connection = await asyncpg.connect(url)
    subscriptions = [await subscribe(connection, f"https://{n}.example/") for n in range(4)]
    stored = [
        row["id"]
        for row in await connection.fetch(
            """INSERT INTO crossdock.documents (platform, account, type, key, version_id, received_at,
            last_received_at, version, times_received, digest)
            SELECT 'channelape', 'rothys', 'channelape.receipt_confirmation', 'R-' || n, gen_random_uuid(), $1, $1, 1,
                   1, ''
            FROM generate_series(1, 3000) n
            RETURNING id""",
            START,
        )
    ]
    await connection.execute(
        """INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, created_at, received_at, event_id,
        message_id, document_id, type, key, version)
        SELECT gen_random_uuid(), ($1::uuid[])[1 + n % 4], t, t, t, gen_random_uuid(), gen_random_uuid(),
               ($2::bigint[])[1 + n % 3000], 'channelape.receipt_confirmation', 'R-' || n, 1
        FROM generate_series(1, 20000) n, LATERAL (SELECT now() - n * interval '1 second' AS t) moment""",
        subscriptions,
        stored,
    )
    await connection.execute(
        """INSERT INTO crossdock.finished (id, subscription_id, created_at, received_at, event_id, message_id,
        document_id, type, key, version, attempts, status, finished_at)
        SELECT gen_random_uuid(), ($1::uuid[])[1 + n % 4], t, t, gen_random_uuid(), gen_random_uuid(),
               ($2::bigint[])[1 + n % 3000], 'channelape.receipt_confirmation', 'R-' || n, 1, 1,
               CASE WHEN n % 10 < 7 THEN 'delivered' ELSE ($3::text[])[1 + (n / 40) % 4] END, t
        FROM generate_series(1, 20000) n, LATERAL (SELECT now() - n * interval '3 seconds' AS t) moment""",
        subscriptions,
        stored,
        list(ENDED),
    )
    await connection.execute(
        """INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, response)
        SELECT id, finished_at, 1, 500, 1, 'refused', 'down' FROM crossdock.finished"""
    )
    for table in ("outbox", "finished", "attempts", "documents", "subscribed"):
        await connection.execute(f"ANALYZE crossdock.{table}")
    yield connection
    await connection.close()
    databases.give_back(url)


async def large_tables(database: asyncpg.Connection) -> set[str]:
    rows = await database.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind = 'r' "
        "AND reltuples >= 500"
    )
    names = {row["relname"] for row in rows}
    assert {name.partition("_")[0] for name in names} >= {"outbox", "finished", "attempts", "documents"}
    return names


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


class Explaining:
    """A connection that explains each statement before it executes it."""

    def __init__(self, connection: asyncpg.Connection, large: set[str]) -> None:
        self.connection = connection
        self.large = large
        self.plans: list[tuple[str, dict[str, Any]]] = []

    async def _explain(self, sql: str, *parameters: Any) -> None:
        text = await self.connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *parameters)
        self.plans.append((sql, json.loads(text)[0]["Plan"]))

    async def fetch(self, sql: str, *parameters: Any) -> Any:
        await self._explain(sql, *parameters)
        return await self.connection.fetch(sql, *parameters)

    async def fetchrow(self, sql: str, *parameters: Any) -> Any:
        await self._explain(sql, *parameters)
        return await self.connection.fetchrow(sql, *parameters)

    def check(self, what: object) -> None:
        """Fail if a large table was read as a whole, or more of any than a page needs."""
        for sql, plan in self.plans:
            for node in nodes(plan):
                if node["Node Type"] == "Seq Scan":
                    assert node["Relation Name"] not in self.large, (what, sql)
                assert node["Actual Rows"] < 2600, (what, node, sql)
            assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 3000, (what, sql)
        assert len(self.plans) <= 3


async def test_no_list_reads_a_table(filled: asyncpg.Connection) -> None:
    subscription = await filled.fetchval("SELECT id FROM crossdock.subscribed LIMIT 1")
    chance = random.Random(1)
    large = await large_tables(filled)
    for status in (None, "pending", *ENDED):
        for of in (None, subscription):
            for more in (
                {},
                {"type": "channelape.receipt_confirmation"},
                {"key": f"R-{chance.randrange(5000)}"},
                {"account": "channelape/rothys", "until": datetime.now(UTC) - timedelta(minutes=10)},
                {"since": datetime.now(UTC) - timedelta(hours=1)},
            ):
                explaining = Explaining(filled, large)
                selection = Selection(status=status, subscription=of, **more)  # type: ignore[arg-type]
                listed = await delivery_lists.select(explaining, selection, limit=51, examined=200)  # type: ignore[arg-type]
                explaining.check(selection)
                if not more:
                    assert len(listed.rows) == 51, selection


async def test_the_page_of_a_delivery_reads_no_table(filled: asyncpg.Connection) -> None:
    id_ = await filled.fetchval("SELECT id FROM crossdock.finished WHERE status = 'failed' LIMIT 1")
    explaining = Explaining(filled, await large_tables(filled))
    assert await delivery_lists.get(explaining, id_)  # type: ignore[arg-type]
    assert await delivery_lists.newest_attempts(explaining, id_)  # type: ignore[arg-type]
    explaining.check("get")
    explaining.plans.clear()
    await delivery_lists.content(explaining, id_, 1000)  # type: ignore[arg-type]
    explaining.check("content")


async def test_the_pages_of_subscriptions_read_no_table(filled: asyncpg.Connection) -> None:
    explaining = Explaining(filled, await large_tables(filled))
    listed = await subscription_lists.overview(explaining, limit=51)  # type: ignore[arg-type]
    assert {row.backlog.waiting for row in listed} == {subscription_lists.MOST_COUNTED + 1}
    assert {len(row.backlog.outcomes) for row in listed} == {subscription_lists.OUTCOMES}
    explaining.check("overview")
    explaining.plans.clear()
    first = await subscription_lists.backlog(explaining, listed[0].settings.id)  # type: ignore[arg-type]
    assert first.outcomes == listed[0].backlog.outcomes
    await replays.listing(explaining, listed[0].settings.id, 20)  # type: ignore[arg-type]
    await subscription_lists.names(explaining, 200)  # type: ignore[arg-type]
    explaining.check("one")
