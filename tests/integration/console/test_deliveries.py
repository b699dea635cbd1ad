"""The list of deliveries and the page of one, and what their queries read."""

import json
import random
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import pytest_asyncio

from storage import delivery_lists, replays, subscription_lists
from storage.deliveries import Selection
from tests.conftest import Databases
from tests.support.console import READ, console
from tests.support.receiver import subscribe
from tests.support.storing import START

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>\u202e'
ENDED = ("delivered", "failed", "cancelled", "superseded")


async def document(database: asyncpg.Connection, key: str, account: str = "rothys") -> int:
    """Store a document without versions, and return its id."""
    id_: int = await database.fetchval(
        """INSERT INTO crossdock.documents (platform, account, type, key, version_id, received_at,
        last_received_at, version, times_received, digest)
        VALUES ('channelape', $1, 'channelape.receipt_confirmation', $2, gen_random_uuid(), $3, $3, 1, 1, '')
        RETURNING id""",
        account,
        key,
        START,
    )
    return id_


async def deliver(
    database: asyncpg.Connection,
    subscription: UUID,
    document_id: int,
    *,
    status: str = "pending",
    key: str = "R-1",
    minutes: float = 0.0,
    took: float = 5.0,
    attempts: int = 0,
    type_: str = "channelape.receipt_confirmation",
) -> UUID:
    """Store a delivery that was created `minutes` after START, and ended `took` minutes later."""
    id_ = uuid4()
    created = START + timedelta(minutes=minutes)
    common = (id_, subscription, created, created, uuid4(), uuid4(), document_id, attempts, type_, key)
    if status == "pending":
        await database.execute(
            """INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, created_at, received_at, event_id,
            message_id, document_id, attempts, type, key, version)
            VALUES ($1, $2, now() + interval '12 minutes', $3, $4, $5, $6, $7, $8, $9, $10, 1)""",
            *common,
        )
    else:
        await database.execute(
            """INSERT INTO crossdock.finished (id, subscription_id, created_at, received_at, event_id, message_id,
            document_id, attempts, type, key, version, status, finished_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11, $12)""",
            *common,
            status,
            created + timedelta(minutes=took),
        )
    return id_


async def attempt(database: asyncpg.Connection, delivery: UUID, number: int, **fields: Any) -> None:
    values = {"outcome": "refused", "status_code": 500, "error": None, "response": b"down for repairs", **fields}
    await database.execute(
        """INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, error, response)
        VALUES ($1, $2, $3, $4, 12.5, $5, $6, $7)""",
        delivery,
        START + timedelta(minutes=number),
        number,
        values["status_code"],
        values["outcome"],
        values["error"],
        values["response"],
    )


def ids(html: str) -> list[str]:
    """Return the deliveries that a list links to, in its order."""
    return re.findall(r'class="clip" href="/console/deliveries/([0-9a-f-]{36})"', html)


async def test_the_list_shows_each_status_with_its_newest_error(
    database: asyncpg.Connection, database_url: str
) -> None:
    first = await subscribe(database, "https://a.example/hook?key=hidden-value")
    other = await subscribe(database, "https://b.example/hook")
    stored = await document(database, "R-1")
    acme = await document(database, "R-2", "acme")
    by_status = {
        status: await deliver(database, first, stored, status=status, minutes=n, attempts=2)
        for n, status in enumerate(("pending", *ENDED))
    }
    foreign = await deliver(database, other, acme, status="failed", key="R-2", minutes=30)
    await attempt(database, by_status["failed"], 1, error="connection refused", status_code=None, outcome="connection")
    await attempt(database, by_status["failed"], 2)
    async with console(database_url) as client:
        page = await client.get("/console/deliveries")
        assert ids(page.html) == [str(foreign), *[str(id_) for id_ in reversed(by_status.values())]]
        assert "hidden-value" not in page.html
        assert "refused with status 500: down for repairs" in page.text
        assert "connection refused" not in page.text
        for status, id_ in by_status.items():
            page = await client.get(f"/console/deliveries?status={status}&subscription={first}")
            assert ids(page.html) == [str(id_)], status
            assert 'name="all" value="1"' in page.html
        for filters in (
            f"subscription={other}",
            "account=channelape/acme",
            "key=%20R-2 ",
            "status=failed&since=2026-11-10T12:30",
        ):
            assert ids((await client.get(f"/console/deliveries?{filters}")).html) == [str(foreign)], filters
        # It was created before the time and ended after it.
        page = await client.get("/console/deliveries?status=failed&until=2026-11-10T12:34")
        assert ids(page.html) == [str(by_status["failed"])]
        empty = await client.get("/console/deliveries?status=failed&key=unknown")
        assert "No delivery matches these filters" in empty.text
        assert (await client.get("/console/deliveries?status=none")).status == 400
        assert (await client.get("/console/deliveries?after=nonsense")).status == 400
    async with console(database_url, who=READ) as client:
        page = await client.get("/console/deliveries?status=failed")
        assert "checkbox" not in page.html
        assert "Send" not in page.text


async def test_an_empty_list_says_how_deliveries_come_about(database_url: str) -> None:
    async with console(database_url) as client:
        assert "Nothing was delivered yet" in (await client.get("/console/deliveries")).text
        assert (await client.get(f"/console/deliveries/{uuid4()}")).status == 404
        assert (await client.get("/console/deliveries/none")).status == 404


async def test_one_delivery_shows_its_attempts_and_no_secret(database: asyncpg.Connection, database_url: str) -> None:
    """What a subscriber answers is shown as text, however it looks."""
    subscription = await subscribe(
        database, "https://a.example/hook?key=hidden-value", authorization="Basic aGlkZGVu", subscriber="boards"
    )
    stored = await document(database, HOSTILE)
    waiting = await deliver(database, subscription, stored, key=HOSTILE, attempts=2, type_=HOSTILE)
    await attempt(database, waiting, 1, response=HOSTILE.encode() + b"\xff\xfe", error=HOSTILE)
    await attempt(database, waiting, 2, response=b"x" * 10_000)
    await database.execute(
        "UPDATE crossdock.subscribed SET paused_until = now() + interval '1 hour' WHERE id = $1", subscription
    )
    superseded = await deliver(database, subscription, stored, status="superseded", minutes=1)
    async with console(database_url) as client:
        page = await client.get(f"/console/deliveries/{waiting}")
        assert page.status == 200
        for text in (page.html, (await client.get("/console/deliveries")).html):
            assert "<script>alert" not in text
            assert "<img" not in text
            assert "hidden-value" not in text
            assert "aGlkZGVu" not in text
        assert HOSTILE + "\ufffd\ufffd" in page.text.replace("  ", " ")
        assert "x" * 4096 in page.html
        assert "x" * 4097 not in page.html
        assert "its first 4,096 of 10,000 bytes" in page.text
        assert "asked for a pause" in page.text
        assert page.text.index("1. refused") < page.text.index("2. refused")
        assert "The event is older than what is kept" in page.text
        page = await client.get(f"/console/deliveries/{superseded}")
        assert "A newer version of the same document was stored" in page.text
        await database.execute("UPDATE crossdock.subscribed SET deleted_at = now() WHERE id = $1", subscription)
        page = await client.get(f"/console/deliveries/{superseded}")
        assert "It cannot be sent again: its subscription has been deleted" in page.text


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


async def test_a_page_examines_a_bounded_number_and_says_how_far_back(
    database: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_lists.select, "__kwdefaults__", {"before": None, "examined": 3})
    subscription = await subscribe(database, "https://a.example/hook")
    stored = await document(database, "R-1")
    acme = await document(database, "R-2", "acme")
    old = await deliver(database, subscription, acme, status="failed", key="R-2", minutes=0)
    for minute in range(1, 4):
        await deliver(database, subscription, stored, status="failed", minutes=minute)
    async with console(database_url) as client:
        page = await client.get("/console/deliveries?status=failed&account=channelape/acme")
        assert ids(page.html) == []
        assert "looked back to deliveries created 2026-11-10 12:01:00" in page.text
        following = re.search(r'rel="next" href="([^"]+)"', page.html)
        assert following is not None
        page = await client.get(following[1].replace("&amp;", "&"))
        assert ids(page.html) == [str(old)]


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
