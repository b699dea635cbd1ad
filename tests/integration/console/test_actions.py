"""What operators did: one row per action, in the action's own transaction, without secrets and bodies."""

from uuid import UUID

import asyncpg
import pytest

from ingress.console.pages import delivery_actions
from storage import actions
from tests.support.console import ACT, READ, TOKENS, console
from tests.support.many import ended, event, pending
from tests.support.receiver import subscribe

TYPE = "channelape.receipt_confirmation"
RETRY = "/console/deliveries/retry"


async def failed(pool: asyncpg.Pool, database: asyncpg.Connection, count: int) -> list[UUID]:
    await event(pool)
    subscription = await subscribe(database, "http://127.0.0.1:9/x", subscriber="other", enabled=False)
    return sorted(await ended(database, subscription, count, type_=TYPE))


async def test_an_action_and_its_record_are_stored_together_or_not_at_all(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await failed(pool, database, 2)
    async with console(database_url) as client:
        assert (await client.post(RETRY, {"id": str(first)})).status == 303

        def breaks(*_: object, **__: object) -> None:
            raise RuntimeError("in between")

        with monkeypatch.context() as patch:
            patch.setattr(actions, "record", breaks)
            assert (await client.post(RETRY, {"id": str(second)})).status == 500
        with monkeypatch.context() as patch:
            patch.setattr(delivery_actions, "see_other", breaks)  # after the record
            assert (await client.post(RETRY, {"id": str(second)})).status == 500
    assert await pending(database) == {first}
    rows = await database.fetch("SELECT subject FROM crossdock.actions WHERE action = 'deliveries.retry'")
    assert [row["subject"] for row in rows] == [str(first)]


async def test_the_page_lists_what_was_done_and_refused(
    database_url: str, pool: asyncpg.Pool, database: asyncpg.Connection
) -> None:
    (id_,) = await failed(pool, database, 1)
    async with console(database_url, who=READ) as client:
        assert (await client.post(RETRY, {"id": str(id_)})).status == 403
        assert (await client.post(f"/console/jobs/{UUID(int=1)}/stop")).status == 403
        assert await pending(database) == set()
    async with console(database_url) as client:
        await client.post(RETRY, {"id": str(id_)})
        page = await client.get("/console/actions")
        assert "Nothing is running" in page.text
        for text in ("refused", "jobs.stop", "log-in", ACT, READ, str(id_)):
            assert text in page.text
        assert f'<a href="/console/deliveries/{id_}">{id_}</a>' in page.html
        assert page.text.index("deliveries.retry") < page.text.index("jobs.stop")  # the newest first
        only = await client.get(f"/console/actions?operator={READ}&action=deliveries.retry")
        assert only.html.count("<tr>") == 2
        assert "No action matches the filter" in (await client.get("/console/actions?subject=x")).text
        assert (await client.get("/console/actions?after=x")).status == 400
        assert not any(token in page.html for token in TOKENS.values())


async def test_each_action_is_listed_once_though_they_have_one_time(
    database_url: str, database: asyncpg.Connection
) -> None:
    await database.execute(
        "INSERT INTO crossdock.actions (at, operator, role, address, action, subject, outcome) "
        "SELECT '2026-11-01Z', 'x', 'act', '', 'a', 'subject-' || n, 'done' FROM generate_series(1, 120) AS n"
    )
    seen: list[str] = []
    async with console(database_url) as client:
        path = "?operator=x"
        while path:
            page = await client.get(f"/console/actions{path}")
            seen += [word for word in page.text.split() if word.startswith("subject-")]
            path = page.html.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    assert sorted(seen) == sorted(f"subject-{n}" for n in range(1, 121))
