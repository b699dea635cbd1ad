"""An event that is larger than the broker takes is announced without its data, and can be read whole at the API."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import aiormq
import asyncpg
import msgspec
import pytest_asyncio

from broker import topology as broker
from deploy.local.rabbitmq import RabbitMQ
from ingress.api import events as api
from schemas import cloudevents, envelope, topology
from schemas.envelope import Envelope
from storage import events
from tests import pipeline
from tests.pipeline import running, until

LIMIT = 200_000


@pytest_asyncio.fixture
async def small(tmp_path: Path) -> AsyncIterator[str]:
    """A RabbitMQ that takes no message of more than LIMIT bytes."""
    rabbitmq = RabbitMQ(tmp_path / "rabbitmq", settings={"max_message_size": str(LIMIT)})
    await rabbitmq.start()
    try:
        await broker.apply(rabbitmq.url)
        yield rabbitmq.url
    finally:
        await rabbitmq.stop()


async def test_an_event_that_is_too_large_says_where_it_can_be_read(
    small: str, database_url: str, database: asyncpg.Connection
) -> None:
    connection = await aiormq.connect(small)
    channel = await connection.channel()
    seen = await channel.queue_declare(exclusive=True)
    assert seen.queue is not None
    await channel.queue_bind(seen.queue, topology.EVENTS, "#")
    for key, size in (("small", 10), ("large", LIMIT - 100), ("after", 10)):
        about = Envelope(
            message_id=str(uuid4()),
            platform="channelape",
            account="acme",
            event="stock_transfer_order",
            received_at=envelope.now(),
        )
        body = msgspec.json.encode({"channelOrderId": key, "status": "x" * size})
        await channel.basic_publish(body, routing_key=topology.STORE, properties=envelope.to_properties(about))
    found: dict[str, cloudevents.CloudEvent] = {}
    async with running(pipeline.store(small, database_url)):

        async def announced() -> bool:
            message = await channel.basic_get(seen.queue or "", no_ack=True)
            if message.delivery_tag:
                event = cloudevents.decode(bytes(message.body))
                found[event.subject] = event
            return len(found) == 3

        await until(announced, what="three events")
    large = found["large"]
    assert (large.data, large.dataref) == (msgspec.UNSET, f"/v1/events/{large.id}")
    assert all(found[key].data is not msgspec.UNSET for key in ("small", "after"))
    assert await database.fetchval("SELECT count(*) FROM crossdock.quarantine") == 0
    stored = await events.get(database, UUID(large.id))
    assert stored is not None
    whole = cloudevents.decode(api._encode(stored))
    assert msgspec.structs.replace(whole, data=msgspec.UNSET) == msgspec.structs.replace(large, dataref=msgspec.UNSET)
    assert len(bytes(whole.data or b"")) > LIMIT - 200
    await connection.close()
