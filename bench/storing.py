"""The store worker on a backlog, compared with one row per message, with COPY, and with itself without events."""

import asyncpg

from bench import backlog
from bench.common import PEERS, BenchmarkError, Servers, channel, purge, rate
from bench.plan import Plan
from bench.row import Row
from schemas.config import Store
from schemas.topology import STORE

PEER_QUEUE = "bench.rows"
PEER_SHARE = 3
"""The peer with one row per message is several times slower; this fraction of the messages is enough for a rate."""
ROWS, COPY = "FastStream, a row per message", "COPY of the same rows into the same tables"
WHAT = "stored events/s, one worker, from a backlog"


async def bench_store(servers: Servers, plan: Plan) -> list[Row]:
    """Measure FastStream with one row per message, and COPY of the same rows into the same tables."""
    async with channel(servers.amqp) as opened:
        await opened.declare_queue(PEER_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    database = await asyncpg.connect(servers.database)
    await database.execute("CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, key text, body jsonb)")
    few = plan.messages // PEER_SHARE
    ours: list[float] = []
    theirs: dict[str, list[float]] = {ROWS: [], COPY: []}
    failed: dict[str, str] = {}
    for _ in range(plan.runs):
        ours.append(await _ours(servers, database, plan.messages))
        for name, run in ((COPY, _copy), (ROWS, _row_by_row)):  # COPY first: it writes what ours has just written
            try:
                if name not in failed:
                    theirs[name].append(await run(servers, few))
            except BenchmarkError as why:
                failed[name] = str(why)
    await database.close()
    return [
        Row(WHAT, name, ours, theirs[name], goal, failed=failed.get(name)) for name, goal in ((ROWS, 6.0), (COPY, 0.3))
    ]


async def _copy(servers: Servers, _: int) -> float:
    settings = Store()
    return await rate(
        servers, str(PEERS / "copy_rows.py"), servers.database, str(settings.batch), str(settings.connections)
    )


async def _row_by_row(servers: Servers, messages: int) -> float:
    await backlog.fill(servers, messages, exchange="", key=PEER_QUEUE)
    command = (str(PEERS / "faststream_row.py"), servers.amqp, servers.database, PEER_QUEUE)
    try:
        return await backlog.timed(servers, command, "bench_rows", PEER_QUEUE, messages)
    finally:
        await purge(servers.amqp, PEER_QUEUE)
        database = await asyncpg.connect(servers.database)
        await database.execute("TRUNCATE bench_rows")
        await database.close()


async def bench_events(servers: Servers, plan: Plan) -> list[Row]:
    """Measure the cost of publishing every event on `crossdock.events`: the same worker without it."""
    database = await asyncpg.connect(servers.database)
    announced: list[float] = []
    silent: list[float] = []
    for _ in range(plan.runs):
        announced.append(await _ours(servers, database, plan.messages))
        await backlog.fill(servers, plan.messages)
        await backlog.empty(database)
        command = (str(PEERS / "store_silent.py"),)
        silent.append(await backlog.timed(servers, command, "crossdock.receipts", STORE, plan.messages))
    await database.close()
    return [Row("stored events/s, each announced", "the same worker, silent", announced, silent, 0.75)]


async def _ours(servers: Servers, database: asyncpg.Connection, messages: int) -> float:
    await backlog.fill(servers, messages)
    await backlog.empty(database)
    return await backlog.stored(servers, messages)
