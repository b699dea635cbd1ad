"""Slow, many or large deliveries of one subscriber do not delay those of others."""

import asyncio
import socket
import threading
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from storage.sealed import Sealed, Secret, seal
from tests.support.delivering import all_are, receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import VAULT, ReceivedRequest, Receiver, config, statuses, subscribe
from workers.deliver import leases, loader
from workers.deliver import worker as workers
from workers.deliver.attempt import resolver as resolvers
from workers.deliver.attempt.resolver import Resolver
from workers.deliver.shares import FairLimit


async def subscribe_many(pool: asyncpg.Pool, url: str, count: int, subscriber: str) -> None:
    from uuid import uuid4

    ids = [uuid4() for _ in range(count)]
    secrets = Sealed(secrets=(Secret(secret="whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo="),))
    await pool.executemany(
        "INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed) "
        "VALUES ($1, $2, $3, '{*}', '{*}', 'standard', 1, $4)",
        [(id_, subscriber, url, seal(VAULT, id_, secrets)) for id_ in ids],
    )


@pytest.mark.timeout(120)
async def test_1100_subscriptions_to_a_black_hole_delay_no_other_subscriber(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    never = asyncio.Event()

    async def answer(got: ReceivedRequest) -> web.Response:
        if got.path == "/hangs":
            await never.wait()
        return web.Response()

    subscriber.answer = answer
    settings = config(timeout=60.0)
    settings.subscribers["other"] = settings.subscribers["demo"]
    await subscribe_many(pool, f"{subscriber.url}/hangs", 1100, "demo")
    await store(pool, receipt("K"), settings=settings)
    sender = worker(database_url, settings)
    async with running(sender):
        await until(lambda: len(sender._dispatchers) == leases.PLACES, seconds=30)
        await until(lambda: subscriber.busy > 400, seconds=30)
        await subscribe(pool, f"{subscriber.url}/fine", subscriber="other")
        await store(pool, receipt("L", seconds=1), settings=settings)
        await until(lambda: subscriber.of("/fine"), seconds=30)
        never.set()


async def test_subscriptions_that_only_wait_give_their_places_to_others(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With three places, five subscriptions of one subscriber whose server refuses, and two more that work."""
    monkeypatch.setattr(leases, "PLACES", 3)
    subscriber.answer = lambda got: web.Response(status=500 if got.path == "/down" else 200)
    for _ in range(5):
        await subscribe(pool, f"{subscriber.url}/down", schedule=[0.0] + [0.01] * 500, max_in_flight=10)
    for n in range(2):
        await subscribe(pool, f"{subscriber.url}/up{n}")
    async with running(worker(database_url)):
        await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(10)))
        await until(lambda: len(subscriber.of("/up0")) == 10 and len(subscriber.of("/up1")) == 10, seconds=30)


async def test_hanging_names_of_one_subscriber_leave_lookups_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolvers, "LOOKUPS", 8)
    release = threading.Event()

    def look_up(host: str, *args: Any) -> list[Any]:
        if host != "good":
            assert release.wait(60)
        return socket.getaddrinfo("127.0.0.1", *args)

    resolver = Resolver(look_up)
    hanging = [asyncio.create_task(resolver.resolve(f"bad{n}", 80, "slow")) for n in range(300)]
    try:
        await asyncio.sleep(0)  # they have begun
        assert [address for *_, address in await resolver.resolve("good", 80, "other")] == [("127.0.0.1", 80)]
        assert not any(task.done() for task in hanging)
    finally:
        release.set()
    await asyncio.gather(*hanging)


async def test_bodies_in_memory_are_bounded_and_all_arrive(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty subscriptions with documents of 200 kB, and a budget of 1 MB."""
    monkeypatch.setattr(workers, "BUDGET", 1_000_000)
    monkeypatch.setattr(loader, "INLINE", 64 * 1024)
    most = 0
    take = FairLimit.try_take

    def counted(self: FairLimit, owner: str, amount: int = 1, **more: Any) -> bool:
        nonlocal most
        taken = take(self, owner, amount, **more)
        if sender.bytes_in_use is self:
            most = max(most, self.total)
        return taken

    sender = worker(database_url)
    monkeypatch.setattr(FairLimit, "try_take", counted)
    for n in range(20):
        await subscribe(pool, f"{subscriber.url}/{n}")
    await store(pool, *(receipt(f"K{n}", seconds=n, note="x" * 200_000) for n in range(6)))
    async with running(sender):
        await until(lambda: all_are(pool, "delivered"), seconds=60)
    assert await statuses(pool) == {"delivered": 120}
    assert 200_000 <= most <= 1_300_000
    assert sender.bytes_in_use.total == sender.attempts.total == 0
