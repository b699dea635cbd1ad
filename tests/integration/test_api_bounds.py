"""What one subscriber may ask of the API: quotas, turns, and counts that stop, among 200,000 documents."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from ingress.api import app as api_app
from ingress.api import subscriptions as api_subscriptions
from ingress.api.limiter import SubscriberLimiter
from storage import deliveries, replays
from storage.replays import Counted, Scope
from storage.sql import query
from tests.support.api import BOARDS, OPERATOR, OTHER, Client, api, config
from tests.support.delivering import receipt, store
from tests.support.pipeline import until

ROWS = 200_000
BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=20)
FILL = """
INSERT INTO crossdock.documents (
    received_at, last_received_at, version_id, version, times_received, digest, platform, account, type, key
)
SELECT at, at, md5('v' || n)::uuid, 1, 1, '\\x00', 'channelape', CASE WHEN n % 20000 = 7 THEN 'rare' ELSE 'rothys' END,
       CASE WHEN n % 2 = 0 THEN 'channelape.receipt_confirmation' ELSE 'channelape.ship_confirmation' END, 'K' || n
FROM (SELECT n, timestamptz '2026-11-01Z' + n * interval '5 seconds' AS at FROM generate_series(1, $1::int) n) rows;
"""
FILL_VERSIONS = """
INSERT INTO crossdock.versions (
    id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest, flags,
    lines
)
SELECT version_id, id, received_at, received_at, md5('m' || key)::uuid, 1, 1, 0, '\\x00', '{}', '[]'
FROM crossdock.documents;
"""
FILL_RECEIPTS = """
INSERT INTO crossdock.receipts (received_at, message_id, document_id, digest, event, flags, raw)
SELECT received_at, message_id, document_id, digest, 'receipt_confirmation', '{}', '{}' FROM crossdock.versions;
"""
INSERT_SUBSCRIPTION = """
INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed)
VALUES ($1, '', 'https://a.example', '{*}', $2, 'standard', 10, '')
"""
EVERYTHING = Scope(["*"], ["*"], ["*"], None)
RARE = Scope(["*"], ["channelape/rare"], ["*"], None)
MANY = Scope(["channelape.*"], ["channelape/rothys"], ["channelape/*"], None)


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


@pytest_asyncio.fixture
async def full(database: asyncpg.Connection) -> asyncpg.Connection:
    """A database with ROWS documents, versions and receipts."""
    await database.execute("SET synchronous_commit = off")
    await database.execute(FILL, ROWS)
    await database.execute(FILL_VERSIONS)
    await database.execute(FILL_RECEIPTS)
    await database.execute("VACUUM ANALYZE crossdock.documents, crossdock.versions, crossdock.receipts")
    return database


def blocks(node: dict[str, Any]) -> int:
    """Pages that a plan touched, all its parts included."""
    return int(node["Shared Hit Blocks"]) + int(node["Shared Read Blocks"])


def scans(node: dict[str, Any]) -> list[str]:
    """Tables that a plan reads from their beginning."""
    names = [node["Relation Name"]] if node["Node Type"] == "Seq Scan" and node["Plan Rows"] > 1 else []
    return names + [name for part in node.get("Plans", []) for name in scans(part)]


async def explain(database: asyncpg.Connection, name: tuple[str, str], *arguments: Any) -> dict[str, Any]:
    """The plan of a query as it ran, the same one that a prepared statement settles on."""
    await database.execute("SET plan_cache_mode = force_generic_plan")
    async with database.transaction():
        text = await database.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query(*name)}", *arguments)
    plan: dict[str, Any] = json.loads(text)[0]["Plan"]
    return plan


async def test_no_request_reads_a_whole_table(
    full: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No table is read from its beginning, and the answers are right all the same."""
    pages = await full.fetchval("SELECT sum(relpages) FROM pg_class WHERE relname ~ '^(documents|versions_|receipts_)'")
    sources = await replays.find_sources(full, EVERYTHING)
    assert sorted(zip(sources.accounts, sources.types, strict=True)) == [
        ("rare", "channelape.ship_confirmation"),
        ("rothys", "channelape.receipt_confirmation"),
        ("rothys", "channelape.ship_confirmation"),
    ]
    where = (sources.platforms, sources.accounts, sources.types)
    plans = {
        "sources": await explain(full, ("replays", "sources")),
        "documents": await explain(full, ("replays", "count_documents"), *where, replays.FEW_DOCUMENTS + 1),
        "test": await explain(full, ("deliveries", "newest_for_test"), *where, deliveries.NEWEST_DOCUMENTS, 1),
        "key": await explain(full, ("replays", "count_of_key"), *where, BEGIN, END, 10_001, "K77"),
        "piece": await explain(
            full, ("replays", "piece"), *where, BEGIN, END, BEGIN + timedelta(days=1), UUID(int=0), None, 500, 2_000
        ),
        "time": await explain(full, ("replays", "count_by_time"), *where, BEGIN, END, 1_001, 2_000),
    }
    for name, plan in plans.items():
        assert scans(plan) == [], name
        assert blocks(plan) < pages, name
    assert blocks(plans["sources"]) < 100
    assert blocks(plans["documents"]) < 2_000
    assert blocks(plans["key"]) < 100
    # What they answer.
    assert await replays.count(full, MANY, begin=BEGIN, end=END, key=None) == Counted(10_000, False)
    assert await replays.count(full, MANY, begin=END, end=END + timedelta(days=1), key=None) == Counted(0, True)
    minute = {"begin": BEGIN + timedelta(days=1), "end": BEGIN + timedelta(days=1, minutes=1)}
    assert await replays.count(full, MANY, **minute, key=None) == Counted(12, True)
    assert await replays.count(full, RARE, begin=BEGIN, end=END, key=None) == Counted(10, True)
    assert await replays.count(full, EVERYTHING, begin=BEGIN, end=END, key="K77") == Counted(1, True)
    async with api(database_url) as client:
        created = await client.subscribe(accounts=["channelape/rothys"])
        path = f"/v1/subscriptions/{created['id']}"
        since = {"from": "2000-01-01T00:00:00Z"}
        status, answer, _ = await client.ask("POST", f"{path}/replay", {**since, "dry_run": True})
        assert (status, answer) == (200, {"count": 10_000, "at_least": True})
        status, answer, _ = await client.ask("POST", f"{path}/replay", since)
        assert (status, answer["count"], answer["at_least"]) == (202, 10_000, True)
        assert (await client.ask("POST", f"{path}/test"))[0] == 202
    assert await full.fetchval("SELECT key FROM crossdock.outbox") == f"K{ROWS}"
    await _replay_little_among_much(full, monkeypatch)


async def _replay_little_among_much(full: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece looks at a bounded number of receipts; the place where the next one begins moves on all the same."""
    monkeypatch.setattr(replays, "EXAMINED_PER_PIECE", 30_000)
    subscription = uuid4()
    await full.execute(INSERT_SUBSCRIPTION, subscription, ["channelape/rare"])
    replay = await replays.create(full, subscription, types=["*"], begin=BEGIN, end=END, key=None, count=10)
    pieces = 0
    while not await replays.write_piece(full, replay, 500, lambda row: (["*"], None)):
        pieces += 1
    assert pieces == ROWS // 30_000
    assert await replays.progress(full, replay) == (10, 10, 10)
    keys = await full.fetch("SELECT key FROM crossdock.outbox WHERE replay_id = $1 ORDER BY received_at", replay)
    assert [row["key"] for row in keys] == [f"K{n}" for n in range(7, ROWS, 20_000)]


async def test_pieces_of_many_events_leave_none_out(pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "EXAMINED_PER_PIECE", 7)
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(20)), settings=config())
    subscription = uuid4()
    async with pool.acquire() as connection:
        await connection.execute(INSERT_SUBSCRIPTION, subscription, ["*"])
        for limit in (1, 3, 6, 7, 50):
            replay = await replays.create(
                connection, subscription, types=["*"], begin=BEGIN, end=END, key=None, count=20
            )
            while not await replays.write_piece(connection, replay, limit, lambda row: (["*"], None)):
                pass
            assert await replays.progress(connection, replay) == (20, 20, 20), limit


async def test_a_subscriber_has_a_quota_of_subscriptions(database_url: str) -> None:
    base = config()
    settings = msgspec.structs.replace(base, api=msgspec.structs.replace(base.api, max_subscriptions=3))
    async with api(database_url, settings) as client:
        created = await client.subscribe()
        basic = {"webhookType": "new_order", "url": "https://vendor.example/in"}
        assert (await client.ask("POST", "/basic/webhooks", basic))[0] == 200
        # All at once: none slips through between another one's count and its row.
        body = {"url": "https://a.example/"}
        answers = await asyncio.gather(*(client.ask("POST", "/v1/subscriptions", body) for _ in range(8)))
        assert sorted(status for status, _, _ in answers) == [201] + [409] * 7
        (answer, *_) = [answer for status, answer, _ in answers if status == 409]
        assert "You have 3 subscriptions" in answer["detail"]
        assert "delete one" in answer["detail"]
        status, answer, _ = await client.ask("POST", "/basic/webhooks", basic)
        assert status == 409
        assert "delete one" in answer["message"]
        for who in (OTHER, OPERATOR):
            assert (await client.ask("POST", "/v1/subscriptions", body, who=who))[0] == 201
        assert (await client.ask("DELETE", f"/v1/subscriptions/{created['id']}"))[0] == 204
        assert (await client.ask("POST", "/v1/subscriptions", body))[0] == 201


async def test_a_subscriber_has_a_number_of_open_replays(
    client: Client, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_subscriptions, "MAX_OPEN_REPLAYS", 2)
    created = [await client.subscribe(), await client.subscribe()]
    paths = [f"/v1/subscriptions/{subscription['id']}" for subscription in created]
    since = {"from": "2026-01-01T00:00:00Z"}
    for path in paths:
        assert (await client.ask("POST", f"{path}/replay", since))[0] == 202
    status, answer, headers = await client.ask("POST", f"{paths[0]}/replay", since)
    assert (status, headers["Retry-After"]) == (429, "60")
    assert "2 of your replays" in answer["detail"]
    assert (await client.ask("POST", f"{paths[0]}/replay", {**since, "dry_run": True}))[0] == 200
    others = await client.subscribe(who=OTHER)
    assert (await client.ask("POST", f"/v1/subscriptions/{others['id']}/replay", since, who=OTHER))[0] == 202
    assert (await client.ask("DELETE", paths[1]))[0] == 204
    assert (await client.ask("POST", f"{paths[0]}/replay", since))[0] == 202


async def test_expensive_requests_of_one_subscriber_take_nothing_from_others(
    client: Client, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight replays that cannot go on: one of them runs, the rest wait and are refused, and others are served."""
    client.app._expensive_limiter = SubscriberLimiter(limit=1, wait_seconds=0.2)
    monkeypatch.setattr(api_app, "EXPENSIVE_TIMEOUT", 1.0)
    created, others = await client.subscribe(), await client.subscribe(who=OTHER)
    path = f"/v1/subscriptions/{created['id']}/replay"
    async with database.transaction():
        await database.execute("LOCK TABLE crossdock.documents")  # what an endless statement looks like from outside
        stuck = asyncio.gather(*(client.ask("POST", path, {"from": "2026-01-01T00:00:00Z"}) for _ in range(8)))
        await until(lambda: _is_waiting(database))
        assert (await client.ask("GET", "/v1/subscriptions"))[0] == 200
        assert (await client.ask("GET", f"/v1/subscriptions/{others['id']}", who=OTHER))[0] == 200
        answers = await stuck
    assert sorted(status for status, _, _ in answers) == [429] * 7 + [503]
    ((_, answer, headers),) = [answer for answer in answers if answer[0] == 503]
    assert "took too long" in answer["detail"]
    assert headers["Retry-After"]
    assert client.app.problems() == []
    assert (await client.ask("POST", path, {"from": "2026-01-01T00:00:00Z"}))[0] == 202


async def _is_waiting(database: asyncpg.Connection) -> bool:
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    )
    return bool(await database.fetchval(waiting))


async def test_busy_connections_do_not_mean_that_the_database_is_unavailable(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_app, "WAIT", 0.1)
    pool = await client.app._database.pool()
    held = [await pool.acquire() for _ in range(api_app.CONNECTIONS)]
    status, answer, headers = await client.ask("GET", "/v1/subscriptions", who=BOARDS)
    assert (status, "busy" in answer["detail"], headers["Retry-After"]) == (503, True, "5")
    await client.app._watch.check()
    assert client.app.problems() == []
    for connection in held:
        await pool.release(connection)
    assert (await client.ask("GET", "/v1/subscriptions"))[0] == 200


FILL_FINISHED = """
INSERT INTO crossdock.finished (
    id, subscription_id, finished_at, created_at, received_at, event_id, message_id, document_id, version, attempts,
    type, key, status
)
SELECT md5('d' || n)::uuid, $1, at, at, at, md5('e' || n)::uuid, md5('m' || n)::uuid, n, 1, 1, 't', 'K' || n,
       CASE WHEN n % 40000 = 1 THEN 'failed' ELSE 'delivered' END
FROM (SELECT n, timestamptz '2026-11-01Z' + n * interval '5 seconds' AS at FROM generate_series(1, $2::int) n) rows
"""


async def test_a_page_of_deliveries_is_found_without_reading_the_others(database: asyncpg.Connection) -> None:
    """Whatever it is narrowed by: a list that takes too long is as good as none."""
    many, few = uuid4(), uuid4()
    for subscription in (many, few):
        await database.execute(INSERT_SUBSCRIPTION, subscription, ["*"])
    await database.execute("SET synchronous_commit = off")
    await database.execute(FILL_FINISHED, many, ROWS)
    await database.execute(
        "INSERT INTO crossdock.documents (received_at, last_received_at, version_id, version, times_received, digest, "
        "platform, account, type, key) "
        "SELECT now(), now(), gen_random_uuid(), 1, 1, '', 'p', 'a', 't', 'K' || n FROM generate_series(1, $1::int) n",
        ROWS // 10,
    )
    await database.execute("VACUUM ANALYZE crossdock.finished, crossdock.documents")
    touched = (
        "SELECT sum(idx_tup_fetch + seq_tup_read)::bigint FROM pg_stat_xact_user_tables WHERE schemaname = 'crossdock'"
    )

    async def listed(**narrow: Any) -> tuple[int, int]:
        async with database.transaction():
            before = await database.fetchval(touched)
            rows = await deliveries.listing(database, subscriber="", limit=101, **narrow)
            return len(rows), await database.fetchval(touched) - before

    place = (BEGIN + timedelta(days=3), UUID(int=0))
    for narrow, expected in (
        ({"subscription": many}, 101),
        ({"subscription": many, "before": place}, 101),
        ({"subscription": many, "status": "delivered"}, 101),
        ({"subscription": many, "status": "failed"}, 5),
        ({"subscription": many, "status": "failed", "before": place}, 2),
        ({"subscription": many, "status": "cancelled"}, 0),
        ({"subscription": many, "status": "pending"}, 0),
        ({"subscription": many, "key": "K7"}, 1),
        ({"subscription": many, "key": "K1", "status": "failed"}, 1),
        ({"subscription": many, "key": "nothing"}, 0),
        ({"subscription": few}, 0),
    ):
        for _ in range(7):  # more often than plans are made for each execution
            count, read = await listed(**narrow)
            assert (count, read < 2_000) == (expected, True), (narrow, read)
