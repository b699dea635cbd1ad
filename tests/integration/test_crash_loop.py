"""A message that was in the hands of worker after worker that died is stored like any other: that proves nothing."""

import asyncio

import aiormq
import asyncpg
import pytest

from schemas import registry, topology
from tests.support import pipeline
from tests.support.pipeline import door, running, until
from workers.store import stations


async def crash(amqp_url: str) -> bool:
    """A worker that takes one message and dies: its connection is gone, nothing is acked. False: there was none."""
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    await channel.basic_qos(prefetch_count=1)
    taken = asyncio.Event()

    async def take(message: aiormq.abc.DeliveredMessage) -> None:
        taken.set()

    await channel.basic_consume(topology.STORE, take)
    try:
        await asyncio.wait_for(taken.wait(), 5)
    except TimeoutError:
        return False
    finally:
        connection._writer_task.cancel()
        await connection.close()
    return True


async def depth(amqp_url: str, queue: str) -> int:
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        return (await channel.queue_declare(queue, passive=True)).message_count or 0
    finally:
        await connection.close()


async def test_a_message_whose_workers_died_again_and_again_is_stored(
    amqp_url: str, database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stations, "INTERVAL", 0.1)
    raw = registry.example("channelape", "receipt_confirmation")
    async with door(amqp_url) as hook:
        status, _, headers = await hook.post("channelape", "receipt_confirmation", raw)
        assert status == 200
        await until(lambda: depth(amqp_url, topology.STORE))
        for _ in range(21):  # once more than RabbitMQ 4 allows where nothing else is said
            assert await crash(amqp_url)
        for event in ("ship_confirmation", "stock_transfer_order"):
            assert (await hook.post("channelape", event))[0] == 200
        async with running(pipeline.store(amqp_url, database_url)):
            await until(lambda: database.fetchval("SELECT count(*) = 3 FROM crossdock.events"))
            await until(lambda: empty(amqp_url), what="nothing is left with the broker")
    query = "SELECT raw, message_id::text, times_received FROM crossdock.events WHERE raw = $1"
    assert tuple((await database.fetch(query, raw))[0]) == (raw, headers["X-Crossdock-Id"], 1)
    assert await database.fetchval("SELECT count(*) FROM crossdock.quarantine") == 0


async def empty(amqp_url: str) -> bool:
    return not await depth(amqp_url, topology.STORE) and not await depth(amqp_url, topology.DEAD)
