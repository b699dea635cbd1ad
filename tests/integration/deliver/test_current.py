"""An attempt sends the content and uses the settings that are current when it starts."""

import asyncio
import json
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
from aiohttp import web

from schemas.config import Subscriber
from storage import deliveries, subscriptions
from storage.sql import query
from tests.support.delivering import QUICK, receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import ReceivedRequest, Receiver, config, statuses, subscribe


class Gate:
    """Makes a server answer only after `open` is set."""

    def __init__(self, subscriber: Receiver, status: int = 200) -> None:
        self.open = asyncio.Event()
        self.status = status
        subscriber.answer = self._answer

    async def _answer(self, _: ReceivedRequest) -> web.Response:
        await self.open.wait()
        return web.Response(status=self.status)


async def delivery(pool: asyncpg.Pool, key: str, status: str = "pending") -> UUID:
    id_: UUID = await pool.fetchval("SELECT id FROM crossdock.deliveries WHERE key = $1 AND status = $2", key, status)
    assert id_ is not None
    return id_


async def cancel(pool: asyncpg.Pool, key: str) -> None:
    """Cancel a delivery as the API and the command line do."""
    id_ = await delivery(pool, key)
    async with pool.acquire() as connection:
        cancelled = await deliveries.cancel(connection, id_, None)
    assert cancelled is not None
    assert cancelled["status"] == "cancelled"


def keys(subscriber: Receiver) -> list[str]:
    return [json.loads(got.body)["data"]["id"] for got in subscriber.got]


async def test_a_delivery_that_is_cancelled_while_it_waits_is_not_sent(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    """It waits behind a slow attempt, behind a rate, or among many whose content is loaded ahead."""
    gate = Gate(subscriber)
    await subscribe(pool, subscriber.url, max_in_flight=1)
    sender = worker(database_url)
    async with running(sender):
        await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(4)))
        await until(lambda: subscriber.got)
        waiting = [f"K{n}" for n in range(4) if f"K{n}" not in keys(subscriber)]
        for key in waiting[:2]:
            await cancel(pool, key)
        gate.open.set()
        await until(lambda: waiting[2] in keys(subscriber))
        assert len(subscriber.got) == 2
        # The same to a subscriber that has answered fast, so that content is loaded ahead of its attempts.
        await store(pool, *(receipt(f"L{n}", seconds=10 + n) for n in range(60)))
        await until(lambda: len(subscriber.got) == 62)
        gate.open.clear()
        await store(pool, *(receipt(f"M{n}", seconds=100 + n) for n in range(3)))
        await until(lambda: len(subscriber.got) == 63)
        (last,) = [f"M{n}" for n in range(3) if f"M{n}" in keys(subscriber)]
        for key in {"M0", "M1", "M2"} - {last}:
            await cancel(pool, key)
        # Notifications take a moment.
        await until(lambda: not any(dispatcher._deliveries.loaded for dispatcher in sender._dispatchers.values()))
        gate.open.set()
        await store(pool, receipt("N", seconds=200))
        await until(lambda: "N" in keys(subscriber))
    assert [key for key in keys(subscriber) if key[0] == "M"] == [last]
    assert (await statuses(pool))["cancelled"] == 4


async def test_a_delivery_that_is_cancelled_behind_a_slow_rate_is_not_sent(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, subscriber.url, max_rate=2)
    async with running(worker(database_url)):
        await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(5)))
        await until(lambda: len(subscriber.got) == 2)  # what may be saved up
        waiting = [f"K{n}" for n in range(5) if f"K{n}" not in keys(subscriber)]
        for key in waiting[1:]:
            await cancel(pool, key)
        await until(lambda: statuses_are(pool, {"cancelled": 2, "delivered": 3}))
    assert len(subscriber.got) == 3


async def statuses_are(pool: asyncpg.Pool, expected: dict[str, int]) -> bool:
    return await statuses(pool) == expected


async def test_a_channelape_copy_that_is_superseded_while_it_waits_is_not_sent(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    gate = Gate(subscriber)
    await subscribe(pool, subscriber.url, dialect="channelape", max_in_flight=1)
    async with running(worker(database_url)):
        await store(pool, receipt("first"))
        await until(lambda: subscriber.got)
        await store(pool, receipt("K", seconds=1, number=1))
        await until(lambda: pool.fetchval("SELECT count(*) = 2 FROM crossdock.outbox"))
        await store(pool, receipt("K", seconds=2, number=2, status="NEW"))
        gate.open.set()
        await until(lambda: len(subscriber.got) == 2)
        await store(pool, receipt("last", seconds=3))
        await until(lambda: len(subscriber.got) == 3)
    bodies = [json.loads(got.body) for got in subscriber.got]
    assert [(body["id"], body.get("status")) for body in bodies] == [("first", None), ("K", "NEW"), ("last", None)]


async def test_an_attempt_goes_to_the_url_that_is_registered_when_it_starts(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    gate = Gate(subscriber)
    id_ = await subscribe(pool, f"{subscriber.url}/old", max_in_flight=1)
    async with running(worker(database_url)):
        await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(4)))
        await until(lambda: subscriber.got)
        # No notification: the row alone decides.
        await pool.execute(
            "UPDATE crossdock.subscribed SET url = $2, updated_at = now() WHERE id = $1", id_, f"{subscriber.url}/new"
        )
        gate.open.set()
        await until(lambda: len(subscriber.got) == 4)
    assert [got.path for got in subscriber.got] == ["/old", "/new", "/new", "/new"]


async def test_a_subscriber_that_lost_an_account_gets_no_more_of_its_events(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    """Its deliveries are held for three days, in case the configuration is wrong, and then cancelled."""
    gate = Gate(subscriber, 500)
    await subscribe(pool, subscriber.url, max_in_flight=1, schedule=QUICK + [0.05] * 50)
    everything = config()
    narrow = msgspec.structs.replace(
        everything, subscribers={"demo": Subscriber(username="demo", password="demo", accounts=["channelape/other"])}
    )
    sender = worker(database_url, everything)
    async with running(sender):
        await store(pool, receipt("K"), receipt("L", seconds=1))
        await until(lambda: subscriber.got)
        sender.reload(narrow)
        gate.status = 200
        sent = keys(subscriber)
        gate.open.set()
        await store(pool, receipt("other", seconds=2, account="other"))
        await until(lambda: "other" in keys(subscriber))
        held = "SELECT count(*) FROM crossdock.outbox WHERE next_attempt_at > now() + interval '50 minutes'"
        await until(lambda: pool.fetchval(f"SELECT ({held}) = 1"))
        assert keys(subscriber) == [*sent, "other"]
        # Given back in time, it is sent.
        sender.reload(everything)
        await pool.execute("UPDATE crossdock.outbox SET next_attempt_at = now()")
        await until(lambda: {"K", "L"} <= set(keys(subscriber)))
        # Not given back in time, it is cancelled, without an attempt.
        sender.reload(narrow)
        await store(pool, receipt("late", seconds=3))
        await until(lambda: pool.fetchval(f"SELECT ({held}) = 1"))
        await pool.execute(
            "UPDATE crossdock.outbox SET next_attempt_at = now(), created_at = now() - interval '73 hours'"
        )
        await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM crossdock.deliveries WHERE status = 'cancelled'"))
    assert "late" not in keys(subscriber)
    assert await pool.fetchval("SELECT attempts FROM crossdock.deliveries WHERE key = 'late'") == 0


async def test_a_subscriber_that_was_removed_from_the_configuration_gets_no_more_events(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    gate = Gate(subscriber)
    await subscribe(pool, f"{subscriber.url}/gone", max_in_flight=1)
    await subscribe(pool, f"{subscriber.url}/operator", subscriber="")
    sender = worker(database_url)
    async with running(sender):
        await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(3)))
        await until(lambda: subscriber.of("/gone"))
        sender.reload(msgspec.structs.replace(config(), subscribers={}))
        gate.open.set()
        await until(lambda: len(subscriber.of("/operator")) == 3)
        held = "SELECT count(*) = 2 FROM crossdock.outbox WHERE next_attempt_at > now() + interval '50 minutes'"
        await until(lambda: pool.fetchval(held))
        assert len(subscriber.of("/gone")) == 1


async def test_a_410_of_the_old_url_does_not_disable_the_subscription_that_moved(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    gate = Gate(subscriber, 410)
    id_ = await subscribe(pool, f"{subscriber.url}/old", max_in_flight=2, schedule=QUICK)
    async with running(worker(database_url)):
        await store(pool, receipt("K"))
        await until(lambda: subscriber.got)
        async with pool.acquire() as connection, connection.transaction():
            subscription = await subscriptions.get(connection, id_, None, lock=True)
            assert subscription is not None
            await subscriptions.update(connection, msgspec.structs.replace(subscription, url=f"{subscriber.url}/new"))
        gate.open.set()
        gate_of_new(subscriber)
        await until(lambda: statuses_are(pool, {"delivered": 1}))
    assert [got.path for got in subscriber.got] == ["/old", "/new"]
    assert await pool.fetchval("SELECT enabled FROM crossdock.subscribed")


def gate_of_new(subscriber: Receiver) -> None:
    before = subscriber.answer

    def answer(got: ReceivedRequest) -> Any:
        return web.Response() if got.path == "/new" else before(got)

    subscriber.answer = answer


async def test_deliveries_of_deleted_subscriptions_are_cancelled_and_not_woken(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    """These are written while the subscription is being deleted, or retried by a person afterwards."""
    deleted, kept = (
        await subscribe(pool, subscriber.url),
        await subscribe(pool, f"{subscriber.url}/kept", enabled=False),
    )
    await store(pool, receipt("K"))
    await pool.execute("UPDATE crossdock.subscribed SET enabled = true WHERE id = $1", kept)
    await store(pool, receipt("L", seconds=1))
    await pool.execute("DELETE FROM crossdock.outbox WHERE key = 'L' AND subscription_id = $1", deleted)
    await pool.execute("UPDATE crossdock.subscribed SET enabled = false WHERE id = $1", kept)
    await pool.execute("UPDATE crossdock.subscribed SET deleted_at = now(), enabled = false WHERE id = $1", deleted)
    async with running(worker(database_url)):
        await until(lambda: statuses_are(pool, {"cancelled": 1, "pending": 1}))
    id_ = await delivery(pool, "K", "cancelled")
    async with pool.acquire() as connection:
        with pytest.raises(deliveries.RefusedError, match="deleted"):
            await deliveries.retry(connection, id_, None)
    assert await pool.fetch(query("deliveries", "due_now"), id_) == []
    assert subscriber.got == []
