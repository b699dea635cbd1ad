"""Orders that are asked for: on a real broker and database, from a server that behaves as Apicbase documents."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiormq
import asyncpg
import pytest
import pytest_asyncio
from aiohttp import web
from pamqp.commands import Basic
from prometheus_client import REGISTRY, generate_latest

from broker import topology as broker_topology
from deploy.logs import JsonFormatter
from schemas import envelope
from schemas.config import Config
from storage import polls
from tests import pipeline
from tests.apicbase import CLIENT_SECRET, Apicbase, config, order, serving
from tests.pipeline import running, until
from workers.poll import client as clients
from workers.poll import poller
from workers.poll import worker as workers
from workers.poll.limit import Limit
from workers.poll.worker import PollWorker


@pytest_asyncio.fixture
async def there() -> AsyncIterator[Apicbase]:
    async with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BACK_OFF", (0.01, 0.01, 0.01, 0.01))


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[dict[str, Any]]]:
    """The lines of polls that ended, as the log has them."""
    caplog.set_level(logging.DEBUG)
    said = JsonFormatter()  # without its own list of secrets: there must be none to replace
    return lambda: [found for one in caplog.records if (found := json.loads(said.format(one)))["message"] == "polled"]


@pytest.fixture
def start(amqp_url: str, database_url: str) -> Callable[[Config], PollWorker]:
    return lambda settings: PollWorker(settings, amqp_url=amqp_url, database_url=database_url, per_minute=60_000)


Start = Callable[[Config], PollWorker]
Lines = Callable[[], list[dict[str, Any]]]


async def waiting(amqp_url: str, queue: str = "crossdock.store") -> int:
    return (await broker_topology.depths(amqp_url))[queue][0]


async def take(amqp_url: str) -> list[tuple[envelope.Envelope, bytes, str]]:
    """What waits for the store worker: envelope, body, routing key."""
    connection = await aiormq.connect(amqp_url)
    found: list[tuple[envelope.Envelope, bytes, str]] = []
    try:
        channel = await connection.channel()
        while isinstance((message := await channel.basic_get("crossdock.store", no_ack=True)).delivery, Basic.GetOk):
            about = envelope.from_properties(message.header.properties.marshal())
            found.append((about, message.body, message.delivery.routing_key or ""))
    finally:
        await connection.close()
    return found


async def rounds(pool: asyncpg.Pool, count: int = 1, account: str = "acme") -> None:
    """Waits for rounds that began after this moment and went well."""

    async def ok_at() -> Any:
        return await pool.fetchval("SELECT last_ok_at FROM crossdock.polls WHERE account = $1", account)

    for _ in range(count + 1):  # the first may be under way
        before = await ok_at()

        async def another(before: Any = before) -> bool:
            return bool(await ok_at() != before)

        await until(another, what="a round")


async def since(pool: asyncpg.Pool, days: float, account: str = "acme") -> None:
    """As an operator sets an account back, before it is polled at all."""
    await polls.register(pool, "apicbase", [account])
    moment = datetime.now(UTC) - timedelta(days=days)
    await pool.execute("UPDATE crossdock.polls SET cursor = $1 WHERE account = $2", moment, account)


async def stored(pool: asyncpg.Pool) -> dict[str, tuple[int, int]]:
    """Newest version and times received, by order."""
    rows = await pool.fetch("SELECT key, version, times_received FROM crossdock.current_events")
    return {row["key"]: (row["version"], row["times_received"]) for row in rows}


def has(pool: asyncpg.Pool, expected: dict[str, tuple[int, int]]) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return await stored(pool) == expected

    return look


def holding(
    kind: str = "page", nth: int = 1
) -> tuple[Callable[[Any, int], Awaitable[None]], asyncio.Event, asyncio.Event]:
    """An answer that waits, once: what to set it to, when it is asked for, and what lets it go on."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(asked: Any, number: int) -> None:
        if asked.kind == kind and number == nth:
            reached.set()
            await go_on.wait()

    return hold, reached, go_on


async def test_orders_are_on_the_queue_as_if_they_had_been_posted(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines
) -> None:
    there.page_size = 2
    there.filters = False
    there.orders = [order(f"A{n}", hours=n) for n in range(5)] + [order("D", status="DELIVERED")]
    async with running(start(config(there))):
        await rounds(pool)
    found = await take(amqp_url)
    assert sorted(body for _, body, _ in found) == sorted(there.orders[:5])
    assert {key for _, _, key in found} == {"apicbase.acme.purchase_order"}
    assert len({about.message_id for about, _, _ in found}) == 5
    for about, _, _ in found:
        assert (about.platform, about.account, about.event) == ("apicbase", "acme", "purchase_order")
        assert (about.content_type, about.reply_to, about.deadline) == ("application/json", None, None)
        assert about.traceparent is not None
        assert abs((envelope.now() - about.received_at).total_seconds()) < 30
    line = lines()[0]
    assert (line["outcome"], line["account"], line["pages"], line["orders"]) == ("ok", "acme", 3, 6)
    assert (line["published"], line["skipped"], line["level"]) == (5, 1, "info")
    assert REGISTRY.get_sample_value("crossdock_poll_seconds_since_success", {"account": "acme"}) is not None
    assert REGISTRY.get_sample_value("crossdock_polls_total", {"account": "acme", "outcome": "ok"})


async def test_what_has_not_changed_is_not_published_again_and_what_has_is(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, there: Apicbase, start: Start
) -> None:
    there.orders = [order("A"), order("B", hours=30)]
    async with running(pipeline.store(amqp_url, database_url, config(there)), start(config(there))):
        await until(has(pool, {"A": (1, 1), "B": (1, 1)}))
        await rounds(pool, 2)
        assert await stored(pool) == {"A": (1, 1), "B": (1, 1)}
        moment = json.loads(there.orders[0])["ordered_on"]
        there.orders[0] = order("A", ordered_on=moment, order_remarks="two more, please")
        await until(has(pool, {"A": (2, 1), "B": (1, 1)}))
        await rounds(pool, 2)
        there.orders[0] = order("A", ordered_on=moment)
        await until(has(pool, {"A": (3, 1), "B": (1, 1)}))
        there.orders = [order("C", hours=0)]
        await until(has(pool, {"A": (3, 1), "B": (1, 1), "C": (1, 1)}))
        await rounds(pool)
    # What isn't listed any more is forgotten.
    assert await pool.fetchval("SELECT count(*) FROM crossdock.polled") == 1


async def test_by_webhook_and_by_poll_it_is_one_version_received_twice(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, there: Apicbase, start: Start
) -> None:
    settings = config(there, verdict_timeout=0.05)
    there.orders = [order("A")]
    async with (
        running(pipeline.store(amqp_url, database_url, settings), pipeline.route(amqp_url, settings), start(settings)),
        pipeline.door(amqp_url, settings) as door,
    ):
        await until(has(pool, {"A": (1, 1)}))
        status, _, _ = await door.post("apicbase", "purchase_order", there.orders[0])
        assert status == 200
        await until(has(pool, {"A": (1, 2)}))
        await rounds(pool)
        # The route worker lets go of orders that nobody waits for.
        await until(lambda: _is_empty(amqp_url, "crossdock.route.apicbase"))


async def _is_empty(amqp_url: str, queue: str) -> bool:
    return await waiting(amqp_url, queue) == 0


async def test_what_can_not_be_taken_is_for_a_person_to_see_once(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, there: Apicbase, start: Start
) -> None:
    settings = config(there, customers=["C-1001"])
    refused = order("B", supplier_customer_number="C-9")
    there.orders = [order("A"), refused, b'{"status": "ORDERED"}', b"5", b"{}"]
    async with running(pipeline.store(amqp_url, database_url, settings), start(settings)):

        async def all_there() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM crossdock.quarantine") == 4)

        await until(all_there)
        await until(has(pool, {"A": (1, 1)}))
        await rounds(pool, 2)
        assert await all_there()
    rows = await pool.fetch("SELECT raw, reason FROM crossdock.quarantine")
    assert {bytes(row["raw"]) for row in rows} == set(there.orders[1:])
    assert any(row["reason"].startswith("refused: ") and bytes(row["raw"]) == refused for row in rows)


@pytest.mark.parametrize("by_day", [False, True])
async def test_the_cursor_follows_the_newest_order_and_asks_for_two_days_before(
    pool: asyncpg.Pool, there: Apicbase, start: Start, by_day: bool
) -> None:
    there.by_day = by_day
    await since(pool, days=100)
    newest = datetime.now(UTC) - timedelta(hours=5)
    there.orders = [
        order("A", ordered_on=newest.isoformat()),
        order("LATE", ordered_on=(newest - timedelta(hours=47.9)).isoformat()),
        order("OLD", hours=24 * 90),
    ]
    async with running(start(config(there))):
        await rounds(pool, 2)
        assert await pool.fetchval("SELECT cursor FROM crossdock.polls") == newest
        await rounds(pool, 1)
        assert await pool.fetchval("SELECT count(*) FROM crossdock.polled") == 2
    asked = there.of("page")[-1].query["ordered_on__gt"]
    assert datetime.fromisoformat(asked).date() == (newest - timedelta(days=3)).date()


async def test_an_order_from_the_future_does_not_carry_the_cursor_along(
    pool: asyncpg.Pool, there: Apicbase, start: Start
) -> None:
    there.orders = [order("FAR", ordered_on="2190-01-01T00:00:00Z")]
    async with running(start(config(there))):
        await rounds(pool, 3)
    assert await pool.fetchval("SELECT cursor < now() AND reached < now() FROM crossdock.polls")


async def test_a_new_account_begins_now_and_not_with_its_history(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start
) -> None:
    there.orders = [order("NEW"), order("OLD", hours=24 * 30)]
    async with running(start(config(there))):
        await rounds(pool)
    assert [body for _, body, _ in await take(amqp_url)] == there.orders[:1]


async def test_pages_that_shift_lose_nothing(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, there: Apicbase, start: Start
) -> None:
    """A long way to catch up: what slips through between two pages is older than any overlap."""
    await since(pool, days=60)
    there.page_size = 2
    names = [f"A{n}" for n in range(10)]
    there.orders = [order(name, hours=24 * (n + 10)) for n, name in enumerate(names)]
    delivered = there.orders[0]

    def shift(asked: Any, number: int) -> None:
        if number == 2 and asked.kind == "page":
            there.orders.append(order("N", hours=1))  # everything moves down: seen twice
        if number == 4 and asked.kind == "page":
            there.orders.remove(delivered)  # everything moves up, over the edge of a page that we have: not seen
            there.orders.remove(next(one for one in there.orders if b'"A1"' in one))

    there.answer = shift
    async with running(pipeline.store(amqp_url, database_url, config(there)), start(config(there))):
        await until(has(pool, dict.fromkeys([*names, "N"], (1, 1))))
        await rounds(pool, 2)
        assert await stored(pool) == dict.fromkeys([*names, "N"], (1, 1))


async def test_a_round_that_breaks_off_keeps_its_cursor_and_what_it_published(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines
) -> None:
    there.page_size = 1
    there.orders = [order("A"), order("B", hours=2)]
    there.answer = lambda asked, n: web.Response(status=404) if asked.query.get("page") == "2" and n < 6 else None
    async with running(start(config(there))):
        await until(lambda: [line for line in lines() if line["outcome"] == "failed"])
        assert await pool.fetchval("SELECT reached FROM crossdock.polls") is None
        await rounds(pool)
    assert lines()[0]["error"] == "page: answered 404"
    assert [line["published"] for line in lines()][:2] == [1, 0]
    assert len(await take(amqp_url)) == 2
    assert await pool.fetchval("SELECT last_error IS NULL AND failures = 0 FROM crossdock.polls")


async def test_429_is_waited_for_by_all_accounts_of_the_client(
    pool: asyncpg.Pool, there: Apicbase, start: Start
) -> None:
    there.answer = lambda asked, n: (
        web.Response(status=429, headers={"Retry-After": "1"}) if (asked.kind, n) == ("page", 1) else None
    )
    async with running(start(config(there, "acme", "bistro"))):
        await rounds(pool)
        await rounds(pool, account="bistro")
    refused, *others = there.of("page")
    # The other account's first may have been on its way already.
    assert [one for one in others if one.at < refused.at + 0.9] in ([], others[:1])
    assert len(there.of("token")) == 1


async def test_a_limit_is_shared_through_the_database(pool: asyncpg.Pool) -> None:
    async def there_() -> asyncpg.Pool:
        return pool

    client = Limit(there_, "http://a", "c", per_minute=60)._client
    assert Limit(there_, "http://a", "c")._client == client
    assert Limit(there_, "http://b", "c")._client != client
    waits = [await polls.reserve(pool, client, 10.0, 3) for _ in range(5)]
    assert waits == [0, 0, 0, pytest.approx(10, abs=2), pytest.approx(20, abs=2)]
    await polls.pause(pool, client, 300.0)
    assert await polls.reserve(pool, client, 10.0, 3) == pytest.approx(310, abs=2)
    await polls.pause(pool, client, 1.0)  # a shorter one takes nothing back
    assert await polls.reserve(pool, client, 10.0, 3) == pytest.approx(320, abs=2)
    assert await polls.reserve(pool, b"another", 10.0, 3) == 0


async def test_errors_of_the_server_are_tried_again_within_the_round(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines
) -> None:
    there.orders = [order("A")]
    there.answer = lambda asked, number: web.Response(status=500) if number <= 3 else None
    async with running(start(config(there))):
        await until(lambda: lines())
    assert (lines()[0]["outcome"], lines()[0]["published"]) == ("ok", 1)


async def test_a_bad_account_holds_up_no_other(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines
) -> None:
    hold, reached, go_on = holding()
    async with serving() as stuck:
        stuck.answer = hold
        settings = config(there, "acme")
        bad = config(stuck, "stuck").accounts["apicbase"]
        denied = config(there, "denied").accounts["apicbase"]["denied"]
        poll = {"client_id": "nobody", "client_secret": "x", "base_url": there.url, "interval": 0.05}
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
            assert "answered 401" in row["last_error"]
            assert row["failures"] > 0
            assert row["last_ok_at"] is None


async def test_a_401_again_and_again_is_an_error_of_the_account(
    pool: asyncpg.Pool, there: Apicbase, start: Start, lines: Lines
) -> None:
    there.answer = lambda asked, number: web.Response(status=401) if asked.kind == "page" else None
    async with running(start(config(there, interval=60))):
        await until(lambda: lines())
    assert [one.kind for one in there.asked] == ["token", "page", "token", "page"]
    assert lines()[0]["outcome"] == "failed"
    due = await pool.fetchval("SELECT due_at - now() FROM crossdock.polls")
    assert 40 < due.total_seconds() < 70


async def test_of_two_workers_one_polls(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    there.orders = [order("A")]
    there.answer, reached, go_on = holding()
    looks: list[UUID] = []
    lease = polls.lease

    async def counted(connection: Any, platform: str, accounts: Any, worker: UUID, seconds: float) -> Any:
        found = await lease(connection, platform, accounts, worker, seconds)
        looks.append(worker)
        return found

    monkeypatch.setattr(polls, "lease", counted)
    one, other = start(config(there)), start(config(there))
    async with running(one):
        await reached.wait()
        async with running(other):
            await until(lambda: looks.count(other._name) >= 3)
            assert len(there.of("page")) == 1
            go_on.set()
            await rounds(pool, 3)
    assert len(await take(amqp_url)) == 1


async def test_who_lost_the_lease_writes_nothing_more(
    pool: asyncpg.Pool, there: Apicbase, start: Start, lines: Lines
) -> None:
    there.orders = [order("A")]
    there.answer, reached, go_on = holding()
    async with running(start(config(there))):
        await reached.wait()
        await pool.execute(
            "UPDATE crossdock.polls SET leased_by = $1, leased_until = now() + interval '1 hour'", uuid4()
        )
        go_on.set()
        await until(lambda: lines())
        assert lines()[0]["outcome"] == "lost"
        assert await pool.fetchval("SELECT count(*) FROM crossdock.polled") == 0
        assert await pool.fetchval("SELECT leased_by IS NOT NULL AND last_ok_at IS NULL FROM crossdock.polls")


async def kill(worker: PollWorker) -> None:
    """As a process that dies: nothing is finished, nothing given back."""
    tasks = [*worker._tasks, *(task for _, task in worker._running.values())]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if worker._pool_ is not None:
        worker._pool_.terminate()
    await worker.stop()


async def test_killed_between_confirm_and_commit_it_is_published_again(
    pool: asyncpg.Pool,
    amqp_url: str,
    database_url: str,
    there: Apicbase,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    there.orders = [order("A"), order("B")]
    reached, never = asyncio.Event(), asyncio.Event()

    async def stuck(*_: Any) -> None:
        reached.set()
        await never.wait()

    one = start(config(there))
    with monkeypatch.context() as patch:
        patch.setattr(polls, "remember", stuck)
        patch.setattr(workers, "LEASE", 0.5)
        await one.start()
        await reached.wait()
        await kill(one)
    assert await waiting(amqp_url) == 2
    assert await pool.fetchval("SELECT leased_by FROM crossdock.polls") == one._name
    async with running(pipeline.store(amqp_url, database_url, config(there)), start(config(there))):
        await until(has(pool, {"A": (1, 2), "B": (1, 2)}))
        await rounds(pool, 2)
        assert await stored(pool) == {"A": (1, 2), "B": (1, 2)}


async def test_told_to_stop_it_ends_with_the_page_and_gives_the_account_back(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines
) -> None:
    there.page_size = 1
    there.orders = [order("A"), order("B", hours=2)]
    there.answer, reached, go_on = holding()
    worker = start(config(there))
    async with running(worker):
        await reached.wait()
        stopping = asyncio.create_task(worker.stop())
        await until(lambda: all(poller.stopping for poller, _ in worker._running.values()))
        go_on.set()
        await stopping
    assert [line["outcome"] for line in lines()] == ["stopped"]
    assert await pool.fetchval("SELECT leased_by IS NULL AND due_at <= now() FROM crossdock.polls")
    assert await waiting(amqp_url) == 1
    async with running(start(config(there))):
        await rounds(pool)
    assert await waiting(amqp_url) == 2


async def test_stuck_when_told_to_stop_it_ends_all_the_same(
    pool: asyncpg.Pool, there: Apicbase, start: Start, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DRAIN_TIMEOUT", 0.05)
    there.answer, reached, go_on = holding()
    try:
        async with running(start(config(there))):
            await reached.wait()
    finally:
        go_on.set()
    assert [line["outcome"] for line in lines()] == ["cancelled"]
    assert await pool.fetchval("SELECT leased_by IS NULL FROM crossdock.polls")


async def test_without_a_broker_nothing_is_asked_for(database_url: str, pool: asyncpg.Pool, there: Apicbase) -> None:
    worker = PollWorker(config(there), amqp_url="amqp://guest:guest@127.0.0.1:1/", database_url=database_url)
    await worker.start()
    try:
        await until(lambda: worker.problems() and "RabbitMQ" in worker.problems()[0] and len(worker.problems()) == 1)
        assert there.asked == []
    finally:
        await worker.stop()


async def test_without_a_database_it_waits(amqp_url: str, there: Apicbase) -> None:
    worker = PollWorker(config(there), amqp_url=amqp_url, database_url="postgresql://a:b@127.0.0.1:1/x")
    await worker.start()
    try:
        await until(lambda: [one for one in worker.problems() if "Refused" in one])
        assert there.asked == []
    finally:
        await worker.stop()


async def test_an_exchange_without_queues_is_no_fault_of_the_account(
    pool: asyncpg.Pool, empty_amqp_url: str, database_url: str, there: Apicbase, lines: Lines
) -> None:
    there.orders = [order("A")]
    worker = PollWorker(config(there), amqp_url=empty_amqp_url, database_url=database_url, per_minute=60_000)
    async with running(worker):
        await until(lambda: lines())
        assert lines()[0]["outcome"] == "no broker"
        assert await pool.fetchval("SELECT failures = 0 AND last_ok_at IS NULL FROM crossdock.polls")
        await broker_topology.apply(empty_amqp_url)
        await rounds(pool)
    assert len(await take(empty_amqp_url)) == 1


async def test_an_order_too_large_for_the_broker_is_left_out_and_said(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "MAX_ORDER", 100_000)
    there.orders = [order("BIG", order_remarks="x" * 100_000), order("A")]
    async with running(start(config(there))):
        await rounds(pool)
    assert lines()[0]["too_large"] == 1
    assert [body for _, body, _ in await take(amqp_url)] == there.orders[1:]


async def test_a_reload_brings_accounts_and_credentials(
    pool: asyncpg.Pool, there: Apicbase, start: Start, lines: Lines
) -> None:
    good = config(there)
    there.credentials = {}
    worker = start(good)
    async with running(worker):
        await until(lambda: lines())
        worker.reload(pipeline.config())
        assert worker._clients == {}
        there.credentials = {"supplier-7": CLIENT_SECRET}
        worker.reload(config(there, "acme", "bistro"))
        await rounds(pool, account="bistro")
        await rounds(pool)


async def test_no_secret_is_in_the_log_the_metrics_or_the_database(
    pool: asyncpg.Pool, there: Apicbase, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    there.orders = [order("A")]
    there.answer = lambda asked, number: (
        web.Response(status=(401, 500, 302)[number % 3], text=CLIENT_SECRET) if number < 30 and number % 4 else None
    )
    async with running(start(config(there))):
        await rounds(pool, 3)
    said = JsonFormatter()
    text = "\n".join(said.format(record) for record in caplog.records)
    text += generate_latest().decode() + str(await pool.fetch("SELECT * FROM crossdock.polls"))
    text += str(await pool.fetch("SELECT * FROM crossdock.poll_limits"))
    for secret in (CLIENT_SECRET, *(one.token for one in there.of("page"))):
        assert secret not in text
