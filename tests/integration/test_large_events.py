"""What is larger than the broker takes: a post is refused alone, and an event is announced without its data and can be
read whole at the API."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import aiormq
import asyncpg
import msgspec
import pytest
import pytest_asyncio

from broker import topology as broker
from broker.commands import connected
from deploy.local.rabbitmq import RabbitMQ
from ingress.api import events as api
from schemas import cloudevents, envelope, registry, topology
from schemas.envelope import Envelope
from storage import events
from tests.support import pipeline
from tests.support.pipeline import running, until

LIMIT = 200_000


@pytest_asyncio.fixture(scope="module")
async def small(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A RabbitMQ that takes no message of more than LIMIT bytes."""
    rabbitmq = RabbitMQ(tmp_path_factory.mktemp("small") / "rabbitmq", settings={"max_message_size": str(LIMIT)})
    await rabbitmq.start()
    try:
        await broker.apply(rabbitmq.url)
        yield rabbitmq.url
    finally:
        await rabbitmq.stop()


async def test_an_event_that_is_too_large_has_a_dataref(
    small: str, database_url: str, database: asyncpg.Connection
) -> None:
    connection = await aiormq.connect(small)
    channel = await connection.channel()
    seen = await channel.queue_declare(exclusive=True)
    assert seen.queue is not None
    await channel.queue_bind(seen.queue, topology.EVENTS, "#")
    for key, size in (("small", 10), ("large", LIMIT - 100), ("after", 10)):
        meta = Envelope(
            message_id=str(uuid4()),
            platform="channelape",
            account="acme",
            event="stock_transfer_order",
            received_at=envelope.now(),
        )
        body = msgspec.json.encode({"channelOrderId": key, "status": "x" * size})
        await channel.basic_publish(body, routing_key=topology.STORE, properties=envelope.to_properties(meta))
    received: dict[str, cloudevents.CloudEvent] = {}
    async with running(pipeline.store(small, database_url)):

        async def announced() -> bool:
            message = await channel.basic_get(seen.queue or "", no_ack=True)
            if message.delivery_tag:
                event = cloudevents.decode(bytes(message.body))
                received[event.subject] = event
            return len(received) == 3

        await until(announced, what="three events")
    large = received["large"]
    assert (large.data, large.dataref) == (msgspec.UNSET, f"/v1/events/{large.id}")
    assert all(received[key].data is not msgspec.UNSET for key in ("small", "after"))
    assert await database.fetchval("SELECT count(*) FROM crossdock.quarantine") == 0
    stored = await events.get(database, UUID(large.id))
    assert stored is not None
    whole = cloudevents.decode(api._encode(stored))
    assert msgspec.structs.replace(whole, data=msgspec.UNSET) == msgspec.structs.replace(large, dataref=msgspec.UNSET)
    assert len(bytes(whole.data or b"")) > LIMIT - 200
    await connection.close()


async def test_a_post_that_is_too_large_is_refused_and_no_other(small: str) -> None:
    """RabbitMQ closes the channel on it: all other messages are sent again, and all questions asked again."""
    settings = pipeline.config()
    accounts = {
        name: msgspec.structs.replace(account, answer_timeout=15.0)
        for name, account in settings.accounts["ustore"].items()
    }
    settings = msgspec.structs.replace(settings, accounts={**settings.accounts, "ustore": accounts})
    platform = registry.platforms()["channelape"]
    example = registry.example("channelape", "receipt_confirmation")
    assert platform.with_new_key is not None
    bodies = [platform.with_new_key("receipt_confirmation", example, f"{n:032x}") for n in range(50)]
    large = b'{"id": "large", "status": "' + b"x" * LIMIT + b'"}'
    async with pipeline.door(small, settings) as door:
        shopper = asyncio.ensure_future(door.post("ustore", "manufacturer_allocation"))
        await until(lambda: len(door.app._replies) == 1 and not door.app._publisher.outstanding)
        posts = [*bodies[:25], large, *bodies[25:]]
        received = await asyncio.gather(*(door.post("channelape", "receipt_confirmation", body) for body in posts))
        assert [status for status, _, _ in received] == [200] * 25 + [413] + [200] * 25
        await until(lambda: not door.app.problems())
        transport = door.app._link.transport
        assert (await door.post("channelape", "receipt_confirmation", large))[0] == 413
        assert (await door.post("channelape", "receipt_confirmation"))[0] == 200
        assert door.app._link.transport is transport
        async with running(pipeline.route(small, settings)):
            assert (await shopper)[0] == 200
    async with connected(small) as connection:
        channel = await connection.channel()
        purged = await (await channel.get_queue(topology.STORE)).purge()
    # Every accepted post, the shopper's order and the note on it, which is written once per answer.
    assert (purged.message_count or 0) >= 53
