"""A message that takes its worker with it, every time, ends with the dead, whole; its neighbours are stored."""

import asyncio
from typing import Any

import aiormq
import asyncpg

from schemas import registry, topology
from tests import pipeline
from tests.pipeline import door, running, until


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


async def test_a_message_that_kills_every_worker_ends_with_the_dead(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    raw = registry.example("channelape", "receipt_confirmation")
    async with door(amqp_url) as hook:
        status, _, headers = await hook.post("channelape", "receipt_confirmation", raw)
        assert status == 200
        await until(lambda: depth(amqp_url, topology.STORE))
        for _ in range(topology.DELIVERY_LIMIT + 1):
            assert await depth(amqp_url, topology.DEAD) == 0
            assert await crash(amqp_url)
        await until(lambda: depth(amqp_url, topology.DEAD), what="the message is dead")
        for event in ("ship_confirmation", "stock_transfer_order"):
            assert (await hook.post("channelape", event))[0] == 200
        async with running(pipeline.store(amqp_url, database_url)):
            await until(lambda: database.fetchval("SELECT count(*) = 2 FROM crossdock.events"))
    connection = await aiormq.connect(amqp_url)
    try:
        channel = await connection.channel()
        message = await channel.basic_get(topology.DEAD)
    finally:
        await connection.close()
    assert message.body == raw
    properties = message.header.properties
    assert properties.message_id == headers["X-Crossdock-Id"]
    found: Any = properties.headers
    (death,) = found["x-death"]
    assert (death["queue"], death["reason"]) == (topology.STORE, "delivery_limit")
    assert found["platform"] == "channelape"
