"""The store worker from a backlog: beside a row a message, beside COPY, and beside itself without its events."""

import asyncpg

from bench import backlog
from bench.common import PEERS, BenchmarkError, Servers, channel, purge, rate
from bench.plan import Plan
from bench.row import Row
from schemas.config import Store
from schemas.topology import STORE

PEER_QUEUE = "bench.rows"
PEER_SHARE = 3
"""A row a message takes several times as long: a third of the messages is enough for a rate."""
ROWS, COPY = "FastStream, a row per message", "COPY of the same rows into the same tables"
WHAT = "stored events/s, one worker, from a backlog"


async def bench_store(found: Servers, plan: Plan) -> list[Row]:
    """Beside FastStream with a row per message, and beside COPY of the same rows into the same tables."""
    async with channel(found.amqp) as opened:
        await opened.declare_queue(PEER_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    database = await asyncpg.connect(found.database)
    await database.execute("CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, key text, body jsonb)")
    few = plan.messages // PEER_SHARE
    ours: list[float] = []
    theirs: dict[str, list[float]] = {ROWS: [], COPY: []}
    failed: dict[str, str] = {}
    for _ in range(plan.runs):
        ours.append(await _ours(found, database, plan.messages))
        for name, run in ((COPY, _copy), (ROWS, _row_by_row)):  # COPY first: it writes what ours has just written
            try:
                if name not in failed:
                    theirs[name].append(await run(found, few))
            except BenchmarkError as why:
                failed[name] = str(why)
    await database.close()
    return [
        Row(WHAT, name, ours, theirs[name], goal, failed=failed.get(name)) for name, goal in ((ROWS, 6.0), (COPY, 0.3))
    ]


async def _copy(found: Servers, _: int) -> float:
    settings = Store()
    return await rate(
        found, str(PEERS / "copy_rows.py"), found.database, str(settings.batch), str(settings.connections)
    )


async def _row_by_row(found: Servers, messages: int) -> float:
    await backlog.fill(found, messages, exchange="", key=PEER_QUEUE)
    command = (str(PEERS / "faststream_row.py"), found.amqp, found.database, PEER_QUEUE)
    try:
        return await backlog.timed(found, command, "bench_rows", PEER_QUEUE, messages)
    finally:
        await purge(found.amqp, PEER_QUEUE)
        database = await asyncpg.connect(found.database)
        await database.execute("TRUNCATE bench_rows")
        await database.close()


async def bench_events(found: Servers, plan: Plan) -> list[Row]:
    """What announcing every event on `crossdock.events` costs: the same worker without."""
    database = await asyncpg.connect(found.database)
    announced: list[float] = []
    silent: list[float] = []
    for _ in range(plan.runs):
        announced.append(await _ours(found, database, plan.messages))
        await backlog.fill(found, plan.messages)
        await backlog.empty(database)
        command = (str(PEERS / "store_silent.py"),)
        silent.append(await backlog.timed(found, command, "crossdock.receipts", STORE, plan.messages))
    await database.close()
    return [Row("stored events/s, each announced", "the same worker, silent", announced, silent, 0.75)]


async def _ours(found: Servers, database: asyncpg.Connection, messages: int) -> float:
    await backlog.fill(found, messages)
    await backlog.empty(database)
    return await backlog.stored(found, messages)
