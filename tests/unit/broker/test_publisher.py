"""The publisher against a socket that only keeps what is written: every publish ends, and what waits is bounded."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from pamqp.commands import Basic

from broker import publisher as publishing
from broker.health import NodeHealth
from broker.outgoing import BrokerUnavailableError, Outgoing, TooLargeError, UnencodableError
from broker.publisher import Publisher

PROPERTIES = Basic.Properties(message_id="m", delivery_mode=2).marshal()
FRAME_MAX = 131072


class Socket:
    """Stands in for `broker.frames.Transport`: the written blocks, and whether the peer reads."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.unsent = 0

    def listen(self, channel: int, handlers: object) -> None: ...

    def write(self, block: bytes) -> None:
        self.blocks.append(block)


class Channel:
    """As much of the library's channel as the publisher uses."""

    number = 1

    def __init__(self) -> None:
        self.connection: Any = type("", (), {"connection_tune": type("", (), {"frame_max": FRAME_MAX})})
        self.closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Site:
    def __init__(self, **settings: Any) -> None:
        self.publisher = Publisher(**{"confirm_timeout": 5.0, **settings})
        self.connect()

    def connect(self) -> None:
        self.socket, self.channel = Socket(), Channel()
        self.publisher.use(self.socket, self.channel)  # type: ignore[arg-type]

    def publish(self, body: bytes = b"{}", *, key: str = "k", name: str = "m", properties: bytes = PROPERTIES) -> Any:
        return self.publisher.publish("e", key, properties, name, body)

    def confirm(self, tag: int, *, multiple: bool = False, accepted: bool = True) -> None:
        self.publisher._confirmed(tag, multiple, accepted)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    running = Site()
    yield running
    await running.publisher.stop()


async def turn() -> None:
    """Run what is scheduled for the end of this loop turn."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    "wrong", [{"key": "k" * 256}, {"properties": b"\0" * FRAME_MAX}], ids=["routing key", "properties"]
)
async def test_a_message_that_cannot_be_encoded_fails_alone(site: Site, wrong: dict[str, Any]) -> None:
    before, bad, after = site.publish(), site.publish(**wrong), site.publish()
    await turn()
    with pytest.raises(UnencodableError):
        await bad
    site.confirm(2, multiple=True)  # the tags of the other two, which the broker counts itself
    assert (await before, await after) == (None, None)
    assert site.publisher.outstanding == 0
    assert site.publisher.held_bytes == 0


async def test_a_second_channel_loses_nothing_of_the_first(site: Site) -> None:
    """Both are sent on the new connection and confirmed there, even if the loss of the first was not reported."""
    first = site.publish(b"first")
    await turn()
    site.connect()
    second = site.publish(b"second")
    await turn()
    sent = b"".join(site.socket.blocks)
    assert sent.index(b"first") < sent.index(b"second")
    site.confirm(2, multiple=True)
    assert (await first, await second) == (None, None)
    assert site.publisher.held_bytes == 0


async def test_bodies_are_counted_until_they_are_confirmed_or_fail() -> None:
    site = Site(max_held_bytes=100, confirm_timeout=0.05)
    kept = site.publish(b"x" * 60)
    await turn()
    with pytest.raises(BrokerUnavailableError, match="too many bytes"):
        site.publish(b"x" * 41)
    assert site.publisher.held_bytes == 60
    site.confirm(1)
    await kept
    lost = site.publish(b"x" * 100)
    with pytest.raises(BrokerUnavailableError, match="no confirm"):
        await lost
    assert site.publisher.held_bytes == 0
    again = site.publish(b"x" * 100)
    await turn()
    again.cancel()
    site.publisher.on_lost()
    assert site.publisher.held_bytes == 0
    await site.publisher.stop()


async def test_a_broker_that_does_not_read_is_given_no_more_than_a_few_megabytes(site: Site) -> None:
    body = b"x" * (1 << 20)
    futures = [site.publish(body) for _ in range(40)]
    site.socket.unsent = publishing.MAX_UNSENT_BYTES + 1
    await turn()
    taken = sum(map(len, site.socket.blocks))
    assert max(map(len, site.socket.blocks)) < publishing.MAX_UNSENT_BYTES + 2 * len(body)
    assert taken < 40 * len(body)  # the first sixteen went before the socket was full
    site.socket.unsent = 0
    site.publisher._flush()
    assert sum(map(len, site.socket.blocks)) > 40 * len(body)
    site.confirm(40, multiple=True)
    assert [await future for future in futures] == [None] * 40


async def test_a_message_above_the_brokers_limit_fails_alone_and_later_ones_at_once(site: Site) -> None:
    small, large, other = site.publish(b"s" * 10), site.publish(b"l" * 101), site.publish(b"o" * 100)
    await turn()
    text = "PRECONDITION_FAILED - message size 101 is larger than configured max size 100"
    site.channel.closing.set_exception(RuntimeError(text))
    await turn()
    site.publisher.on_lost()
    site.connect()
    with pytest.raises(TooLargeError) as why:
        await large
    assert (why.value.size, why.value.limit) == (101, 100)
    with pytest.raises(TooLargeError):
        site.publish(b"x" * 101)
    with pytest.raises(TooLargeError):
        site.publisher.publish_all([Outgoing("e", "k", PROPERTIES, "m", b"x" * 101)])
    await turn()
    assert b"l" * 101 not in b"".join(site.socket.blocks)
    site.confirm(2, multiple=True)
    assert (await small, await other) == (None, None)
    # Another loss may be a restart with another setting: the limit is learned again.
    site.publisher.on_lost()
    site.connect()
    assert site.publisher.max_message_size is None
    site.publish(b"x" * 101).cancel()


async def test_a_sweeper_that_dies_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(confirm_timeout=0.04)
    ended = asyncio.Event()
    site.publisher._background._on_death = ended.set
    monkeypatch.setattr(NodeHealth, "check", lambda self, now: 1 / 0)
    async with asyncio.timeout(10):
        await ended.wait()
    assert "publisher-sweep" in site.publisher.problems()[0]
    await site.publisher.stop()
