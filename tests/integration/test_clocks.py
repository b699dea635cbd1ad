"""An ingress whose clock is far ahead: its documents are filed under the present, each once, and can be superseded."""

from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import msgspec

from schemas import clocks, documents, envelope, registry
from schemas.envelope import Envelope
from workers.store import isolate
from workers.store.moments import Moments
from workers.store.prepare import Incoming


def order(remarks: str, ahead: float, name: UUID | None = None, *, again: bool = False) -> Incoming:
    raw = msgspec.json.encode({"id": "I1", "order_remarks": remarks})
    name = name or uuid4()
    meta = Envelope(
        message_id=str(name),
        platform="apicbase",
        account="acme",
        event="purchase_order",
        received_at=envelope.now() + timedelta(seconds=ahead),
    )
    document = documents.describe(registry.platforms()["apicbase"], "purchase_order", raw)
    return Incoming(meta, name, raw, document, may_be_stored=again)


async def store(pool: asyncpg.Pool, moments: Moments, *batch: Incoming) -> None:
    await isolate.write_isolating(pool, await moments.correct(pool, batch))


def moments_of(pool: asyncpg.Pool) -> Moments:
    async def same() -> asyncpg.Pool:
        return pool

    return Moments(same)


async def test_a_later_message_is_newer_although_an_earlier_clock_was_a_day_ahead(pool: asyncpg.Pool) -> None:
    moments = moments_of(pool)
    await moments.compare_clocks(pool)
    await store(pool, moments, order("first", 86400.0))
    await store(pool, moments, order("second", 0.0))
    rows = await pool.fetch(
        "SELECT body ->> 'order_remarks' AS said, version, flags FROM crossdock.events ORDER BY version"
    )
    assert [(row["said"], row["version"], row["flags"]) for row in rows] == [
        ("first", 1, [clocks.CLOCK_AHEAD]),
        ("second", 2, ["revised"]),
    ]
    assert await pool.fetchval("SELECT body ->> 'order_remarks' FROM crossdock.current_events") == "second"


async def test_the_same_message_again_is_filed_under_the_same_moment(pool: asyncpg.Pool) -> None:
    """Also by another worker, and also once its moment isn't ahead any more."""
    first, second = moments_of(pool), moments_of(pool)
    await first.compare_clocks(pool)
    await second.compare_clocks(pool)
    message = order("x", clocks.MAX_AHEAD + 3600)
    await store(pool, first, message)
    await store(pool, second, message)
    await second.compare_clocks(pool)
    then = msgspec.structs.replace(message.envelope, received_at=envelope.now() - timedelta(seconds=1))
    await store(pool, second, msgspec.structs.replace(message, envelope=then, may_be_stored=True))
    assert await pool.fetchval("SELECT count(*) FROM crossdock.receipts") == 1
    assert await pool.fetchval("SELECT times_received FROM crossdock.events") == 1


async def test_clocks_that_differ_by_less_are_believed(pool: asyncpg.Pool) -> None:
    moments = moments_of(pool)
    await moments.compare_clocks(pool)
    message = order("x", clocks.MAX_AHEAD - 10)
    await store(pool, moments, message)
    row = await pool.fetchrow("SELECT received_at, flags FROM crossdock.events")
    assert row is not None
    assert (row["received_at"], row["flags"]) == (message.envelope.received_at, [])
    assert await pool.fetchval("SELECT count(*) FROM crossdock.moments") == 0
