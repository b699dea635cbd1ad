"""Servers and workers that go away in the middle of it: nothing acknowledged is lost, nothing is stored twice."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio

from broker import topology
from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ
from schemas import registry
from storage import migrate
from tests.support import pipeline


@pytest_asyncio.fixture
async def own_broker(servers: Path) -> AsyncIterator[RabbitMQ]:
    """A node of the test's own, to be stopped."""
    server = RabbitMQ(servers / f"broker-{uuid4().hex[:6]}")
    await server.start()
    await topology.apply(server.url)
    try:
        yield server
    finally:
        await server.stop()


@pytest_asyncio.fixture
async def own_postgres(servers: Path) -> AsyncIterator[Postgres]:
    """A server of the test's own, to be stopped."""
    server = Postgres(servers / f"postgres-{uuid4().hex[:6]}")
    await server.start()
    await migrate.migrate(server.url)
    try:
        yield server
    finally:
        await server.stop()


def fresh(number: int) -> bytes:
    platform = registry.platforms()["channelape"]
    assert platform.with_new_key is not None
    raw = registry.example("channelape", "receipt_confirmation")
    return platform.with_new_key("receipt_confirmation", raw, f"{number:032x}")


async def test_posts_are_503_while_the_broker_is_stopped_and_accepted_again_afterwards(
    own_broker: RabbitMQ, database_url: str, database: asyncpg.Connection
) -> None:
    settings = pipeline.config({"ingress": {"confirm_timeout": 2.0}})
    async with (
        pipeline.running(pipeline.store(own_broker.url, database_url)),
        pipeline.door(own_broker.url, settings) as door,
    ):
        accepted = [json.loads((await door.post("channelape", "receipt_confirmation", fresh(0)))[1])["id"]]
        await own_broker.stop()
        status, _, headers = await door.post("channelape", "receipt_confirmation", fresh(1))
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        assert door.app.problems()
        await own_broker.start()

        async def works() -> bool:
            status, body, _ = await door.post("channelape", "receipt_confirmation", fresh(2))
            if status == 200:
                accepted.append(json.loads(body)["id"])
            return status == 200

        await pipeline.until(works, what="the ingress to be back", seconds=30)

        async def all_stored() -> bool:
            rows = await database.fetch("SELECT message_id FROM crossdock.receipts")
            return {UUID(message) for message in accepted} <= {row[0] for row in rows}

        await pipeline.until(all_stored, what="everything acknowledged is stored", seconds=30)


async def test_posts_are_accepted_while_the_database_is_stopped_and_stored_afterwards(
    amqp_url: str, own_postgres: Postgres
) -> None:
    async with (
        pipeline.running(worker := pipeline.store(amqp_url, own_postgres.url)),
        pipeline.door(amqp_url) as door,
    ):
        assert (await door.post("channelape", "receipt_confirmation", fresh(0)))[0] == 200
        await own_postgres.stop()
        answers = await asyncio.gather(
            *(door.post("channelape", "receipt_confirmation", fresh(n)) for n in range(1, 101))
        )
        assert {status for status, _, _ in answers} == {200}
        await pipeline.until(lambda: worker.problems(), what="/readyz to say why")
        await own_postgres.start()

        async def all_stored() -> bool:
            connection = await asyncpg.connect(own_postgres.url)
            try:
                return bool(await connection.fetchval("SELECT count(*) = 101 FROM crossdock.events"))
            finally:
                await connection.close()

        await pipeline.until(all_stored, what="101 events", seconds=30)
        await pipeline.until(lambda: not worker.problems(), what="the worker to be ready")
    depths = await topology.depths(amqp_url)
    assert depths["crossdock.dead"] == (0, 0)


async def test_a_foreign_message_is_quarantined_with_the_reason_and_others_are_stored(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    import aiormq

    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    async with pipeline.running(pipeline.store(amqp_url, database_url)), pipeline.door(amqp_url) as door:
        await channel.basic_publish(b"hello", exchange="crossdock.inbound", routing_key="not.of.ours")
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        await pipeline.until(lambda: database.fetchval("SELECT count(*) = 1 FROM crossdock.events"))
        row = await pipeline.until(lambda: database.fetchrow("SELECT raw, stage, reason FROM crossdock.quarantine"))
    assert (row["raw"], row["stage"]) == (b"hello", "unreadable")
    assert "not a message of ours" in row["reason"]
    await connection.close()


async def test_an_event_is_announced_although_the_worker_died_before_publishing(
    amqp_url: str, database_url: str, database: asyncpg.Connection, tmp_path: Path
) -> None:
    """The first worker can't have its events confirmed (no exchange) and is killed; the next one announces them."""
    import aiormq

    from schemas import cloudevents

    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    await channel.exchange_delete("crossdock.events")
    async with pipeline.door(amqp_url) as door:
        env = {**os.environ, "AMQP_URL": amqp_url, "DATABASE_URL": database_url}
        command = ("-m", "deploy.cli.main", "worker", "store", "--admin-port", "0")
        first = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=env, cwd=tmp_path, stderr=asyncio.subprocess.DEVNULL
        )
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        row = await pipeline.until(lambda: database.fetchrow("SELECT * FROM crossdock.events"))
        first.kill()
        await first.wait()
        await topology.apply(amqp_url)
        queue = await channel.queue_declare(exclusive=True)
        assert queue.queue is not None
        await channel.queue_bind(queue.queue, "crossdock.events", "#")
        async with pipeline.running(pipeline.store(amqp_url, database_url)):

            async def announced() -> object:
                message = await channel.basic_get(queue.queue or "", no_ack=True)
                return message if message.header.properties.message_id else None

            message = await pipeline.until(announced, what="the event")
    event = cloudevents.decode(bytes(message.body))
    assert event.id == str(row["id"]) == message.header.properties.message_id
    assert await database.fetchval("SELECT count(*) FROM crossdock.receipts") == 1
    await connection.close()
