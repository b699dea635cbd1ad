"""What the metrics answer: is it keeping up, is anyone failing, what does each stage cost."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from broker import depths
from broker import topology as broker
from deploy.admin import Admin
from deploy.config import secrets_of
from schemas import registry, topology
from storage.sql import query
from tests.support import delivering, pipeline
from tests.support.receiver import Receiver, receiver, subscribe
from workers.deliver import backlog

NOWHERE = "postgresql://user:hush@127.0.0.1:1/db"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OPENMETRICS = {"Accept": "application/openmetrics-text;version=1.0.0"}
LABELS = {
    "account", "action", "dialect", "event", "kind", "le", "method", "outcome", "platform", "queue", "reason", "route",
    "stage", "state", "status", "type", "process", "version",
}  # fmt: skip
"""Each has as many values as there are accounts, queues or types configured, or fixed texts; none is an id."""


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def admin() -> AsyncIterator[str]:
    """The URL of a process's /metrics."""
    server = Admin("127.0.0.1", 0, list)
    await server.start()
    try:
        yield f"{server.url}/metrics"
    finally:
        await server.stop()


async def test_depth_and_oldest_age_of_a_blocked_queue_are_shown(amqp_url: str, database_url: str) -> None:
    oldest = {"queue": topology.STORE}
    async with pipeline.door(amqp_url) as door:
        worker = pipeline.store(amqp_url, NOWHERE)
        await worker.start()
        try:
            status, _, _ = await door.post("channelape", "receipt_confirmation")
            assert status == 200
            await pipeline.until(lambda: value("crossdock_oldest_message_seconds", **oldest) > 0.2)
        finally:
            await worker.stop()

        async def is_taken() -> bool:
            ready, _ = (await broker.depths(amqp_url))[topology.STORE]
            return ready == 0

        async with pipeline.running(pipeline.store(amqp_url, database_url)):
            await pipeline.until(is_taken)
            await pipeline.until(lambda: value("crossdock_oldest_message_seconds", **oldest) == 0)
    counted = {topology.STORE: (0, 0), topology.DEAD: (0, 0)}
    assert (await broker.depths(amqp_url)).items() >= counted.items()


async def test_the_ingress_shows_the_depth_without_any_worker(amqp_url: str) -> None:
    async with pipeline.door(amqp_url) as door:
        await door.post("channelape", "receipt_confirmation")
    async with pipeline.door(amqp_url):
        await pipeline.until(lambda: value("crossdock_queue_messages", queue=topology.STORE) == 1)
        assert value("crossdock_queue_consumers", queue=topology.STORE) == 0


async def test_watching_stops_at_any_moment(amqp_url: str) -> None:
    """A cancellation that comes amid a look must not be taken for a broker that is away."""
    for turns in range(40):
        watching = asyncio.create_task(depths.watch(amqp_url))
        for _ in range(turns):
            await asyncio.sleep(0)
        watching.cancel()
        done, _ = await asyncio.wait([watching], timeout=10)
        assert watching in done


async def test_refusals_by_account_and_reason(amqp_url: str) -> None:
    labels = {"platform": "channelape", "account": "demo", "reason": "signature"}
    async with pipeline.door(amqp_url) as door:
        labels["account"] = next(iter(door.config.accounts["channelape"]))
        before = value("crossdock_refused_total", **labels)
        assert (await door.post("channelape", "receipt_confirmation", sign=False))[0] == 401
        assert value("crossdock_refused_total", **labels) == before + 1


async def test_latencies_carry_trace_ids_where_openmetrics_is_asked_for(amqp_url: str, database_url: str) -> None:
    async with (
        pipeline.door(amqp_url) as door,
        pipeline.running(pipeline.store(amqp_url, database_url)),
        admin() as metrics,
    ):

        async def families() -> dict[str, Any]:
            async with door.session.get(metrics, headers=OPENMETRICS) as answer:
                assert answer.content_type == "application/openmetrics-text"
                parsed = text_string_to_metric_families(await answer.text())  # type: ignore[no-untyped-call]
                return {family.name: family for family in parsed}

        async def traced() -> bool:
            """Of several in a second only the slowest is sure to be an example."""
            sent = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            assert (await door.post("ecomnow", "notification", headers=sent))[0] == 200
            exposed = await families()
            return all(
                TRACE in [sample.exemplar.labels["trace_id"] for sample in exposed[name].samples if sample.exemplar]
                for name in ("crossdock_request_seconds", "crossdock_store_lag_seconds", "crossdock_stage_seconds")
            )

        await pipeline.until(traced, what="an example of ours in each histogram")
        confirmed = (await families())["crossdock_confirm_seconds"].samples
        assert next(sample.value for sample in confirmed if sample.name.endswith("_count")) > 0
        async with door.session.get(metrics) as answer:
            assert answer.content_type == "text/plain"
            assert "trace_id" not in await answer.text()


async def test_labels_are_few_and_hold_no_secret(amqp_url: str, database_url: str) -> None:
    async with pipeline.door(amqp_url) as door, pipeline.running(pipeline.store(amqp_url, database_url)):
        for platform in door.config.accounts:
            for event in registry.platforms()[platform].events:
                await door.post(platform, event.name, sign=False)
                async with door.session.post(door.url(platform, event.name) + "?token=hush-hush", data=b"x"):
                    pass
        async with admin() as metrics, door.session.get(metrics, headers=OPENMETRICS) as answer:
            text = await answer.text()
    ours = [line for line in text.splitlines() if line.startswith("crossdock_")]
    named = {name for line in ours for name in re.findall(r'[{,](\w+)="', line.partition(" # ")[0])}
    assert named <= LABELS
    secrets = [*secrets_of(door.config), "hush-hush", "user:hush"]
    assert [secret for secret in secrets if secret in text] == []


@pytest.fixture
async def subscriber() -> AsyncIterator[Receiver]:
    async with receiver() as subscriber:
        yield subscriber


async def test_what_is_due_and_which_breaker_is_open(
    pool: asyncpg.Pool, database_url: str, subscriber: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "INTERVAL", 0.05)
    fine, dead, slow = f"{subscriber.url}/fine", "http://127.0.0.1:1/", f"{subscriber.url}/slow"
    answered = asyncio.Event()

    async def held_up(_: object) -> aiohttp.web.Response:
        await answered.wait()
        return aiohttp.web.Response()

    subscriber.answer = held_up
    await subscribe(pool, fine)
    await subscribe(pool, dead, schedule=[0.0] * 20)
    await subscribe(pool, slow, max_rate=0.001)
    await delivering.store(pool, *(delivering.receipt(str(n)) for n in range(1, 4)))
    async with pipeline.running(delivering.worker(database_url)):
        await pipeline.until(lambda: value("crossdock_delivery_breakers", state="open") == 1)
        # The dead one is left alone, the slow one waits by its own wish: the fine one's three are what is due.
        await pipeline.until(lambda: value("crossdock_deliveries_due") == 3)
        assert value("crossdock_deliveries_oldest_due_seconds") > 0
        answered.set()
        await pipeline.until(lambda: value("crossdock_deliveries_due") == 0)
        assert value("crossdock_deliveries_oldest_due_seconds") == 0


async def test_what_is_due_is_counted_by_index(pool: asyncpg.Pool) -> None:
    id_ = await subscribe(pool, "https://example.com/")
    await pool.execute(
        """INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, received_at, event_id, message_id,
        document_id, version, type, key)
        SELECT gen_random_uuid(), $1, now() - n * interval '1 second', now(), gen_random_uuid(), gen_random_uuid(),
        n, 1, 'x', 'x' FROM generate_series(1, 20000) n""",
        id_,
    )
    await pool.execute("ANALYZE crossdock.outbox")
    sql = query("outbox", "waiting")
    row = await pool.fetchrow(sql, uuid4(), [], 100)
    assert row is not None
    assert row["due"] == 100
    assert 20_000 <= row["oldest"] < 20_100
    plan = "\n".join(line["QUERY PLAN"] for line in await pool.fetch(f"EXPLAIN {sql}", uuid4(), [], 100))
    assert "using outbox_due" in plan
    assert "Seq Scan on outbox" not in plan
