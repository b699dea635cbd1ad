"""The store worker: from a backlog, beside a row a message; and what announcing costs."""

import asyncio
import time
from uuid import uuid4

import aiormq
import asyncpg
import msgspec

from bench.common import PEERS, Row, Servers, process
from broker import identity
from broker.connection import Link
from broker.publisher import Publisher
from deploy.local.children import free_ports
from schemas import registry
from schemas.envelope import Stamp
from schemas.topology import INBOUND, STORE

PEER_QUEUE = "bench.rows"


async def bench_store(found: Servers, *, runs: int, messages: int) -> list[Row]:
    """Events stored a second from a backlog, one worker; beside FastStream with a row per message."""
    connection = await aiormq.connect(found.amqp)
    channel = await connection.channel()
    await channel.queue_declare(PEER_QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    await connection.close()
    database = await asyncpg.connect(found.database)
    await database.execute("CREATE TABLE IF NOT EXISTS bench_rows (id uuid PRIMARY KEY, key text, body jsonb)")
    admin = free_ports(1)[0]
    ours: list[float] = []
    theirs: list[float] = []
    worker = ("-m", "deploy.cli.main", "worker", "store", "--admin-port", str(admin))
    peer = (str(PEERS / "faststream_row.py"), found.amqp, found.database, PEER_QUEUE)
    for _ in range(runs):
        await fill(found.amqp, INBOUND, "channelape.rothys.receipt_confirmation", messages)
        await database.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions CASCADE")
        ours.append(await timed(found, database, worker, "crossdock.receipts", STORE, messages))
        await fill(found.amqp, "", PEER_QUEUE, messages)
        await database.execute("TRUNCATE bench_rows")
        theirs.append(await timed(found, database, peer, "bench_rows", PEER_QUEUE, messages))
    await database.close()
    return [Row("stored events/s, one worker, from a backlog", "FastStream, a row per message", ours, theirs, 4.0)]


async def bench_events(found: Servers, *, runs: int, messages: int) -> list[Row]:
    """Events stored a second with every one announced on `crossdock.events`, beside the same worker that is silent."""
    database = await asyncpg.connect(found.database)
    admin = free_ports(1)[0]
    worker = ("-m", "deploy.cli.main", "worker", "store", "--admin-port", str(admin))
    rates: dict[bool, list[float]] = {True: [], False: []}
    for announced in (True, False) * runs:
        await fill(found.amqp, INBOUND, "channelape.rothys.receipt_confirmation", messages)
        await database.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions CASCADE")
        command = worker if announced else (str(PEERS / "store_silent.py"),)
        rates[announced].append(await timed(found, database, command, "crossdock.receipts", STORE, messages))
    await database.close()
    return [Row("stored events/s, each announced", "the same worker, silent", rates[True], rates[False], 0.75)]


async def fill(amqp: str, exchange: str, key: str, messages: int) -> None:
    """A backlog of distinct documents."""
    platform = registry.platforms()["channelape"]
    assert platform.vary is not None
    raw = msgspec.json.format(registry.example("channelape", "receipt_confirmation"), indent=-1)
    stamp = Stamp("channelape", "rothys", "receipt_confirmation", "application/json", None)
    publisher = Publisher(confirm_timeout=60)

    async def on_open(link: Link, connection: aiormq.abc.AbstractConnection) -> None:
        publisher.use(link.transport, await link.channel(connection, confirms=True))

    link = Link(amqp, name="bench", on_open=on_open, on_lost=publisher.on_lost)
    link.start()
    await link.opened.wait()
    left = messages
    while left:
        futures = []
        for _ in range(min(left, 2000)):
            name = identity.message_id()
            body = platform.vary("receipt_confirmation", raw, uuid4().hex)
            properties = stamp(name, time.time(), identity.traceparent(None))
            futures.append(publisher.publish(exchange, key, properties, name, body))
        await asyncio.gather(*futures)
        left -= len(futures)
    await publisher.stop()
    await link.stop()


async def timed(
    found: Servers, database: asyncpg.Connection, command: tuple[str, ...], table: str, queue: str, messages: int
) -> float:
    """Messages a second, from the first one stored to the last: the start of a process is nobody's throughput.

    Counting costs the database time, so rows are counted while there are few, and again once the queue is empty.
    """
    connection = await aiormq.connect(found.amqp)
    channel = await connection.channel()
    count = f"SELECT count(*) FROM {table}"  # noqa: S608 - ours
    until = time.monotonic() + 180
    async with process(found, *command) as child:

        async def wait(pause: float) -> None:
            if time.monotonic() > until or child.poll() is not None:
                raise RuntimeError(f"{' '.join(command[:4])} did not store {messages} messages; see its log")
            await asyncio.sleep(pause)

        while not (before := await database.fetchval(count)):
            await wait(0.02)
        started = time.perf_counter()
        while (await channel.queue_declare(queue, passive=True)).message_count:
            await wait(0.1)
        while await database.fetchval(count) < messages:
            await wait(0.05)
        rate: float = (messages - before) / (time.perf_counter() - started)
    await connection.close()
    return rate
