"""Tables that nothing else empties: each row has an age, and goes in small pieces. Rows are made old by hand."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from schemas.allocation import ItemAllocation
from storage import maintenance
from tests.support.storing import START, at, incoming
from workers.store import isolate
from workers.store.prepare import Incoming

NOW = START
OLD, YOUNG = NOW - timedelta(days=500), NOW - timedelta(days=100)
SUBSCRIPTION = """
INSERT INTO crossdock.subscribed (
    id, subscriber, created_at, deleted_at, url, types, accounts, dialect, max_in_flight, enabled, sealed
)
VALUES ($1, 'boards', $2, $3, 'https://a.example', '{*}', '{*}', 'standard', 10, $3::timestamptz IS NULL, '')
"""
REPLAY = """
INSERT INTO crossdock.replays (id, subscription_id, created_at, from_at, to_at, types, count, finished_at)
VALUES ($1, $2, $3, $3, $3, '{*}', 1, $4)
"""


async def count(database: asyncpg.Connection, table: str) -> int:
    return int(await database.fetchval(f"SELECT count(*) FROM crossdock.{table}"))  # noqa: S608 - ours


async def test_deleted_subscriptions_and_ended_replays_go_with_their_deliveries(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "ROWS_AT_A_TIME", 2)
    stays, lately = uuid4(), uuid4()
    await database.execute(SUBSCRIPTION, stays, OLD, None)
    await database.execute(SUBSCRIPTION, lately, OLD, YOUNG)
    replays = [uuid4() for _ in range(3)]
    for replay, ended in zip(replays, (YOUNG, None, None), strict=True):
        await database.execute(REPLAY, replay, stays, YOUNG, ended)
    for _ in range(5):
        gone = uuid4()
        await database.execute(SUBSCRIPTION, gone, OLD, OLD)
        await database.execute(REPLAY, uuid4(), gone, OLD, OLD)
        await database.execute(REPLAY, uuid4(), stays, OLD, None)
    await maintenance.keep(pool, retention_days=400, now=NOW)
    assert {row["id"] for row in await database.fetch("SELECT id FROM crossdock.subscribed")} == {stays, lately}
    assert {row["id"] for row in await database.fetch("SELECT id FROM crossdock.replays")} == set(replays)
    await maintenance.keep(pool, retention_days=400, now=NOW + timedelta(days=700))
    assert {row["id"] for row in await database.fetch("SELECT id FROM crossdock.subscribed")} == {stays}
    assert await count(database, "replays") == 0


async def test_filed_answers_go_after_a_day(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "ROWS_AT_A_TIME", 2)
    for n in range(5):
        for hours in (23, 25):
            await database.execute(
                "INSERT INTO crossdock.idempotent (subscriber, name, asked_at, digest) VALUES ('boards', $1, $2, '')",
                f"{n} {hours}",
                NOW - timedelta(hours=hours),
            )
    await maintenance.keep(pool, retention_days=400, now=NOW)
    names = {row["name"] for row in await database.fetch("SELECT name FROM crossdock.idempotent")}
    assert names == {f"{n} 23" for n in range(5)}


async def test_records_of_accounts_no_longer_polled_are_deleted_and_their_cursors_kept(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "ROWS_AT_A_TIME", 2)
    for account, due, leased in (
        ("gone", NOW - timedelta(days=91), None),
        ("polled", NOW - timedelta(days=89), None),
        ("held", NOW - timedelta(days=91), NOW),
    ):
        await database.execute(
            "INSERT INTO crossdock.polls (platform, account, due_at, leased_until) VALUES ('apicbase', $1, $2, $3)",
            account,
            due,
            leased,
        )
        await database.execute(
            "INSERT INTO crossdock.polled (platform, account, key, digest) "
            "SELECT 'apicbase', $1, n::text::bytea, '' FROM generate_series(1, 5) n",
            account,
        )
        await database.execute(
            "INSERT INTO crossdock.poll_limits (client, next_at) VALUES ($1::text::bytea, $2)", account, due
        )
    await maintenance.keep(pool, retention_days=1, now=NOW)
    left = await database.fetch("SELECT account, count(*) FROM crossdock.polled GROUP BY 1")
    assert {row["account"]: row["count"] for row in left} == {"polled": 5, "held": 5}
    assert await count(database, "polls") == 3
    assert await count(database, "poll_limits") == 1


def loaded(number: int, seconds: float, manufacturers: Sequence[str], remark: str = "") -> Incoming:
    """A checkout page that was loaded: the same order again, and where its items went."""
    body = {"Order": {"@OrderId": "7", "Remark": remark, "OrderProducts": {"OrderProduct": [{"@id": "1"}]}}}
    allocations = [ItemAllocation(f"{n}", name, "a rule") for n, name in enumerate(manufacturers)]
    return incoming("ustore", "manufacturer_allocation", body, seconds=seconds, number=number, allocations=allocations)


async def facts(database: asyncpg.Connection) -> list[dict[str, Any]]:
    return [dict(row) for row in await database.fetch("SELECT * FROM crossdock.allocations ORDER BY order_product_id")]


async def test_a_page_that_was_loaded_again_and_again_leaves_its_first_and_its_last_record(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """What holds, since when, and which manufacturers are notified next are the same as without any forgetting."""
    story = [(["2"], ""), *[(["2"], "")] * 8, (["5"], ""), *[(["5"], "")] * 5, (["2"], ""), *[(["2"], "x")] * 4]
    for n, (manufacturers, remark) in enumerate(story):
        await isolate.write_isolating(pool, [loaded(n + 1, n * 10.0, manufacturers, remark)])
    before, records = await facts(database), await count(database, "allocation_records")
    assert records == len(story)
    await maintenance.forget_repeated_records(database, range(1, 2), at(60) + maintenance.RECORDS_KEPT)
    assert await count(database, "allocation_records") == records - 5  # of the first six, one; nothing younger
    late = NOW + timedelta(days=2)
    await maintenance.forget_repeated_records(database, range(1, 2), late)
    kept = await database.fetch("SELECT received_at FROM crossdock.allocation_records ORDER BY 1")
    assert [row["received_at"] for row in kept] == [at(n * 10.0) for n in (0, 8, 9, 14, 15, 16, 19)]
    assert await facts(database) == before
    # The newest is repeated: no manufacturer is notified, and since when stays. Then it changes: one is notified.
    again = await isolate.write_isolating(pool, [loaded(100, 1000.0, ["2"], "x")])
    assert [notice for notice in again.notices if notice.manufacturers] == []
    assert [row["allocated_at"] for row in await facts(database)] == [row["allocated_at"] for row in before]
    changed = await isolate.write_isolating(pool, [loaded(101, 1010.0, ["5"], "x")])
    assert [notice.manufacturers for notice in changed.notices] == [("5",)]


async def test_all_documents_come_by_within_a_day(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    async def note(connection: Any, documents: range, now: Any) -> None:
        seen.extend(documents)

    monkeypatch.setattr(maintenance, "forget_repeated_records", note)
    posts = [incoming("apicbase", "purchase_order", {"id": f"K{n}"}, number=n + 1) for n in range(50)]
    await isolate.write_isolating(pool, posts)
    for hour in range(24):
        await maintenance.keep(pool, retention_days=400, now=NOW + timedelta(hours=hour))
    ids = [row["id"] for row in await database.fetch("SELECT id FROM crossdock.documents ORDER BY 1")]
    assert sorted(seen) == ids
