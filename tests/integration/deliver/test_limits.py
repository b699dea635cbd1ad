"""Limits, circuit breakers, leases and commands, on a real database and real sockets."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from tests.support.delivering import QUICK, all_are, answering, receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import Receiver, config, subscribe
from tests.support.shell import ROOT, Shell
from workers.deliver import breaker as breakers


async def test_the_concurrency_limit_is_respected(pool: asyncpg.Pool, database_url: str, subscriber: Receiver) -> None:
    go = asyncio.Event()

    async def wait(_: object) -> web.Response:
        await go.wait()
        return web.Response()

    subscriber.answer = wait
    await subscribe(pool, subscriber.url, max_in_flight=3)
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(20)))
    async with running(worker(database_url)):
        await until(lambda: subscriber.busy == 3)
        go.set()
        await until(lambda: all_are(pool, "delivered"))
    assert subscriber.busiest == 3


async def test_the_rate_limit_is_respected(pool: asyncpg.Pool, database_url: str, subscriber: Receiver) -> None:
    await subscribe(pool, subscriber.url, max_rate=20)
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(50)))
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "delivered"))
    times = sorted(got.at for got in subscriber.got)
    assert times[-1] - times[0] >= 1.4  # a burst of 20, and 30 more at 20 a second


async def test_the_breaker_opens_probes_and_recovers(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "FIRST_PAUSE", 0.3)
    subscriber.answer = answering(500)
    await subscribe(pool, subscriber.url, max_in_flight=2, schedule=[0.0] + [0.01] * 40)
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(30)))
    async with running(worker(database_url)):
        await until(lambda: len(subscriber.got) >= breakers.THRESHOLD + 2)
        subscriber.answer = answering(200)
        await until(lambda: all_are(pool, "delivered"))
    gaps = [later.at - earlier.at for earlier, later in zip(subscriber.got, subscriber.got[1:], strict=False)]
    assert max(gaps) > 0.25, gaps


async def test_the_subscriptions_of_a_dead_worker_are_taken_over(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    id_ = await subscribe(pool, subscriber.url)
    await store(pool, receipt("K"))
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    await pool.execute(
        "UPDATE crossdock.subscribed SET leased_by = $2, leased_until = $3 WHERE id = $1", id_, UUID(int=1), soon
    )
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "delivered"))
        assert datetime.now(UTC) >= soon


async def test_two_workers_send_each_delivery_once(pool: asyncpg.Pool, database_url: str, subscriber: Receiver) -> None:
    for n in range(8):
        await subscribe(pool, f"{subscriber.url}/{n}")
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(40)))
    async with running(worker(database_url), worker(database_url)):
        await until(lambda: all_are(pool, "delivered"))
    assert len(subscriber.got) == 320
    assert len({(got.path, got.headers["webhook-id"]) for got in subscriber.got}) == 320


async def test_a_worker_whose_lease_was_taken_sends_no_more(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    """This happens after the database was unavailable for longer than a lease; the first worker has not noticed yet."""
    taken = await subscribe(pool, f"{subscriber.url}/taken")
    await subscribe(pool, f"{subscriber.url}/kept")
    async with running(worker(database_url)):
        await store(pool, receipt("K1"))
        await until(lambda: all_are(pool, "delivered"))
        await pool.execute(
            "UPDATE crossdock.subscribed SET leased_by = $2, leased_until = now() + interval '1 minute' WHERE id = $1",
            taken,
            uuid4(),
        )
        await store(pool, receipt("K2", seconds=1))
        await until(lambda: len(subscriber.of("/kept")) == 2, what="the other subscription, which is looked at with it")
        assert len(subscriber.of("/taken")) == 1
        await pool.execute("UPDATE crossdock.subscribed SET leased_by = NULL, leased_until = NULL WHERE id = $1", taken)
        await until(lambda: len(subscriber.of("/taken")) == 2)


async def test_stopping_releases_the_lease(pool: asyncpg.Pool, database_url: str, subscriber: Receiver) -> None:
    await subscribe(pool, subscriber.url)
    await store(pool, receipt("K"))
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "delivered"))
    assert await pool.fetchval("SELECT count(*) FROM crossdock.subscribed WHERE leased_until IS NOT NULL") == 0


async def test_private_addresses_are_blocked_and_retried(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, subscriber.url, schedule=QUICK)
    await store(pool, receipt("K"))
    async with running(worker(database_url, config(allow_networks=[]))):
        await until(lambda: all_are(pool, "failed"))
    assert subscriber.got == []
    assert {row["outcome"] for row in await pool.fetch("SELECT outcome FROM crossdock.delivery_attempts")} == {
        "blocked"
    }


async def test_hanging_and_refusing_subscribers_delay_no_other(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    never = asyncio.Event()

    async def answer(got: Any) -> web.Response:
        if got.path == "/hangs":
            await never.wait()
        if got.path == "/breaks":
            return web.Response(status=500)
        return web.Response()

    subscriber.answer = answer
    await subscribe(pool, f"{subscriber.url}/hangs", schedule=[0.0, 60.0])
    await subscribe(pool, f"{subscriber.url}/breaks", schedule=[0.0, 60.0])
    await subscribe(pool, "http://127.0.0.1:1/", schedule=[0.0, 60.0])
    await subscribe(pool, f"{subscriber.url}/fine")
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(200)))
    async with running(worker(database_url, config(timeout=30.0))):
        await until(lambda: len(subscriber.of("/fine")) == 200, seconds=10)
        never.set()


async def test_an_operator_lists_retries_and_traces_deliveries_from_the_command_line(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    shell = Shell(ROOT, DATABASE_URL=database_url)
    subscriber.answer = answering(400)
    id_ = await subscribe(pool, subscriber.url, schedule=[0.0])
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(3)))
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "failed"))

        async def cli(*words: str) -> Any:
            result = await shell(*words, "--json")
            assert result.code == 0, result.err
            return result.json

        failed = await cli("deliveries", "list", "--status", "failed")
        assert sorted(row["key"] for row in failed) == ["K0", "K1", "K2"]
        shown = await cli("deliveries", "show", failed[0]["id"])
        assert [row["status_code"] for row in shown["history"]] == [400]
        subscriber.answer = answering(200)
        assert (await cli("deliveries", "retry", failed[0]["id"]))["id"] == failed[0]["id"]
        await until(lambda: pool.fetchval("SELECT count(*) = 1 FROM crossdock.deliveries WHERE status = 'delivered'"))
        since = "2026-11-10T00:00:00Z"
        # The command line's configuration has no subscriber "demo". "0 events" looked as if nothing were missing.
        dry = await shell("replay", "--subscription", str(id_), "--from", since, "--dry-run")
        assert (dry.code, "'demo' is not in this configuration" in dry.err) == (1, True)
        traced = await cli("trace", failed[0]["key"])
        outcomes = [row["outcome"] for row in traced["documents"][0]["deliveries"]]
        assert outcomes == ["refused", "delivered"]
