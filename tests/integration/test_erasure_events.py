"""`crossdock.erased`: one event per document, on the exchange and to every subscription that was sent the document."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import asyncpg
import pytest

from schemas import cloudevents, consumers, selection, topology
from schemas.consumers import Consumer
from storage import erased_events, erasure
from storage.erasure import Selection
from tests.support import api, pipeline
from tests.support.delivering import QUICK, all_are, none_is, store, worker
from tests.support.erasing import erase, transfer
from tests.support.pipeline import running, until
from tests.support.receiver import Receiver, receiver, subscribe
from tests.support.storing import at

TYPE = "crossdock.erased"


@asynccontextmanager
async def listening(amqp_url: str) -> AsyncIterator[list[aio_pika.abc.AbstractIncomingMessage]]:
    """What is published about erasures."""
    got: list[aio_pika.abc.AbstractIncomingMessage] = []

    async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        got.append(message)

    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(topology.EVENTS, f"{TYPE}.#")
        await queue.consume(take, no_ack=True)
        yield got


async def test_the_event_is_published_and_sent_to_those_who_were_sent_the_document(
    amqp_url: str, database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    async with receiver() as subscriber, receiver() as other:
        sent = await subscribe(pool, subscriber.url, types=["channelape.*"], schedule=QUICK)
        await subscribe(pool, f"{subscriber.url}/raw", dialect="channelape")
        await subscribe(pool, other.url, types=["ecomnow.*"])
        async with (
            running(pipeline.store(amqp_url, database_url), worker(database_url)),
            listening(amqp_url) as published,
        ):
            both = transfer("STO1", seconds=0, number=1), transfer("STO1", seconds=1, number=2, n=2)
            result = await store(pool, *both)
            await store(pool, transfer("STO2", seconds=2, number=3))
            await until(lambda: none_is(pool, "pending"))
            subscriber.got.clear()
            assert (await erase(database, key="STO1"))["documents"] == 1
            await until(lambda: published and len(subscriber.got) == 2)
            assert (await erase(database, key="STO1"))["documents"] == 0
            await until(lambda: none_is(pool, "pending"))
            assert await database.fetchval("SELECT count(*) FROM crossdock.erased_events") == 0
            assert not other.got
    (message,) = published
    assert message.routing_key == f"{TYPE}.acme"
    event = json.loads(message.body)
    assert event["data"] == {
        "platform": "channelape", "account": "acme", "type": "channelape.stock_transfer_order", "key": "STO1",
        "event_ids": sorted(str(version.id) for version in result.versions),
    }  # fmt: skip
    assert (event["type"], event["source"], event["subject"], event["version"]) == (TYPE, "/channelape/acme", "STO1", 2)
    assert event["id"] == message.message_id
    (webhook,) = subscriber.of("/")
    assert json.loads(webhook.body) == event
    assert webhook.headers["webhook-id"] == event["id"]
    (raw,) = subscriber.of("/raw")
    assert json.loads(raw.body) == event["data"]
    delivery = await database.fetchrow(
        "SELECT status, event_id FROM crossdock.deliveries WHERE type = $1 AND subscription_id = $2", TYPE, sent
    )
    assert (delivery["status"], str(delivery["event_id"])) == ("delivered", event["id"])  # type: ignore[index]


async def test_an_event_is_published_while_another_erasure_takes_long(
    amqp_url: str, database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, transfer("STO1", seconds=0, number=1), transfer("STO2", seconds=1, number=2))
    await erasure.start(database, Selection(platform="channelape", account="acme", key="STO2"))
    await database.execute("UPDATE crossdock.erasures SET touched_at = now() - interval '1 hour'")

    async def is_held_up() -> bool:
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(await database.fetchval(waiting))

    async with listening(amqp_url) as published, pool.acquire() as holder, holder.transaction():
        await holder.execute("SELECT FROM crossdock.documents WHERE key = 'STO2' FOR UPDATE")
        async with running(pipeline.store(amqp_url, database_url)):
            await until(is_held_up, what="a store worker carries the erasure of STO2 on")
            await erase(database, key="STO1")
            await until(lambda: published)
    assert json.loads(published[0].body)["data"]["key"] == "STO1"


async def test_an_event_whose_removal_was_not_committed_is_published_again_under_its_id(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, *(transfer(f"STO{n}", seconds=n, number=n + 1) for n in range(3)))
    await erase(database, before=at(2))
    sent: list[Any] = []

    async def confirm(rows: Sequence[asyncpg.Record]) -> None:
        sent.append([(row["id"], row["data"], row["erased_at"]) for row in rows])

    async def die(rows: Sequence[asyncpg.Record]) -> None:
        await confirm(rows)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await erased_events.publish(database, die)
    # Another worker doesn't publish them at the same time.
    async with pool.acquire() as second:

        async def meanwhile(rows: Sequence[asyncpg.Record]) -> None:
            await confirm(rows)
            assert await erased_events.publish(second, confirm) == 0

        assert await erased_events.publish(database, meanwhile) == 2
        assert await erased_events.publish(second, confirm) == 0
    assert len(sent) == 2
    assert sent[0] == sent[1]


async def test_a_pending_event_of_an_erasure_survives_the_next_erasure(
    pool: asyncpg.Pool, database: asyncpg.Connection, database_url: str
) -> None:
    async with receiver() as subscriber:
        await subscribe(pool, subscriber.url, schedule=QUICK)
        for n in range(2):
            await store(pool, transfer("STO1", seconds=n, number=n + 1, n=n))
            await erase(database, key="STO1")
        waiting = await database.fetch("SELECT type, payload FROM crossdock.outbox ORDER BY created_at")
        assert [row["type"] for row in waiting] == [TYPE, TYPE]
        assert [len(json.loads(row["payload"])["event_ids"]) for row in waiting] == [1, 2]
        async with running(worker(database_url)):
            await until(lambda: len(events(subscriber)) == 2)
    assert {event.type for event in events(subscriber)} == {TYPE}


def events(subscriber: Receiver) -> list[cloudevents.CloudEvent]:
    return [cloudevents.decode(got.body) for got in subscriber.got]


async def test_retries_and_replays_send_nothing_erased(
    pool: asyncpg.Pool, database: asyncpg.Connection, database_url: str
) -> None:
    from storage import deliveries

    async with receiver() as subscriber:
        subscription = await subscribe(pool, subscriber.url, schedule=QUICK)
        await store(pool, transfer("STO1", seconds=0, number=1))
        async with running(worker(database_url)):
            await until(lambda: all_are(pool, "delivered"))
            await erase(database, key="STO1")
            await until(lambda: len(subscriber.got) == 2)
            await until(lambda: all_are(pool, "delivered"))
            id_ = await database.fetchval("SELECT id FROM crossdock.deliveries WHERE type <> $1", TYPE)
            await deliveries.retry(database, id_, None)

            async def failed() -> bool:
                delivery = await deliveries.get(database, id_, None)
                return delivery is not None and delivery["status"] == "failed"

            await until(failed)
            last = (await deliveries.attempts(database, id_))[-1]
            assert (last["outcome"], last["error"]) == ("blocked", "the content was erased")
    assert len(subscriber.got) == 2
    scope = await _scope(database, subscription)
    assert scope == 0


async def _scope(database: asyncpg.Connection, subscription: Any) -> int:
    """The number of events that a replay of everything would send."""
    from storage import replays

    scope = replays.Scope(["*"], ["*"], ["*"], None)
    return (await replays.count(database, scope, begin=at(-10), end=at(10), key=None)).count


async def test_the_api_answers_410_for_an_erased_event(
    pool: asyncpg.Pool, database: asyncpg.Connection, database_url: str
) -> None:
    result = await store(pool, transfer("STO1", seconds=0, number=1))
    async with api.api(database_url) as client:
        path = f"/v1/events/{result.versions[0].id}"
        assert (await client.ask("GET", path, who=api.OPERATOR))[0] == 200
        await erase(database, key="STO1")
        status, problem, _ = await client.ask("GET", path, who=api.OPERATOR)
        assert (status, problem["detail"]) == (410, "The content of this event was erased.")


def test_consumers_of_one_platform_may_follow_erasures() -> None:
    some = Consumer(name="n", types=["channelape.*", TYPE], accounts=["channelape/rothys"])
    assert selection.consumer_problem(some) is None
    assert {binding.routing_key for binding in consumers.bindings(some)} == {
        "channelape.*.rothys.#", f"{TYPE}.rothys.#",
    }  # fmt: skip
    with pytest.raises(ValueError, match="is routed by the account's name alone"):
        consumers.bindings(Consumer(name="n", types=[TYPE], accounts=["ecomnow/*"]))
    assert selection.type_problem(TYPE) is None
