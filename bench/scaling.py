"""Several processes of a kind compared with one: whether they are faster, and whether what is stored is still correct.

On a machine whose cores are used up by one process of each kind, more are not faster; on a larger one they are. That
identity and versions stay correct does not depend on the machine, and is checked.
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
"""Number of times that each document is posted, because workers that hold the same key at once must agree."""
SHARDS = 4


async def bench_scale(servers: Servers, plan: Plan) -> list[Row]:
    """Measure ingress processes on one port, store workers on one queue, and store workers on one queue each."""
    doors: dict[int, list[float]] = {1: [], 2: []}
    workers: dict[int, list[float]] = {1: [], 2: []}
    sharded: list[float] = []
    together: list[float] = []
    for _ in range(plan.runs):
        for count in (2, 1):
            doors[count].append(await _accepted(servers, count, plan.seconds))
            workers[count].append(await _stored(servers, [0] * count, plan.messages))
        async with _sharded(servers):
            sharded.append(await _stored(servers, range(SHARDS), plan.messages))
        together.append(await _stored(servers, [0] * SHARDS, plan.messages))
    stored = f"stored events/s, each document {REPEATS} times"
    return [
        Row(f"ingress accepted/s, 2 processes, {CONNECTIONS[0]} connections", "1 process", doors[2], doors[1]),
        Row(f"{stored}, 2 workers", "1 worker", workers[2], workers[1]),
        Row(f"{stored}, {SHARDS} workers on {SHARDS} inbound queues", f"{SHARDS} workers on one", sharded, together),
    ]


@asynccontextmanager
async def _sharded(servers: Servers) -> AsyncIterator[None]:
    """Use SHARDS inbound queues, and a single one again at the end."""
    try:
        await _spread(servers, SHARDS)
        yield
    finally:
        await _spread(servers, 1)


async def _spread(servers: Servers, shards: int) -> None:
    expected = topology(shards=shards)
    await topologies.apply(servers.amqp, expected)
    await topologies.prune(servers.amqp, expected)


async def _accepted(servers: Servers, count: int, seconds: int) -> float:
    hook = bodies.webhook(servers.folder)
    async with AsyncExitStack() as stack:
        port = await start_ingress(stack, servers, processes=count)
        url = f"http://127.0.0.1:{port}{hook.path}"
        result = await asyncio.to_thread(
            load.run, url, hook.headers, hook.raw, connections=CONNECTIONS[0], seconds=seconds
        )
    await purge(servers.amqp)
    if result.failed:
        raise BenchmarkError(f"{result.failed} of {result.done} requests failed")
    return result.per_second


async def _stored(servers: Servers, workers: Sequence[int], messages: int) -> float:
    """Run a worker on the queue of each of these shards, some of which may be equal; each document reaches all of them.

    Raises BenchmarkError if something is stored twice or not at all.
    """
    database = await asyncpg.connect(servers.database)
    await backlog.empty(database)
    keys = messages // REPEATS
    await backlog.fill(servers, keys * REPEATS, keys=keys, shards=len(set(workers)))
    async with AsyncExitStack() as stack:
        for shard in workers[1:]:
            await stack.enter_async_context(process(servers, *store_worker(shard)))
        rate = await backlog.stored(servers, keys * REPEATS, more=True)
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
