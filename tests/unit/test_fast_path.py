"""Requests taken past the library's handler: in order, whole, and with the bounds that all others have."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.http import RawRequestMessage

from ingress.connections import Connection, Limits, Server
from tests.support import pipeline

HEAD = b"POST /%b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
BLOCK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"


class Site:
    """A server that takes what is posted to a path that begins with t, and answers when told to."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[tuple[bytes, Connection]] = asyncio.Queue()
        self.server = Server(self.handle, Limits(10, 1.0, 1.0), lambda reason: None, self.take, keepalive_timeout=0.2)
        self.port = 0

    def take(self, message: RawRequestMessage, raw: bytes, sender: Connection) -> bool:
        assert raw == b"{}"
        if not message.path.startswith("/t"):
            return False
        self.taken.put_nowait((message.path.encode(), sender))
        return True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        assert await request.read() == b"{}"  # it was looked at, and left
        return web.Response(text=request.path)

    async def answer(self) -> bytes:
        """Answers the next one that was taken, with its path."""
        path, sender = await self.taken.get()
        sender.answer(BLOCK % (len(path), path))
        return path


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    listener = await asyncio.get_running_loop().create_server(site.server, "127.0.0.1", 0)
    site.port = listener.sockets[0].getsockname()[1]
    yield site
    listener.close()
    await site.server.shutdown(1.0)


async def read(reader: asyncio.StreamReader) -> bytes:
    """The body of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return await reader.readexactly(int(length))


def idle(connection: Connection) -> bool:
    return connection.idle_since is not None


def post(path: bytes) -> bytes:
    return HEAD % path + b"{}"


@pytest.mark.parametrize("pieces", [1, 2, 7], ids=["at once", "in two", "in seven"])
async def test_answers_keep_the_order_of_the_requests(site: Site, pieces: int) -> None:
    """Taken ones and others, sent without waiting for an answer, cut anywhere."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    paths = [b"t1", b"t2", b"h3", b"t4", b"h5", b"t6", b"t7"]
    sent = b"".join(map(post, paths))
    size = -(-len(sent) // pieces)

    async def answering() -> None:
        while True:
            await site.answer()

    answers = asyncio.create_task(answering())
    for start in range(0, len(sent), size):
        writer.write(sent[start : start + size])
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        assert [await read(reader) for _ in paths] == [b"/" + path for path in paths]
    answers.cancel()
    writer.close()


async def test_a_body_in_chunks_is_whole(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = b"POST /t1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    writer.write(head + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
    await site.answer()
    assert await read(reader) == b"/t1"
    writer.close()


async def test_bytes_that_arrive_during_a_request_wait_for_its_answer(site: Site) -> None:
    """Also the rest of a head that was cut: nothing is read twice or lost."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(post(b"t1"))
    path, sender = await site.taken.get()
    writer.write(post(b"h2") + post(b"t3")[:20])
    other = asyncio.get_running_loop().create_task(reader.read(1))
    done, _ = await asyncio.wait([other], timeout=0.1)
    assert not done  # the second may not be answered before the first
    sender.answer(BLOCK % (len(path), path))
    assert await other == b"H"
    assert await read(reader) == b"/t1"
    assert await read(reader) == b"/h2"
    writer.write(post(b"t3")[20:])
    await site.answer()
    assert await read(reader) == b"/t3"
    writer.close()


async def test_one_that_is_under_way_is_not_idle(site: Site) -> None:
    """It outlives the time after which idle connections are closed; when it is answered, that begins anew."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(post(b"t1"))
    path, sender = await site.taken.get()
    assert not idle(sender)
    closed = asyncio.get_running_loop().create_task(reader.read(1))
    done, _ = await asyncio.wait([closed], timeout=0.5)
    assert not done
    sender.answer(BLOCK % (len(path), path))
    assert await closed == b"H"
    assert await read(reader) == b"/t1"
    assert idle(sender)
    async with asyncio.timeout(10):
        assert await reader.read() == b""  # closed as idle
    writer.close()


async def test_a_sender_that_has_disconnected_gets_no_answer(site: Site) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(post(b"t1"))
    path, sender = await site.taken.get()
    # Closed with a reset: an orderly close may come from a sender that still reads.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    await pipeline.until(lambda: not site.server.count)
    sender.answer(BLOCK % (len(path), path))


async def test_what_is_under_way_at_a_stop_is_answered_and_the_connection_closed(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(post(b"t1"))
    path, sender = await site.taken.get()
    site.server.pre_shutdown()
    sender.answer(BLOCK % (len(path), path))
    assert await read(reader) == b"/t1"
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()


async def test_a_head_that_follows_has_its_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head behind a request that was taken: answered 408 and closed like any other."""
    monkeypatch.setattr(site.server, "limits", Limits(10, 0.1, 1.0))
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(post(b"t1"))
    path, sender = await site.taken.get()
    writer.write(HEAD[:10])
    await pipeline.until(lambda: bool(sender._kept))
    sender.answer(BLOCK % (len(path), path))
    assert await read(reader) == b"/t1"
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize("paths", [[b"t1"], [b"h1"], [b"h1", b"t2", b"h3"]], ids=["fast path", "handler", "several"])
async def test_a_sender_that_sends_no_more_gets_its_answers(site: Site, paths: list[bytes]) -> None:
    """uvicorn#2924: a sender that half-closes after its request. Then the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"".join(map(post, paths)))
    writer.write_eof()

    async def answering() -> None:
        while True:
            await site.answer()

    answers = asyncio.create_task(answering())
    async with asyncio.timeout(10):
        assert [await read(reader) for _ in paths] == [b"/" + path for path in paths]
        assert await reader.read() == b""
    await pipeline.until(lambda: not site.server.count)
    answers.cancel()
    writer.close()


async def test_half_a_body_and_no_more_is_not_waited_for(site: Site) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(HEAD % b"h1" + b"{")
    writer.write_eof()
    async with asyncio.timeout(10):
        await reader.read()
    await pipeline.until(lambda: not site.server.count)
    writer.close()
