"""What an erasure removes, what it leaves, and that a process which dies in the middle of it changes neither."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from storage import deliveries, erasure, maintenance, quarantine, roles
from storage import pool as pools
from storage.erasure import Selection
from tests.support import pipeline
from tests.support.delivering import store
from tests.support.erasing import (
    EMAIL,
    NAME,
    STREET,
    erase,
    print_order,
    traces,
    transfer,
    unreadable_bytes,
)
from tests.support.pipeline import until
from tests.support.receiver import config, subscribe
from tests.support.storing import START, at, everything, incoming, rows, unreadable
from workers.store import isolate
from workers.store.prepare import Incoming

DAY = 86_400.0
REASON = "the content was erased"
MESSAGES: list[Incoming] = [
    print_order("7", seconds=0, number=1),
    print_order("7", seconds=1, number=2),
    print_order("7", seconds=2, number=3, remark="another content"),
    transfer("STO1", seconds=3, number=4),
    transfer("STO1", seconds=4, number=5),
    transfer("STO2", seconds=5, number=6, name="Ann Other"),
]


class KilledError(Exception):
    """The process ends here."""


async def attempted(database: asyncpg.Connection) -> None:
    """An attempt of every delivery, whose answer repeats what was sent, and the end of every second one."""
    waiting = await database.fetch("SELECT id FROM crossdock.outbox ORDER BY payload IS NULL, id")
    for n, row in enumerate(waiting):
        status = "delivered" if n % 2 else "pending"
        await database.execute(
            """WITH attempt AS (
                INSERT INTO crossdock.attempts (delivery_id, at, attempt, duration_ms, outcome, error, response)
                VALUES ($1, now(), 1, 1, 'refused', $2, $3)
            ), gone AS (DELETE FROM crossdock.outbox WHERE id = $1 AND $4 = 'delivered' RETURNING *)
            INSERT INTO crossdock.finished (id, subscription_id, created_at, received_at, event_id, message_id,
                document_id, version, attempts, type, key, status, payload)
            SELECT id, subscription_id, created_at, received_at, event_id, message_id, document_id, version, 1, type,
                key, 'delivered', payload FROM gone""",
            row["id"],
            f"no such person: {NAME}",
            f"hello {NAME} of {STREET}, {EMAIL}".encode(),
            status,
        )


async def fill(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    """Documents of two people, with their deliveries, and what of them is in quarantine."""
    await subscribe(database, "https://a.example", schedule=[0.0, 60.0])
    for message in MESSAGES:
        await store(pool, message)
    await store(
        pool,
        unreadable(unreadable_bytes("X-17"), f"not JSON, as {NAME} sent it", seconds=6, number=7),
    )
    await database.execute("UPDATE crossdock.quarantined SET platform = 'ustore'")
    await attempted(database)


def without(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in names}


async def test_an_erasure_removes_contents_and_keeps_identifiers(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await fill(pool, database)
    before = {view: await rows(pool, view) for view in ("events", "orders", "allocations", "transfer_progress")}
    done = await database.fetch("SELECT FROM crossdock.finished WHERE key = '7'")
    assert set(await traces(database)) == {
        "allocated_items", "allocation_records", "attempts", "documents", "finished", "outbox", "quarantined",
        "receipts", "versions",
    }  # fmt: skip
    ((finished, attempts),) = await database.fetch(
        "SELECT count(*) FILTER (WHERE payload <> ''), "
        "(SELECT count(*) FROM crossdock.attempts JOIN crossdock.deliveries d ON d.id = delivery_id WHERE d.key = '7') "
        "FROM crossdock.finished WHERE key = '7'"
    )
    counts = await erase(database, platform="ustore", key="7")
    assert counts == {
        "documents": 1, "receipts": 3, "versions": 2, "allocation_records": 3, "outbox": attempts - len(done),
        "finished": finished, "attempts": attempts, "quarantined": 0,
    }  # fmt: skip
    left = await traces(database)
    assert "allocated_items" not in left
    assert "allocation_records" not in left
    await erase(database, key="STO1")
    await erase(database, key="STO2")
    assert set(await traces(database)) == {"quarantined"}
    after = {view: await rows(pool, view) for view in before}
    for view, hidden in {
        "events": ("body", "raw", "flags"),
        "orders": ("name",),
        "allocations": (),
        "transfer_progress": ("flags",),
    }.items():
        assert [without(row, *hidden) for row in after[view]] == [without(row, *hidden) for row in before[view]], view
    assert {(row["body"], bytes(row["raw"]), "erased" in row["flags"]) for row in after["events"]} == {
        (None, b"", True)
    }
    assert {row["name"] for row in after["orders"]} == {None}
    assert await everything(pool)


async def test_another_persons_documents_stay_as_they_are(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await fill(pool, database)
    before = [row for row in await rows(pool, "events") if row["key"] == "STO2"]
    await erase(database, key="STO1")
    assert [row for row in await rows(pool, "events") if row["key"] == "STO2"] == before
    assert before[0]["raw"]
    assert await traces(database, ["Ann Other"])


async def test_an_order_number_selects_every_document_that_has_it(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, *MESSAGES)
    assert (await erase(database, order_number="PSTO1"))["documents"] == 1
    assert (await erase(database, order_number="PSTO1"))["documents"] == 0
    assert (await erase(database, order_number="nothing"))["documents"] == 0
    keys = {row["key"] for row in await rows(pool, "events") if "erased" in row["flags"]}
    assert keys == {"STO1"}


async def test_waiting_deliveries_are_cancelled_and_their_last_attempt_gives_the_reason(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await fill(pool, database)
    waiting = await database.fetch("SELECT id, attempts FROM crossdock.outbox WHERE key = '7'")
    others = await database.fetchval("SELECT count(*) FROM crossdock.outbox WHERE key <> '7'")
    assert waiting
    await erase(database, platform="ustore", key="7")
    left = await database.fetch("SELECT key FROM crossdock.outbox WHERE type <> 'crossdock.erased'")
    assert len(left) == others
    for row in waiting:
        delivery = await deliveries.get(database, row["id"], None)
        assert delivery is not None
        assert (delivery["status"], delivery["attempts"]) == ("cancelled", row["attempts"] + 1)
        history = await deliveries.attempts(database, row["id"])
        assert [(attempt["error"], attempt["response"]) for attempt in history] == [(None, ""), (REASON, "")]


async def test_an_answer_to_an_attempt_under_way_is_not_stored(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """The attempt began before the erasure, and its subscriber answers with what it was sent."""
    from storage.sql import query

    await fill(pool, database)
    ids = [row["id"] for row in await database.fetch("SELECT id FROM crossdock.outbox WHERE key = 'STO1'")]
    other = await database.fetchval("SELECT id FROM crossdock.outbox WHERE key <> 'STO1' LIMIT 1")
    ids.append(other)
    await erase(database, key="STO1")
    n = len(ids)
    await database.execute(
        query("outbox", "attempted"), ids, [2] * n, [at(500)] * n, ["refused"] * n, [400] * n, [1.0] * n,
        [f"no {NAME}".encode()] * n, [f"for {NAME}"] * n, ["pending"] * n, [60.0] * n,
    )  # fmt: skip
    late = await database.fetch("SELECT delivery_id, response, error FROM crossdock.attempts WHERE at = $1", at(500))
    assert {row["delivery_id"]: (bytes(row["response"]), row["error"]) for row in late} == {
        **dict.fromkeys(ids, (b"", None)),
        other: (f"no {NAME}".encode(), f"for {NAME}"),
    }


async def test_a_finished_erasure_is_checked_once_more(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await fill(pool, database)
    await erase(database, key="STO1")
    delivery = await database.fetchval("SELECT id FROM crossdock.finished WHERE key = 'STO1' LIMIT 1")
    await database.execute(
        "INSERT INTO crossdock.attempts (delivery_id, at, attempt, duration_ms, outcome, response) "
        "VALUES ($1, now(), 9, 1, 'refused', $2)",
        delivery,
        NAME.encode(),
    )
    assert await erasure.stalled(database) == []
    await database.execute("UPDATE crossdock.erasures SET finished_at = now() - interval '10 minutes'")
    ((id_, is_check),) = await erasure.stalled(database)
    assert is_check
    await erasure.check(database, id_)
    assert await erasure.stalled(database) == []
    assert not await database.fetchval("SELECT count(*) FROM crossdock.attempts WHERE attempt = 9 AND response <> ''")


async def test_many_rows_are_erased_in_pieces_and_an_interrupted_erasure_is_completed(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PIECE", 2)
    monkeypatch.setattr(erasure, "ATTEMPTS_PER_PIECE", 3)
    await subscribe(database, "https://a.example", schedule=[0.0, 60.0])
    await store(pool, *(transfer("STO1", seconds=n, number=n + 1, n=n) for n in range(9)))
    await attempted(database)
    selection = Selection(platform="channelape", account="acme", key="STO1")
    id_ = await erasure.start(database, selection)
    pieces = 0

    def kill() -> None:
        nonlocal pieces
        pieces += 1
        if pieces == 2:
            raise KilledError

    with pytest.raises(KilledError):
        await erasure.run(database, id_, kill)
    assert await database.fetchval("SELECT count(*) FROM crossdock.receipts WHERE 'erased' = ANY (flags)") == 4
    assert await traces(database)
    assert await erasure.stalled(database) == []
    await database.execute("UPDATE crossdock.erasures SET touched_at = now() - interval '2 minutes'")
    assert await erasure.stalled(database) == [(id_, False)]
    # Another content that comes in between is a new version, and no part of what was asked for.
    await store(pool, transfer("STO1", seconds=100, number=100, n="new"))
    async with pool.acquire() as second:
        await asyncio.gather(*(erasure.run(connection, id_) for connection in (database, second)))
    assert await erasure.stalled(database) == []
    events = sorted(await rows(pool, "events"), key=lambda row: row["version"])
    assert [("erased" in row["flags"], row["body"] is None) for row in events] == [(True, True)] * 9 + [(False, False)]
    assert await traces(database) == {"documents": 1, "receipts": 1, "versions": 1}


async def test_a_request_covers_what_came_after_an_earlier_one_that_has_not_finished(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PIECE", 2)

    def kill() -> None:
        raise KilledError

    await store(pool, *(transfer("STO1", seconds=n, number=n + 1, n=n) for n in range(4)))
    first = await erasure.start(database, Selection(platform="channelape", account="acme", key="STO1"))
    with pytest.raises(KilledError):
        await erasure.run(database, first, kill)
    await store(pool, transfer("STO1", seconds=10, number=10, n=10))
    await erase(database, key="STO1")
    await erasure.run(database, first)
    assert await traces(database) == {}
    assert await database.fetchval("SELECT count(*) FROM crossdock.erasing") == 0


async def test_a_document_that_is_merged_in_the_middle_of_its_erasure_is_erased_to_the_end(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PIECE", 2)

    def kill() -> None:
        raise KilledError

    def carton(number: int, names: dict[str, str]) -> Incoming:
        customer = {"shippingAddress": {"name": NAME}}
        body = {"id": "S1", "additionalFields": names, "customer": customer, "n": number, "lineItems": []}
        return incoming("channelape", "ship_confirmation", body, seconds=number, number=number)

    await store(pool, carton(1, {"Sscc": "000123"}))
    await store(pool, *(carton(number, {"LicensePlate": "LP-9"}) for number in range(2, 7)))
    id_ = await erasure.start(database, Selection(platform="channelape", account="acme", key="S1/LP-9"))
    with pytest.raises(KilledError):
        await erasure.run(database, id_, kill)
    # Its documents become one, which has another key and a smaller id.
    await store(pool, carton(7, {"Sscc": "000123", "LicensePlate": "LP-9"}))
    await erasure.run(database, id_)
    events = sorted(await rows(pool, "events"), key=lambda row: row["version"])
    assert [(row["key"], row["body"] is None, "erased" in row["flags"]) for row in events] == [
        ("S1/000123", number in range(2, 7), number in range(2, 7)) for number in range(1, 8)
    ]


async def test_everything_before_a_time_goes_with_the_repeats_of_its_versions(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "PIECE", 2)
    monkeypatch.setattr(erasure, "EXAMINED_PER_PIECE", 3)
    for n in range(5):
        await isolate.write_isolating(pool, [transfer(f"OLD{n}", seconds=n, number=n + 1)])
        await isolate.write_isolating(pool, [transfer(f"OLD{n}", seconds=DAY + n, number=100 + n)])
    await isolate.write_isolating(pool, [transfer("OLD0", seconds=DAY + 60, number=200, changed=True)])
    await isolate.write_isolating(pool, [transfer("NEW", seconds=DAY, number=300)])
    await isolate.write_isolating(pool, [print_order("7", seconds=1, number=301)])
    await isolate.write_isolating(pool, [unreadable(unreadable_bytes("x"), NAME, seconds=1, number=302)])
    counts = await erase(database, before=at(DAY / 2))
    assert (counts["documents"], counts["receipts"], counts["quarantined"]) == (5, 5, 0)
    erased = {(row["key"], row["version"]) for row in await rows(pool, "events") if "erased" in row["flags"]}
    assert erased == {(f"OLD{n}", 1) for n in range(5)}
    assert await database.fetchval("SELECT count(*) FROM crossdock.receipts WHERE 'erased' = ANY (flags)") == 10
    assert (await erase(database, platform="ecomnow", before=at(DAY / 2)))["quarantined"] == 1
    assert [(row["reason"], bytes(row["raw"])) for row in await rows(pool, "quarantine")] == [("erased", b"")]
    # The newest version of OLD0 and the documents of another account still have their names.
    assert await database.fetchval("SELECT count(*) FROM crossdock.documents WHERE erased") == 4


async def test_quarantined_messages_that_contain_the_key_are_erased(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    bodies = {
        1: unreadable_bytes("1000-4612"),
        2: unreadable_bytes("1000-46121"),
        3: b'{"type": "neither", "orderNo": "1000\\u002d4612", "name": "Quillfeather"}',
        4: '{"type": "neither", "orderNo": "1000-4612", "name": "Quillfeather"}'.encode("utf-16"),
        5: b'{"type": "neither", "orderNo": "1", "date": "1000-4612-1", "name": "Quillfeather"}',
    }
    for number, body in bodies.items():
        await isolate.write_isolating(pool, [unreadable(body, "unreadable", seconds=number, number=number)])
    selection = Selection(platform="ecomnow", account="acme", key="1000-4612")
    assert (await erasure.count(database, selection))["quarantined"] == 3
    await erase(database, platform="ecomnow", key="1000-4612")
    left = {row["id"].int: row for row in await rows(pool, "quarantine")}
    assert {number for number, row in left.items() if not row["raw"]} == {1, 3, 4}
    assert all((row["discarded_at"] is not None) == (not row["raw"]) for row in left.values())
    # An erased message can't be replayed, and one that fails again after a replay stays erased.
    assert await quarantine.lock(database, [UUID(int=1)], again=True) == []
    await database.execute("UPDATE crossdock.quarantined SET replayed_at = now()")
    await isolate.write_isolating(pool, [unreadable(bodies[1], f"about {NAME}", seconds=1, number=1)])
    assert (await quarantine.show(database, UUID(int=1)))["reason"] == "erased"  # type: ignore[index]


async def test_the_planner_keeps_no_samples(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await fill(pool, database)
    reason = f"not JSON, as {NAME} sent it"  # as before, so that it is the most common one, in its index as well
    await store(pool, unreadable(unreadable_bytes("X-18"), reason, seconds=6, number=8))
    await database.execute("UPDATE crossdock.quarantined SET platform = 'ustore'")
    await database.execute("ANALYZE")
    sampled = "SELECT count(*) FROM pg_stats WHERE schemaname = 'crossdock' AND pg_stats::text LIKE '%Quillfeather%'"
    assert await database.fetchval(sampled)
    assert await database.fetchval(f"{sampled} AND tablename = 'quarantined'")
    for selection in ({"platform": "ustore", "key": "7"}, {"key": "STO1"}):
        await erase(database, **selection)
    await erase(database, platform="ustore", before=START + timedelta(days=1))
    assert not await database.fetchval(sampled)


async def test_recomputing_statistics_may_take_longer_than_other_statements(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await fill(pool, database)
    await database.execute("ANALYZE")
    await database.execute(
        "CREATE OR REPLACE FUNCTION crossdock.forget_samples(name text, columns text[]) RETURNS void "
        "LANGUAGE sql AS $$ SELECT pg_sleep(CASE WHEN name = 'versions' THEN 0.8 ELSE 0 END) $$"
    )
    await database.execute("SET statement_timeout = '500ms'")
    await erasure.forget_statistics(database)
    assert await database.fetchval("SHOW statement_timeout") == "500ms"


async def test_an_erasure_as_the_store_workers_role_recomputes_statistics(
    pool: asyncpg.Pool, database: asyncpg.Connection, database_url: str
) -> None:
    await fill(pool, database)
    # As autovacuum does, which leaves out the parents of partitions.
    kinds = "SELECT relname FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind = 'r'"
    for row in await database.fetch(kinds):
        await database.execute(f'ANALYZE crossdock."{row["relname"]}"')
    sampled = "SELECT count(*) FROM pg_stats WHERE schemaname = 'crossdock' AND pg_stats::text LIKE '%Quillfeather%'"
    assert await database.fetchval(sampled)
    acting = await pools.create_pool(database_url, size=1, role=roles.STORE)
    try:
        async with acting.acquire() as connection:
            for platform, key in (("ustore", "7"), ("channelape", "STO1")):
                selection = Selection(platform=platform, account="acme", key=key)
                await erasure.run(connection, await erasure.start(connection, selection))
    finally:
        await acting.close()
    assert not await database.fetchval(sampled)


async def test_retention_deletes_records_of_erasures(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    for days in (-70, 0):
        await maintenance.keep(pool, retention_days=400, now=START + timedelta(days=days))
    await store(pool, transfer("STO1", seconds=-70 * DAY, number=1), settings=config())
    await erase(database, key="STO1")
    assert await database.fetchval("SELECT count(*) FROM crossdock.erased_contents") == 1
    await maintenance.keep(pool, retention_days=30, now=START)
    for table in ("documents", "erased_contents", "erasing"):
        assert await database.fetchval(f"SELECT count(*) FROM crossdock.{table}") == 0  # noqa: S608 - ours


async def test_body_days_erases_older_bodies_once_a_day(
    amqp_url: str, database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    now = datetime.now(UTC)
    ages = {"OLD": 31, "YOUNG": 20}
    for number, (key, days) in enumerate(ages.items(), 1):
        seconds = (now - START).total_seconds() - days * DAY
        await isolate.write_isolating(pool, [transfer(key, seconds=seconds, number=number)])
    settings = pipeline.config({"storage": {"body_days": 30}})

    async def erased() -> set[str]:
        sql = "SELECT key FROM crossdock.events WHERE 'erased' = ANY (flags)"
        return {row["key"] for row in await pool.fetch(sql)}

    async def is_done() -> bool:
        return await erased() == {"OLD"} and bool(await pool.fetchval("SELECT finished_at FROM crossdock.erasures"))

    async with pipeline.running(pipeline.store(amqp_url, database_url, settings)):
        await until(is_done)
    # Another worker, a restart: not again on the same day. What was stored late is erased on the next one.
    assert await erasure.start_round(database, 30, now) is None
    seconds = (now - START).total_seconds() - 60 * DAY
    await isolate.write_isolating(pool, [transfer("LATE", seconds=seconds, number=9)])
    again = await erasure.start_round(database, 30, now + timedelta(hours=25))
    assert again is not None
    await erasure.run(database, again)
    assert await erased() == {"OLD", "LATE"}
