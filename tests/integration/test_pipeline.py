"""From the socket to the row, on real servers."""

import asyncio
import json
from functools import partial
from uuid import UUID

import asyncpg

from schemas import registry
from tests.support import pipeline


async def stored(database: asyncpg.Connection, type_: str) -> asyncpg.Record | None:
    return await database.fetchrow("SELECT * FROM crossdock.current_events WHERE type = $1", type_)


async def test_every_example_is_accepted_stored_and_kept_byte_for_byte(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.route(amqp_url)),
        pipeline.door(amqp_url) as door,
    ):
        for platform in registry.platforms().values():
            for event in platform.events:
                for name in event.examples[: len(event.types)]:
                    raw = registry.example(platform.name, name)
                    status, body, headers = await door.post(platform.name, event.name, raw)
                    assert status == 200, body
                    message = UUID(headers["X-Crossdock-Id"])
                    row = await pipeline.until(
                        partial(database.fetchrow, "SELECT * FROM crossdock.events WHERE message_id = $1", message),
                        what=f"{platform.name} {name} stored",
                    )
                    assert bytes(row["raw"]) == raw
                    assert row["type"] in event.types
                    assert row["version"] == 1
                    assert row["traceparent"].startswith("00-")


async def test_fifty_concurrent_identical_posts_are_one_row(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    async with pipeline.running(pipeline.store(amqp_url, database_url)), pipeline.door(amqp_url) as door:
        answers = await asyncio.gather(*(door.post("channelape", "receipt_confirmation") for _ in range(50)))
        assert {status for status, _, _ in answers} == {200}

        async def all_counted() -> bool:
            row = await stored(database, "channelape.receipt_confirmation")
            return row is not None and row["times_received"] == 50

        await pipeline.until(all_counted, what="50 receipts")
        assert await database.fetchval("SELECT count(*) FROM crossdock.events") == 1


async def test_everything_acknowledged_is_stored(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    """1,000 mixed posts through two store workers, some of them identical, some unreadable."""
    posts: list[tuple[str, str, bytes]] = []
    for number in range(1000):
        platform, event = (
            ("channelape", "stock_transfer_order"),
            ("channelape", "ship_confirmation"),
            ("channelape", "advanced_ship_notice"),
            ("channelape", "receipt_confirmation"),
            ("ecomnow", "notification"),
        )[number % 5]
        known = registry.platforms()[platform]
        raw = registry.example(platform, registry.event(platform, event).examples[0])
        assert known.with_new_key is not None
        posts.append(
            (
                platform,
                event,
                b"not json" if number % 100 == 99 else known.with_new_key(event, raw, f"{number % 400:032x}"),
            )
        )
    acknowledged: set[UUID] = set()
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.store(amqp_url, database_url)),
        pipeline.door(amqp_url) as door,
    ):

        async def post(platform: str, event: str, raw: bytes) -> None:
            status, body, _ = await door.post(platform, event, raw)
            assert status == 200, body
            acknowledged.add(UUID(json.loads(body)["id"]))

        for start in range(0, 1000, 100):
            await asyncio.gather(*(post(*entry) for entry in posts[start : start + 100]))
        kept = "SELECT message_id FROM crossdock.receipts UNION ALL SELECT id FROM crossdock.quarantine"

        async def everything() -> bool:
            return len(await database.fetch(kept)) >= 1000

        await pipeline.until(everything, what="1,000 messages kept")
    assert {row[0] for row in await database.fetch(kept)} == acknowledged
    assert await database.fetchval("SELECT sum(times_received) FROM crossdock.events") == 990
    assert await database.fetchval("SELECT count(*) FROM crossdock.quarantine") == 10


async def test_an_order_that_changed_is_a_new_version_and_flagged(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    raw = registry.example("apicbase", "purchase_order")
    changed = raw.replace(b'"quantity_ordered": 12', b'"quantity_ordered": 13')
    assert changed != raw
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.route(amqp_url)),
        pipeline.door(amqp_url) as door,
    ):
        for body in (raw, changed, raw, raw):
            assert (await door.post("apicbase", "purchase_order", body))[0] == 200

        async def versions() -> list[tuple[int, int, list[str]]] | None:
            rows = await database.fetch("SELECT * FROM crossdock.events ORDER BY version")
            result = [(row["version"], row["times_received"], row["flags"]) for row in rows]
            return result if sum(times for _, times, _ in result) == 4 else None

        stored = await pipeline.until(versions)
    assert stored == [(1, 1, []), (2, 1, ["revised"]), (3, 2, ["revised"])]


async def test_an_unknown_article_is_named_in_the_refusal_and_the_order_is_quarantined(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    settings = pipeline.config({"accounts": {"apicbase": {"acme": {"secrets": ["s"], "articles": ["ART-1"]}}}})
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url, settings), pipeline.route(amqp_url, settings)),
        pipeline.door(amqp_url, settings) as door,
    ):
        status, body, headers = await door.post("apicbase", "purchase_order")
        assert (status, headers["Content-Type"]) == (422, "application/problem+json")
        assert "ART-2" in json.loads(body)["detail"]
        status, body, _ = await door.post("apicbase", "purchase_order", b"no json")
        assert status == 400, body
        rows = await pipeline.until(
            lambda: _two(database),
            what="both in quarantine",
        )
    assert any("ART-2" in row["reason"] for row in rows)
    assert await database.fetchval("SELECT count(*) FROM crossdock.events") == 0


async def _two(database: asyncpg.Connection) -> list[asyncpg.Record] | None:
    rows = await database.fetch("SELECT * FROM crossdock.quarantine")
    return rows if len(rows) == 2 else None


async def test_apicbase_is_accepted_when_no_verdict_comes(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    settings = pipeline.config({"accounts": {"apicbase": {"acme": {"secrets": ["s"], "verdict_timeout": 0.3}}}})
    async with pipeline.running(pipeline.store(amqp_url, database_url)), pipeline.door(amqp_url, settings) as door:
        status, body, _ = await door.post("apicbase", "purchase_order")
        assert status == 200, body
        await pipeline.until(lambda: stored(database, "apicbase.purchase_order"))
    assert b"no answer from a worker in time" in b"".join(door.lines)


async def test_ustore_answer_is_signed_the_same_again_and_recorded_once(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    async with (
        pipeline.running(pipeline.store(amqp_url, database_url), pipeline.route(amqp_url)),
        pipeline.door(amqp_url) as door,
    ):
        answers = [await door.post("ustore", "manufacturer_allocation") for _ in range(3)]
        assert {(status, body) for status, body, _ in answers} == {(200, b'{"3087":"2","3088":"1"}')}
        platform = registry.platforms()["ustore"]
        account = door.config.accounts["ustore"]["printshop"]
        signature = platform.sign(answers[0][1], account).headers["X-Signature"]
        assert {headers["X-Signature"] for _, _, headers in answers} == {signature}

        async def recorded() -> bool:
            row = await stored(database, "ustore.manufacturer_allocation")
            count = await database.fetchval("SELECT count(*) FROM crossdock.allocation_records")
            return row is not None and row["times_received"] == 3 and count == 3

        await pipeline.until(recorded)
    rows = await database.fetch("SELECT order_product_id, manufacturer_id FROM crossdock.allocations ORDER BY 1")
    assert [tuple(row) for row in rows] == [("3087", "2"), ("3088", "1")]


async def test_ustore_without_a_worker_is_503_with_a_message_and_leaves_no_allocation(
    amqp_url: str, database_url: str, database: asyncpg.Connection
) -> None:
    settings = pipeline.config(
        {"accounts": {"ustore": {"shop": {"secrets": ["s"], "answer_timeout": 0.3, "fallback": "refuse"}}}}
    )
    async with pipeline.running(pipeline.store(amqp_url, database_url)), pipeline.door(amqp_url, settings) as door:
        status, body, headers = await door.post("ustore", "manufacturer_allocation", headers={"Accept-Language": "de"})
        assert status == 503
        assert headers["Retry-After"]
        assert "X-Signature" in headers
        assert json.loads(body)["message"]
        await pipeline.until(lambda: stored(database, "ustore.manufacturer_allocation"))
        async with pipeline.running(pipeline.route(amqp_url, settings)):
            from broker import topology

            async def drained() -> bool:
                return (await topology.depths(amqp_url))["crossdock.route.ustore"][0] == 0

            await pipeline.until(drained)
    assert await database.fetchval("SELECT count(*) FROM crossdock.allocations") == 0
