"""Erased content that is received again counts and stays erased; changed content is a new version."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from tests.support.delivering import store
from tests.support.erasing import NAME, STREET, erase, print_order, traces, transfer
from tests.support.receiver import subscribe
from tests.support.storing import at, incoming, rows
from workers.store.prepare import Incoming
from workers.store.write import WriteResult

DAY = 86_400.0


async def versions(pool: asyncpg.Pool) -> list[tuple[int, int, bool]]:
    """Number, times received, and whether it is erased, of every version."""
    events = sorted(await rows(pool, "events"), key=lambda row: (row["key"], row["version"]))
    for row in events:
        is_erased = "erased" in row["flags"]
        assert (row["body"] is None, bytes(row["raw"]) == b"") == (is_erased, is_erased)
    return [(row["version"], row["times_received"], "erased" in row["flags"]) for row in events]


async def stored(pool: asyncpg.Pool, *batch: Incoming) -> WriteResult:
    """Stores a batch of which nothing may be announced or delivered."""
    waiting = "SELECT count(*) FROM crossdock.outbox"
    before = await pool.fetchval(waiting)
    result = await store(pool, *batch)
    assert (result.versions, result.notices, result.deliveries) == ([], [], 0)
    assert await pool.fetchval(waiting) == before
    return result


async def test_a_repeat_counts_and_stays_erased(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await subscribe(database, "https://a.example")
    await store(pool, transfer("STO1", seconds=0, number=1), transfer("STO1", seconds=1, number=2, n=2))
    await erase(database, key="STO1")
    await stored(pool, transfer("STO1", seconds=2, number=3, n=2))  # repeats the newest version
    assert await versions(pool) == [(1, 1, True), (2, 2, True)]
    await stored(pool, transfer("STO1", seconds=3, number=4))  # the content of version 1: a version of its own
    assert await versions(pool) == [(1, 1, True), (2, 2, True), (3, 1, True)]
    await stored(pool, transfer("STO1", seconds=0.5, number=5))  # late, into version 1
    await stored(pool, transfer("STO1", seconds=2.5, number=6))  # late, before version 3
    assert await versions(pool) == [(1, 2, True), (2, 2, True), (3, 2, True)]
    assert await traces(database) == {}


async def test_changed_content_is_a_new_version_and_erased_content_stays_erased(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, transfer("STO1", seconds=0, number=1))
    await erase(database, key="STO1")
    result = await store(pool, transfer("STO1", seconds=5, number=2, n=2), transfer("STO1", seconds=6, number=3))
    assert [version.version.number for version in result.versions] == [2]
    assert await versions(pool) == [(1, 1, True), (2, 1, False), (3, 1, True)]
    late = await store(pool, transfer("STO1", seconds=2, number=4, n=4), transfer("STO1", seconds=4, number=5))
    assert [version.version.number for version in late.versions] == [2]
    assert await versions(pool) == [
        (1, 1, True), (2, 1, False), (3, 1, True), (4, 1, False), (5, 1, True),
    ]  # fmt: skip


async def test_a_redelivery_is_stored_once_and_no_longer_announced(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """The worker died between commit and publish; the person was erased before the broker delivered again."""
    await store(pool, print_order("7", seconds=0, number=1))
    await erase(database, platform="ustore", key="7")
    await stored(pool, print_order("7", seconds=0, number=1, again=True))
    assert await versions(pool) == [(1, 1, True)]
    assert await traces(database) == {}


async def test_an_order_page_that_is_loaded_again_leaves_no_detail(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, print_order("7", seconds=0, number=1))
    await erase(database, platform="ustore", key="7")
    await stored(pool, print_order("7", seconds=9, number=2))
    assert await traces(database) == {}
    ((records, manufacturer),) = await database.fetch(
        "SELECT (SELECT count(*) FROM crossdock.allocation_records), manufacturer_id FROM crossdock.allocations"
    )
    assert (records, manufacturer) == (2, "2")


async def test_content_erased_by_age_stays_erased_while_it_is_repeated(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, transfer("STO1", seconds=0, number=1))
    await erase(database, before=at(1))
    await stored(pool, transfer("STO1", seconds=DAY, number=2))
    assert await versions(pool) == [(1, 2, True)]
    assert await traces(database) == {}
    # Sent anew after something else, it isn't older than that time.
    await store(pool, transfer("STO1", seconds=2 * DAY, number=3, n=2))
    result = await store(pool, transfer("STO1", seconds=3 * DAY, number=4))
    assert [version.version.number for version in result.versions] == [3]
    assert await versions(pool) == [(1, 2, True), (2, 1, False), (3, 1, False)]


def carton(number: int, seconds: float, names: dict[str, str], **more: Any) -> Incoming:
    body = {
        "id": "S1",
        "additionalFields": names,
        "customer": {"shippingAddress": {"name": NAME, "address1": STREET}},
        "lineItems": [{"id": "1", "sku": "A", "quantity": 1}],
        **more,
    }
    return incoming("channelape", "ship_confirmation", body, seconds=seconds, number=number)


SSCC, PLATE = {"Sscc": "000123"}, {"LicensePlate": "LP-9"}


@pytest.mark.parametrize("erased_first", [[SSCC, PLATE], [PLATE, SSCC]])
async def test_documents_that_are_merged_stay_erased(
    pool: asyncpg.Pool, database: asyncpg.Connection, erased_first: Sequence[dict[str, str]]
) -> None:
    """Two copies of one carton were two documents, one of them erased, until a copy names both."""
    first, second = erased_first
    await store(pool, carton(1, 0, first), carton(2, 1, second, n=2))
    await erase(database, key=f"S1/{next(iter(first.values()))}")
    result = await store(pool, carton(3, 2, SSCC | PLATE, n=3))
    assert len(result.versions) == 1
    await stored(pool, carton(4, 3, first))
    assert await versions(pool) == [(1, 1, True), (2, 1, False), (3, 1, False), (4, 1, True)]
