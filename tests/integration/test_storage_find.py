"""Documents by every number and article, in any order of arrival, and everything else by its id."""

import asyncio
from collections.abc import Iterator
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from storage import find, identifiers, maintenance
from storage.sql import query
from tests.contract import checks
from tests.support.pipeline import until
from tests.support.storing import START, at, incoming, unreadable
from workers.store import isolate, jobs

DAY = 86_400.0


async def matches(database: asyncpg.Connection, text: str) -> dict[tuple[str, str, str], list[str]]:
    """What a text is of each document: by account, type and key."""
    result = await find.find(database, text)
    return {(match.account, match.type, match.key): match.matched for match in result.documents}


async def keys(database: asyncpg.Connection, text: str) -> list[str]:
    return [match.key for match in (await find.find(database, text)).documents]


def order(key: str, *articles: str, seconds: float = 0.0, **more: Any) -> Any:
    packages = [{"supplier_package": {"supplier_article_number": article}} for article in articles]
    body = {"id": key, "packages": packages, **more}
    return incoming("apicbase", "purchase_order", body, seconds=seconds, number=int((seconds + 400 * DAY) * 1000))


def carton(seconds: float, *, account: str = "acme", number: int | None = None, **fields: Any) -> Any:
    tracking = fields.pop("tracking", None)
    body = {"id": "S1", "trackingNumber": tracking, "status": str(seconds), "additionalFields": fields}
    return incoming("channelape", "ship_confirmation", body, seconds=seconds, account=account, number=number)


async def test_every_example_is_found_by_each_of_its_numbers_and_articles(
    pool: asyncpg.Pool, database: asyncpg.Connection, fifth: str
) -> None:
    cases = checks.cases()
    assert fifth in {case.platform.name for case in cases}
    batch = [
        incoming(case.platform.name, case.event.name, case.raw, account=case.example, seconds=n)
        for n, case in enumerate(cases)
    ]
    await isolate.write_isolating(pool, batch)
    for case in cases:
        document = (case.example, case.expected["type"], case.expected["key"])
        texts = [(case.expected["key"], "key")]
        texts += [(number, "number") for number in case.expected.get("numbers", [])]
        texts += [(article, "article") for article in case.expected.get("articles", [])]
        for text, name in texts:
            assert name in (await matches(database, f" {text}\n"))[document], text
            for other in (f"{text}0", f"x{text}", text.swapcase() + "_"):
                assert document not in await matches(database, other)


async def test_texts_that_no_document_has_find_nothing(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await isolate.write_isolating(pool, [order("I1", "ART-1", "ART-2")])
    for text in ("art-1", "ART", "ART-1 ART-2", "%", "*", "", " ", "\0", "\udcff", "\ufffd" * 3000):
        assert (await find.find(database, text)).is_empty, text
    assert not (await find.find(database, "\u200eART-1\ufeff ")).is_empty


@pytest.mark.parametrize("bucket", [1, 4, 1 << 14])
async def test_the_newest_documents_that_hold_an_article(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, bucket: int
) -> None:
    """However the documents are spread over buckets, and whatever else is held by all of them."""
    monkeypatch.setattr(identifiers, "BUCKET", bucket)
    orders = [order(f"I{n:03}", "ALL", f"A{n}", "SOME" if n % 3 == 0 else "REST", seconds=n) for n in range(170)]
    for start in range(0, 170, 10):
        await isolate.write_isolating(pool, orders[start : start + 10])
    assert await keys(database, "ALL") == [f"I{n:03}" for n in range(169, 119, -1)]
    assert await keys(database, "SOME") == [f"I{n:03}" for n in range(168, 18, -3)]
    assert await keys(database, "A0") == ["I000"]
    assert await keys(database, "A1000") == []


async def test_a_document_that_changes_is_among_the_newest(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    orders = [order(f"I{n:03}", "ALL", seconds=n) for n in range(60)]
    await isolate.write_isolating(pool, [*orders, order("I000", "ALL", seconds=100, status="changed")])
    assert (await keys(database, "ALL"))[:2] == ["I000", "I059"]
    assert len(await keys(database, "ALL")) == find.LIMIT


async def test_documents_with_an_article_do_not_hide_those_with_it_as_a_number(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """The many documents that hold an article don't hide the few that have its text as a number, or as their key."""
    orders = [order(f"I{n:03}", "77", seconds=n + 10) for n in range(60)]
    first = [order("77", seconds=1), order("N", seconds=2, order_number="77")]
    await isolate.write_isolating(pool, [*first, *orders])
    results = await matches(database, "77")
    kind = "apicbase.purchase_order"
    assert results["acme", kind, "77"] == ["key"]
    assert results["acme", kind, "N"] == ["number"]
    assert [key for (_, _, key), names in results.items() if names == ["article"]] == [
        f"I{n:03}" for n in range(59, 9, -1)
    ]


def arrivals() -> Iterator[tuple[str, list[Any]]]:
    """Copies of one carton with different names, tracking numbers and orders, in every order of processing, each in an
    account of its own."""
    copies: list[dict[str, Any]] = [
        {"CartonNumber": "7", "tracking": "T-1"},
        {"CartonNumber": "7", "LicensePlate": "P", "tracking": "T-2"},
        {"LicensePlate": "P", "Sscc": "S", "tracking": "T-3"},
        {"CartonNumber": "7", "tracking": "T-1"},
    ]
    for n, places in enumerate(permutations(range(len(copies)))):
        account = f"a{n}"
        yield (
            account,
            [carton(place, account=account, number=n * 100 + place + 1, **copies[place]) for place in places],
        )


async def test_cartons_that_turn_out_to_be_the_same_are_found_by_every_name(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """In any order of arrival, with late copies and merged documents, in batches of one and of two."""
    cases = dict(arrivals())
    for n, messages in enumerate(cases.values()):
        size = 1 + n % 2
        for start in range(0, len(messages), size):
            await isolate.write_isolating(pool, messages[start : start + size])
    assert await database.fetchval("SELECT count(*) FROM crossdock.documents") == len(cases)
    for text in ("S1", "7", "P", "S", "T-1", "T-2", "T-3", "S1/S"):
        results = await matches(database, text)
        assert set(results) == {(account, "channelape.ship_confirmation", "S1/S") for account in cases}, text
    assert (
        await database.fetchval(
            "SELECT count(*) FROM crossdock.identifiers i "
            "WHERE NOT EXISTS (SELECT FROM crossdock.documents d WHERE d.id = i.document_id)"
        )
        == 0
    )


async def test_a_document_is_found_by_the_key_that_it_had_before(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    """Its first event was announced under that key."""
    await isolate.write_isolating(pool, [carton(1, CartonNumber="7")])
    assert await keys(database, "S1/7") == ["S1/7"]
    await isolate.write_isolating(pool, [carton(2, CartonNumber="7", Sscc="S")])
    assert await keys(database, "S1/7") == await keys(database, "S1/S") == ["S1/S"]


async def test_a_document_is_found_by_values_of_an_earlier_version(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await isolate.write_isolating(pool, [order("I1", "A", seconds=2, order_number="PO-2")])
    await isolate.write_isolating(pool, [order("I1", "B", seconds=3, order_number="PO-3")])
    await isolate.write_isolating(pool, [order("I1", "C", seconds=1, order_number="PO-1")])
    for text in ("PO-1", "PO-2", "PO-3", "A", "B", "C"):
        assert await keys(database, text) == ["I1"], text


async def test_a_message_that_comes_again_adds_nothing(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    message = order("I1", "A", seconds=1)
    for _ in range(3):
        await isolate.write_isolating(pool, [message])
    await isolate.write_isolating(pool, [order("I1", "A", seconds=2)])
    assert await database.fetchval("SELECT count(*) FROM crossdock.identifiers") == 1


async def test_a_document_of_very_many_articles_costs_a_bounded_number_of_keys(
    pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    articles = [f"A{n}" for n in range(20_000)]
    await isolate.write_isolating(pool, [order("I1", *articles, order_number="PO-1", supplier_customer_number="C-1")])
    assert await database.fetchval("SELECT cardinality(keys) FROM crossdock.identifiers") == identifiers.MAX_KEYS
    assert await keys(database, "PO-1") == await keys(database, "C-1") == await keys(database, "A0") == ["I1"]
    assert await keys(database, "A9999") == []


async def test_everything_else_is_found_by_its_id(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    version7 = UUID(f"{int(at(1).timestamp() * 1000):012x}70008000000000000001")
    body = {"id": "I7", "order_number": "PO-7"}
    batch = [
        incoming("apicbase", "purchase_order", body, seconds=1, number=version7.int),
        order("I1", seconds=2),
        unreadable(b"?", "not JSON", seconds=3),
    ]
    await isolate.write_isolating(pool, batch)
    subscription, delivery = uuid4(), uuid4()
    await database.execute(
        "INSERT INTO crossdock.subscribed (id, subscriber, url, types, accounts, dialect, max_in_flight, sealed) "
        "VALUES ($1, 'boards', 'https://a.example/hook?token=secret', '{*}', '{*}', 'standard', 1, '\\x5ec2e7')",
        subscription,
    )
    event = await database.fetchval("SELECT version_id FROM crossdock.documents WHERE key = 'I7'")
    document = await database.fetchval("SELECT id FROM crossdock.documents WHERE key = 'I7'")
    await database.execute(
        "INSERT INTO crossdock.outbox (id, subscription_id, next_attempt_at, received_at, event_id, message_id, "
        "document_id, version, type, key) VALUES ($1, $2, now(), $3, $4, $5, $6, 1, 'apicbase.purchase_order', 'I7')",
        delivery, subscription, at(1), event, version7, document,
    )  # fmt: skip

    result = await find.find(database, str(version7).upper())
    assert [(match.id, match.key, match.received_at) for match in result.messages] == [(version7, "I7", at(1))]
    assert [match.matched for match in result.documents] == [["message"]]
    result = await find.find(database, str(batch[1].message_id))
    assert [(match.id, match.key) for match in result.messages] == [(batch[1].message_id, "I1")]
    result = await find.find(database, str(event))
    assert [(match.id, match.key, match.version) for match in result.events] == [(event, "I7", 1)]
    assert [match.matched for match in result.documents] == [["event"]]
    result = await find.find(database, f"{{{delivery}}}")
    assert [(match.id, match.event_id, match.status) for match in result.deliveries] == [(delivery, event, "pending")]
    assert [(match.key, match.matched) for match in result.documents] == [("I7", ["delivery"])]
    result = await find.find(database, str(subscription))
    assert [(match.id, match.url) for match in result.subscriptions] == [(subscription, "https://a.example/hook")]
    assert result.documents == []
    result = await find.find(database, str(batch[2].message_id))
    assert [(match.id, match.reason) for match in result.quarantine] == [(batch[2].message_id, "not JSON")]
    for unknown in (uuid4(), UUID("ffffffff-ffff-7fff-8fff-ffffffffffff"), UUID(int=version7.int + 1)):
        assert (await find.find(database, str(unknown))).is_empty


async def test_index_entries_are_deleted_with_their_versions(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    """Also where a month has no partition yet; what a newer version said stays."""
    batch = [
        order("I1", "A", seconds=-40 * DAY),
        order("I2", "B", seconds=-39 * DAY),
        order("I2", "C", seconds=0),
        order("I3", "D", seconds=-100 * DAY),
    ]
    await isolate.write_isolating(pool, batch)
    await maintenance.keep(pool, retention_days=60, now=START)
    assert [await keys(database, text) for text in "ABCD"] == [["I1"], ["I2"], ["I2"], []]
    await maintenance.keep(pool, retention_days=1, now=START)
    assert [await keys(database, text) for text in "ABCD"] == [[], [], ["I2"], []]
    assert await database.fetchval("SELECT count(*) FROM crossdock.identifiers") == 1


async def test_recent_entries_are_merged_into_the_index(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a job of its own, so that no transaction that stores has to do it; it is found before and after."""
    monkeypatch.setattr(jobs, "INDEX_INTERVAL", 0.0)
    pending = (
        "SELECT sum(gin_clean_pending_list(inhrelid::regclass)) FROM pg_inherits "
        "WHERE inhparent = 'crossdock.identifiers_keys'::regclass"
    )
    await isolate.write_isolating(pool, [order("I1", "A")])
    assert await keys(database, "A") == ["I1"]
    assert await database.fetchval(pending) > 0
    await isolate.write_isolating(pool, [order("I2", "A", seconds=1)])
    stored = asyncio.Event()

    async def opened() -> asyncpg.Pool:
        return pool

    job = asyncio.create_task(jobs.index_identifiers(opened, stored))
    for _ in range(2):  # the job takes the second signal when it has merged for the first
        stored.set()
        await until(lambda: not stored.is_set())
    job.cancel()
    assert await database.fetchval(pending) == 0
    assert await keys(database, "A") == ["I2", "I1"]


async def test_no_table_is_read_from_end_to_end(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    """Whatever the planner believes of tables that were never analyzed, or of a number that everything has."""
    await isolate.write_isolating(pool, [order(f"I{n}", "A", seconds=n, order_number="PO") for n in range(300)])
    await database.execute("ANALYZE crossdock.documents; ANALYZE crossdock.identifiers")
    async with database.transaction():
        await database.execute(query("find", "plan"))
        statements: list[tuple[str, list[Any]]] = [
            (query("find", "by_name"), ["PO", find.LIMIT]),
            (query("find", "documents"), [[1, 2, 3]]),
            (query("find", "events"), [uuid4()]),
            (query("find", "messages"), [uuid4(), at(0), at(1)]),
            (query("find", "deliveries"), [uuid4()]),
            (query("identifiers", "holding"), [[1], [2], [3, 4], [5], [6, 7], [8], find.LIMIT]),
            (query("identifiers", "is_known"), ["PO", [1], [2]]),
        ]
        for statement, arguments in statements:
            plan = "\n".join(row[0] for row in await database.fetch(f"EXPLAIN {statement}", *arguments))
            assert "Seq Scan" not in plan, plan
            assert "Index" in plan, plan
