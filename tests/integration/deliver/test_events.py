"""Deliveries, on a real database and real sockets: written with the event, sent at least once."""

import asyncio
import json
import logging
from datetime import timedelta

import asyncpg
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from schemas import registry
from schemas.allocation import ItemAllocation
from telemetry.logs import LineWriter
from tests.support.api import BOARDS, OTHER, api
from tests.support.delivering import QUICK, SECRET, all_are, answering, fetch_one, none_is, receipt, store, worker
from tests.support.pipeline import running, until
from tests.support.receiver import Receiver, config, statuses, subscribe
from tests.support.storing import incoming


async def test_an_event_reaches_its_subscriber_signed_and_is_recorded(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, f"{subscriber.url}/hook", types=["channelape.*"])
    raw = registry.example("channelape", "receipt_confirmation")
    message = incoming("channelape", "receipt_confirmation", raw, account="rothys")
    written = await store(pool, message)
    assert written.deliveries == 1
    async with running(worker(database_url)):
        await until(lambda: statuses(pool), what="a delivery")
        await until(lambda: subscriber.got)
        assert await until(lambda: all_are(pool, "delivered"))
    (got,) = subscriber.got
    event = Webhook(SECRET).verify(got.body, got.headers)
    row = await fetch_one(pool, "SELECT * FROM crossdock.events")
    assert (event["id"], event["version"], event["subject"]) == (str(row["id"]), 1, row["key"])
    assert event["data"] == json.loads(raw)
    assert got.headers["webhook-id"] == str(row["id"])
    attempt = await fetch_one(pool, "SELECT * FROM crossdock.delivery_attempts")
    assert (attempt["attempt"], attempt["outcome"], attempt["status_code"]) == (1, "delivered", 200)
    delivery = await fetch_one(pool, "SELECT * FROM crossdock.deliveries")
    assert (delivery["attempts"], delivery["status"], delivery["event_id"]) == (1, "delivered", row["id"])
    assert delivery["finished_at"] is not None
    assert delivery["next_attempt_at"] is None


async def test_an_attempt_is_one_line_of_the_log_without_secrets(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[bytes] = []
    monkeypatch.setattr("workers.deliver.delivery.LINES", LineWriter(lines.append))
    logging.getLogger("crossdock.deliver").setLevel(logging.INFO)
    try:
        id_ = await subscribe(
            pool, f"{subscriber.url}/in?key=hush-hush", dialect="channelape", secret="s3cr3t-in-the-query"
        )
        await store(pool, receipt("K"))
        async with running(worker(database_url)):
            await until(lambda: all_are(pool, "delivered"))
    finally:
        logging.getLogger("crossdock.deliver").setLevel(logging.NOTSET)
    (line,) = b"".join(lines).splitlines()
    fields = json.loads(line)
    assert (fields["subscription"], fields["outcome"], fields["becomes"], fields["attempt"]) == (
        str(id_),
        "delivered",
        "delivered",
        1,
    )
    assert b"hush" not in line
    assert b"s3cr3t" not in line


async def test_within_200_ms_of_the_commit_when_idle(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, subscriber.url)
    times = []
    async with running(worker(database_url)):
        for n in range(5):
            subscriber.arrived.clear()
            await store(pool, receipt(f"K{n}", seconds=n))
            committed = asyncio.get_running_loop().time()
            await asyncio.wait_for(subscriber.arrived.wait(), 5)
            times.append(subscriber.got[-1].at - committed)
    assert sorted(times)[len(times) // 2] < 0.2, times


async def test_only_matching_subscriptions_get_deliveries(pool: asyncpg.Pool) -> None:
    await subscribe(pool, "https://a.example/", types=["channelape.receipt_*"], accounts=["channelape/rothys"])
    await subscribe(pool, "https://b.example/", types=["apicbase.*"])
    await subscribe(pool, "https://c.example/", dialect="apicbase")
    await subscribe(pool, "https://d.example/", enabled=False)
    await subscribe(pool, "https://e.example/", subscriber="gone")
    everything = await subscribe(pool, "https://f.example/", subscriber="")
    settings = config()
    written = await store(
        pool,
        receipt("1"),
        receipt("2", seconds=1, account="other"),
        incoming("apicbase", "purchase_order", b'{"id":"9"}'),
    )
    assert written.deliveries == 1 + 1 + 1 + 3
    rows = await pool.fetch("SELECT type FROM crossdock.deliveries WHERE subscription_id = $1", everything)
    assert sorted(row["type"] for row in rows) == ["apicbase.purchase_order", *["channelape.receipt_confirmation"] * 2]
    assert settings.subscribers["demo"].accounts == ["*/*"]


async def test_a_message_that_is_handled_again_adds_no_deliveries(pool: asyncpg.Pool) -> None:
    await subscribe(pool, "https://a.example/")
    assert (await store(pool, receipt("K", number=7))).deliveries == 1
    again = incoming(
        "channelape",
        "receipt_confirmation",
        {"id": "K", "additionalFields": {"receipt_id": "K"}, "lineItems": []},
        number=7,
        account="rothys",
        again=True,
    )
    written = await store(pool, again)
    assert (written.deliveries, len(written.versions)) == (0, 1)
    assert (await store(pool, receipt("K", seconds=5, number=8))).deliveries == 0  # the same content: the same version
    assert (await store(pool, receipt("K", seconds=9, number=9, status="OPEN"))).deliveries == 1


async def test_refused_deliveries_are_retried_by_the_schedule_and_then_fail(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    subscriber.answer = lambda _: web.Response(status=400, text="no such board")
    await subscribe(pool, subscriber.url, schedule=QUICK)
    await store(pool, receipt("K"))
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "failed"))
    rows = await pool.fetch("SELECT * FROM crossdock.delivery_attempts ORDER BY attempt")
    assert [(row["attempt"], row["outcome"], row["status_code"], row["response"]) for row in rows] == [
        (n, "refused", 400, b"no such board") for n in (1, 2, 3)
    ]
    assert len({got.headers["webhook-id"] for got in subscriber.got}) == 1


async def test_retry_after_is_respected(pool: asyncpg.Pool, database_url: str, subscriber: Receiver) -> None:
    subscriber.answer = answering(429, Retry_After="86400000")
    await subscribe(pool, subscriber.url, schedule=QUICK)
    await store(pool, receipt("K"))
    async with running(worker(database_url)):
        await until(lambda: pool.fetchval("SELECT max(attempts) FROM crossdock.outbox"))
    wait = await pool.fetchval("SELECT next_attempt_at - now() FROM crossdock.deliveries")
    assert timedelta(hours=23, minutes=59) < wait <= timedelta(days=1)


async def test_410_disables_the_subscription_and_is_logged(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    subscriber.answer = answering(410)
    id_ = await subscribe(pool, subscriber.url, max_in_flight=1)
    await store(pool, receipt("1"), receipt("2", seconds=1))
    async with running(worker(database_url)):
        row = await until(
            lambda: pool.fetchrow("SELECT * FROM crossdock.subscriptions WHERE id = $1 AND NOT enabled", id_)
        )
        assert row["disabled_reason"] == "answered 410 Gone"
        await until(lambda: pool.fetchval("SELECT count(*) FROM crossdock.finished"))
    assert await statuses(pool) == {"failed": 1, "pending": 1}
    assert (await store(pool, receipt("3", seconds=2))).deliveries == 0


async def test_channelape_sends_the_newest_copy_and_supersedes_waiting_ones(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, f"{subscriber.url}/in?shop=1", dialect="channelape", secret="s3cret&?")
    await store(pool, receipt("K", number=1))
    await store(pool, receipt("K", seconds=1, number=2, status="OPEN"))
    await store(pool, receipt("K", seconds=2, number=3, status="RECEIVED"), receipt("L", seconds=3))
    assert await statuses(pool) == {"superseded": 2, "pending": 2}
    subscriber.answer = answering(
        302, Location=f"{subscriber.url}/elsewhere"
    )  # delivered, to ChannelApe, and not followed
    async with running(worker(database_url)):
        await until(lambda: none_is(pool, "pending"))
    assert await statuses(pool) == {"superseded": 2, "delivered": 2}
    assert {got.path for got in subscriber.got} == {"/in"}
    assert all(got.query == {"shop": "1", "token": "s3cret&?"} for got in subscriber.got)
    bodies = [json.loads(got.body) for got in subscriber.got]
    assert sorted((body["id"], body.get("status")) for body in bodies) == [("K", "RECEIVED"), ("L", None)]


async def test_the_newest_version_is_sent_if_it_is_stored_while_a_delivery_waits_for_its_retry(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    subscriber.answer = answering(500)
    settings = config(channelape_interval=0.2)
    await subscribe(pool, subscriber.url, dialect="channelape")
    await store(pool, receipt("K", number=1))
    async with running(worker(database_url, settings)):
        await until(lambda: len(subscriber.got) >= 2)
        await store(pool, receipt("K", seconds=1, number=2, status="NEW"))
        await until(lambda: json.loads(subscriber.got[-1].body).get("status") == "NEW")
        subscriber.answer = answering(399)
        await until(lambda: none_is(pool, "pending"))
    assert (await statuses(pool))["delivered"] == 1


async def test_purchase_orders_are_translated_for_ecomnow(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, subscriber.url, dialect="ecomnow", authorization="Basic c2hvcDpzZWNyZXQ=")
    raw = registry.example("apicbase", "purchase_order")
    await store(
        pool, incoming("apicbase", "purchase_order", raw), incoming("ecomnow", "notification", NOTICE, seconds=1)
    )
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "delivered"))
    assert {got.headers["authorization"] for got in subscriber.got} == {"Basic c2hvcDpzZWNyZXQ="}
    bodies = {json.loads(got.body)["orderNo"]: got.body for got in subscriber.got}
    assert set(bodies) == {"PO-2026-00817", "1000-4612"}
    assert b'"itemPrice":4.1500' in bodies["PO-2026-00817"]


NOTICE = b'{"orderNo": 1000-4612, "type": "new_order", "items": []}'


async def test_an_event_that_cannot_be_translated_fails_at_once_with_the_reason(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, subscriber.url, dialect="ecomnow")
    await store(pool, incoming("apicbase", "purchase_order", b'{"id": "1", "packages": [{}]}'))
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "failed"))
    row = await fetch_one(pool, "SELECT * FROM crossdock.delivery_attempts")
    assert row["outcome"] == "blocked"
    assert row["error"] == "cannot be expressed in dialect ecomnow: line 1 of the purchase order has no article number"
    assert subscriber.got == []


async def test_each_manufacturer_gets_its_part_of_an_order(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    await subscribe(pool, f"{subscriber.url}/all", types=["ustore.manufacturer_order"])
    await subscribe(pool, f"{subscriber.url}/two", types=["ustore.manufacturer_order.2"])
    raw = registry.example("ustore", "manufacturer_allocation")
    order = json.loads(raw)["Order"]
    items = [item["@id"] for item in order["OrderProducts"]["OrderProduct"]]
    chosen = [ItemAllocation(item, str(n + 2), "rule") for n, item in enumerate(items)]
    message = incoming("ustore", "manufacturer_allocation", raw, allocations=chosen)
    written = await store(pool, message)
    assert written.deliveries == len(items) + 1
    assert (await store(pool, message)).deliveries == 0
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "delivered"))
    assert len(subscriber.of("/all")) == len(items)
    (got,) = subscriber.of("/two")
    event = Webhook(SECRET).verify(got.body, got.headers)
    assert event["type"] == "ustore.manufacturer_order"
    assert (event["data"]["manufacturerId"], [item["@id"] for item in event["data"]["items"]]) == ("2", items[:1])


async def test_a_thin_subscription_is_sent_references_that_it_can_follow(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver
) -> None:
    id_ = await subscribe(pool, subscriber.url)
    await pool.execute("UPDATE crossdock.subscribed SET payload = 'thin' WHERE id = $1", id_)
    raw = registry.example("ustore", "manufacturer_allocation")
    items = [item["@id"] for item in json.loads(raw)["Order"]["OrderProducts"]["OrderProduct"]]
    chosen = [ItemAllocation(item, "2", "rule") for item in items]
    message = incoming("ustore", "manufacturer_allocation", raw, account="printshop", allocations=chosen)
    await store(pool, message, receipt("R-1"))
    async with running(worker(database_url)):
        await until(lambda: all_are(pool, "delivered"), what="delivered")
    sent = {event["type"]: event for event in (Webhook(SECRET).verify(got.body, got.headers) for got in subscriber.got)}
    assert len(sent) == 3
    async with api(database_url) as client:
        for event in sent.values():
            assert {"data", "data_base64"}.isdisjoint(event)
            status, whole, _ = await client.ask("GET", event["dataref"], who=OTHER)
            assert (status, whole["id"], whole["type"]) == (200, event["id"], event["type"])
            assert whole["data"]
        share = sent["ustore.manufacturer_order"]
        assert (await client.ask("GET", share["dataref"], who=BOARDS))[0] == 404


async def test_only_a_dialect_with_references_can_be_thin(database_url: str) -> None:
    async with api(database_url) as client:
        body = {"url": "https://a.example/", "dialect": "ecomnow", "payload": "thin"}
        status, answer, _ = await client.ask("POST", "/v1/subscriptions", body)
        assert (status, answer["errors"][0]["field"]) == (400, "payload")
        created = await client.subscribe(payload="thin")
        path = f"/v1/subscriptions/{created['id']}"
        assert created["payload"] == "thin"
        assert (await client.ask("PATCH", path, {"payload": "full"}))[1]["payload"] == "full"
