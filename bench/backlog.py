"""A backlog, and how fast a worker takes it away."""

import asyncio
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
from aio_pika.abc import AbstractConnection

from bench import bodies
from bench.common import BenchmarkError, Servers, channel, process, waiting
from bench.ingress import KEY
from broker import ids
from broker.connection import BrokerConnection
from broker.publisher import Publisher
from deploy.local.children import free_ports
from schemas.envelope import Stamp
from schemas.topology import INBOUND, STORE

BURST = 2000
"""Messages published and not confirmed at a time."""
PATIENCE = 240.0
"""Seconds for a worker to take a backlog away."""


def store_worker(shard: int = 0) -> tuple[str, ...]:
    """Our own, on a free admin port."""
    command = ("-m", "deploy.cli.main", "worker", "store", "--shard", str(shard))
    return (*command, "--admin-port", str(free_ports(1)[0]))


async def fill(
    found: Servers,
    messages: int,
    *,
    exchange: str = INBOUND,
    key: str = KEY,
    keys: int | None = None,
    shards: int = 1,
) -> float:
    """A backlog as the ingress would have published it. How many were published a second.

    `keys`: how many documents the messages are of, in turn; None: as many as there are messages. `shards`: inbound
    queues that they are spread over.
    """
    raw = bodies.webhook(found.folder).raw
    stamp = Stamp(bodies.PLATFORM, bodies.ACCOUNT, bodies.EVENT, "application/json", None, shards=shards)
    publisher = Publisher(confirm_timeout=60)

    async def on_open(link: BrokerConnection, connection: AbstractConnection) -> None:
        publisher.use(link.transport, await link.channel(connection, confirms=True))

    link = BrokerConnection(found.amqp, name="bench", on_open=on_open, on_lost=publisher.on_lost)
    prefix = uuid4().hex
    link.start()
    await link.opened.wait()
    started = time.perf_counter()
    for start in range(0, messages, BURST):
        futures = []
        for number in range(start, min(start + BURST, messages)):
            name = ids.message_id()
            properties = stamp(name, time.time(), ids.traceparent(None))
            futures.append(
                publisher.publish(
                    exchange, key, properties, name, bodies.with_new_key(raw, f"{prefix}{number % (keys or messages)}")
                )
            )
        await asyncio.gather(*futures)
    rate = messages / (time.perf_counter() - started)
    await publisher.stop()
    await link.stop()
    return rate


async def empty(database: asyncpg.Connection) -> None:
    """Nothing stored, as on the first day."""
    await database.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions CASCADE")


async def filed(database: asyncpg.Connection, count: int) -> bool:
    """Whether so many messages are stored."""
    found: int = await database.fetchval("SELECT count(*) FROM crossdock.receipts")
    return found >= count


async def stored(found: Servers, messages: int, *, more: bool = False) -> float:
    """How many of so many messages our worker stores a second. `more`: there are more in the queue, which may stay."""
    database = await asyncpg.connect(found.database)
    moment = await database.fetchval("SELECT max(received_at) FROM crossdock.receipts")
    await database.close()
    since = f"WHERE received_at > '{moment}'" if moment else ""
    return await timed(found, store_worker(), f"crossdock.receipts {since}", None if more else STORE, messages)


async def timed(found: Servers, command: tuple[str, ...], rows: str, queue: str | None, messages: int) -> float:
    """Messages a second, from the first one stored to the last: the start of a process is nobody's throughput.

    `rows`: what counts them, a table and a condition. Counting many costs the database time, so it is done once `queue`
    is empty; without one, all the while. Raises BenchmarkError when the worker ends or takes too long.
    """
    count = f"SELECT count(*) FROM {rows}"  # noqa: S608 - ours
    end = time.monotonic() + PATIENCE
    database = await asyncpg.connect(found.database)
    async with channel(found.amqp) as opened, process(found, *command) as child:

        async def wait(pause: float) -> None:
            if time.monotonic() > end or child.poll() is not None:
                raise BenchmarkError(f"{_name(command)} did not store {messages} messages")
            await asyncio.sleep(pause)

        while not (before := await database.fetchval(count)):
            await wait(0.02)
        started = time.perf_counter()
        while queue is not None and await waiting(opened, queue):
            await wait(0.1)
        while (after := await database.fetchval(count)) < messages:
            await wait(0.05)
        rate: float = (after - before) / (time.perf_counter() - started)
    await database.close()
    return rate


def _name(command: tuple[str, ...]) -> str:
    """Without addresses, which hold passwords."""
    return Path(command[0]).name if command[0] != "-m" else " ".join(command[2:4])
