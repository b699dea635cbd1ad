"""Several of a kind beside one: whether it is faster, and whether what is stored is still right.

On a machine whose cores one of each fills already, more are not faster; on one with more they are. That identity and
versions stay right doesn't depend on it, and is checked.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import asyncpg
import msgspec

from bench import backlog, bodies, load
from bench.backlog import store_worker
from bench.common import Failed, Servers, process, purge
from bench.ingress import CONNECTIONS, start_ingress
from bench.plan import Plan
from bench.row import Row
from broker import topology
from deploy.local.rabbitmq import RabbitMQ

REPEATS = 4
"""Times that each document is posted: workers that hold the same key at the same time must agree."""
SHARDS = 4


async def bench_scale(found: Servers, plan: Plan) -> list[Row]:
    """Ingress processes on one port, store workers on one queue, and on an inbound queue each."""
    doors: dict[int, list[float]] = {1: [], 2: []}
    workers: dict[int, list[float]] = {1: [], 2: []}
    sharded: list[float] = []
    together: list[float] = []
    async with _virtual_hosts(found) as hosts:
        for _ in range(plan.runs):
            for count in (2, 1):
                doors[count].append(await _accepted(found, count, plan.seconds))
                workers[count].append(await _stored(found, [found.amqp] * count, plan.messages))
            sharded.append(await _stored(found, hosts, plan.messages))
            together.append(await _stored(found, hosts[:1] * SHARDS, plan.messages))
    stored = f"stored events/s, each document {REPEATS} times"
    return [
        Row(f"ingress accepted/s, 2 processes, {CONNECTIONS[0]} connections", "1 process", doors[2], doors[1]),
        Row(f"{stored}, 2 workers", "1 worker", workers[2], workers[1]),
        Row(f"{stored}, {SHARDS} workers on {SHARDS} virtual hosts", f"{SHARDS} workers on one", sharded, together),
    ]


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
        raise Failed(f"{result.failed} of {result.done} requests failed")
    return result.per_second


async def _stored(found: Servers, brokers: Sequence[str], messages: int) -> float:
    """A worker for each of `brokers`, of which some may be the same. Every document is spread over all of them.

    Raises Failed when something is stored twice, or not at all.
    """
    database = await asyncpg.connect(found.database)
    await backlog.empty(database)
    hosts = list(dict.fromkeys(brokers))
    keys = messages // REPEATS
    prefix = uuid4().hex
    for host in hosts:
        there = msgspec.structs.replace(found, amqp=host)
        await backlog.fill(there, keys * REPEATS // len(hosts), keys=keys, prefix=prefix)
    async with AsyncExitStack() as stack:
        first, *others = brokers
        for host in others:
            await stack.enter_async_context(process(found, *store_worker(), env={"AMQP_URL": host}))
        rate = await backlog.stored(msgspec.structs.replace(found, amqp=first), keys * REPEATS, more=True)
    counted = await database.fetchrow(
        "SELECT (SELECT count(*) FROM crossdock.documents) AS documents, "
        "(SELECT count(*) FROM crossdock.versions) AS versions, "
        "(SELECT sum(times_received) FROM crossdock.documents) AS received"
    )
    assert counted is not None
    await backlog.empty(database)
    await database.close()
    if tuple(counted) != (keys, keys, keys * REPEATS):
        raise Failed(f"{keys} documents, {REPEATS} times each, were stored as {dict(counted)}")
    return rate


@asynccontextmanager
async def _virtual_hosts(found: Servers) -> AsyncIterator[list[str]]:
    """SHARDS of them with our topology, on a node of their own: making them takes the management plugin."""
    node = RabbitMQ(found.folder / "shards", management=True)
    try:
        await node.start()
        urls = []
        headers = {"Authorization": aiohttp.encode_basic_auth("guest", "guest")}
        async with aiohttp.ClientSession(headers=headers) as session:
            for number in range(SHARDS):
                async with session.put(f"{node.management_url}/api/vhosts/shard-{number}") as answer:
                    answer.raise_for_status()
                url = urlsplit(node.url)._replace(path=f"/shard-{number}").geturl()
                await topology.apply(url)
                urls.append(url)
        yield urls
    finally:
        await node.stop()
