"""Several of a kind beside one: whether it is faster, and whether what is stored is still right.

On a machine whose cores one of each fills already, more are not faster; on one with more they are. That identity and
versions stay right doesn't depend on it, and is checked.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from bench import backlog, bodies, load
from bench.backlog import store_worker
from bench.common import BenchmarkError, Servers, process, purge
from bench.ingress import CONNECTIONS, start_ingress
from bench.plan import Plan
from bench.row import Row
from broker import topology as topologies
from schemas.topology import topology

REPEATS = 4
"""Times that each document is posted: workers that hold the same key at the same time must agree."""
SHARDS = 4


async def bench_scale(found: Servers, plan: Plan) -> list[Row]:
    """Ingress processes on one port, store workers on one queue, and on an inbound queue each."""
    doors: dict[int, list[float]] = {1: [], 2: []}
    workers: dict[int, list[float]] = {1: [], 2: []}
    sharded: list[float] = []
    together: list[float] = []
    for _ in range(plan.runs):
        for count in (2, 1):
            doors[count].append(await _accepted(found, count, plan.seconds))
            workers[count].append(await _stored(found, [0] * count, plan.messages))
        async with _sharded(found):
            sharded.append(await _stored(found, range(SHARDS), plan.messages))
        together.append(await _stored(found, [0] * SHARDS, plan.messages))
    stored = f"stored events/s, each document {REPEATS} times"
    return [
        Row(f"ingress accepted/s, 2 processes, {CONNECTIONS[0]} connections", "1 process", doors[2], doors[1]),
        Row(f"{stored}, 2 workers", "1 worker", workers[2], workers[1]),
        Row(f"{stored}, {SHARDS} workers on {SHARDS} inbound queues", f"{SHARDS} workers on one", sharded, together),
    ]


@asynccontextmanager
async def _sharded(found: Servers) -> AsyncIterator[None]:
    """SHARDS inbound queues, and one again."""
    try:
        await _spread(found, SHARDS)
        yield
    finally:
        await _spread(found, 1)


async def _spread(found: Servers, shards: int) -> None:
    wanted = topology(shards=shards)
    await topologies.apply(found.amqp, wanted)
    await topologies.prune(found.amqp, wanted)


async def _accepted(found: Servers, count: int, seconds: int) -> float:
    hook = bodies.webhook(found.folder)
    async with AsyncExitStack() as stack:
        port = await start_ingress(stack, found, processes=count)
        url = f"http://127.0.0.1:{port}{hook.path}"
        result = await asyncio.to_thread(
            load.run, url, hook.headers, hook.raw, connections=CONNECTIONS[0], seconds=seconds
        )
    await purge(found.amqp)
    if result.failed:
        raise BenchmarkError(f"{result.failed} of {result.done} requests failed")
    return result.per_second


async def _stored(found: Servers, workers: Sequence[int], messages: int) -> float:
    """A worker on the queue of each of these shards, of which some may be the same; each document comes through all.

    Raises BenchmarkError when something is stored twice, or not at all.
    """
    database = await asyncpg.connect(found.database)
    await backlog.empty(database)
    keys = messages // REPEATS
    await backlog.fill(found, keys * REPEATS, keys=keys, shards=len(set(workers)))
    async with AsyncExitStack() as stack:
        for shard in workers[1:]:
            await stack.enter_async_context(process(found, *store_worker(shard)))
        rate = await backlog.stored(found, keys * REPEATS, more=True)
    counted = await database.fetchrow(
        "SELECT (SELECT count(*) FROM crossdock.documents) AS documents, "
        "(SELECT count(*) FROM crossdock.versions) AS versions, "
        "(SELECT sum(times_received) FROM crossdock.documents) AS received"
    )
    assert counted is not None
    await backlog.empty(database)
    await database.close()
    if tuple(counted) != (keys, keys, keys * REPEATS):
        raise BenchmarkError(f"{keys} documents, {REPEATS} times each, were stored as {dict(counted)}")
    return rate
