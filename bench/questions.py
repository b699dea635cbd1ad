"""How long the questions of docs/questions.md take, with as many events stored as a plan says."""

import random
import statistics
import time
from pathlib import Path

import asyncpg

from bench.common import Servers
from bench.plan import Plan
from bench.row import Row
from storage import find, identifiers, migrate

PAGE = Path(__file__).parents[1] / "docs/questions.md"
DATABASE = "bench_questions"
CHUNK = 100_000
"""Documents per transaction while the database is filled."""
GOAL_MS = 20.0
RUNS = 60
"""Times that each question is answered, each time about other values."""
RARE_UP_TO = 50_000
"""The rare account, type and platform are among the first so many documents, so that their newest are the oldest."""
VERSIONS_PER_DOCUMENT = 4 / 3
ORDER, NUMBER, EVENT = "STO4600000039", "1000-4612", "0198c0de-0000-8000-8000-000000000000"
"""The values that the page asks for: documents 70 and 4,619."""

FILL_DOCUMENTS = f"""
INSERT INTO crossdock.documents (
    id, received_at, last_received_at, version_id, version, times_received, digest, platform, account, type, key,
    order_number, order_ref
) OVERRIDING SYSTEM VALUE
SELECT n, at, at, CASE WHEN n = 70 THEN '{EVENT}' ELSE md5('v' || n)::uuid END,
       CASE WHEN n % 3 = 0 THEN 2 ELSE 1 END, 1, '\\x00', split_part(type, '.', 1),
       CASE split_part(type, '.', 1) WHEN 'channelape' THEN 'rothys' WHEN 'ecomnow' THEN 'shop' ELSE 'acme' END,
       type,
       CASE WHEN n = 70 THEN '{ORDER}' WHEN n % 10 = 0 THEN 'STO' || n ELSE 'K' || n END,
       CASE WHEN n = 4619 THEN '{NUMBER}' WHEN type = 'ecomnow.new_order' THEN '1000-' || n * 10 END,
       CASE WHEN n BETWEEN 71 AND 78 THEN '{ORDER}' WHEN n % 10 BETWEEN 1 AND 8 THEN 'STO' || n - n % 10 END
FROM (
    SELECT n, timestamptz '2026-11-10 12:00Z' + n * interval '0.5 seconds' AS at,
           CASE WHEN n % 5000 = 77 AND n <= {RARE_UP_TO} THEN 'apicbase.purchase_order'
                WHEN n % 10 = 0 THEN 'channelape.stock_transfer_order'
                WHEN n % 10 <= 3 THEN 'channelape.ship_confirmation'
                WHEN n % 10 <= 5 THEN 'channelape.advanced_ship_notice'
                WHEN n % 10 <= 8 THEN 'channelape.receipt_confirmation'
                ELSE 'ecomnow.new_order' END AS type
    FROM generate_series($1::bigint, $2::bigint) n
) rows
"""  # noqa: S608 - ours
FILL = (
    FILL_DOCUMENTS,
    """
    INSERT INTO crossdock.versions (
        id, document_id, received_at, last_received_at, message_id, version, times_received, occurrence, digest, flags,
        order_number, order_ref, placed_at, lines, platform, account, type
    )
    SELECT CASE WHEN v.number = d.version THEN d.version_id ELSE md5('u' || d.id)::uuid END, d.id, v.at, v.at,
           md5(v.number || 'm' || d.id)::uuid, v.number, 1, 0, '\\x00', '{}', d.order_number, d.order_ref,
           '2026-11-10T12:00:00', '[{"id": "000011", "article": "002_110_BLUE", "quantity": 100, "received": 100}]',
           d.platform, d.account, d.type
    FROM crossdock.documents d
    CROSS JOIN LATERAL (
        SELECT number, d.received_at - (d.version - number) * interval '1 minute' AS at
        FROM generate_series(1, d.version) number
    ) v
    WHERE d.id BETWEEN $1 AND $2
    """,
    """
    INSERT INTO crossdock.receipts (
        received_at, message_id, document_id, digest, event, flags, content_type, traceparent, raw
    )
    SELECT v.received_at, v.message_id, v.document_id, v.digest, split_part(v.type, '.', 2), '{}', 'application/json',
           '00-' || md5(v.id::text) || '-00000000000000ff-01',
           convert_to(format('{"id": "%s", "channelOrderId": "%s", "lineItems": [%s], "note": "%s"}',
                             v.document_id, v.order_ref, v.lines, repeat(md5(v.id::text), 24)), 'UTF8')
    FROM crossdock.versions v
    WHERE v.document_id BETWEEN $1 AND $2
    """,
    """
    INSERT INTO crossdock.transfer_states (
        document_id, account, channel_order_id, ship_from, ship_to, ordered, shipped, announced, received, damaged,
        outstanding, missing, cartons, state, due_at, last_activity_at, flags
    )
    SELECT id, account, key, (960 + id / 10 % 20)::text, (810 + id / 10 % 30)::text, 100, 100, 100, 100 - missing, 0,
           missing, missing, 3, CASE missing WHEN 0 THEN 'received' ELSE 'partly_received' END,
           timestamptz '2023-04-01Z' + id * interval '1 second', received_at, '{}'
    FROM (SELECT *, CASE WHEN id % 30 = 0 THEN 10 ELSE 0 END AS missing FROM crossdock.documents) d
    WHERE id BETWEEN $1 AND $2 AND type = 'channelape.stock_transfer_order'
    """,
    """
    INSERT INTO crossdock.outbox (
        id, subscription_id, next_attempt_at, created_at, received_at, event_id, message_id, document_id, version, type,
        key
    )
    SELECT md5('d' || id)::uuid, ('0198c0de-0000-7000-8000-00000000000' || id % 7)::uuid, received_at, received_at,
           received_at, version_id, md5(version || 'm' || id)::uuid, id, version, type, key
    FROM crossdock.documents
    WHERE id BETWEEN $1 AND $2 AND id % 20 = 10
    """,
    """
    INSERT INTO crossdock.finished (
        id, subscription_id, finished_at, created_at, received_at, event_id, message_id, document_id, version, attempts,
        type, key, status
    )
    SELECT md5('d' || id)::uuid, ('0198c0de-0000-7000-8000-00000000000' || id % 7)::uuid,
           received_at + interval '1 minute', received_at, received_at, version_id, md5(version || 'm' || id)::uuid, id,
           version, 1, type, key,
           CASE id % 200 WHEN 1 THEN 'failed' WHEN 11 THEN 'cancelled' WHEN 21 THEN 'superseded' ELSE 'delivered' END
    FROM crossdock.documents
    WHERE id BETWEEN $1 AND $2 AND (id % 5 = 1 OR id % 20 = 0)
    """,
    """
    INSERT INTO crossdock.attempts (delivery_id, at, attempt, status_code, duration_ms, outcome, error, response)
    SELECT f.id, f.finished_at - (2 - number) * interval '1 second', number,
           CASE WHEN f.status = 'failed' THEN 500 ELSE 200 END, 12.5,
           CASE WHEN f.status = 'failed' THEN 'refused' ELSE 'delivered' END,
           CASE WHEN f.status = 'failed' THEN 'status 500' END, ''
    FROM crossdock.finished f
    CROSS JOIN generate_series(1, CASE WHEN f.status = 'failed' THEN 2 ELSE 1 END) number
    WHERE f.document_id BETWEEN $1 AND $2
    """,
    """
    INSERT INTO crossdock.quarantined (
        id, received_at, replayed_at, discarded_at, platform, account, event, reason, stage, raw
    )
    SELECT md5('q' || id)::uuid, received_at, CASE WHEN id % 3 = 0 THEN received_at END,
           CASE WHEN id % 3 = 1 THEN received_at END, platform, account, split_part(type, '.', 2),
           CASE id % 4 WHEN 0 THEN 'not JSON' WHEN 1 THEN 'unknown platform' ELSE 'refused: no article K' || id END,
           CASE WHEN id % 4 < 2 THEN 'unreadable' ELSE 'refused' END, '{}'
    FROM crossdock.documents
    WHERE id BETWEEN $1 AND $2 AND id % 50 IN (7, 13, 28, 49)
    """,
    """
    INSERT INTO crossdock.arrivals (platform, account, hour, count, first_at, last_at)
    SELECT platform, account, date_trunc('hour', received_at), count(*), min(received_at), max(received_at)
    FROM crossdock.documents
    WHERE id BETWEEN $1 AND $2
    GROUP BY 1, 2, 3
    ON CONFLICT (platform, account, hour) DO UPDATE
    SET count = arrivals.count + excluded.count, last_at = greatest(arrivals.last_at, excluded.last_at)
    """,
)
HELD = """
SELECT id, received_at, key, order_number, order_ref FROM crossdock.documents WHERE id BETWEEN $1 AND $2 ORDER BY id
"""
"""What documents are found by; each has one of ARTICLES articles as well, and all have one in common."""
ARTICLES = 20_000
BATCH = 500
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind = 'r'"


def questions() -> dict[str, str]:
    """Return the SQL of the page by its headings."""
    sections = PAGE.read_text().split("\n### ")[1:]
    return {part.partition("\n")[0]: part.partition("```sql\n")[2].partition("```")[0] for part in sections}


async def fill(database: asyncpg.Connection, documents: int) -> None:
    """Store so many documents, with their versions, receipts and deliveries, as autovacuum would leave them."""
    await database.execute("SET synchronous_commit = off")
    for start in range(1, documents + 1, CHUNK):
        async with database.transaction():
            for statement in FILL:
                await database.execute(statement, start, min(start + CHUNK - 1, documents), timeout=600)
            held = await database.fetch(HELD, start, min(start + CHUNK - 1, documents))
            for first in range(0, len(held), BATCH):  # as a store worker does: each has the bucket of its last document
                await identifiers.insert(database, [_identified(row) for row in held[first : first + BATCH]])
    for row in await database.fetch(TABLES):  # autovacuum never looks at a partitioned table as a whole
        await database.execute(f'VACUUM ANALYZE crossdock."{row["relname"]}"', timeout=600)


def _identified(row: asyncpg.Record) -> identifiers.Row:
    numbers = {row["key"], row["order_number"], row["order_ref"]} - {None}
    return row["id"], row["received_at"], numbers, ("002_110_BLUE", f"SKU-{row['id'] % ARTICLES}")


def _searched(documents: int, chance: random.Random) -> str:
    """Return a text that people search for: an order's number or key, an article, or what no document has."""
    number = chance.randrange(1, documents // 10) * 10
    return chance.choice(
        (f"STO{number}", f"1000-{(number + 9) * 10}", f"SKU-{number % ARTICLES}", "002_110_BLUE", f"absent-{number}")
    )


def varied(sql: str, documents: int, chance: random.Random) -> str:
    """Return a question about other values that are stored: a frequent account, or a rare one."""
    number = chance.randrange(1, documents // 10) * 10
    minutes = chance.randrange(documents // 120)
    day, hour, minute = 10 + (12 * 60 + minutes) // 1440, (12 * 60 + minutes) // 60 % 24, minutes % 60
    values = {
        ORDER: f"STO{number}",
        NUMBER: f"1000-{(number + 9) * 10}",
        "2026-11-10 12:00:00Z": f"2026-11-{day} {hour:02}:{minute:02}:00Z",
        "2026-11-10 13:00:00Z": f"2026-11-{day} {hour:02}:{minute:02}:59Z",
        "0198c0de-0000-7000-8000-000000000001": f"0198c0de-0000-7000-8000-00000000000{chance.randrange(7)}",
    }
    if chance.random() < 0.5:
        values |= {
            "'rothys'": "'acme'",
            "'channelape'": "'apicbase'",
            "'channelape.receipt_confirmation'": "'apicbase.purchase_order'",
            "'cancelled'": "'superseded'",
            "'not JSON'": "'unknown platform'",
        }
    for value, other in values.items():
        sql = sql.replace(value, other)
    return sql.replace(f"'{EVENT}'", f"md5('v{number}')::uuid")


async def bench_questions(servers: Servers, plan: Plan) -> list[Row]:
    """Measure every question of the page in a database of its own, each time about other values."""
    admin = await asyncpg.connect(servers.database)
    await admin.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    await admin.execute(f"CREATE DATABASE {DATABASE}")
    base, _, _ = servers.database.rpartition("/")
    await migrate.migrate(f"{base}/{DATABASE}")
    database = await asyncpg.connect(f"{base}/{DATABASE}", statement_cache_size=0)
    documents = int(plan.stored / VERSIONS_PER_DOCUMENT)
    await fill(database, documents)
    chance = random.Random(17)  # the same questions in every run
    rows: list[Row] = []
    for title, sql in questions().items():
        times = [await _milliseconds(database, varied(sql, documents, chance)) for _ in range(RUNS)]
        p95 = _p95(times)
        what = f"newest events at {plan.stored:,}, p95 ms" if not rows else f"{title} at {plan.stored:,}: p95 ms"
        rows.append(Row(what, "the goal", [p95], [GOAL_MS], 1.0, less=True, digits=1))
    times = []
    for text in [_searched(documents, chance) for _ in range(RUNS)]:
        started = time.perf_counter()
        await find.find(database, text)
        times.append((time.perf_counter() - started) * 1000)
    what = f"find at {plan.stored:,}, p95 ms"
    rows.insert(1, Row(what, "the goal", [_p95(times)], [GOAL_MS], 1.0, less=True, digits=1))
    await database.close()
    await admin.execute(f"DROP DATABASE {DATABASE}")
    await admin.close()
    return rows


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


async def _milliseconds(database: asyncpg.Connection, sql: str) -> float:
    """Return how long one answer takes, planning included."""
    started = time.perf_counter()
    await database.fetch(sql)
    return (time.perf_counter() - started) * 1000
