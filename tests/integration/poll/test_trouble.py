"""Limits, refusals, deaths and servers that are away, while Apicbase is polled."""

import asyncio
import logging
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from broker import topology as broker_topology
from broker.commands import connected
from broker.declare import unbind
from schemas import topology
from schemas.config import Process
from storage import polls
from telemetry.logs import JsonFormatter
from tests.support import pipeline
from tests.support.apicbase import CLIENT_SECRET, Apicbase, config, order, serving
from tests.support.pipeline import running, until
from tests.support.polling import Lines, Start, has, holding, kill, rounds, stored, take, waiting
from workers.poll import poller
from workers.poll import worker as workers
from workers.poll.limit import Limit
from workers.poll.worker import PollWorker


async def test_a_429_pauses_all_accounts_of_the_client(pool: asyncpg.Pool, apicbase: Apicbase, start: Start) -> None:
    apicbase.answer = lambda call, n: (
        web.Response(status=429, headers={"Retry-After": "1"}) if (call.kind, n) == ("page", 1) else None
    )
    async with running(start(config(apicbase, "acme", "bistro"))):
        await rounds(pool)
        await rounds(pool, account="bistro")
    refused, *others = apicbase.of("page")
    # The other account's first may have been on its way already.
    assert [other for other in others if other.at < refused.at + 0.9] in ([], others[:1])
    assert len(apicbase.of("token")) == 1


async def test_a_limit_is_shared_through_the_database(pool: asyncpg.Pool) -> None:
    async def open_pool() -> asyncpg.Pool:
        return pool

    client = Limit(open_pool, "http://a", "c", per_minute=60)._client
    assert Limit(open_pool, "http://a", "c")._client == client
    assert Limit(open_pool, "http://b", "c")._client != client
    waits = [await polls.reserve(pool, client, 10.0, 3) for _ in range(5)]
    assert waits == [0, 0, 0, pytest.approx(10, abs=2), pytest.approx(20, abs=2)]
    await polls.pause(pool, client, 300.0)
    assert await polls.reserve(pool, client, 10.0, 3) == pytest.approx(310, abs=2)
    await polls.pause(pool, client, 1.0)  # a shorter one takes nothing back
    assert await polls.reserve(pool, client, 10.0, 3) == pytest.approx(320, abs=2)
    assert await polls.reserve(pool, b"another", 10.0, 3) == 0


async def test_errors_of_the_server_are_tried_again_within_the_round(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    apicbase.orders = [order("A")]
    apicbase.answer = lambda call, number: web.Response(status=500) if number <= 3 else None
    async with running(start(config(apicbase))):
        await until(lambda: lines())
    assert (lines()[0]["outcome"], lines()[0]["published"]) == ("ok", 1)


async def test_a_failing_account_delays_no_other(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    hold, reached, go_on = holding()
    async with serving() as stuck:
        stuck.answer = hold
        settings = config(apicbase, "acme")
        bad = config(stuck, "stuck").accounts["apicbase"]
        denied = config(apicbase, "denied").accounts["apicbase"]["denied"]
        poll = {"client_id": "nobody", "client_secret": "x", "base_url": apicbase.url, "interval": 0.05}
        wrong = type(denied)(secrets=["s"], poll=type(denied.poll)(**poll))
        settings.accounts["apicbase"].update(bad | {"wrong": wrong})
        worker = start(settings)
        async with running(worker):
            await reached.wait()
            await rounds(pool, 3)
            assert worker.problems() == []
            go_on.set()
            await until(lambda: [line for line in lines() if line["account"] == "wrong"])
            row = await pool.fetchrow("SELECT * FROM crossdock.polls WHERE account = 'wrong'")
            assert row is not None
            assert "refused with 401" in row["last_error"]
            assert row["failures"] > 0
            assert row["last_ok_at"] is None


async def test_a_401_again_and_again_is_an_error_of_the_account(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    apicbase.answer = lambda call, number: web.Response(status=401) if call.kind == "page" else None
    async with running(start(config(apicbase, interval=60))):
        await until(lambda: lines())
    assert [request.kind for request in apicbase.requests] == ["token", "page", "token", "page"]
    assert lines()[0]["outcome"] == "failed"
    due = await pool.fetchval("SELECT due_at - now() FROM crossdock.polls")
    assert 40 < due.total_seconds() < 70


async def test_two_workers_poll_an_account_once(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    apicbase.orders = [order("A")]
    apicbase.answer, reached, go_on = holding()
    looks: list[UUID] = []
    lease = polls.lease

    async def counted(connection: Any, platform: str, accounts: Any, worker: UUID, seconds: float) -> Any:
        leased = await lease(connection, platform, accounts, worker, seconds)
        looks.append(worker)
        return leased

    monkeypatch.setattr(polls, "lease", counted)
    first, other = start(config(apicbase)), start(config(apicbase))
    async with running(first):
        await reached.wait()
        async with running(other):
            await until(lambda: looks.count(other._name) >= 3)
            assert len(apicbase.of("page")) == 1
            go_on.set()
            await rounds(pool, 3)
    assert len(await take(amqp_url)) == 1


async def test_a_worker_that_lost_the_lease_writes_nothing(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    apicbase.orders = [order("A")]
    apicbase.answer, reached, go_on = holding()
    async with running(start(config(apicbase))):
        await reached.wait()
        await pool.execute(
            "UPDATE crossdock.polls SET leased_by = $1, leased_until = now() + interval '1 hour'", uuid4()
        )
        go_on.set()
        await until(lambda: lines())
        assert lines()[0]["outcome"] == "lost"
        assert await pool.fetchval("SELECT count(*) FROM crossdock.polled") == 0
        assert await pool.fetchval("SELECT leased_by IS NOT NULL AND last_ok_at IS NULL FROM crossdock.polls")


async def test_killed_between_confirm_and_commit_it_is_published_again(
    pool: asyncpg.Pool,
    amqp_url: str,
    database_url: str,
    apicbase: Apicbase,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    apicbase.orders = [order("A"), order("B")]
    reached, never = asyncio.Event(), asyncio.Event()

    async def stuck(*_: Any) -> None:
        reached.set()
        await never.wait()

    first = start(config(apicbase))
    with monkeypatch.context() as patch:
        patch.setattr(polls, "remember", stuck)
        await first.start()
        await reached.wait()
        await kill(first)
    assert await waiting(amqp_url) == 2
    assert await pool.fetchval("SELECT leased_by FROM crossdock.polls") == first._name
    # Whatever the account's interval: the one that takes over does so within 15 seconds of the kill.
    left = await pool.fetchval("SELECT leased_until - now() FROM crossdock.polls")
    assert left.total_seconds() + workers.LOOK < 14
    assert workers.RENEW <= workers.LEASE / 3
    await pool.execute("UPDATE crossdock.polls SET leased_until = now()")  # that time has passed
    async with running(pipeline.store(amqp_url, database_url, config(apicbase)), start(config(apicbase))):
        await until(has(pool, {"A": (1, 2), "B": (1, 2)}))
        await rounds(pool, 2)
        assert await stored(pool) == {"A": (1, 2), "B": (1, 2)}


async def test_stopping_finishes_the_page_and_releases_the_account(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    apicbase.page_size = 1
    apicbase.orders = [order("A"), order("B", hours=2)]
    apicbase.answer, reached, go_on = holding()
    worker = start(config(apicbase))
    async with running(worker):
        await reached.wait()
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: all(poller.stopping for poller, _ in worker._running.values()))
        go_on.set()
        await stopping
    assert [line["outcome"] for line in lines()] == ["stopped"]
    assert await pool.fetchval("SELECT leased_by IS NULL AND due_at <= now() FROM crossdock.polls")
    assert await waiting(amqp_url) == 1
    async with running(start(config(apicbase))):
        await rounds(pool)
    assert await waiting(amqp_url) == 2


async def test_stopping_ends_a_poll_that_hangs(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    hasty = msgspec.structs.replace(config(apicbase), process=Process(drain_timeout=0.05))
    apicbase.answer, reached, go_on = holding()
    try:
        async with running(start(hasty)):
            await reached.wait()
    finally:
        go_on.set()
    assert [line["outcome"] for line in lines()] == ["cancelled"]
    assert await pool.fetchval("SELECT leased_by IS NULL FROM crossdock.polls")


async def test_without_a_broker_no_request_is_sent(database_url: str, pool: asyncpg.Pool, apicbase: Apicbase) -> None:
    worker = PollWorker(config(apicbase), amqp_url="amqp://guest:guest@127.0.0.1:1/", database_url=database_url)
    await worker.start()
    try:
        await until(lambda: worker.problems() and "RabbitMQ" in worker.problems()[0] and len(worker.problems()) == 1)
        assert apicbase.requests == []
    finally:
        await worker.stop()


async def test_without_a_database_no_request_is_sent(amqp_url: str, apicbase: Apicbase) -> None:
    worker = PollWorker(config(apicbase), amqp_url=amqp_url, database_url="postgresql://a:b@127.0.0.1:1/x")
    await worker.start()
    try:
        await until(lambda: [problem for problem in worker.problems() if "Refused" in problem])
        assert apicbase.requests == []
    finally:
        await worker.stop()


async def test_without_a_queue_to_take_them_orders_are_not_fetched(
    pool: asyncpg.Pool, empty_amqp_url: str, database_url: str, apicbase: Apicbase, lines: Lines
) -> None:
    apicbase.orders = [order("A")]
    worker = PollWorker(config(apicbase), amqp_url=empty_amqp_url, database_url=database_url, per_minute=60_000)
    await worker.start()
    try:
        await until(lambda: "crossdock topology apply" in " ".join(worker.problems()))
        assert not lines()
        await broker_topology.apply(empty_amqp_url)
        await rounds(pool)
    finally:
        await worker.stop()
    assert len(await take(empty_amqp_url)) == 1


async def test_missing_queues_do_not_count_against_the_account(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    worker = start(config(apicbase))
    async with running(worker):
        await rounds(pool)
        async with connected(amqp_url) as connection:
            channel = await connection.channel()
            for binding in topology.topology().bindings:
                if binding.exchange in (topology.INBOUND, topology.UNROUTED):
                    await unbind(channel, binding)
        apicbase.orders = [order("A")]
        before = len(lines())
        await until(lambda: "no broker" in [line["outcome"] for line in lines()[before:]])
        assert await pool.fetchval("SELECT failures = 0 AND last_ok_at IS NOT NULL FROM crossdock.polls")


async def test_an_order_too_large_for_the_broker_is_skipped_and_logged(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "MAX_ORDER", 100_000)
    apicbase.orders = [order("BIG", order_remarks="x" * 100_000), order("A")]
    async with running(start(config(apicbase))):
        await rounds(pool)
    assert lines()[0]["too_large"] == 1
    assert [body for _, body, _ in await take(amqp_url)] == apicbase.orders[1:]


async def test_a_reload_brings_accounts_and_credentials(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    good = config(apicbase)
    apicbase.credentials = {}
    worker = start(good)
    async with running(worker):
        await until(lambda: lines())
        worker.reload(pipeline.config())
        assert worker._clients == {}
        apicbase.credentials = {"supplier-7": CLIENT_SECRET}
        worker.reload(config(apicbase, "acme", "bistro"))
        await rounds(pool, account="bistro")
        await rounds(pool)


async def test_no_secret_is_in_the_log_the_metrics_or_the_database(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    apicbase.orders = [order("A")]
    apicbase.answer = lambda call, number: (
        web.Response(status=(401, 500, 302)[number % 3], text=CLIENT_SECRET) if number < 30 and number % 4 else None
    )
    async with running(start(config(apicbase))):
        await rounds(pool, 3)
    formatter = JsonFormatter()
    text = "\n".join(formatter.format(record) for record in caplog.records)
    text += generate_latest().decode() + str(await pool.fetch("SELECT * FROM crossdock.polls"))
    text += str(await pool.fetch("SELECT * FROM crossdock.poll_limits"))
    for secret in (CLIENT_SECRET, *(request.token for request in apicbase.of("page"))):
        assert secret not in text
