"""Who may use which route: made from the table of routes, so that a new route is covered as soon as it exists."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from uuid import UUID

import asyncpg
import pytest

from ingress.console import session
from ingress.console.route import Route
from ingress.console.routes import ROUTES
from schemas.config import Operator
from storage.vault import Vault
from tests.support.console import ACT, READ, TOKENS, Answer, Client, console
from tests.support.receiver import VAULT

CARELESS = "carl"
"""A name that is not configured."""
CONTENTS = """
SELECT relname FROM pg_class WHERE relnamespace = 'crossdock'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1
"""


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+(:[^}]+)?\}", str(UUID(int=7)), route.path)


def cookie(name: str, token: str, *, vault: Vault = VAULT, ends: float = 3600.0) -> str:
    """A session as `Sessions.log_in` would seal it."""
    value = session._Session(name, time() + ends, session._digest(Operator(token=token)))
    return session._sealed(vault, value, session._SESSION)


STRANGERS = {
    "no cookie": None,
    "an expired session": cookie(ACT, TOKENS[ACT], ends=-1.0),
    "a token that was changed": cookie(ACT, "what-it-was-before"),
    "another operator's token": cookie(ACT, TOKENS[READ]),
    "a cookie of another vault": cookie(ACT, TOKENS[ACT], vault=Vault.from_text(Vault.generate())),
    "an operator who was removed": cookie(CARELESS, TOKENS[ACT]),
    "a link in place of a session": session.make_link(VAULT, ACT),
    "something that is not sealed": "bm90IHNlYWxlZA",
    "something that is not base64": "\u00e9~;,",
}
"""Requests that nobody has logged in for, by what they have in place of a session."""


async def ask(client: Client, route: Route) -> Answer:
    return await (client.get(path_of(route)) if route.method == "GET" else client.post(path_of(route)))


@asynccontextmanager
async def unchanged(database: asyncpg.Connection, *but: str) -> AsyncIterator[None]:
    """Fail if any row of ours is another one afterwards, except in the tables `but`."""
    before = await contents(database)
    yield
    after = await contents(database)
    assert {table for table in before if before[table] != after[table]} - set(but) == set()


async def contents(database: asyncpg.Connection) -> dict[str, str]:
    tables = [row["relname"] for row in await database.fetch(CONTENTS)]
    return {
        table: await database.fetchval(
            f"SELECT count(*) || coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM crossdock.{table} t"  # noqa: S608
        )
        for table in tables
    }


def test_the_table_has_all_kinds_of_routes() -> None:
    """Otherwise the tests below would pass without a route."""
    assert {(route.method, route.who) for route in ROUTES} >= {
        ("GET", "nobody"),
        ("GET", "read"),
        ("POST", "nobody"),
        ("POST", "read"),
        ("POST", "act"),
    }
    assert {route.path for route in ROUTES if route.who == "nobody"} == {"/console/login"}
    assert [route.path for route in ROUTES if route.method == "POST" and not route.action] == []
    assert [route.path for route in ROUTES if not route.path.startswith("/console")] == []
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


async def test_without_a_session_every_route_leads_to_the_form(database_url: str, database: asyncpg.Connection) -> None:
    async with console(database_url, who=None) as client, unchanged(database):
        for what, value in STRANGERS.items():
            client.session.cookie_jar.clear()
            headers = {} if value is None else {"Cookie": f"{session.COOKIE}={value}"}
            for route in ROUTES:
                if route.who == "nobody":
                    continue
                if route.method == "GET":
                    answer = await client.get(path_of(route), headers=headers)
                else:
                    answer = await client.post(path_of(route), headers={**headers, "Sec-Fetch-Site": "same-origin"})
                assert answer.status == 303, (what, route.path)
                assert answer.headers["Location"].startswith("/console/login"), (what, route.path)
        # The same cookie with nothing wrong lets in: what was refused above was refused for its reason.
        good = {"Cookie": f"{session.COOKIE}={cookie(ACT, TOKENS[ACT])}"}
        assert (await client.get("/console", headers=good)).status == 200


async def test_the_role_read_sees_every_page_and_every_action_is_refused_and_recorded(
    database_url: str, database: asyncpg.Connection
) -> None:
    async with console(database_url, who=READ) as client:
        actions = [route for route in ROUTES if route.method == "POST" and route.who == "act"]
        for route in ROUTES:
            if route.method == "GET" and route.who == "read":
                assert (await ask(client, route)).status in (200, 303, 400, 404), route.path
        async with unchanged(database, "actions"):
            for route in actions:
                answer = await ask(client, route)
                assert answer.status == 403, route.path
                assert "You may look, but not change anything" in answer.text
                # Neither does anything in the form matter.
                assert (await client.post(path_of(route), {"id": str(UUID(int=7)), "all": "1"})).status == 403
        recorded = await database.fetch(
            "SELECT action, role FROM crossdock.operator_actions WHERE operator = $1 AND outcome = 'refused' "
            "ORDER BY at",
            READ,
        )
        assert [row["action"] for row in recorded] == [route.action for route in actions for _ in range(2)]
        assert {row["role"] for row in recorded} == {"read"}


async def test_the_role_act_may_send_every_action(database_url: str) -> None:
    """With an empty form, which is not valid or selects nothing; but never because of the role."""
    async with console(database_url, who=ACT) as client:
        for route in ROUTES:
            if route.path == "/console/logout" or route.who == "nobody":
                continue
            assert (await ask(client, route)).status in (200, 303, 400, 404, 409), route.path


async def test_an_action_cannot_be_sent_as_a_page(database_url: str) -> None:
    pages = {route.path for route in ROUTES if route.method == "GET"}
    async with console(database_url, who=ACT) as client:
        for route in ROUTES:
            if route.method == "POST" and route.path not in pages:
                answer = await client.get(path_of(route))
                # A page with a variable in its path may stand there too, and it changes nothing.
                assert answer.status in (404, 405), route.path
            elif route.method == "GET" and not any(r.path == route.path and r.method == "POST" for r in ROUTES):
                assert (await client.post(path_of(route))).status in (405, 404, 403, 400), route.path


FOREIGN: tuple[dict[str, str], ...] = (
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "HOST"},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://["},
    {"Origin": "HOST.evil.example"},
    {"Origin": "http://evil.example/HOST"},
    {"Referer": "HOST/console"},
)
"""Headers of a request that another site has made a browser send; HOST is the console's own address."""


@pytest.mark.parametrize("who", [ACT, READ])
async def test_what_another_site_sends_is_refused(who: str, database_url: str, database: asyncpg.Connection) -> None:
    actions = [route for route in ROUTES if route.method == "POST"]
    async with console(database_url, who=who) as client, unchanged(database):
        for given in FOREIGN:
            headers = {name: value.replace("HOST", client.base) for name, value in given.items()}
            for route in actions if given == {} else actions[:3]:
                answer = await client.post(path_of(route), {"token": TOKENS[ACT]}, headers=headers)
                assert answer.status == 403, (route.path, headers)
                assert "Nothing was changed" in answer.text
                assert "Set-Cookie" not in answer.headers
        assert (await client.get("/console")).status == 200  # nothing has logged the operator out
    async with console(database_url, who=who) as client:
        assert (await client.post("/console/logout", headers={"Origin": client.base})).status == 303
        assert (await client.get("/console")).status == 303
