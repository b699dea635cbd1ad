"""Siblings of reported answers of subscribers: header lines that are none, and bodies that do not end."""

import asyncio

import pytest

from tests.unit.deliver.servers import REQUEST, SUCCESS, raw, saying, sender

BROKEN = [
    b"HTTP/1.1 %b\r\nX-Broken\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 %b\r\n: x\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 100 Continue\r\nX-Broken\r\n\r\nHTTP/1.1 %b\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 %b\r\n\x00\xff\r\nContent-Length: 2\r\n\r\nok",
]
CUT_OFF = [
    b"HTTP/1.1 %b\r\nContent-Length: 100\r\n\r\nok",
    b"HTTP/1.1 %b\r\nContent-Length: 100\r\n\r\n",
    b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
]


@pytest.mark.parametrize("answer", [*BROKEN, *CUT_OFF])
@pytest.mark.parametrize(("status", "outcome"), [(b"200 OK", "delivered"), (b"500 No", "refused")])
async def test_the_status_decides(answer: bytes, status: bytes, outcome: str) -> None:
    """A 200 with the header line `X-Broken` or `: x`, or with half of its body, was sent again until it failed."""
    async with raw(saying(answer % status)) as server, sender() as client:
        for _ in range(2):  # the connection is not used again
            result = await client.send(server.url(), REQUEST, success=SUCCESS)
            assert (result.outcome, result.status_code) == (outcome, int(status[:3]))


@pytest.mark.parametrize("answer", [*CUT_OFF, b"HTTP/1.1 %b\r\n\r\nok"])
async def test_the_status_decides_about_a_body_that_never_ends(answer: bytes) -> None:
    """The answer counts when the time is over, with what has arrived of it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer % b"200 OK")
        await reader.read()

    async with raw(talk) as server, sender(timeout=0.3) as client:
        result = await client.send(server.url(), REQUEST, success=SUCCESS)
    assert (result.outcome, result.status_code) == ("delivered", 200)
    assert result.response == answer.rpartition(b"\n")[2]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", b"HTTP/1.1 2"])
async def test_a_head_that_does_not_end_is_not_an_answer(answer: bytes) -> None:
    """The status line alone may be the beginning of something else."""
    async with raw(saying(answer)) as server, sender() as client:
        assert (await client.send(server.url(), REQUEST, success=SUCCESS)).outcome == "connection"
