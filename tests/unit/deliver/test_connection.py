"""What counts as a response, in whatever pieces it is received."""

import asyncio
import itertools
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.deliver.servers import REQUEST, SUCCESS, http_response, raw, saying, sender
from workers.deliver.attempt.connection import Connection
from workers.deliver.attempt.response import CutOffError, NoAnswerError, NotHTTPError, ResponseHead

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = [
    (OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\nTrailer: 1\r\n\r\n", 200, b"ok", True),
    (OK + b"content-length:2\r\nConnection: close\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.1 204 None\r\n\r\n", 204, b"", True),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n", 500, b"", True),
    (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
     200, b"", True),
    (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 200, b"ok", True),
]  # fmt: skip
TO_THE_END = [
    (OK + b"\r\nok", 200, b"ok"),
    (b"HTTP/1.0 404 No\r\nContent-Type: text/plain\r\n\r\nno", 404, b"no"),
    (OK + b"Transfer-Encoding: gzip\r\n\r\n\x1f\x8b", 200, b"\x1f\x8b"),
]


class Wire(asyncio.Transport):
    """A transport that records what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


def start_post(body: bytes = b"x") -> tuple[Connection, Wire, asyncio.Task[ResponseHead]]:
    """Return a connection that sends its request in the next iteration of the event loop, its transport and task."""
    connection, wire = Connection(), Wire()
    connection.connection_made(wire)
    return connection, wire, asyncio.get_running_loop().create_task(connection.post(b"HEAD", body))


async def talked(answer: bytes, cuts: list[int], *, ends: bool = False) -> tuple[ResponseHead, bool]:
    connection, _, task = start_post()
    await asyncio.sleep(0)
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    for start, stop in itertools.pairwise(edges):
        connection.data_received(answer[start:stop])
    if ends:
        connection.eof_received()
        connection.connection_lost(None)
    return await task, connection.is_idle


@settings(deadline=None)
@given(which=st.sampled_from(ANSWERS), cuts=st.lists(st.integers(1, 150), max_size=12))
def test_a_response_is_the_same_in_any_pieces(which: tuple[bytes, int, bytes, bool], cuts: list[int]) -> None:
    answer, status, body, reusable = which
    got, again = asyncio.run(talked(answer, cuts))
    assert (got.status, got.body, got.cut) == (status, body, False)
    assert again is reusable


@settings(deadline=None)
@given(which=st.sampled_from(TO_THE_END), cuts=st.lists(st.integers(1, 150), max_size=12))
def test_a_response_without_a_length_ends_with_the_connection(which: tuple[bytes, int, bytes], cuts: list[int]) -> None:
    answer, status, body = which
    got, again = asyncio.run(talked(answer, cuts, ends=True))
    assert (got.status, got.body, again) == (status, body, False)


@settings(deadline=None)
@given(which=st.sampled_from(ANSWERS), at=st.integers(0, 150))
def test_a_response_that_breaks_off_is_an_error_unless_its_head_is_complete(
    which: tuple[bytes, int, bytes, bool], at: int
) -> None:
    whole, status, body, _ = which
    head = re.compile(rb"\r?\n\r?\n").search(whole, whole.rindex(b"HTTP/"))
    assert head is not None
    answer = whole[: min(at, len(whole) - 1)]
    if len(answer) < head.end():
        with pytest.raises((NoAnswerError, CutOffError)):
            asyncio.run(talked(answer, [], ends=True))
        return
    got, again = asyncio.run(talked(answer, [], ends=True))
    assert (got.status, got.cut, again) == (status, True, False)
    assert body.startswith(got.body)


@settings(deadline=None, max_examples=300)
@given(noise=st.binary(max_size=200), start=st.sampled_from([b"", b"HTTP/1.1 ", OK, OK + b"Content-Length: 9\r\n\r\n"]))
def test_any_bytes_are_a_response_or_a_documented_error(noise: bytes, start: bytes) -> None:
    try:
        got, _ = asyncio.run(talked(start + noise, [3], ends=True))
    except (NoAnswerError, CutOffError, NotHTTPError):
        return
    assert 100 <= got.status <= 999


async def test_an_invalid_status_is_not_a_response() -> None:
    with pytest.raises(NotHTTPError):
        await talked(b"HTTP/1.1 000 None\r\nContent-Length: 0\r\n\r\n", [])


async def test_an_upgrade_is_a_response_and_ends_the_connection() -> None:
    upgrade = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00"
    got, again = await talked(upgrade, [])
    assert (got.status, again) == (101, False)


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"noise", b"\r\n\r\nHTTP/1.1 2"])
async def test_data_after_the_response_ends_the_connection(more: bytes) -> None:
    got, again = await talked(OK + b"Content-Length: 0\r\n\r\n" + more, [])
    assert (got.status, again) == (200, False)


async def test_data_without_a_request_ends_the_connection() -> None:
    connection, wire, task = start_post()
    await asyncio.sleep(0)
    connection.data_received(OK + b"Content-Length: 0\r\n\r\n")
    await task
    assert (wire.closed, connection.is_idle) == (False, True)
    connection.data_received(b"HTTP/1.1 408 Too late\r\nContent-Length: 0\r\n\r\n")
    assert (wire.closed, connection.is_idle) == (True, False)
    with pytest.raises(NoAnswerError):
        await connection.post(b"HEAD", b"x")


async def test_an_endless_head_is_decided_by_its_status_line() -> None:
    for piece in (b"X: y\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"x"):
        connection, wire, task = start_post()
        await asyncio.sleep(0)
        connection.data_received(OK if piece == b"X: y\r\n" else OK + b"X: " if piece == b"x" else b"")
        for _ in range(20_000):
            if task.done() or wire.closed:
                break
            connection.data_received(piece)
        if b"100" not in piece:
            assert (await task).status == 200
            continue
        with pytest.raises(NotHTTPError):
            await task


async def test_a_large_body_is_sent_in_pieces_and_stops_at_an_early_response() -> None:
    connection, wire, task = start_post(b"x" * 1_000_000)
    connection.pause_writing()
    await asyncio.sleep(0)
    assert wire.written == [b"HEAD"]
    connection.resume_writing()
    connection.pause_writing()
    for _ in range(3):
        await asyncio.sleep(0)
    assert sum(map(len, wire.written)) < 100_000
    connection.data_received(b"HTTP/1.1 413 Too large\r\nContent-Length: 0\r\n\r\n")
    assert (await task).status == 413
    assert not connection.is_idle  # the rest of the body is not the next request


async def test_an_early_response_over_a_real_socket() -> None:
    async with raw(saying(http_response("413 Too large", body=b"at most 1 MB"))) as server, sender() as client:
        answer = await client.send(
            server.url(), msgspec.structs.replace(REQUEST, body=b"x" * 20_000_000), success=SUCCESS
        )
    assert (answer.outcome, answer.status_code) in {("refused", 413), ("connection", None)}


async def test_idle_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.deliver.attempt.connector.KEEPALIVE", 0.05)
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(len(REQUEST.body))
        writer.write(http_response("200 OK"))
        assert await reader.read() == b""
        closed.set()

    async with raw(talk) as server, sender() as client:
        assert (await client.send(server.url(), REQUEST, success=SUCCESS)).outcome == "delivered"
        await asyncio.wait_for(closed.wait(), 5)
