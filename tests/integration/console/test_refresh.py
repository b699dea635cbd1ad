"""Regions of pages are refreshed by conditional requests, which cost next to nothing while nothing changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from ingress.console import refresh, render
from ingress.console.pages import now
from ingress.console.route import Route
from ingress.console.routes import ROUTES
from tests.support.console import Client, console

PLAIN = Route(method="GET", path="/console", serve=now.show, who="read")
"""The first page, as if it showed only what the database has."""
FRAME = ("BEGIN", "SET LOCAL", "COMMIT", "SELECT pg_advisory_unlock_all")
"""What a transaction on a connection of a pool begins and ends with."""


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Collect the statements that pages execute."""
    executed: list[str] = []
    with monkeypatch.context() as patch:
        for name in ("execute", "fetch", "fetchrow", "fetchval"):
            method = getattr(asyncpg.Connection, name)

            async def recorded(self: Any, sql: str, *values: Any, _method: Any = method, **more: Any) -> Any:
                name = (self._params.server_settings or {}).get("application_name", "")
                if name in ("crossdock console", "crossdock console (overview)") and not sql.startswith(FRAME):
                    executed.append(sql)
                return await _method(self, sql, *values, **more)

            patch.setattr(asyncpg.Connection, name, recorded)
        yield executed


async def region(client: Client, tag: str = "") -> tuple[int, str, str]:
    """Refresh the region of the first page, and return the status, the region and its tag."""
    headers = {"HX-Request": "true", "If-None-Match": tag}
    answer = await client.get("/console", headers=headers)
    return answer.status, answer.html, answer.headers.get("ETag", "")


async def test_a_refresh_returns_the_region_and_then_that_it_is_the_same(database_url: str) -> None:
    async with console(database_url) as client:
        whole = (await client.get("/console")).html
        status, part, tag = await region(client)
        assert status == 200
        assert part in whole
        assert "Nothing needs you now." in part
        assert "<body" not in part
        assert await region(client, tag) == (304, "", tag)
        answer = await client.get("/console", headers={"HX-Request": "true", "If-None-Match": tag})
        assert answer.headers["Crossdock-State"] == "good; All well"


async def test_a_refresh_that_changes_nothing_costs_one_statement(
    database: asyncpg.Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.console.overview.FRESH", 60.0)
    routes = [PLAIN if route.path == "/console" else route for route in ROUTES]
    monkeypatch.setattr("ingress.console.app.ROUTES", routes)
    monkeypatch.setattr(refresh, "_minute", lambda: "1")
    async with console(database_url) as client:
        _, _, tag = await region(client)
        with statements(monkeypatch) as executed:
            assert (await region(client, tag))[0] == 304
        assert len(executed) == 1
        assert "pg_current_snapshot" in executed[0]

        # After a change the page is made again; its region may be the same all the same.
        await database.execute("INSERT INTO crossdock.login_links VALUES (gen_random_uuid())")
        status, _, changed = await region(client, tag)
        assert (status, changed != tag) == (304, True)
        # The same a minute later, because pages say how long ago things were.
        monkeypatch.setattr(refresh, "_minute", lambda: "2")
        assert (await region(client, changed))[2] != changed


async def test_the_first_page_takes_six_statements_for_all_viewers(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingress.console.overview.FRESH", 60.0)
    async with console(database_url) as client:
        await client.app.context.overview.current()  # the log-in has begun it
        client.app.context.overview._state = None
        with statements(monkeypatch) as executed:
            assert (await client.get("/console")).status == 200
            assert len(executed) == 6
            await client.get("/console")
            await region(client)
            assert len(executed) == 6


async def test_a_refresh_after_the_log_out_is_refused_and_no_page_is_swapped_in(database_url: str) -> None:
    async with console(database_url, who=None) as client:
        assert (await region(client))[0] == 401


async def test_without_htmx_only_the_refreshing_is_lost(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assets = {name: asset for name, asset in render.assets().items() if name != "htmx.min.js"}
    monkeypatch.setattr(render, "assets", lambda: assets)
    async with console(database_url) as client:
        answer = await client.get("/console")
        assert answer.status == 200
        assert "htmx.min.js" not in answer.html
        assert "Nothing needs you now." in answer.text
