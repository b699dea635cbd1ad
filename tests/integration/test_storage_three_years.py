"""Three years of the same traffic: no table holds more after the third year than after the second."""

from datetime import datetime, timedelta
from uuid import uuid4

import asyncpg

from storage import maintenance, transfers
from tests.support.delivering import store
from tests.support.erasing import erase, print_order, transfer
from tests.support.receiver import config, subscribe
from tests.support.storing import START, incoming, unreadable
from workers.store.prepare import Incoming

RETENTION = 90
"""Days. Everything that has an age is gone after four months at most."""
STEPS, STEP = 18, timedelta(days=61)
DAY = 86_400.0
SIZES = """
SELECT coalesce(p.relname, c.relname) AS relname, sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_class c
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
LEFT JOIN pg_class p ON p.oid = i.inhparent
WHERE c.relnamespace = 'crossdock'::regnamespace AND c.relkind = 'r'
GROUP BY 1
"""
NOT_USED = {"consumers", "erasing", "identifier_rounds", "login_links", "transfer_changes"}
"""Tables that stay empty here."""
FIXED = {"migrations", "polls", "consumers", "subscribed"}
"""One row per migration, account, consumer and subscription that is in use."""


async def fill(pool: asyncpg.Pool, database: asyncpg.Connection, step: int, now: datetime) -> None:
    """Some traffic, as everything that writes leaves it."""
    seconds, number = (now - START).total_seconds(), step * 100 + 1
    batch: list[Incoming] = [
        transfer(f"STO{step}", seconds=seconds, number=number),
        transfer("ALWAYS", seconds=seconds, number=number + 1, step=step),
        *(print_order(f"{step + 1}", seconds=seconds + n, number=number + 2 + n) for n in range(4)),
        unreadable(b"x" * 100, "unreadable", seconds=seconds, number=number + 10),
        incoming(
            "channelape",
            "ship_confirmation",
            {"id": f"S{step}", "additionalFields": {"Sscc": f"1{step}"}, "lineItems": []},
            seconds=seconds,
            number=number + 11,
        ),
    ]
    await store(pool, *batch, settings=config())
    await database.execute("UPDATE crossdock.shipments SET changed_at = $1 WHERE shipment = $2", now, f"S{step}")
    # What is delivered leaves the outbox; one delivery each time waits for ever.
    await database.execute(
        """WITH gone AS (
            DELETE FROM crossdock.outbox
            WHERE id NOT IN (SELECT id FROM crossdock.outbox ORDER BY next_attempt_at LIMIT 1)
            RETURNING *
        ), tried AS (
            INSERT INTO crossdock.attempts (delivery_id, at, attempt, duration_ms, outcome, response)
            SELECT id, $1, 1, 1, 'delivered', 'ok' FROM gone
        )
        INSERT INTO crossdock.finished (id, subscription_id, finished_at, created_at, received_at, event_id, message_id,
            document_id, version, attempts, type, key, status, payload)
        SELECT id, subscription_id, $1, $1, received_at, event_id, message_id, document_id, version, 1, type, key,
            'delivered', payload
        FROM gone""",
        now,
    )
    gone = await subscribe(pool, "https://gone.example", enabled=False)
    await database.execute("UPDATE crossdock.subscribed SET deleted_at = $2 WHERE id = $1", gone, now)
    await database.execute(
        "INSERT INTO crossdock.replays (id, subscription_id, created_at, from_at, to_at, types, count, finished_at) "
        "VALUES ($1, $2, $3, $3, $3, '{*}', 1, CASE WHEN $4 THEN $3::timestamptz END)",
        uuid4(),
        gone,
        now,
        step % 2 == 0,
    )
    await database.execute(
        "INSERT INTO crossdock.idempotent (subscriber, name, asked_at, digest) VALUES ('boards', $1, $2, '')",
        f"{step}",
        now,
    )
    await database.execute(
        "INSERT INTO crossdock.polls (platform, account, due_at) VALUES ('apicbase', 'was', $1) "
        "ON CONFLICT (platform, account) DO NOTHING",
        now,
    )
    if step < 3:  # the account was polled in the first months only
        await database.execute("INSERT INTO crossdock.polled VALUES ('apicbase', 'was', $1, '')", f"{step}".encode())
        await database.execute("UPDATE crossdock.polls SET due_at = $1", now)
    await database.execute(
        "INSERT INTO crossdock.actions (at, operator, role, address, action, outcome) "
        "VALUES ($1, 'anna', 'act', '', 'deliveries.retry', 'started')",
        now,
    )
    await database.execute(
        "INSERT INTO crossdock.jobs (id, created_at, operator, role, address, action, subject, filter, total, is_exact)"
        " VALUES ($1, $2, 'anna', 'act', '', 'deliveries.retry', '', '{}', 1, true)",
        uuid4(),
        now,
    )
    await database.execute("INSERT INTO crossdock.poll_limits VALUES ($1, $2)", f"{step}".encode(), now)
    await database.execute("INSERT INTO crossdock.moments VALUES ($1, $2)", uuid4(), now)
    await database.execute(
        "INSERT INTO crossdock.arrivals VALUES ('apicbase', 'acme', date_trunc('hour', $1::timestamptz), 1, $1, $1)",
        now,
    )
    await erase(database, key=f"STO{step}")
    while await transfers.apply_changes(database):
        pass
    for table, column in (("erasures", "requested_at"), ("erased_events", "erased_at")):
        await database.execute(
            f"UPDATE crossdock.{table} SET {column} = $1 WHERE abs(extract(epoch FROM {column} - now())) < 3600",  # noqa: S608
            now,
        )


async def measure(database: asyncpg.Connection) -> dict[str, tuple[int, int]]:
    """Rows and bytes of each table, as autovacuum would leave it."""
    names = [f"crossdock.{row['relname']}" for row in await database.fetch(SIZES)]
    await database.execute(f"VACUUM {', '.join(names)}")
    sizes = {row["relname"]: row["bytes"] for row in await database.fetch(SIZES)}
    return {
        table: (await database.fetchval(f"SELECT count(*) FROM crossdock.{table}"), size)  # noqa: S608 - ours
        for table, size in sizes.items()
    }


async def test_nothing_grows_from_one_year_to_the_next(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await subscribe(pool, "https://a.example", schedule=[0.0])
    measured: dict[int, dict[str, tuple[int, int]]] = {}
    for step in range(STEPS):
        now = START + step * STEP
        await maintenance.keep(pool, retention_days=RETENTION, now=now)
        await fill(pool, database, step, now)
        if step in (2, 11, 17):
            measured[step] = await measure(database)
    early, second, third = measured.values()
    assert {table for table, (rows, _) in early.items() if rows == 0} == NOT_USED
    assert {
        table: (second[table], third[table])
        for table in third
        if third[table][0] > second[table][0] or third[table][1] > second[table][1] + 64 * 1024
    } == {}
    # What has an age is no more than what four months bring.
    assert {table: rows for table, (rows, _) in third.items() if table not in FIXED and rows > 60} == {}
    assert third["polled"][0] == 0
    assert third["subscribed"][0] <= 6
