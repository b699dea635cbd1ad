"""Pages that vanish while they are read: orders were cancelled, so the last page is one that no longer exists."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
from aiohttp import web

from tests.integration.poll.conftest import _quick, lines, start, there
from tests.support.apicbase import Apicbase, Asked, config, order
from tests.support.pipeline import running, until
from tests.support.polling import Lines, Start, rounds, since, take

__all__ = ("_quick", "lines", "start", "there")


async def test_a_round_ends_at_a_page_that_vanished(
    pool: asyncpg.Pool, amqp_url: str, there: Apicbase, start: Start, lines: Lines
) -> None:
    await since(pool, 30)
    there.page_size = 2
    there.orders = [order(f"A{n}", hours=100 * n + 1) for n in range(5)]

    every = list(there.orders)

    def vanish(asked: Asked, number: int) -> web.Response | None:
        if asked.kind == "page" and number == 3:
            del there.orders[1]  # A4 moves to the second page, which has been read
        return None

    there.answer = vanish
    async with running(start(config(there))):
        await until(lambda: bool(lines()), what="the first round")
        first = lines()[0]
        assert (first["outcome"], first["pages"], first["failures"], first["published"]) == ("ok", 2, 0, 4)
        assert datetime.fromisoformat(first["cursor"]) < datetime.now(UTC) - timedelta(days=29)
        await rounds(pool)
    # The cursor stayed, so the next round lists the order that had moved, and publishes nothing twice.
    assert sorted(body for _, body, _ in await take(amqp_url)) == sorted(every)


async def test_the_first_page_must_be_there(pool: asyncpg.Pool, there: Apicbase, start: Start, lines: Lines) -> None:
    there.answer = lambda asked, number: (
        web.json_response({"detail": "Not found."}, status=404) if asked.kind == "page" else None
    )
    async with running(start(config(there))):
        await until(lambda: bool(lines()), what="the first round")
    assert (lines()[0]["outcome"], lines()[0]["error"]) == ("failed", "page: answered 404")


@pytest.mark.parametrize("status", [400, 403, 410])
async def test_other_answers_to_a_later_page_still_fail_the_round(
    pool: asyncpg.Pool, there: Apicbase, start: Start, lines: Lines, status: int
) -> None:
    there.page_size = 1
    there.orders = [order("A"), order("B")]
    there.answer = lambda asked, number: web.Response(status=status) if asked.query.get("page") == "2" else None
    async with running(start(config(there))):
        await until(lambda: bool(lines()), what="the first round")
    assert lines()[0]["outcome"] == "failed"
