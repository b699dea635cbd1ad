"""Filters of subscriptions: registered, applied where events are stored and replayed, and explained."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from schemas import filters
from schemas.filter_conditions import Steps
from storage import replays
from tests.support import console as operators
from tests.support.api import OTHER, Client, api, config
from tests.support.console import console
from tests.support.delivering import receipt, store
from tests.support.receiver import subscribe
from workers.store import filtering

LOCATION = {"data": {"additionalFields": {"location": "819"}}}
LATER = {"data": {"lineItems": {"quantity": {"$gte": 10}}}}


def at_location(key: str, location: str, *, seconds: float = 0.0, quantity: float = 1) -> Any:
    fields = {"receipt_id": key, "location": location}
    lines = [{"id": "1", "sku": "A", "quantity": quantity}]
    return receipt(key, seconds=seconds, additionalFields=fields, lineItems=lines)


async def event_ids(database: asyncpg.Connection) -> dict[str, UUID]:
    return {row["key"]: row["id"] for row in await database.fetch("SELECT key, id FROM crossdock.events")}


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


async def keys_of(database: asyncpg.Connection, subscription: str) -> set[str]:
    rows = await database.fetch("SELECT key FROM crossdock.outbox WHERE subscription_id = $1", UUID(subscription))
    return {row["key"] for row in rows}


async def test_only_events_that_match_are_sent(
    client: Client, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    by_key, absent = {"subject": {"$startsWith": "R-"}}, {"data": {"x": {"$exist": True}}}
    chosen: list[object] = [None, LOCATION, LATER, by_key, absent]
    registered = [await client.subscribe(filter=entry, types=["channelape.receipt_confirmation"]) for entry in chosen]
    batch = (at_location("R-1", "819"), at_location("R-2", "820", quantity=12.5), at_location("S-3", "819"))
    await store(pool, *batch, settings=config())
    got = [await keys_of(database, entry["id"]) for entry in registered]
    assert got == [{"R-1", "R-2", "S-3"}, {"R-1", "S-3"}, {"R-2"}, {"R-1", "R-2"}, set()]


async def test_a_filter_is_shown_as_sent_changed_and_removed(client: Client) -> None:
    raw = b'{"url": "https://a.example/", "filter": {"data": {"price": {"$gt": 1.10}}} }'
    status, created, _ = await client.ask("POST", "/v1/subscriptions", raw=raw)
    assert (status, created["filter"]) == (201, {"data": {"price": {"$gt": 1.1}}})
    path = f"/v1/subscriptions/{created['id']}"
    assert (await client.ask("GET", path))[1]["filter"] == created["filter"]
    assert (await client.ask("PATCH", path, {"max_in_flight": 3}))[1]["filter"] == created["filter"]
    assert (await client.ask("PATCH", path, {"filter": LOCATION}))[1]["filter"] == LOCATION
    assert (await client.ask("PATCH", path, {"filter": None}))[1]["filter"] is None
    for body, field in (
        ({"filter": {"data": {"n": {"$foo": 1}}}}, "filter.data.n.$foo"),
        ({"filter": []}, "filter"),
        ({"filter": {"a": "x" * filters.MAX_BYTES}}, "filter"),
    ):
        status, answer, _ = await client.ask("PATCH", path, body)
        assert (status, [error["field"] for error in answer["errors"]]) == (400, [field])


async def test_why_an_event_matches_or_not(client: Client, pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    await store(pool, at_location("R-1", "820"), receipt("R-2", account="acme"))
    ids = await event_ids(database)
    created = await client.subscribe(filter=LOCATION, types=["channelape.*"])
    path = f"/v1/subscriptions/{created['id']}/match"
    status, answer, _ = await client.ask("POST", path, {"event_id": str(ids["R-1"])})
    assert (status, answer["matches"], answer["compared"]) == (200, False, True)
    assert answer["decided_by"] == {"path": "data.additionalFields.location", "condition": "819", "value": "820"}
    assert (await client.ask("POST", path, {"event_id": str(ids["R-2"])}))[0] == 404
    assert (await client.ask("POST", path, {"event_id": created["id"]}))[0] == 404
    assert (await client.ask("POST", path, {"event_id": str(ids["R-1"])}, who=OTHER))[0] == 404
    await client.ask("PATCH", path.removesuffix("/match"), {"filter": None})
    answer = (await client.ask("POST", path, {"event_id": str(ids["R-1"])}))[1]
    assert answer == {"matches": True, "decided_by": None, "compared": True}
    await client.ask("PATCH", path.removesuffix("/match"), {"types": ["ecomnow.*"]})
    answer = (await client.ask("POST", path, {"event_id": str(ids["R-1"])}))[1]
    assert answer["decided_by"]["path"] == "types"


async def test_replays_and_tests_keep_to_the_filter(
    client: Client, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    await store(pool, *(at_location(f"R-{n}", "819" if n % 3 else "820", seconds=n) for n in range(9)))
    created = await client.subscribe(filter=LOCATION)
    path = f"/v1/subscriptions/{created['id']}"
    period = {"from": "2026-11-10T00:00:00Z"}
    assert (await client.ask("POST", f"{path}/replay", {**period, "dry_run": True}))[1] == {"count": 6}
    answer = (await client.ask("POST", f"{path}/replay", period))[1]
    async with pool.acquire() as connection:
        replay = UUID(answer["replay_id"])
        while not await replays.write_piece(connection, replay, 2, lambda row: (["*"], None)):
            pass
    assert await keys_of(database, created["id"]) == {f"R-{n}" for n in range(9) if n % 3}
    assert await database.fetchval("SELECT written FROM crossdock.replays WHERE id = $1", replay) == 6

    await database.execute("DELETE FROM crossdock.outbox")
    assert (await client.ask("POST", f"{path}/test"))[0] == 202
    assert await keys_of(database, created["id"]) == {"R-8"}
    await client.ask("PATCH", path, {"filter": {"subject": "nothing"}})
    status, answer, _ = await client.ask("POST", f"{path}/test")
    assert (status, "matches its filter" in answer["detail"]) == (409, True)


async def test_an_event_that_takes_too_long_to_compare_is_sent(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = await subscribe(database, "https://a.example/hook", subscriber="boards")
    await database.execute(
        "UPDATE crossdock.subscribed SET filter = $2 WHERE id = $1", id_, msgspec.json.encode(LATER).decode()
    )
    monkeypatch.setattr(Steps.__init__, "__defaults__", (5,))
    before = filtering.UNFILTERED.labels("boards")._value.get()
    lines = [{"id": str(number), "sku": "A", "quantity": 1} for number in range(10)]
    await store(pool, receipt("R-1", lineItems=lines), receipt("R-2", lineItems=lines[:2]), settings=config())
    assert await keys_of(database, str(id_)) == {"R-1"}
    assert filtering.UNFILTERED.labels("boards")._value.get() == before + 1


async def test_an_event_with_deeply_nested_arrays_is_compared(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    id_ = await subscribe(database, "https://a.example/hook", subscriber="boards")
    await database.execute("""UPDATE crossdock.subscribed SET filter = '{"data": {"x": "A"}}' WHERE id = $1""", id_)
    nested: object = "A"
    for _ in range(300):
        nested = [nested]
    await store(pool, receipt("R-1", x=nested), receipt("R-2", x="B"), settings=config())
    assert await keys_of(database, str(id_)) == {"R-1"}


async def test_a_mistake_in_a_filter_keeps_nothing_from_being_stored(
    pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = await subscribe(database, "https://a.example/hook", subscriber="boards")
    await database.execute("""UPDATE crossdock.subscribed SET filter = '{"subject": "R-1"}' WHERE id = $1""", id_)

    def broken(*_: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(filters.Filter, "matches", broken)
    await store(pool, receipt("R-1"), settings=config())
    assert await keys_of(database, str(id_)) == {"R-1"}
    assert "ZeroDivisionError" in [record.__dict__.get("error", "")[:17] for record in caplog.records]


async def test_a_filter_of_a_later_release_leaves_nothing_out(pool: asyncpg.Pool, database: asyncpg.Connection) -> None:
    id_ = await subscribe(database, "https://a.example/hook", subscriber="boards")
    await database.execute("""UPDATE crossdock.subscribed SET filter = '{"data": {"$later": 1}}' WHERE id = $1""", id_)
    await store(pool, receipt("R-1"), settings=config())
    assert await keys_of(database, str(id_)) == {"R-1"}


async def test_the_console_shows_a_filter_and_compares_an_event(
    pool: asyncpg.Pool, database_url: str, database: asyncpg.Connection
) -> None:
    await store(pool, at_location("R-1", "820"), at_location("R-2", "819"))
    ids = await event_ids(database)
    async with api(database_url) as client:
        created = await client.subscribe(filter=LOCATION)
    async with console(database_url, who=operators.READ) as browser:
        path = f"/console/subscriptions/{created['id']}"
        assert '"location":"819"' in (await browser.get(path)).text.replace(": ", ":")
        assert "with a filter" in (await browser.get("/console/subscriptions")).text
        refused = (await browser.get(f"{path}?event={ids['R-1']}")).text
        assert 'It does not match: data.additionalFields.location is not "819".' in refused
        assert "820" not in refused
        assert "It matches." in (await browser.get(f"{path}?event={ids['R-2']}")).text
        assert "No event with this id" in (await browser.get(f"{path}?event={created['id']}")).text
        assert (await browser.get(f"{path}?event=x")).status == 400
