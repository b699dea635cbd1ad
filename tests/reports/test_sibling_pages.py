"""Siblings of reported inputs: pages of a polled API in another charset, and pages with one broken order."""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from aiohttp import web

from tests.support import pipeline
from tests.support.apicbase import Apicbase, config, order, serving
from tests.support.pipeline import running, until
from tests.support.polling import Start, has, rounds
from workers.poll import pages
from workers.poll.worker import PollWorker

GOOD = (order("A"), order("B"))
BROKEN = (
    b'{"id": "X", "order_number": "X", "price": NaN, "status": "ORDERED"}',
    b'{"id": "X", "price": Infinity}',
    b'{"id": "X", "remarks": "two\nlines"}',
    b'{"id": "X", "remarks": "a \x00 and a \x1b"}',
    b'{"id": "X", "remarks": "caf\xe9 \xff"}',
    b'{"id": "X", "remarks": "\\ud83d"}',
    b'{"id": "X", "remarks": "an invalid \\x escape, and }, {"}',
    b'{"id": "X", "remarks": "a 5" pipe", "packages": [{"a": 1}, {"b": 2}]}',
    b'{"id": "X", "packages": [{"a": 1}, {"b": 2}]',
    b'{"id": "X", "packages": [{"a": 1}, {"b": [2}]}',
    b'{"id": "X", "packages": [{"a": 1},]}',
    b'{id: "X", \'status\': "ORDERED"}',
    b'{"id": "X", "status": }',
    b'{"id": 0000012, "status": "ORDERED"}',
    b'{"id": "X", "deep": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    b'{"id": ' + b"9" * 5000 + b"}",
)


def page(results: Any, following: str = "null", *, results_first: bool = False) -> bytes:
    members = [b'"next": ' + following.encode(), b'"results": [' + b" ,\n ".join(results) + b"]"]
    return b'{ "count": 3, ' + b", ".join(reversed(members) if results_first else members) + b"}\n"


@pytest.mark.parametrize("results_first", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_order_breaks_no_other(broken: bytes, place: int, results_first: bool) -> None:
    results = [*GOOD[:place], broken, *GOOD[place:]]
    read = pages.split(page(results, '"https://api.example/?page=2"', results_first=results_first))
    assert [bytes(result) for result in read.results] == results
    assert read.next == "https://api.example/?page=2"


def test_two_commas_without_an_order_between_them_are_skipped() -> None:
    read = pages.split(b'{"next": null, "results": [' + GOOD[0] + b", , " + GOOD[1] + b",, ]}")
    assert [bytes(result) for result in read.results] == [*GOOD]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_page_that_is_cut_off_is_an_error(broken: bytes) -> None:
    whole = page([broken, *GOOD], '"https://api.example/?page=2"').rstrip()
    for length in (len(whole) - 1, len(whole) - 2, len(whole) - 20):
        with pytest.raises(ValueError):  # noqa: PT011 - any of json's
            pages.split(whole[:length])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"5",
        b'{"results": {}}',
        b'{"results": [NaN], "next": 5}',
        b'{"results": [], "next": true}',
        b'{"results": [NaN], "next": true}',
        b'{"results": false}',
        b'{"count": NaN, "next": null}',
        b'{"results": [',
        b'{"results": [NaN,',
    ],
)
def test_a_body_that_is_not_a_page_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any of json's
        pages.split(body)


def test_an_empty_page_is_a_page() -> None:
    assert pages.split(b'{"results": [ ], "count": NaN}') == pages.PageContent([])
    assert pages.split(page([])) == pages.PageContent([])


@pytest.mark.parametrize("rest", [b"", b', "count": 0', b', "count": NaN'])
def test_a_page_without_results_is_empty(rest: bytes) -> None:
    assert pages.split(b'{"results": null, "next": null' + rest + b"}") == pages.PageContent([])
    assert pages.split(b'{"next": "https://api.example/?page=2", "results": null' + rest + b"}") == (
        pages.PageContent([], "https://api.example/?page=2")
    )


@pytest.mark.parametrize("following", ["null", "false", '""', '" "'])
@pytest.mark.parametrize("broken", [(), BROKEN[:1]])
def test_nothing_as_the_next_page_ends_the_list(following: str, broken: tuple[bytes, ...]) -> None:
    read = pages.split(page([*GOOD, *broken], following))
    assert (len(read.results), read.next) == (2 + len(broken), None)


def test_a_large_page_with_a_broken_order_takes_linear_time() -> None:
    results = [b'{"id": "X", "remarks": "a 5" pipe", "packages": [' + b"{}, " * 20_000 + b"{}]}", *GOOD * 1000]
    assert len(pages.split(page(results)).results) == len(results)


@pytest_asyncio.fixture
async def apicbase() -> AsyncIterator[Apicbase]:
    async with serving() as opened:
        yield opened


@pytest.fixture
def start(amqp_url: str, database_url: str) -> Start:
    return lambda settings: PollWorker(settings, amqp_url=amqp_url, database_url=database_url, per_minute=60_000)


@pytest.mark.parametrize("charset", ["ISO-8859-1", "windows-1252", "utf-16", "utf-8"])
async def test_a_page_in_another_charset_is_stored_right(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, apicbase: Apicbase, start: Start, charset: str
) -> None:
    listed = json.loads(order("A")) | {"order_remarks": "café olé"}
    body = json.dumps({"results": [listed], "next": None}, ensure_ascii=False).encode(charset)
    headers = {"Content-Type": f"application/json; charset={charset}"}
    apicbase.answer = lambda request, _: web.Response(body=body, headers=headers) if request.kind == "page" else None
    settings = config(apicbase)
    async with running(pipeline.store(amqp_url, database_url, settings), start(settings)):
        await until(has(pool, {"A": (1, 1)}))
    assert await pool.fetchval("SELECT body->>'order_remarks' FROM crossdock.events") == "café olé"


async def test_the_orders_beside_a_broken_one_are_stored(
    pool: asyncpg.Pool, amqp_url: str, database_url: str, apicbase: Apicbase, start: Start
) -> None:
    broken = order("X").replace(b'"X"', b'"X\n"')
    body = page([GOOD[0], broken, BROKEN[0], GOOD[1]])
    apicbase.answer = lambda request, _: web.Response(body=body) if request.kind == "page" else None
    settings = config(apicbase)
    async with running(pipeline.store(amqp_url, database_url, settings), start(settings)):
        await until(has(pool, {"A": (1, 1), "B": (1, 1)}))
        await rounds(pool, 2)

        async def set_aside() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM crossdock.quarantine") == 2)

        await until(set_aside)
        await rounds(pool, 2)
        assert await set_aside()
    rows = await pool.fetch("SELECT raw FROM crossdock.quarantine")
    assert {bytes(row["raw"]) for row in rows} == {broken, BROKEN[0]}


def test_raw_results_are_decoded_no_further() -> None:
    [single] = pages.split(b'{"results": [ {"a":  1.10 } ]}').results
    assert bytes(single) == b'{"a":  1.10 }'
    assert isinstance(single, msgspec.Raw)
