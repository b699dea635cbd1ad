"""Cartons whose copies differ in the identifiers that they carry: ChannelApe always sends the newest copy."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage import maintenance, migrate
from storage import pool as pools
from tests.support.storing import incoming, rows
from workers.store import aliases, outbox, write
from workers.store.aliases import Carton
from workers.store.prepare import Incoming

TABLES = "documents, receipts, versions, shipments"
ORDER = {
    "channelOrderId": "STO1",
    "lineItems": [{"id": "1", "sku": "A", "quantity": 100}],
}
NAMES = ("Sscc", "LicensePlate", "CartonNumber")


def carton(quantity: Any, /, *, shipment: Any = "888", **identifiers: Any) -> dict[str, Any]:
    return {
        "id": shipment,
        "channelOrderId": "STO1",
        "additionalFields": identifiers,
        "lineItems": [{"id": "1", "sku": "A", "quantity": quantity}],
    }


def messages(*bodies: dict[str, Any], event: str = "ship_confirmation") -> list[Incoming]:
    """The transfer order, then these a second apart."""
    result = [incoming("channelape", "stock_transfer_order", ORDER, seconds=0)]
    return result + [incoming("channelape", event, body, seconds=n) for n, body in enumerate(bodies, 1)]


async def store(pool: asyncpg.Pool, batches: Sequence[Sequence[Incoming]]) -> None:
    for batch in batches:
        await write.write_retrying(pool, batch, outbox.NO_SUBSCRIBERS)


async def documents(pool: asyncpg.Pool) -> list[tuple[str, int]]:
    """Key and newest version of each shipment's carton."""
    result = await rows(pool, "current_events")
    return sorted((row["key"], row["version"]) for row in result if row["type"] != "channelape.stock_transfer_order")


async def shipped(pool: asyncpg.Pool, column: str = "shipped") -> Any:
    return await pool.fetchval(f"SELECT {column} FROM crossdock.transfer_progress")  # noqa: S608 - ours


async def test_a_carton_that_gets_an_sscc_later_is_one_document_in_version_2(pool: asyncpg.Pool) -> None:
    """reports.md, row 5 (ChannelApe: each retry is the newest copy): shipped was counted twice."""
    await store(
        pool, [[message] for message in messages(carton(8, CartonNumber="1"), carton(8, CartonNumber="1", Sscc="S"))]
    )
    assert await documents(pool) == [("888/S", 2)]
    assert (await shipped(pool), await shipped(pool, "cartons")) == (8, 1)


async def test_a_copy_with_both_identifiers_merges_two_documents(pool: asyncpg.Pool) -> None:
    """reports.md, row 5: nothing shared, until a copy carries both."""
    bodies = (
        carton(8, CartonNumber="1"),
        carton(9, Sscc="S"),
        carton(7, CartonNumber=1, Sscc=" S ", LicensePlate="null"),
    )
    sent = messages(*bodies)
    await store(pool, [[message] for message in sent[:3]])
    assert await documents(pool) == [("888/1", 1), ("888/S", 1)]
    assert await shipped(pool) == 17
    await store(pool, [[sent[3]]])
    assert await documents(pool) == [("888/S", 3)]
    assert (await shipped(pool), await shipped(pool, "cartons")) == (7, 1)
    bodies_of = [msgspec.json.decode(row["body"])["lineItems"][0]["quantity"] for row in await by_version(pool)]
    assert bodies_of == [8, 9, 7]


async def by_version(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    result = [row for row in await rows(pool, "events") if row["type"] == "channelape.ship_confirmation"]
    return sorted(result, key=lambda row: row["version"])


@pytest.mark.parametrize(
    "bodies",
    [
        (carton(1), carton(2, Sscc="A"), carton(3, Sscc="B")),
        (carton(1, Sscc="A", CartonNumber=""), carton(2, Sscc="B", CartonNumber="null")),
        (carton(1, Sscc="A"), carton(2, Sscc="A", shipment="889")),
    ],
)
async def test_cartons_are_not_merged_because_both_lack_an_identifier(pool: asyncpg.Pool, bodies: Any) -> None:
    """channelape-typescript-sdk (row 3) and row 5; nor because they stand in two shipments."""
    await store(pool, [messages(*bodies)])
    assert len(await documents(pool)) == len(bodies)
    assert await shipped(pool) == sum(body["lineItems"][0]["quantity"] for body in bodies)


STORED_TWICE = "UPDATE crossdock.versions v SET body = e.body FROM crossdock.events e WHERE e.id = v.id"
"""Makes the bodies what an older release stored."""


async def test_a_migration_merges_stored_cartons(pool: asyncpg.Pool) -> None:
    """reports.md, row 5: an older release made two documents of one carton; its events keep their ids."""
    bodies = [carton(8, CartonNumber="1"), carton(8, CartonNumber="1", Sscc="S"), carton(5, LicensePlate="P/1")]
    sent = messages(*bodies, carton(9, CartonNumber="1", LicensePlate="Q"), carton(6, LicensePlate="P/1", Sscc="T"))
    await store(pool, [[as_an_older_release_read(message)] for message in sent[:4]])
    assert await documents(pool) == [("888/1", 1), ("888/P%2F1", 1), ("888/S", 1)]
    before = {row["id"] for row in await by_version(pool)}
    await pool.execute(STORED_TWICE)
    [text] = [migration.text for migration in migrate.files() if migration.name.endswith("_cartons")]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(text[text.index("-- What is stored already") :])
    assert await documents(pool) == [("888/P%2F1", 1), ("888/S", 2)]
    assert {row["id"] for row in await by_version(pool)} == before
    assert (await shipped(pool), await shipped(pool, "cartons")) == (13, 2)
    await store(pool, [sent[4:]])
    assert await documents(pool) == [("888/S", 3), ("888/T", 2)]
    assert before < {row["id"] for row in await by_version(pool)}
    assert await shipped(pool) == 15


def as_an_older_release_read(message: Incoming) -> Incoming:
    assert message.document is not None
    reading = msgspec.structs.replace(message.document.reading, scope=None, aliases=())
    return msgspec.structs.replace(message, document=msgspec.structs.replace(message.document, reading=reading))


async def test_an_advanced_ship_notice_is_not_its_ship_confirmation(pool: asyncpg.Pool) -> None:
    bodies = carton(8, CartonNumber="1"), carton(8, CartonNumber="1", Sscc="S")
    await store(pool, [messages(*bodies, event="advanced_ship_notice")])
    assert await documents(pool) == [("888/S", 2)]
    assert (await shipped(pool), await shipped(pool, "announced")) == (0, 8)


def test_resolving_reports_the_former_keys() -> None:
    known = [Carton("888/1", ("21",)), Carton("888/P", ("1P", "22")), Carton("888/X", ("0X",))]
    result = aliases.resolve("888", known, [("0S", "21"), ("1P", "23"), ("1P", "21")])
    assert result.cartons == (Carton("888/S", ("0S", "1P", "21", "22", "23")), Carton("888/X", ("0X",)))
    assert result.changed == {"888/S": ("888/1", "888/P")}
    assert result.keys["23"] == "888/S"


def test_resolving_is_linear() -> None:
    """A chain of a hundred thousand, and as many cartons that share nothing."""
    chain = [(f"0{n:06}", f"0{n + 1:06}") for n in range(100_000)]
    assert len(aliases.resolve("888", (), chain).cartons) == 1
    assert len(aliases.resolve("888", (), [(f"0{n}",) for n in range(100_000)]).cartons) == 100_000


identifiers = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(["A", "B", " A", "null", "", 1, "1", None]) for name in NAMES}
)
posts = st.lists(st.tuples(identifiers, st.integers(1, 2), st.integers(0, 9)), min_size=1, max_size=7)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Incoming], list[list[Incoming]], list[list[Incoming]]]:
    """Copies of cartons of one shipment, and two workers' batches that deliver each at least once, in any order."""
    sent = messages()
    for number, (identifiers, quantity, seconds) in enumerate(draw(posts), 2):
        body = carton(quantity, **identifiers)
        sent.append(incoming("channelape", "ship_confirmation", body, seconds=seconds, number=number))
    queue = draw(st.permutations([*sent, *draw(st.lists(st.sampled_from(sent), max_size=3))]))
    workers: tuple[list[list[Incoming]], list[list[Incoming]]] = ([], [])
    while queue:
        size = draw(st.integers(1, len(queue)))
        workers[draw(st.integers(0, 1))].append(list(queue[:size]))
        queue = queue[size:]
    return sent, *workers


VIEWS = ("events", "current_events", "transfer_progress")


async def everything(pool: asyncpg.Pool) -> dict[str, list[dict[str, Any]]]:
    return {view: await rows(pool, view) for view in VIEWS}


@pytest.mark.timeout(180)
@settings(
    max_examples=40,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(drawn=deliveries())
async def test_any_order_of_arrival_of_any_identifiers_gives_the_same_documents(
    database_url: str, drawn: tuple[list[Incoming], list[list[Incoming]], list[list[Incoming]]]
) -> None:
    """reports.md, rows 3, 5, 8: identifiers appear, disappear and are spelt differently between copies."""
    sent, first_worker, other = drawn
    pool = await pools.create_pool(database_url, size=2)
    try:
        await empty(pool)
        in_order = sorted(sent, key=lambda message: (message.envelope.received_at, message.message_id))
        await store(pool, [[message] for message in in_order])
        expected = await everything(pool)
        await empty(pool)
        await store(pool, [sent])
        assert await everything(pool) == expected
        await empty(pool)
        await asyncio.gather(store(pool, first_worker), store(pool, other))
        assert await everything(pool) == expected
    finally:
        await pool.close()


async def empty(pool: asyncpg.Pool) -> None:
    await pool.execute(f"TRUNCATE {', '.join('crossdock.' + name for name in TABLES.split(', '))}")


async def test_a_shipment_is_forgotten_with_its_last_carton(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    """Not with its first: what the others are recognised by is still needed."""
    await store(pool, [messages(carton(8, Sscc="S", CartonNumber="1"), carton(9, Sscc="T"))])
    later = datetime.now(UTC) + timedelta(days=1)
    for left, key in ((1, "888/S"), (0, "888/T")):
        await database.execute("DELETE FROM crossdock.documents WHERE key = $1", key)
        await maintenance._delete_all(database, "forget_shipments", later)
        assert await database.fetchval("SELECT count(*) FROM crossdock.shipments") == left
