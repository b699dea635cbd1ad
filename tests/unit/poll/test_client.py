"""The client of Apicbase's API, against a server that behaves as documented, and one that doesn't."""

import asyncio
import codecs
import gzip
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from schemas.platforms.apicbase.config import Poll
from tests.support.apicbase import CLIENT_ID, CLIENT_SECRET, PATH, Apicbase, order, serving
from workers.poll import client as clients
from workers.poll.apicbase import SOURCE
from workers.poll.client import Client, FetchError
from workers.poll.limit import Limit

AFTER = datetime(2026, 1, 2, 15, tzinfo=UTC)


class Free(Limit):
    """No limit; keeps what it was told."""

    def __init__(self) -> None:
        self.turns = 0
        self.pauses: list[float] = []

    async def turn(self) -> None:
        self.turns += 1

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BACK_OFF", (0.01, 0.01, 0.01, 0.01))


@pytest_asyncio.fixture
async def apicbase() -> AsyncIterator[Apicbase]:
    async with serving() as opened:
        yield opened


@pytest_asyncio.fixture
async def api(apicbase: Apicbase) -> AsyncIterator[Client]:
    async with clients.session() as http:
        opened_client = Client(http, SOURCE, settings(apicbase), Free())
        yield opened_client
        await opened_client.close()


def settings(apicbase: Apicbase, **more: Any) -> Poll:
    return Poll(**{"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": apicbase.url, **more})


def limit(api: Client) -> Free:
    assert isinstance(api._limit, Free)
    return api._limit


async def first(api: Client) -> clients.Page:
    return await api.page(api.first(AFTER))


async def test_a_page_is_the_orders_as_they_came_and_the_next_one(apicbase: Apicbase, api: Client) -> None:
    apicbase.orders = [order("A", hours=1), order("B", hours=2), order("C", hours=3)]
    apicbase.page_size = 2
    page = await first(api)
    assert page.results == apicbase.orders[:2]
    assert page.next is not None
    last = await api.page(page.next)
    assert (last.results, last.next) == (apicbase.orders[2:], None)
    (token, *pages) = apicbase.requests
    assert token.kind == "token"
    assert pages[0].query == {"status": "ORDERED", "ordered_on__gt": "2026-01-02", "page_size": "200"}
    assert pages[1].query == {**pages[0].query, "page": "2"}
    assert limit(api).turns == 3


async def test_a_token_is_used_until_it_is_about_to_expire(apicbase: Apicbase, api: Client) -> None:
    for _ in range(3):
        await first(api)
    assert len(apicbase.of("token")) == 1
    api._token_until = time.monotonic()
    await first(api)
    assert len(apicbase.of("token")) == 2
    assert len({request.token for request in apicbase.of("page")}) == 2


@pytest.mark.parametrize(("life", "expected"), [(604800, 604740), ("604800", 604740), (100, 90), (None, 3540)])
async def test_a_token_is_renewed_before_its_end(apicbase: Apicbase, api: Client, life: Any, expected: float) -> None:
    apicbase.expires_in = life
    await first(api)
    assert api._token_until - time.monotonic() == pytest.approx(expected, abs=5)


async def test_concurrent_polls_request_one_token(apicbase: Apicbase, api: Client) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(call: Any, number: int) -> None:
        if call.kind == "token":
            reached.set()
            await go_on.wait()

    apicbase.answer = hold
    leader, *others = [asyncio.create_task(first(api)) for _ in range(10)]
    await reached.wait()
    leader.cancel()  # the one that began it: the others still get theirs
    go_on.set()
    await asyncio.gather(*others)
    assert len(apicbase.of("token")) == 1
    assert len(apicbase.of("page")) == 9


async def test_a_token_that_is_not_taken_is_renewed_once(apicbase: Apicbase, api: Client) -> None:
    await first(api)
    apicbase.tokens.clear()
    await asyncio.gather(*(first(api) for _ in range(5)))
    assert len(apicbase.of("token")) == 2


async def test_a_second_401_is_an_error(apicbase: Apicbase, api: Client) -> None:
    apicbase.answer = lambda call, number: web.Response(status=401) if call.kind == "page" else None
    with pytest.raises(FetchError, match="answered 401 although the access token is new"):
        await first(api)
    assert [request.kind for request in apicbase.requests] == ["token", "page", "token", "page"]


async def test_wrong_credentials_fail_at_once_and_are_not_retried(apicbase: Apicbase, api: Client) -> None:
    apicbase.credentials = {}
    with pytest.raises(FetchError, match="refused with 401: check `client_id`"):
        await first(api)
    assert len(apicbase.requests) == 1


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_an_error_of_the_server_is_tried_again(apicbase: Apicbase, api: Client, status: int) -> None:
    apicbase.orders = [order("A")]
    apicbase.answer = lambda call, number: web.Response(status=status) if number <= 2 else None
    assert (await first(api)).results == apicbase.orders
    assert (len(apicbase.of("token")), len(apicbase.of("page"))) == (3, 3)


async def test_a_page_is_requested_five_times_at_most(apicbase: Apicbase, api: Client) -> None:
    apicbase.answer = lambda call, number: web.Response(status=500) if call.kind == "page" else None
    with pytest.raises(
        FetchError, match="a page of orders could not be fetched in 5 attempts: the server answered 500"
    ):
        await first(api)
    assert len(apicbase.of("page")) == 5


async def test_a_closed_port_is_tried_five_times(apicbase: Apicbase, unused_port: int) -> None:
    async with clients.session() as http:
        api = Client(http, SOURCE, settings(apicbase, base_url=f"http://127.0.0.1:{unused_port}"), Free())
        with pytest.raises(FetchError) as raised:
            await first(api)
    assert str(raised.value) == "the access token could not be fetched in 5 attempts: the server could not be reached"


@pytest.fixture
def unused_port() -> int:
    return 1  # nobody listens there


async def test_a_429_pauses_all_accounts_of_the_client_for_its_retry_after(apicbase: Apicbase, api: Client) -> None:
    sent = iter(["7", format_datetime(datetime.fromtimestamp(time.time() + 100, UTC), usegmt=True), "1e9", "99999999"])

    def answer(call: Any, number: int) -> web.Response | None:
        if call.kind == "page" and (header := next(sent, None)) is not None:
            return web.Response(status=429, headers={"Retry-After": header})
        return None

    apicbase.answer = answer
    await first(api)
    assert limit(api).pauses == [7, pytest.approx(100, abs=5), 0.01, clients.MAX_PAUSE]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("٣", None),
        ("0", 0),
        (" 30 ", 30),
        ("1" * 5000, 111111111),
        ("0" * 20 + "7", 7),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 60),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Thu, 01 Jan 1970 00:01:00", 60),
    ],
)
def test_retry_after_is_read_or_ignored(header: str | None, seconds: float | None) -> None:
    assert clients.retry_after(header, 0.0) == seconds
    assert clients.retry_after(header, 1e9) in (seconds, 0.0)


@pytest.mark.parametrize(
    "where",
    [
        "http://127.0.0.1:1/",
        "https://{host}/",
        "http://u:p@{host}/",
        "//elsewhere.example/",
        "file:///etc",
        "http://[",
        "a:b",
    ],
)
async def test_the_token_never_leaves_the_address(apicbase: Apicbase, api: Client, where: str) -> None:
    away = where.replace("{host}", apicbase.url.removeprefix("http://"))
    apicbase.answer = lambda call, number: (
        web.json_response({"next": away, "results": []}) if call.kind == "page" else None
    )
    with pytest.raises(FetchError, match="leads away from the host of `base_url`"):
        await first(api)


async def test_a_relative_next_is_followed(apicbase: Apicbase, api: Client) -> None:
    apicbase.answer = lambda call, n: (
        web.json_response({"next": "?page=2", "results": []}) if call.kind == "page" else None
    )
    following = (await first(api)).next
    assert str(following) == f"{apicbase.url}{PATH}?page=2"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(apicbase: Apicbase, api: Client, status: int) -> None:
    apicbase.answer = lambda call, number: web.Response(status=status, headers={"Location": apicbase.url + PATH})
    with pytest.raises(FetchError, match=f"the server answered {status}"):
        await first(api)
    assert len(apicbase.requests) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"<html>", b'{"results":{}}', b'{"results":[' + b"[" * 50_000])
async def test_a_body_that_is_not_a_page_is_an_error(apicbase: Apicbase, api: Client, body: bytes) -> None:
    apicbase.answer = lambda call, number: web.Response(body=body) if call.kind == "page" else None
    with pytest.raises(FetchError, match="not a page of orders"):
        await first(api)


async def test_answers_behind_a_byte_order_mark_are_read(apicbase: Apicbase, api: Client) -> None:
    """sp-dev-docs#1123: .NET servers write one."""
    marked = codecs.BOM_UTF8 + b'{"access_token": "t", "results": [], "next": null}'
    apicbase.answer = lambda call, number: web.Response(body=marked)
    assert (await first(api)).results == []


@pytest.mark.parametrize("sent", [{}, {"access_token": ""}, {"access_token": "a\r\nX: 1"}, {"access_token": "é"}, []])
async def test_a_body_that_is_not_a_token_is_an_error(apicbase: Apicbase, api: Client, sent: Any) -> None:
    apicbase.answer = lambda call, number: web.json_response(sent)
    with pytest.raises(FetchError, match="has no access token"):
        await first(api)


async def test_an_answer_is_read_up_to_a_size_also_unpacked(
    apicbase: Apicbase, api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "MAX_BODY", 100_000)
    packed = gzip.compress(b" " * 10_000_000)
    apicbase.answer = lambda call, number: (
        web.Response(body=packed, headers={"Content-Encoding": "gzip"}) if call.kind == "page" else None
    )
    with pytest.raises(FetchError, match="larger than 100000 bytes"):
        await first(api)


async def test_a_base_url_may_have_a_path(apicbase: Apicbase) -> None:
    async with clients.session() as http:
        api = Client(http, SOURCE, settings(apicbase, base_url="https://proxy.example/apicbase/"), Free())
        assert str(api.first(AFTER)).startswith(f"https://proxy.example/apicbase{PATH}?status=ORDERED&")


async def test_no_error_holds_a_secret(apicbase: Apicbase, api: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    errors = []
    for body in (CLIENT_SECRET, f'{{"access_token": 1, "x": "{CLIENT_SECRET}"}}'):
        for status in (200, 301, 400, 401, 500):
            apicbase.answer = lambda call, n, body=body, status=status: web.Response(text=body, status=status)  # type: ignore[misc]
            with pytest.raises(FetchError) as raised:
                await first(api)
            errors.append(repr(raised.value) + repr(raised.value.__cause__))
    assert CLIENT_SECRET not in "".join(errors) + caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.apicbase.com",
        "ftp://a",
        "https://",
        "https://a:b",
        "https://a b",
        "https://u:pass@a",
        "https://a?x=1",
        "https://a#x",
        "https://a?",
        "https://[",
        "https://a\n",
    ],
)
def test_an_invalid_base_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="base_url") as raised:
        msgspec.convert({"client_id": "c", "client_secret": "s", "base_url": url}, Poll)
    assert "pass" not in str(raised.value).replace("password", "")


@pytest.mark.parametrize(
    "change", [{"client_id": ""}, {"client_secret": ""}, {"interval": 0}, {"interval": float("inf")}]
)
def test_settings_without_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"client_id": "c", "client_secret": "s", **change}, Poll)
