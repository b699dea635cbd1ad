"""A node that is connected and of no use: another one is tried, where there is one and where it helps."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiormq
import pytest
from aio_pika.abc import AbstractConnection
from pamqp.commands import Basic
from yarl import URL

from broker import health
from broker.connection import CLOSE_TIMEOUT, BrokerConnection
from broker.outgoing import BrokerUnavailableError
from broker.publisher import MAX_UNSENT_BYTES, Publisher
from tests.faults.proxy import Proxy

QUEUE = "full"


class Door:
    """A publisher on a link to two nodes, as every process has it."""

    def __init__(self, first: str, second: str, confirm_timeout: float) -> None:
        """The nodes' URLs; the virtual host is the first's."""
        first_url, second_url = URL(first), URL(second)
        url = str(first_url).replace(f":{first_url.port}/", f":{first_url.port},{second_url.host}:{second_url.port}/")
        self.reasons: list[str] = []
        """Why the node was found to be of no use."""
        self.opened = 0
        self.again = asyncio.Event()
        """Set with the second connection."""
        self.publisher = Publisher(confirm_timeout=confirm_timeout, on_unhealthy=self._useless)
        self.link = BrokerConnection(url, name="test", on_open=self._on_open, on_lost=self.publisher.on_lost)

    async def _on_open(self, link: BrokerConnection, connection: AbstractConnection) -> None:
        self.publisher.use(link.transport, await link.channel(connection, confirms=True))
        self.opened += 1
        if self.opened > 1:
            self.again.set()

    def _useless(self, reason: str) -> None:
        self.reasons.append(reason)
        self.link.switch_node(reason)

    def publish(self, number: int) -> "asyncio.Future[Any]":
        return self.publisher.publish("", QUEUE, Basic.Properties().marshal(), str(number), b"x")


@asynccontextmanager
async def door(first: str, second: str, confirm_timeout: float = 5.0) -> AsyncIterator[Door]:
    """Connected to the first node."""
    opened_door = Door(first, second, confirm_timeout)
    opened_door.link.start()
    try:
        await opened_door.link.opened.wait()
        yield opened_door
    finally:
        await opened_door.publisher.stop()
        await opened_door.link.stop()


@asynccontextmanager
async def queue(url: str, **arguments: Any) -> AsyncIterator[None]:
    """A quorum queue, as long as the virtual host is there."""
    setup = await aiormq.connect(url)
    channel = await setup.channel()
    await channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum", **arguments})
    try:
        yield
    finally:
        await setup.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the node, and the URL that goes through it."""
    behind = URL(url)
    assert behind.host is not None
    assert behind.port is not None
    proxy = Proxy(behind.host, behind.port)
    await proxy.start()
    try:
        yield proxy, str(behind.with_port(proxy.port))
    finally:
        await proxy.stop()


async def test_a_broker_that_refuses_everything_is_left_for_another(empty_amqp_url: str) -> None:
    """The queue is full, so each publish is refused; both addresses are the same node's."""
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    async with queue(empty_amqp_url, **full), door(empty_amqp_url, empty_amqp_url) as node:
        async with asyncio.timeout(20):
            number = 0
            while not node.again.is_set():
                number += 1
                with suppress(BrokerUnavailableError):
                    await node.publish(number)
        assert node.reasons == ["the broker refuses every message"]


async def test_a_node_that_does_not_answer_is_left_and_what_waits_is_confirmed_by_another(empty_amqp_url: str) -> None:
    async with queue(empty_amqp_url), proxied(empty_amqp_url) as (proxy, frozen), door(frozen, empty_amqp_url) as node:
        await node.publish(1)
        proxy.stall()
        await node.publish(2)  # raises BrokerUnavailableError when that takes longer than senders wait
        assert node.reasons == ["the broker doesn't answer"]
        assert node.opened == 2


async def test_a_node_that_lives_is_kept_while_it_confirms_nothing(
    empty_amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a leader on another node, and will be told of the next one; a new connection would not."""
    monkeypatch.setattr(health, "PROBE_AFTER", 0.3)
    async with (
        queue(empty_amqp_url),
        proxied(empty_amqp_url) as (proxy, silent),
        door(silent, empty_amqp_url, confirm_timeout=2.0) as node,
    ):
        await node.publish(0)
        proxy.lose_answers_to(QUEUE.encode())
        with pytest.raises(BrokerUnavailableError):
            await node.publish(1)  # long enough to look several times
        assert (node.reasons, node.opened) == ([], 1)
        monkeypatch.setattr(health, "ABANDON_AFTER", 0.0)
        async with asyncio.timeout(20):
            await node.again.wait()
        assert node.reasons == ["the broker confirms nothing"]


async def test_a_node_that_has_never_confirmed_is_not_waited_for(empty_amqp_url: str) -> None:
    async with queue(empty_amqp_url), proxied(empty_amqp_url) as (proxy, silent), door(silent, empty_amqp_url) as node:
        proxy.lose_answers_to(QUEUE.encode())
        await node.publish(1)
        assert node.reasons == ["the broker confirms nothing"]


async def test_a_frozen_node_among_several_is_not_waited_for(empty_amqp_url: str) -> None:
    """It lets in whoever knocks, and says nothing."""
    async with queue(empty_amqp_url), proxied(empty_amqp_url) as (proxy, frozen):
        proxy.stall()
        async with asyncio.timeout(4), door(frozen, empty_amqp_url) as node:
            assert node.opened == 1
            proxy.heal()


async def test_a_connection_that_takes_no_more_bytes_is_cut_off_in_time(empty_amqp_url: str) -> None:
    """The library could not close it: what it has written is never read."""
    async with queue(empty_amqp_url), proxied(empty_amqp_url) as (proxy, frozen), door(frozen, empty_amqp_url) as node:
        await node.publish(0)
        proxy.stall()
        properties = Basic.Properties().marshal()
        body = bytes(MAX_UNSENT_BYTES // 8)
        large = [node.publisher.publish("", QUEUE, properties, f"large-{number}", body) for number in range(32)]
        await asyncio.sleep(0.1)
        started = time.monotonic()
        node.link.fail("for this test")
        async with asyncio.timeout(5):
            await node.again.wait()
        assert time.monotonic() - started < CLOSE_TIMEOUT + 1.0
        await asyncio.gather(*large)


async def test_the_only_node_is_kept(empty_amqp_url: str) -> None:
    opened = 0

    async def on_open(link: BrokerConnection, connection: AbstractConnection) -> None:
        nonlocal opened
        opened += 1

    link = BrokerConnection(empty_amqp_url, name="test", on_open=on_open)
    link.start()
    try:
        await link.opened.wait()
        link.switch_node("the broker confirms nothing")
        await asyncio.sleep(0)
        assert link.opened.is_set()
        link.fail("for comparison")
        await asyncio.sleep(0)
        assert not link.opened.is_set()
    finally:
        await link.stop()
    assert opened == 1
