"""Fills a backlog, and measures how fast a worker empties it."""

import asyncio
import time
from collections.abc import Callable
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
"""Maximum number of unconfirmed messages."""
FILLED = ("documents", "receipts", "versions", "identifiers", "transfer_states", "transfer_changes")
"""The tables that storing fills."""
PATIENCE = 240.0
"""Seconds for a worker to empty a backlog."""


def store_worker(shard: int = 0) -> tuple[str, ...]:
    """Return the command of our store worker, on a free admin port."""
    command = ("-m", "deploy.cli.main", "worker", "store", "--shard", str(shard))
    return (*command, "--admin-port", str(free_ports(1)[0]))


async def fill(
    servers: Servers,
    messages: int,
    *,
    exchange: str = INBOUND,
    key: str = KEY,
    keys: int | None = None,
    shards: int = 1,
) -> float:
    """Publish a backlog as the ingress would have, and return the messages published per second.

    `keys`: number of documents that the messages belong to, in turn; None for one per message. `shards`: number of
    inbound queues that they are spread over.
    """
    raw = bodies.webhook(servers.folder).raw
    stamp = Stamp(bodies.PLATFORM, bodies.ACCOUNT, bodies.EVENT, "application/json", None, shards=shards)
    prefix = uuid4().hex

    def body(number: int) -> tuple[Stamp, bytes]:
        return stamp, bodies.with_new_key(raw, f"{prefix}{number % (keys or messages)}")

    return await publish(servers, messages, body, exchange=exchange, key=key)


async def publish(
    servers: Servers, messages: int, body: Callable[[int], tuple[Stamp, bytes]], *, exchange: str, key: str
) -> float:
    """Publish messages and return how many per second. `body` returns the n-th one with the stamp of its properties."""
    publisher = Publisher(confirm_timeout=60)

    async def on_open(link: BrokerConnection, connection: AbstractConnection) -> None:
        publisher.use(link.transport, await link.channel(connection, confirms=True))

    link = BrokerConnection(servers.amqp, name="bench", on_open=on_open, on_lost=publisher.on_lost)
    link.start()
    await link.opened.wait()
    started = time.perf_counter()
    for start in range(0, messages, BURST):
        futures = []
        for number in range(start, min(start + BURST, messages)):
            name = ids.message_id()
            stamp, raw = body(number)
            properties = stamp(name, time.time(), ids.traceparent(None))
            futures.append(publisher.publish(exchange, key, properties, name, raw))
        await asyncio.gather(*futures)
    rate = messages / (time.perf_counter() - started)
    await publisher.stop()
    await link.stop()
    return rate


async def empty(database: asyncpg.Connection) -> None:
    """Delete everything that is stored; an earlier release has fewer tables."""
    names = await database.fetchval(
        "SELECT string_agg('crossdock.' || name, ', ') FROM unnest($1::text[]) name "
        "WHERE to_regclass('crossdock.' || name) IS NOT NULL",
        FILLED,
    )
    await database.execute(f"TRUNCATE {names} CASCADE")


async def filed(database: asyncpg.Connection, count: int) -> bool:
    """Return whether at least `count` messages are stored."""
    stored_count: int = await database.fetchval("SELECT count(*) FROM crossdock.receipts")
    return stored_count >= count


async def stored(servers: Servers, messages: int, *, more: bool = False) -> float:
    """Return how many of `messages` our worker stores per second. `more`: the queue holds more, which may stay."""
    database = await asyncpg.connect(servers.database)
    moment = await database.fetchval("SELECT max(received_at) FROM crossdock.receipts")
    await database.close()
    since = f"WHERE received_at > '{moment}'" if moment else ""
    return await timed(servers, store_worker(), f"crossdock.receipts {since}", None if more else STORE, messages)


async def timed(servers: Servers, command: tuple[str, ...], rows: str, queue: str | None, messages: int) -> float:
    """Return messages per second from the first one stored to the last, which excludes the start of the process.

    `rows`: the rows to count, as a table and a condition. Counting many rows costs the database time, so it starts once
    `queue` is empty, or at once without a queue. Raises BenchmarkError if the worker ends or takes too long.
    """
    count = f"SELECT count(*) FROM {rows}"  # noqa: S608 - ours
    end = time.monotonic() + PATIENCE
    database = await asyncpg.connect(servers.database)
    async with channel(servers.amqp) as opened, process(servers, *command) as child:

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
