"""The frames that are taken out of the stream, and those that pass: whole or in any pieces."""

import asyncio
import random

import pamqp.frame
import pytest
from pamqp.commands import Basic
from pamqp.heartbeat import Heartbeat

from broker.frames import ChannelHandlers, Reader
from tests.support.frames import PROPERTIES, content, deliver, stream


class Heard:
    def __init__(self) -> None:
        self.received: list[tuple[int, bool, bytes, bytes]] = []
        self.confirmed: list[tuple[int, bool, bool]] = []
        self.returned: list[bytes] = []
        self.order: list[str] = []

    def hot(self) -> ChannelHandlers:
        return ChannelHandlers(self._received, self._confirmed, self._returned)

    def _received(self, tag: int, redelivered: bool, properties: bytes, body: bytes) -> None:
        self.received.append((tag, redelivered, properties, body))
        self.order.append("received")

    def _confirmed(self, tag: int, multiple: bool, accepted: bool) -> None:
        self.confirmed.append((tag, multiple, accepted))
        self.order.append("confirmed")

    def _returned(self, properties: bytes) -> None:
        self.returned.append(properties)
        self.order.append("returned")


async def rest(reader: Reader) -> bytes:
    """What is left for the library."""
    reader.feed_eof()
    return await reader.read()


async def feed(sent: bytes, cuts: list[int]) -> tuple[Heard, bytes]:
    reader, recorder = Reader(asyncio.get_running_loop()), Heard()
    reader.listen(1, recorder.hot())
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        reader.feed_data(sent[start:end])
    return recorder, await rest(reader)


def check(recorder: Heard, left: bytes, passed: bytes) -> None:
    assert [(tag, again, body) for tag, again, _, body in recorder.received] == [
        (1, False, b"one"),
        (2, True, b""),
        (3, False, bytes(range(256)) * 40),
    ]
    assert {properties for _, _, properties, _ in recorder.received} == {PROPERTIES.marshal()}
    assert recorder.confirmed == [(7, True, True), (8, False, False)]
    assert recorder.returned == [PROPERTIES.marshal()]
    assert recorder.order == ["received", "received", "confirmed", "returned", "confirmed", "received"]
    assert left == passed


async def test_hot_frames_are_taken_and_the_rest_passes_as_it_came() -> None:
    sent, passed = stream()
    check(*await feed(sent, []), passed)


async def test_frames_are_read_in_whatever_pieces_they_arrive() -> None:
    sent, passed = stream()
    check(*await feed(sent, list(range(1, len(sent)))), passed)
    for cut in range(1, 700):
        check(*await feed(sent, [cut]), passed)
    for _ in range(50):
        cuts = sorted(random.sample(range(1, len(sent)), 20))
        check(*await feed(sent, cuts), passed)


async def test_only_frames_with_a_handler_are_taken_from_the_library() -> None:
    reader, recorder = Reader(asyncio.get_running_loop()), Heard()
    reader.listen(1, ChannelHandlers(None, recorder.hot().confirmed, None))
    sent = content(deliver(1), b"one") + content(Basic.Return(312, "NO_ROUTE", "e", "k"), b"x")
    reader.feed_data(sent + pamqp.frame.marshal(Basic.Ack(1), 1))
    assert await rest(reader) == sent
    assert recorder.confirmed == [(1, False, True)]


@pytest.mark.parametrize("data", [b"AMQP\0\0\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01\0\x01\0\0\0\x01xx"])
async def test_bytes_that_are_not_a_frame_are_left_to_the_library(data: bytes) -> None:
    sent = pamqp.frame.marshal(Heartbeat(), 0) + data
    reader, recorder = Reader(asyncio.get_running_loop()), Heard()
    reader.listen(1, recorder.hot())
    reader.feed_data(sent)
    reader.feed_data(b"more")
    assert await rest(reader) == sent + b"more"


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\x3c", b"\0\x3c\0\x3c", b"\0\x3c\0\x3c\xffc", b"\0\x3c\0\x50\0\0"],
    ids=lambda payload: payload.hex(),
)
async def test_a_frame_that_is_cut_short_is_left_to_the_library(payload: bytes) -> None:
    sent = b"\x01\0\x01" + len(payload).to_bytes(4, "big") + payload + b"\xce"
    recorder, left = await feed(sent, [])
    assert left == sent
    assert recorder.order == []


async def test_received_content_reaches_the_library_as_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    reader, recorder = Reader(asyncio.get_running_loop()), Heard()
    reader.listen(1, recorder.hot())
    for tag in range(1, 31):
        now += 0.1
        reader.feed_data(content(deliver(tag), b"x"))
    assert len(recorder.received) == 30
    assert await rest(reader) == pamqp.frame.marshal(Heartbeat(), 0) * 2
