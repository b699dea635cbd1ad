"""Siblings of reported answers whose heads are larger than most clients read, of subscribers and of polled APIs."""

import asyncio

import pytest
from yarl import URL

from deploy.cli import load
from tests.unit.deliver.servers import REQUEST, SUCCESS, Talk, raw, saying, sender
from tests.unit.deliver.test_connection import start_post, talked
from workers.deliver.attempt import connection
from workers.deliver.attempt.response import NotHTTPError
from workers.poll import client as clients

COOKIES = b"".join(b"Set-Cookie: c%d=%s\r\n" % (number, b"x" * 900) for number in range(19))
LINE = b"Content-Security-Policy: " + b"x" * 8900 + b"\r\n"
LONGEST = b"X-Long: " + b"x" * 60_000 + b"\r\n"
HEADS = [COOKIES, LINE, 2 * LINE, LONGEST, 20 * COOKIES]
END = b"Content-Length: 2\r\n\r\nok"


def in_pieces(answer: bytes, size: int) -> Talk:
    """Return a handler that sends `answer` in pieces and waits until the client closes the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(answer), size):
            writer.write(answer[start : start + size])
            await writer.drain()
        await reader.read(len(REQUEST.body))
        await reader.read()

    return talk


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("status", "outcome"), [(b"200 OK", "delivered"), (b"400 No", "refused")])
async def test_the_status_decides_however_long_the_head_is(head: bytes, status: bytes, outcome: str) -> None:
    """A 200 with 17 kB of Set-Cookie lines, or with two lines of 8.9 kB, was "not HTTP", and was sent again and again.

    The same in any pieces, after an interim response, and where the head is not quite valid.
    """
    first = b"HTTP/1.1 " + status + b"\r\n"
    for answer in (
        first + head + END,
        first + b"X-Broken\r\n" + head + END,
        b"HTTP/1.1 103 Early Hints\r\n" + head[:17_000] + b"\r\n\r\n" + first + head + END,
        first + head,  # breaks off
    ):
        if answer.endswith(head) and len(head) <= connection.LONGEST_HEAD:
            continue
        for size in (len(answer), 1000, 16_384):
            response, _ = await talked(answer, list(range(size, len(answer), size)), ends=True)
            assert response.status == int(status[:3])
    async with raw(saying(first + head + END)) as server, sender() as client:
        result = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert (result.outcome, result.status_code) == (outcome, int(status[:3]))


@pytest.mark.parametrize("head", [COOKIES, LONGEST])
@pytest.mark.parametrize("size", [1000, 1_000_000])
async def test_a_retry_after_behind_a_long_head_counts(head: bytes, size: int) -> None:
    """The time that a 429 or 503 asks for may come after the 17 kB."""
    for status in (429, 503):
        first = b"HTTP/1.1 %d Slow\r\n" % status
        for answer in (first + head + b"Retry-After: 120\r\n" + END, first + b"Retry-After: 120\r\n" + head + END):
            async with raw(in_pieces(answer, size)) as server, sender() as client:
                result = await client.send(server.url(), REQUEST, success=SUCCESS)
            assert (result.outcome, result.status_code, result.retry_after) == ("refused", status, 120)


async def test_a_head_that_never_ends_is_read_up_to_a_bound_and_not_kept() -> None:
    """The status line decides; a status whose Retry-After may follow is read a little longer."""
    for status, most in ((b"200 OK", connection.LONGEST_HEAD), (b"503 No", connection.MOST_READ)):
        for piece in (b"X: y\r\n" * 100, b"x" * 600, b"\r" * 600):
            posting, wire, task = start_post()
            await asyncio.sleep(0)
            posting.data_received(b"HTTP/1.1 " + status + b"\r\nX: ")
            sent = 0
            while not wire.closed:
                posting.data_received(piece)
                sent += len(piece)
                kept = len(posting._heads) + len(posting._scanner._line if posting._scanner else b"")
                assert kept <= connection.LONGEST_HEAD + len(piece)
            assert sent <= most + len(piece)
            assert ((await task).status, posting.is_idle) == (int(status[:3]), False)
    posting, wire, task = start_post()
    await asyncio.sleep(0)
    while not wire.closed:
        posting.data_received(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 100)
    with pytest.raises(NotHTTPError):
        await task


async def test_trailers_that_never_end_are_cut() -> None:
    """What follows a body is bounded too."""
    posting, wire, task = start_post()
    await asyncio.sleep(0)
    posting.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: ")
    for _ in range(1000):
        if wire.closed:
            break
        posting.data_received(b"x" * 1000)
    assert (await task).body == b"ok"


async def test_a_head_that_never_ends_decides_when_the_time_is_over() -> None:
    """As a body that never ends."""
    async with raw(in_pieces(b"HTTP/1.1 503 Slow\r\n" + COOKIES, 10_000)) as server, sender(timeout=0.3) as client:
        result = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert (result.outcome, result.status_code) == ("refused", 503)


@pytest.mark.parametrize("head", [COOKIES, LINE, LONGEST, 9 * COOKIES])
async def test_polls_and_send_read_long_heads(head: bytes) -> None:
    """The same from a polled API, for a token, and from a proxy in front of the ingress, was an error."""
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + head + END
    async with raw(saying(answer)) as server, clients.session() as session:
        async with session.request("GET", URL(server.url())) as response:
            assert (response.status, await response.read()) == (200, b"ok")
        summary = await load.post(server.url(), lambda: load.Request(b"{}", {}, {}), 1, None, 1, bar=False)
    assert summary.statuses == {"200": 1}
