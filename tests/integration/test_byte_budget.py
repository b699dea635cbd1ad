"""What a consumer holds is bounded by bytes: the socket is not read any more, and everything arrives all the same."""

import asyncio

import aiormq
from aio_pika.abc import AbstractConnection
from pamqp.commands import Basic

from broker import consumer as consuming
from broker.connection import BrokerConnection
from broker.consumer import ByteBudget, Consumer
from tests.support.pipeline import until

QUEUE = "large"
SIZE = 256 * 1024
COUNT = 200
LIMIT = 8 * SIZE


async def test_a_backlog_of_large_messages_is_held_a_few_at_a_time(empty_amqp_url: str) -> None:
    setup = await aiormq.connect(empty_amqp_url)
    channel = await setup.channel()
    await channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    for number in range(COUNT):
        body = number.to_bytes(4, "big") * (SIZE // 4)
        await channel.basic_publish(body, routing_key=QUEUE, properties=Basic.Properties(delivery_mode=2))
    budget = ByteBudget(LIMIT)
    consumer = Consumer(QUEUE, prefetch=COUNT, budget=budget)

    async def on_open(link: BrokerConnection, connection: AbstractConnection) -> None:
        await consumer.on_open(link, connection)

    link = BrokerConnection(empty_amqp_url, name="large", on_open=on_open, on_lost=consumer.on_lost)
    link.start()
    seen: list[int] = []
    most = paused = 0
    async with asyncio.timeout(60):
        while len(seen) < COUNT:
            batch = await consumer.take(COUNT, 0.05, 4 * SIZE)
            assert sum(len(delivery.body) for delivery in batch) <= 4 * SIZE
            most, paused = max(most, budget.held), paused + budget.is_full
            seen += [int.from_bytes(delivery.body[:4], "big") for delivery in batch]
            await consuming.ack(batch)
    assert seen == list(range(COUNT))
    assert paused, "the limit was never reached"
    # What had been read when the limit was reached: one read of the socket, which is less than two of these.
    assert most <= LIMIT + 2 * SIZE
    assert budget.held == 0
    await link.stop()
    await setup.close()


async def test_a_lost_session_gives_its_bytes_back(empty_amqp_url: str) -> None:
    setup = await aiormq.connect(empty_amqp_url)
    channel = await setup.channel()
    await channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
    for _ in range(20):
        await channel.basic_publish(bytes(SIZE), routing_key=QUEUE)
    budget = ByteBudget(LIMIT)
    consumer = Consumer(QUEUE, prefetch=20, budget=budget)
    opened = asyncio.Semaphore(0)

    async def on_open(link: BrokerConnection, connection: AbstractConnection) -> None:
        await consumer.on_open(link, connection)
        opened.release()

    link = BrokerConnection(empty_amqp_url, name="large", on_open=on_open, on_lost=consumer.on_lost)
    link.start()
    async with asyncio.timeout(60):
        await opened.acquire()
        (first,) = await consumer.take(1, 0)
        await until(lambda: budget.is_full)
        consumer.reconnect("test")
        await opened.acquire()
        assert first.session.is_gone
        seen = 0
        while seen < 20:
            batch = await consumer.take(20, 0.05, 4 * SIZE)
            assert batch[0].redelivered
            seen += len(batch)
            assert await consuming.ack(batch)
    assert not await consuming.ack_one(first)
    assert budget.held == 0
    await link.stop()
    await setup.close()
