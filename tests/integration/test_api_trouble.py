"""The API while its database is unavailable, and when a part of itself dies; deliveries that may not be sent again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import msgspec
import pytest
import pytest_asyncio
from asyncpg import exceptions

from ingress import database as databases
from ingress.api import app as api_app
from ingress.api.app import ApiApp
from schemas.config import Subscriber
from storage import pool as pools
from storage import replays
from tests.support.api import OPERATOR, Client, api, config
from tests.support.delivering import receipt, store
from tests.support.pipeline import until
from tests.support.receiver import VAULT


@pytest_asyncio.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with api(database_url) as running:
        yield running


async def test_only_standbys_at_the_start_are_waited_for(
    database_url: str, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fail-over: each server that DATABASE_URL names is a standby for a while. asyncpg raises an error of its own."""
    monkeypatch.setattr(databases, "INTERVAL_UNAVAILABLE", 0.05)
    name = database_url.rpartition("/")[2]
    admin = await asyncpg.connect(database_url.rpartition("/")[0] + "/postgres")
    await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(exceptions.TargetServerAttributeNotMatched):
        await pools.create_pool(database_url, size=1)
    app = ApiApp(config(), database_url=database_url, vault=VAULT)
    await app.start()
    try:
        async with api_session(app) as client:
            assert "TargetServerAttributeNotMatched" in app.problems()[0]
            assert (await client.ask("GET", "/v1/subscriptions"))[0] == 503
            await admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = off")
            await until(lambda: app.problems() == [])
            assert (await client.ask("GET", "/v1/subscriptions"))[0] == 200
    finally:
        await app.stop()
        await admin.close()


@asynccontextmanager
async def api_session(app: ApiApp) -> AsyncIterator[Client]:
    """A client of an API that runs already."""
    async with aiohttp.ClientSession() as session:
        yield Client(session, f"http://127.0.0.1:{app.port}", app)


async def test_a_connection_to_a_server_that_was_demoted_is_replaced(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "INTERVAL_UNAVAILABLE", 0.05)
    monkeypatch.setattr(databases, "CHECK", "SELECT true")
    pool = await client.app._database.pool()
    before = await pool.fetchval("SELECT pg_backend_pid()")
    await client.app._watch.check()
    assert client.app.problems() == ["PostgreSQL is unavailable: OSError: connected to a standby"]
    assert await pool.fetchval("SELECT pg_backend_pid()") != before
    monkeypatch.setattr(databases, "CHECK", "SELECT false")
    await client.app._watch.check()
    assert client.app.problems() == []
    assert (await client.ask("GET", "/v1/subscriptions"))[0] == 200


async def test_a_background_task_that_dies_ends_the_process(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()
    client.app._background._on_death = ended.set

    async def broken() -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(client.app._watch, "check", broken)
    client.app._watch.check_soon()
    async with asyncio.timeout(10):
        await ended.wait()
    (problem,) = client.app.problems()
    assert "api-database died (KeyError" in problem


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (asyncpg.DataError("x"), 400, "cannot be stored"),
        (asyncpg.CharacterNotInRepertoireError("x"), 400, "cannot be stored"),
        (asyncpg.QueryCanceledError("x"), 503, "took too long"),
        (TimeoutError(), 503, "took too long"),
        (asyncpg.OutOfMemoryError("x"), 503, "database is unavailable"),
        (exceptions.TargetServerAttributeNotMatched("x"), 503, "database is unavailable"),
        (ConnectionResetError(), 503, "database is unavailable"),
        (KeyError("a mistake of ours"), 500, "has been logged"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_every_error_is_an_answer_that_is_counted(
    client: Client, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, detail: str
) -> None:
    async def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("storage.subscriptions.listing", failing)
    for path, field in (("/v1/subscriptions", "detail"), ("/basic/webhooks", "message")):
        counter = api_app.REQUESTS.labels("GET", path, status)
        before = counter._value.get()
        got, answer, _ = await client.ask("GET", path)
        assert (got, detail in answer[field]) == (status, True), answer
        assert counter._value.get() == before + 1
    await client.app._watch.check()
    assert client.app.problems() == []


async def test_events_that_are_gone_or_withdrawn_are_not_sent_again(client: Client, pool: asyncpg.Pool) -> None:
    created = await client.subscribe()
    await store(pool, receipt("K"), settings=config())
    delivery = await pool.fetchval("SELECT id FROM crossdock.deliveries")
    path = f"/v1/deliveries/{delivery}"
    assert (await client.ask("POST", f"{path}/cancel"))[1]["status"] == "cancelled"
    assert (await client.ask("POST", f"{path}/retry"))[1]["status"] == "pending"
    assert (await client.ask("POST", f"{path}/cancel"))[1]["status"] == "cancelled"

    async def refused(why: str, **who: Any) -> None:
        status, answer, _ = await client.ask("POST", f"{path}/retry", **who)
        assert (status, why in answer["detail"]) == (409, True), answer
        assert await pool.fetchval("SELECT count(*) FROM crossdock.outbox") == 0

    base = config()
    narrowed = Subscriber(username="boards", password="b0ards-password", accounts=["ecomnow/*"])
    client.app.reload(msgspec.structs.replace(base, subscribers={**base.subscribers, "boards": narrowed}))
    await refused("may not see events of channelape/rothys any more")
    client.app.reload(msgspec.structs.replace(base, subscribers={"other": base.subscribers["other"]}))
    await refused("boards is not configured any more", who=OPERATOR)
    client.app.reload(base)
    assert (await client.ask("DELETE", f"/v1/subscriptions/{created['id']}"))[0] == 204
    await refused("its subscription has been deleted")
    await refused("its subscription has been deleted", who=OPERATOR)
    assert (await client.ask("GET", path))[0] == 200


async def test_a_replay_whose_subscription_is_deleted_leaves_nothing_behind(client: Client, pool: asyncpg.Pool) -> None:
    """The deletion waits for the piece that is being written, and cancels what it wrote."""
    created = await client.subscribe()
    path = f"/v1/subscriptions/{created['id']}"
    await client.ask("PATCH", path, {"enabled": False})
    await store(pool, *(receipt(f"K{n}", seconds=n) for n in range(5)), settings=config())
    status, replay, _ = await client.ask("POST", f"{path}/replay", {"from": "2026-01-01T00:00:00Z"})
    assert (status, replay["count"]) == (202, 5)
    name = UUID(replay["replay_id"])
    async with pool.acquire() as connection, connection.transaction():
        assert not await replays.write_piece(connection, name, 2, lambda row: (["*"], None))
        deleting = asyncio.create_task(client.ask("DELETE", path))
        await until(lambda: _is_waiting(pool))
    assert (await deleting)[0] == 204
    assert await pool.fetchval("SELECT count(*) FROM crossdock.outbox") == 0
    async with pool.acquire() as connection:
        assert await replays.write_piece(connection, name, 2, lambda row: (["*"], None))
    rows = await pool.fetch("SELECT status FROM crossdock.deliveries")
    assert [row["status"] for row in rows] == ["cancelled"] * 2


async def _is_waiting(pool: asyncpg.Pool) -> bool:
    waiting = (
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database())"
    )
    return bool(await pool.fetchval(waiting))
