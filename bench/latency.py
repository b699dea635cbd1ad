"""From a webhook's arrival to its commit, at a third of the machine's capacity, compared with a lower bound.

Arrival is the ingress's `received-at`, taken before the publish, so a little before the sender receives 200; the commit
is PostgreSQL's commit time. Both are of one machine with one clock. The lower bound is the time that a batch waits to
fill, a message through a quorum queue and a committed row, the latter two measured while the load runs.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import asyncpg
import msgspec
from aio_pika.abc import AbstractChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from bench import backlog, bodies, load
from bench.client import Order
from bench.common import BenchmarkError, Servers, channel, process, purge, until
from bench.ingress import start_ingress
from bench.plan import Plan
from bench.row import Row, Times
from schemas.config import Store

SHARE = 3
"""The load is capacity divided by this."""
CONNECTIONS = 32
PROBE_PAUSE = 0.02
"""Seconds between probes; fifty per second are a negligible load."""
PROBE_QUEUE = "bench.probe"
SETTLE = 1.0
"""Seconds at the beginning that are not measured, while connections and caches are set up."""


async def bench_latency(servers: Servers, plan: Plan) -> list[Row]:
    """Measure an ingress and a store worker, without any other process of ours."""
    async with AsyncExitStack() as stack:
        port = await start_ingress(stack, servers)
        await stack.enter_async_context(process(servers, *backlog.store_worker()))
        database = await asyncpg.connect(servers.database)
        await backlog.empty(database)
        await backlog.fill(servers, 1)
        await until(lambda: backlog.filed(database, 1), "the store worker stores")
        await backlog.empty(database)
        await database.execute("CREATE TABLE IF NOT EXISTS bench_probe (id int)")
        hook = bodies.marked(bodies.webhook(servers.folder))
        url = f"http://127.0.0.1:{port}{hook.path}"
        order = Order(url, hook.headers, hook.raw.decode(), CONNECTIONS, plan.paced / 2)
        rate = await capacity(database, order) / SHARE
        paced = msgspec.structs.replace(order, rate=rate, seconds=plan.paced)
        ours: list[Times] = []
        theirs: list[Times] = []
        for _ in range(plan.runs):
            since = time.time() + SETTLE
            loaded = asyncio.create_task(asyncio.to_thread(load.post, paced))
            async with channel(servers.amqp) as opened:
                broker, rows = await asyncio.gather(_broker(opened, loaded), _rows(servers, loaded))
            if (await loaded).failed:
                raise BenchmarkError(f"{loaded.result().failed} requests failed")
            done = loaded.result().done
            await until(lambda done=done: backlog.filed(database, done), "everything stored")  # type: ignore[misc]
            ours.append(await arrival_to_commit(database, since))
            wait = Store().batch_wait * 1000
            theirs.append(Times(wait + broker.p50 + rows.p50, wait + broker.p99 + rows.p99))
            await backlog.empty(database)
        await database.close()
    await purge(servers.amqp)
    what = f"arrival to commit at {rate:,.0f}/s, a third of capacity"
    against = "batch wait + queue and database round trips"
    return [
        Row(
            f"{what}, {name} ms",
            against,
            [getattr(times, name) for times in ours],
            [getattr(times, name) for times in theirs],
            goal,
            less=True,
            digits=1,
        )
        for name, goal in (("p99", 2.0), ("p50", None))
    ]


async def capacity(database: asyncpg.Connection, order: Order) -> float:
    """Return the messages stored per second, from the first one on, while posting as fast as answers arrive."""
    posting = asyncio.create_task(asyncio.to_thread(load.post, order))
    await until(lambda: backlog.filed(database, 1), "the first message stored")
    count = "SELECT count(*) FROM crossdock.receipts"
    before, started = await database.fetchval(count), time.perf_counter()
    posted = await posting
    rate: float = (await database.fetchval(count) - before) / (time.perf_counter() - started)
    await until(lambda: backlog.filed(database, posted.done), "everything stored")
    await backlog.empty(database)
    return rate


async def arrival_to_commit(database: asyncpg.Connection, since: float) -> Times:
    """Return the milliseconds of all messages that arrived since a time, in seconds of the epoch."""
    rows = await database.fetch(
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - received_at)::float8 * 1000 AS ms "
        "FROM crossdock.receipts WHERE received_at >= $1",
        datetime.fromtimestamp(since, UTC),
    )
    return Times.of([row["ms"] for row in rows])


async def _broker(opened: AbstractChannel, until: "asyncio.Task[object]") -> Times:
    """Measure persistent messages through a quorum queue and back, one after the other.

    The aiormq channel is used, because aio-pika's own work per message would loosen the bound.
    """
    await opened.declare_queue(PROBE_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    channel = await opened.get_underlay_channel()
    came = asyncio.Event()

    async def on_message(message: DeliveredMessage) -> None:
        came.set()

    await channel.basic_consume(PROBE_QUEUE, on_message, no_ack=True)

    async def once() -> None:
        came.clear()
        properties = Basic.Properties(delivery_mode=2)
        await channel.basic_publish(b"", routing_key=PROBE_QUEUE, properties=properties)
        await came.wait()

    return await _probe(once, until)


async def _rows(servers: Servers, until: "asyncio.Task[object]") -> Times:
    """Measure commits of one row, one after the other."""
    connection = await asyncpg.connect(servers.database)
    insert = await connection.prepare("INSERT INTO bench_probe VALUES (1)")
    times = await _probe(insert.fetch, until)
    await connection.close()
    return times


async def _probe(once: Callable[[], Awaitable[object]], until: "asyncio.Task[object]") -> Times:
    await asyncio.sleep(SETTLE)
    times: list[float] = []
    while not until.done():
        started = time.perf_counter()
        async with asyncio.timeout(10):
            await once()
        times.append((time.perf_counter() - started) * 1000)
        await asyncio.sleep(PROBE_PAUSE)
    return Times.of(times)
