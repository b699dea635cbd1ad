"""What every answer has, whatever was sent: headers, bounds, and a page that says what is wrong."""

import asyncio
import gzip
import logging
from collections.abc import Mapping
from urllib.parse import urlencode

import asyncpg
import pytest
from yarl import URL

from ingress import database as databases
from ingress.console import form, render
from ingress.console.routes import ROUTES
from tests.attacks import raw
from tests.faults.proxy import Proxy
from tests.support.console import ACT, READ, Answer, Client, console
from tests.support.pipeline import until

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'none'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FORM = "application/x-www-form-urlencoded"


async def send(client: Client, data: object, kind: str = FORM, path: str = "/console/login", **more: str) -> Answer:
    headers = {"Sec-Fetch-Site": "same-origin", "Content-Type": kind, **more}
    async with client.session.post(client.base + path, data=data, headers=headers, allow_redirects=False) as answer:
        return Answer(answer.status, await answer.text(), answer.headers)


async def method(client: Client, name: str, path: str) -> Answer:
    headers = {"Sec-Fetch-Site": "same-origin"}
    async with client.session.request(name, client.base + path, headers=headers, allow_redirects=False) as answer:
        return Answer(answer.status, await answer.text(), answer.headers)


def has_headers(headers: Mapping[str, str]) -> bool:
    return {name: headers.get(name) for name in HEADERS} == HEADERS


async def test_every_answer_has_the_headers_word_for_word(database_url: str) -> None:
    async with console(database_url, who=READ) as client:
        asset = render.assets()["console.css"].url
        answers = {
            "page": await client.get("/console"),
            "asset": await client.get(asset),
            "missing asset": await client.get("/console/static/0123456789ab/console.css"),
            "unknown page": await client.get("/console/nothing"),
            "not ours": await client.get("/"),
            "not permitted": await client.post("/console/deliveries/retry"),
            "from elsewhere": await client.post("/console/logout", headers={}),
            "invalid": await client.get("/console/actions?after=x"),
            "method": await method(client, "DELETE", "/console"),
            "options": await method(client, "OPTIONS", "/console"),
            "trace": await method(client, "TRACE", "/console"),
            "not a form": await send(client, b"{}", "application/json"),
            "log-out": await client.post("/console/logout"),
            "no session": await client.get("/console"),
        }
        statuses = {what: answer.status for what, answer in answers.items()}
        assert statuses == {
            "page": 200, "asset": 200, "missing asset": 404, "unknown page": 404, "not ours": 404, "not permitted": 403,
            "from elsewhere": 403, "invalid": 400, "method": 405, "options": 405, "trace": 405, "not a form": 415,
            "log-out": 303, "no session": 303,
        }  # fmt: skip
        assert [what for what, answer in answers.items() if not has_headers(answer.headers)] == []
        cacheable = {what for what, answer in answers.items() if answer.headers["Cache-Control"] != "no-store"}
        assert cacheable == {"asset"}
        assert answers["asset"].headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answers["missing asset"].headers["Content-Type"].startswith("text/plain")
        assert answers["method"].headers["Allow"] == "GET,HEAD"
        assert "Access-Control-Allow-Origin" not in answers["options"].headers
        # Not readable as HTTP, so that no page can be made: but nothing that a browser would run either.
        for text in (b"GET /console\x01 HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x00\x05hello\r\n\r\n"):
            answer = await raw.ask(client.app.port, text)
            assert raw.statuses(answer) in ([400], [])
            assert b"text/html" not in answer.lower()


async def test_pages_answer_head_as_they_answer_get_without_a_body(database_url: str) -> None:
    async with console(database_url, who=ACT) as client:
        for path in ("/console", "/console/login", "/console/actions", "/console/nothing"):
            head, get = await method(client, "HEAD", path), await client.get(path)
            assert head.status == get.status
            assert head.html == ""
            assert has_headers(head.headers)


async def test_hostile_forms_are_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with console(database_url, who=ACT) as client:
        path = "/console/deliveries/retry"
        cases = {
            "huge": await send(client, b"id=" + b"x" * form.MAX_FORM, path=path),
            "many fields": await send(client, "&".join(["id=1"] * (form.MAX_FIELDS + 1)).encode(), path=path),
            "not UTF-8": await send(client, b"id=\xff\xfe", path=path),
            "not UTF-8, percent-encoded": await send(client, b"id=%ff%fe", path=path),
            "overlong UTF-8": await send(client, b"id=%c0%80", path=path),
            "a NUL": await send(client, b"back=%00&id=%00", path=path),
            "a lone surrogate": await send(client, b"id=%ed%a0%80", path=path),
            "a thousand signs": await send(client, b"=" * 1000, path=path),
            "nothing": await send(client, b"", path=path),
            "wrong types": await send(client, b"id=1&id=nobody&all=maybe&since=yesterday", path=path),
            "the same field again": await send(client, b"id=1&id=1&back=/console&back=http://evil.example", path=path),
            "multipart": await send(client, b"--x\r\n", "multipart/form-data; boundary=x", path=path),
            "JSON": await send(client, b'{"id": 1}', "application/json", path=path),
            "text": await send(client, b"id=1", "text/plain", path=path),
            "compressed": await send(client, gzip.compress(b"id=1"), path=path, **{"Content-Encoding": "gzip"}),
        }
        statuses = {what: answer.status for what, answer in cases.items()}
        empty = {"a thousand signs", "nothing"}
        assert {what for what, status in statuses.items() if not 400 <= status < 500} == empty, statuses
        back = f"{path.rpartition('/')[0]}?done=nothing_ticked"
        assert {cases[what].headers["Location"] for what in empty} == {back}
        assert {statuses[what] for what in ("multipart", "JSON", "text", "compressed")} == {415}
        assert statuses["huge"] == 413
        assert all(has_headers(answer.headers) for answer in cases.values())
        monkeypatch.setattr(form, "TIMEOUT", 0.05)
        cookie = "; ".join(f"{each.key}={each.value}" for each in client.session.cookie_jar)
        answer = await raw.ask(
            client.app.port,
            f"POST {path} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Type: {FORM}\r\n"
            f"Cookie: {cookie}\r\nContent-Length: 100\r\n\r\nid=".encode(),
        )
        assert raw.statuses(answer) == [408]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_stranger_may_send_little(database_url: str) -> None:
    async with console(database_url, who=None) as client:
        assert (await send(client, b"token=" + b"x" * (form.MAX_LOGIN - 10))).status == 403
        assert (await send(client, b"token=" + b"x" * form.MAX_LOGIN)).status == 413


async def test_hostile_addresses_are_pages_that_explain(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    hostile = (
        "'", '"><script>alert(1)</script>', "%00", "%ff", "%f0%9f%92%a9", "a" * 3000, "../..", "-1", "1e999", "\u202e",
        "9999999999999999999", "2026-99-99", "%", "{{ 7919 * 7919 }}",
    )  # fmt: skip
    names = ("q", "after", "next", "done", "status", "account", "since", "until", "id", "key", "type", "state")
    pages = {route.path for route in ROUTES if route.method == "GET"}
    async with console(database_url, who=ACT) as client:
        for path in pages:
            for text in hostile:
                query = urlencode(dict.fromkeys(names, text))
                target = path.replace("{id}", "x").split("{", maxsplit=1)[0]
                url = URL(f"{client.base}{target}?{query}"[:8000], encoded=True)
                async with client.session.get(url, allow_redirects=False) as answer:
                    html = await answer.text()
                assert answer.status in (200, 303, 400, 404), (path, text)
                assert "<script>alert" not in html
                assert "62710561" not in html
                assert answer.headers.get("Location", "/console").startswith("/console")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_while_the_database_is_away_pages_say_so_and_recover(
    database_url: str, database: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "INTERVAL_UNAVAILABLE", 0.05)
    behind = URL(database_url)
    proxy = Proxy(str(behind.host), int(behind.port or 5432))
    await proxy.start()
    try:
        async with console(str(behind.with_port(proxy.port)), who=ACT) as client:
            proxy.refuse()
            await until(lambda: _status(client, 503), what="the page says so")
            page = await client.get("/console/actions")
            assert "The database is unavailable" in page.text
            assert page.headers["Retry-After"] == "5"
            assert '<meta http-equiv="refresh" content="5">' in page.html
            assert has_headers(page.headers)
            assert "Traceback" not in page.html
            assert "asyncpg" not in page.html
            action = await client.post("/console/logout")
            assert action.status == 503
            assert "http-equiv" not in action.html  # a form must not be sent again by itself
            assert client.app.problems()
            proxy.heal()
            await until(lambda: _status(client, 200), what="the page is back")
            await until(lambda: not client.app.problems(), what="the check has reached the database")
        assert await database.fetchval("SELECT count(*) FROM crossdock.actions WHERE action = 'log-out'") == 0
    finally:
        await proxy.stop()


async def _status(client: Client, status: int) -> bool:
    await asyncio.sleep(0)
    return (await client.get("/console/actions")).status == status


def test_an_assets_address_changes_with_its_content() -> None:
    asset = render.assets()["console.css"]
    other = render.Asset(asset.name, asset.content + b" ", asset.media_type)
    assert other.url != asset.url
    assert other.url.rpartition("/")[2] == asset.url.rpartition("/")[2] == "console.css"
