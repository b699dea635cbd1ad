"""Orders that are asked for: on a real broker and database, from a server that behaves as Apicbase documents."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from schemas import envelope
from tests.support import pipeline
from tests.support.apicbase import Apicbase, config, order
from tests.support.pipeline import running, until
from tests.support.polling import Lines, Start, has, is_empty, rounds, since, stored, take


async def test_orders_are_on_the_queue_as_if_they_had_been_posted(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    apicbase.page_size = 2
    apicbase.filters = False
    apicbase.orders = [order(f"A{n}", hours=n) for n in range(5)] + [order("D", status="DELIVERED")]
    async with running(start(config(apicbase))):
        await rounds(pool)
    messages = await take(amqp_url)
    assert sorted(body for _, body, _ in messages) == sorted(apicbase.orders[:5])
    assert {key for _, _, key in messages} == {"apicbase.acme.purchase_order"}
    assert len({envelope.message_id for envelope, _, _ in messages}) == 5
    for meta, _, _ in messages:
        assert (meta.platform, meta.account, meta.event) == ("apicbase", "acme", "purchase_order")
        assert (meta.content_type, meta.reply_to, meta.deadline) == ("application/json", None, None)
        assert meta.traceparent is not None
        assert abs((envelope.now() - meta.received_at).total_seconds()) < 30
    line = lines()[0]
    assert (line["outcome"], line["account"], line["pages"], line["orders"]) == ("ok", "acme", 3, 6)
    assert (line["published"], line["skipped"], line["level"]) == (5, 1, "info")
    assert REGISTRY.get_sample_value("crossdock_poll_seconds_since_success", {"account": "acme"}) is not None
    assert REGISTRY.get_sample_value("crossdock_polls_total", {"account": "acme", "outcome": "ok"})


async def test_only_changed_orders_are_published_again(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, apicbase: Apicbase, start: Start
) -> None:
    apicbase.orders = [order("A"), order("B", hours=30)]
    async with running(pipeline.store(amqp_url, database_url, config(apicbase)), start(config(apicbase))):
        await until(has(pool, {"A": (1, 1), "B": (1, 1)}))
        await rounds(pool, 2)
        assert await stored(pool) == {"A": (1, 1), "B": (1, 1)}
        moment = json.loads(apicbase.orders[0])["ordered_on"]
        apicbase.orders[0] = order("A", ordered_on=moment, order_remarks="two more, please")
        await until(has(pool, {"A": (2, 1), "B": (1, 1)}))
        await rounds(pool, 2)
        apicbase.orders[0] = order("A", ordered_on=moment)
        await until(has(pool, {"A": (3, 1), "B": (1, 1)}))
        apicbase.orders = [order("C", hours=0)]
        await until(has(pool, {"A": (3, 1), "B": (1, 1), "C": (1, 1)}))
        await rounds(pool)
    # What isn't listed any more is forgotten.
    assert await pool.fetchval("SELECT count(*) FROM crossdock.polled") == 1


async def test_by_webhook_and_by_poll_it_is_one_version_received_twice(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, apicbase: Apicbase, start: Start
) -> None:
    settings = config(apicbase, verdict_timeout=0.05)
    apicbase.orders = [order("A")]
    async with (
        running(pipeline.store(amqp_url, database_url, settings), pipeline.route(amqp_url, settings), start(settings)),
        pipeline.door(amqp_url, settings) as door,
    ):
        await until(has(pool, {"A": (1, 1)}))
        status, _, _ = await door.post("apicbase", "purchase_order", apicbase.orders[0])
        assert status == 200
        await until(has(pool, {"A": (1, 2)}))
        await rounds(pool)
        # The route worker lets go of orders that nobody waits for.
        await until(lambda: is_empty(amqp_url, "crossdock.route.apicbase"))


async def test_refused_and_unreadable_orders_are_quarantined_once(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, apicbase: Apicbase, start: Start
) -> None:
    settings = config(apicbase, customers=["C-1001"])
    refused = order("B", supplier_customer_number="C-9")
    apicbase.orders = [order("A"), refused, b'{"status": "ORDERED"}', b"5", b"{}"]
    async with running(pipeline.store(amqp_url, database_url, settings), start(settings)):

        async def all_there() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM crossdock.quarantine") == 4)

        await until(all_there)
        await until(has(pool, {"A": (1, 1)}))
        await rounds(pool, 2)
        assert await all_there()
    rows = await pool.fetch("SELECT raw, reason FROM crossdock.quarantine")
    assert {bytes(row["raw"]) for row in rows} == set(apicbase.orders[1:])
    assert any(row["reason"].startswith("refused: ") and bytes(row["raw"]) == refused for row in rows)


@pytest.mark.parametrize("by_day", [False, True])
async def test_the_cursor_follows_the_newest_order_and_asks_for_two_days_before(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, by_day: bool
) -> None:
    apicbase.by_day = by_day
    await since(pool, days=100)
    newest = datetime.now(UTC) - timedelta(hours=5)
    apicbase.orders = [
        order("A", ordered_on=newest.isoformat()),
        order("LATE", ordered_on=(newest - timedelta(hours=47.9)).isoformat()),
        order("OLD", hours=24 * 90),
    ]
    async with running(start(config(apicbase))):
        await rounds(pool, 2)
        assert await pool.fetchval("SELECT cursor FROM crossdock.polls") == newest
        await rounds(pool, 1)
        assert await pool.fetchval("SELECT count(*) FROM crossdock.polled") == 2
    ordered_after = apicbase.of("page")[-1].query["ordered_on__gt"]
    assert datetime.fromisoformat(ordered_after).date() == (newest - timedelta(days=3)).date()


async def test_an_order_dated_in_the_future_does_not_move_the_cursor(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start
) -> None:
    apicbase.orders = [order("FAR", ordered_on="2190-01-01T00:00:00Z")]
    async with running(start(config(apicbase))):
        await rounds(pool, 3)
    assert await pool.fetchval("SELECT cursor < now() AND reached < now() FROM crossdock.polls")


async def test_a_new_account_begins_now_and_not_with_its_history(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start
) -> None:
    apicbase.orders = [order("NEW"), order("OLD", hours=24 * 30)]
    async with running(start(config(apicbase))):
        await rounds(pool)
    assert [body for _, body, _ in await take(amqp_url)] == apicbase.orders[:1]


async def test_pages_that_shift_lose_nothing(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, apicbase: Apicbase, start: Start
) -> None:
    """A long way to catch up: what slips through between two pages is older than any overlap."""
    await since(pool, days=60)
    apicbase.page_size = 2
    names = [f"A{n}" for n in range(10)]
    apicbase.orders = [order(name, hours=24 * (n + 10)) for n, name in enumerate(names)]
    delivered = apicbase.orders[0]

    def shift(request: Any, number: int) -> None:
        if number == 2 and request.kind == "page":
            apicbase.orders.append(order("N", hours=1))  # everything moves down: seen twice
        if number == 4 and request.kind == "page":
            apicbase.orders.remove(delivered)  # everything moves up, over the edge of a page that we have: not seen
            apicbase.orders.remove(next(order for order in apicbase.orders if b'"A1"' in order))

    apicbase.answer = shift
    async with running(pipeline.store(amqp_url, database_url, config(apicbase)), start(config(apicbase))):
        await until(has(pool, dict.fromkeys([*names, "N"], (1, 1))))
        await rounds(pool, 2)
        assert await stored(pool) == dict.fromkeys([*names, "N"], (1, 1))


async def test_an_interrupted_round_keeps_its_cursor_and_what_it_published(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    apicbase.page_size = 1
    apicbase.orders = [order("A"), order("B", hours=2)]
    apicbase.answer = lambda request, n: (
        web.Response(status=403) if request.query.get("page") == "2" and n < 6 else None
    )
    async with running(start(config(apicbase))):
        await until(lambda: [line for line in lines() if line["outcome"] == "failed"])
        assert await pool.fetchval("SELECT reached FROM crossdock.polls") is None
        await rounds(pool)
    assert lines()[0]["error"] == "a page of orders could not be fetched: the server answered 403"
    assert [line["published"] for line in lines()][:2] == [1, 0]
    assert len(await take(amqp_url)) == 2
    assert await pool.fetchval("SELECT last_error IS NULL AND failures = 0 FROM crossdock.polls")
