"""Several store workers at once, on the same documents."""

import asyncio
import random

import asyncpg
import pytest

from storage import pool as pools
from tests.support.storing import everything, incoming, rows
from workers.store import isolate, write
from workers.store.prepare import Incoming


def orders(count: int, keys: int) -> list[Incoming]:
    """Posts on `keys` orders whose content changes now and then."""
    return [
        incoming("apicbase", "purchase_order", {"id": f"I{n % keys}", "order_remarks": n // (keys * 4)}, seconds=n)
        for n in range(count)
    ]


async def blocked(database: asyncpg.Connection, count: int = 1) -> None:
    """Returns when so many backends of this database wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(20):
        while await database.fetchval(waiting) < count:
            pass


@pytest.mark.parametrize("seed", range(3))
async def test_overlapping_batches_in_different_orders_never_fail_and_come_to_the_same(
    database_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    messages = orders(240, keys=12)
    pool = await pools.create_pool(database_url, size=6)
    try:
        for n in range(0, len(messages), 30):
            await isolate.write_isolating(pool, messages[n : n + 30])
        in_order = await everything(pool)
        await pool.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions")

        async def worker(own: list[Incoming]) -> None:
            for n in range(0, len(own), 17):
                await isolate.write_isolating(pool, own[n : n + 17])

        queues: list[list[Incoming]] = [[] for _ in range(6)]
        for message in messages:
            for queue in chance.sample(queues, chance.choice((1, 1, 2))):  # some are delivered to two workers
                queue.append(message)
        for queue in queues:
            chance.shuffle(queue)
        await asyncio.gather(*(worker(queue) for queue in queues))
        assert await everything(pool) == in_order
    finally:
        await pool.close()


async def test_fifty_identical_posts_over_many_connections_are_one_row(database_url: str) -> None:
    pool = await pools.create_pool(database_url, size=10)
    try:
        posts = [incoming("apicbase", "purchase_order", {"id": "I1"}, seconds=n) for n in range(50)]
        await asyncio.gather(*(isolate.write_isolating(pool, [post]) for post in posts))
        (event,) = await rows(pool, "events")
        assert (event["version"], event["times_received"]) == (1, 50)
    finally:
        await pool.close()


async def test_a_message_delivered_to_a_second_worker_waits_for_the_first(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    message = incoming("apicbase", "purchase_order", {"id": "I1"}, again=True)
    async with pool.acquire() as first:
        transaction = first.transaction()
        await transaction.start()
        written = await write.write(first, [message])
        second = asyncio.ensure_future(isolate.write_isolating(pool, [message]))
        await blocked(database)
        await transaction.commit()
    again = await second
    assert [version.id for version in again.versions] == [version.id for version in written.versions]
    assert [row["times_received"] for row in await rows(pool, "events")] == [1]


async def test_a_worker_that_dies_before_the_commit_leaves_the_message_to_the_next(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    message = incoming("apicbase", "purchase_order", {"id": "I1"})
    async with pool.acquire() as first:
        transaction = first.transaction()
        await transaction.start()
        await write.write(first, [message])
        second = asyncio.ensure_future(isolate.write_isolating(pool, [message]))
        await blocked(database)
        await transaction.rollback()
    assert len((await second).versions) == 1
    assert [row["times_received"] for row in await rows(pool, "events")] == [1]


async def test_a_deadlock_with_somebody_else_is_tried_again(database_url: str, database: asyncpg.Connection) -> None:
    """We lock in one order; who else touches the rows may not."""
    await database.execute("SET deadlock_timeout = '30s'")
    name = await database.fetchval("SELECT current_database()")
    await database.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '50ms'")
    pool = await pools.create_pool(database_url, size=1)
    observer = await asyncpg.connect(database_url)
    try:
        await isolate.write_isolating(pool, orders(2, keys=2))
        lock = "SELECT FROM crossdock.documents WHERE key = $1 FOR UPDATE"
        transaction = database.transaction()
        await transaction.start()
        await database.execute(lock, "I1")
        writing = asyncio.ensure_future(isolate.write_isolating(pool, orders(4, keys=2)[2:]))
        await blocked(observer)
        await database.execute(lock, "I0")  # granted when the writer has been made to give way
        await transaction.commit()
        await writing
        assert {row["key"]: row["times_received"] for row in await rows(observer, "events")} == {"I0": 2, "I1": 2}
    finally:
        await observer.close()
        await pool.close()
