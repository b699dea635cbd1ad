"""Siblings of reported requests to the API: bodies in other charsets, query parameters that don't exist, and HEAD."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from ingress.api import openapi, routes
from tests.conftest import Databases
from tests.support.api import OPERATOR, Client, api

NOWHERE = "00000000-0000-4000-8000-000000000000"
URL = "https://a.example/hook?name=caf\u00e9"
CHARSETS = ("iso-8859-1", "windows-1252", '"ISO-8859-15"', "latin1", "utf-16", "utf-16-le", "utf-8")


@pytest_asyncio.fixture(scope="module")
async def client(databases: Databases) -> AsyncIterator[Client]:
    url = await databases.take()
    async with api(url) as running:
        yield running
    databases.give_back(url)


def encoded(body: Any, charset: str) -> dict[str, Any]:
    """Return the arguments of a request whose body is in a charset that its header names."""
    raw = json.dumps(body, ensure_ascii=False).encode(charset.strip('"'))
    return {"raw": raw, "headers": {"Content-Type": f"application/json; charset={charset}"}}


@pytest.mark.parametrize("charset", CHARSETS)
async def test_a_body_is_in_the_charset_that_its_header_names(client: Client, charset: str) -> None:
    """An `\u00e9` in one byte was "not JSON", although the header said `charset=iso-8859-1`; the ingress reads it."""
    status, created, _ = await client.ask("POST", "/v1/subscriptions", **encoded({"url": URL}, charset))
    assert (status, created["url"]) == (201, URL)
    path = f"/v1/subscriptions/{created['id']}"
    changes = {"url": URL + "\u00fc"}
    status, changed, _ = await client.ask("PATCH", path, **encoded(changes, charset))
    assert (status, changed["url"]) == (200, URL + "\u00fc")
    replay = {"from": "2026-01-30T10:00:00Z", "key": "\u00e9", "dry_run": True}
    assert (await client.ask("POST", f"{path}/replay", **encoded(replay, charset)))[:2] == (200, {"count": 0})
    webhook = {"webhookType": "new_order", "url": URL, "authentication": "Basic eA=="}
    status, shown, _ = await client.ask("POST", "/basic/webhooks", **encoded(webhook, charset))
    assert (status, shown["url"]) == (200, URL)
    status, shown, _ = await client.ask("PUT", f"/basic/webhooks/{shown['webhookId']}", **encoded(webhook, charset))
    assert (status, shown["url"]) == (200, URL)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=x-unknown"])
async def test_a_body_in_no_charset_that_we_know_is_refused(client: Client, content_type: str) -> None:
    raw = json.dumps({"url": URL}, ensure_ascii=False).encode("latin-1")
    status, problem, _ = await client.ask("POST", "/v1/subscriptions", raw=raw, headers={"Content-Type": content_type})
    assert (status, problem["detail"]) == (400, "The body is not JSON.")


@pytest.mark.parametrize("route", routes.V1, ids=lambda route: f"{route.method} {route.path}")
async def test_a_query_parameter_that_does_not_exist_is_named(client: Client, route: routes.Route) -> None:
    """`?stauts=failed`, `?page=2` and `?offset=5` were ignored, and answered with everything."""
    assert route.query is not None
    path = route.path.replace("{id}", NOWHERE)
    for name in ("stauts", "page", "offset", "Limit", "", *({"status", "limit"} - set(route.query))):
        status, problem, headers = await client.ask(route.method, path, who=OPERATOR, query={name: "1"})
        assert (status, headers["Content-Type"]) == (400, "application/problem+json")
        (error,) = problem["errors"]
        assert error["field"] == name
        assert all(known in error["detail"] for known in route.query)
    for name in route.query:
        status, problem, _ = await client.ask(route.method, f"{path}?{name}=1&{name}=1", who=OPERATOR)
        assert (status, [error["field"] for error in problem["errors"]]) == (400, [name])
    if route.method == "GET" and route.path != "/v1/find":
        query = {"limit": "1"} if route.query else {}
        assert (await client.ask("GET", path, who=OPERATOR, query=query))[0] == (404 if "{id}" in route.path else 200)


async def test_who_may_not_log_in_learns_no_parameter(client: Client) -> None:
    status, problem, _ = await client.ask("GET", "/v1/subscriptions", who={}, query={"stauts": "failed"})
    assert (status, "errors" in problem) == (401, False)


async def test_the_registration_api_ignores_what_it_does_not_know(client: Client) -> None:
    """As its bodies do: it is eComNow's, and its clients are not ours."""
    assert (await client.ask("GET", "/basic/webhooks", query={"page": "2"}))[0] == 200


async def test_head_is_served_where_get_is(client: Client) -> None:
    """`HEAD /v1/openapi.json` was answered 405."""
    paths = {route.path for route in routes.V1 if route.method == "GET"}
    paths |= {path for method, path, _ in routes.BASIC if method == "GET"} | {openapi.PATH, "/basic/webhooks/"}
    for path in sorted(paths):
        answers = []
        for method in ("GET", "HEAD"):
            async with client.session.request(
                method, client.base + path.replace("{id}", NOWHERE), headers=OPERATOR, params={}
            ) as answer:
                answers.append((answer.status, answer.headers["Content-Type"], answer.headers["Content-Length"]))
                body = await answer.read()
        assert answers[0] == answers[1], path
        assert body == b""
    status, _, headers = await client.ask("PUT", "/v1/subscriptions", who=OPERATOR)
    assert (status, headers["Allow"]) == (405, "GET,HEAD,POST")


@pytest.mark.parametrize("moment", ["2026-11-30", "2026-11-30T00:00:00", "yesterday", 1764460800])
async def test_a_time_that_cannot_be_read_is_answered_with_an_example(client: Client, moment: Any) -> None:
    """`"from": "2026-11-30"` was an `Invalid RFC3339 encoded datetime`, and nothing said what is one."""
    path = f"/v1/subscriptions/{NOWHERE}/replay"
    status, problem, _ = await client.ask("POST", path, {"from": moment, "dry_run": True}, who=OPERATOR)
    (error,) = problem["errors"]
    assert (status, error["field"]) == (400, "from")
    assert "2026-01-30T10:00:00Z" in error["detail"]
