"""Pages that vanish while they are read: orders were cancelled, so the last page is one that no longer exists."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from aiohttp import web

from tests.support.apicbase import Apicbase, ReceivedRequest, config, order
from tests.support.pipeline import running, until
from tests.support.polling import Lines, Start, rounds, since, take


async def test_a_round_ends_at_a_page_that_vanished(
    pool: asyncpg.Pool, amqp_url: str, apicbase: Apicbase, start: Start, lines: Lines
) -> None:
    await since(pool, 30)
    apicbase.page_size = 2
    apicbase.orders = [order(f"A{n}", hours=100 * n + 1) for n in range(5)]

    every = list(apicbase.orders)

    def vanish(request: ReceivedRequest, number: int) -> web.Response | None:
        if request.kind == "page" and number == 3:
            del apicbase.orders[1]  # A4 moves to the second page, which has been read
        return None

    apicbase.answer = vanish
    async with running(start(config(apicbase))):
        await until(lambda: bool(lines()), what="the first round")
        first = lines()[0]
        assert (first["outcome"], first["pages"], first["failures"], first["published"]) == ("ok", 2, 0, 4)
        assert datetime.fromisoformat(first["cursor"]) < datetime.now(UTC) - timedelta(days=29)
        await rounds(pool)
    # The cursor stayed, so the next round lists the order that had moved, and publishes nothing twice.
    assert sorted(body for _, body, _ in await take(amqp_url)) == sorted(every)


async def test_the_first_page_must_be_there(pool: asyncpg.Pool, apicbase: Apicbase, start: Start, lines: Lines) -> None:
    apicbase.answer = lambda request, number: (
        web.json_response({"detail": "Not found."}, status=404) if request.kind == "page" else None
    )
    async with running(start(config(apicbase))):
        await until(lambda: bool(lines()), what="the first round")
    assert (lines()[0]["outcome"], lines()[0]["error"]) == (
        "failed",
        "a page of orders could not be fetched: the server answered 404",
    )


@pytest.mark.parametrize("status", [400, 403, 410])
async def test_other_answers_to_a_later_page_still_fail_the_round(
    pool: asyncpg.Pool, apicbase: Apicbase, start: Start, lines: Lines, status: int
) -> None:
    apicbase.page_size = 1
    apicbase.orders = [order("A"), order("B")]
    apicbase.answer = lambda request, number: web.Response(status=status) if request.query.get("page") == "2" else None
    async with running(start(config(apicbase))):
        await until(lambda: bool(lines()), what="the first round")
    assert lines()[0]["outcome"] == "failed"
