"""A node that is connected and of no use: another one is tried, where there is one."""

import asyncio
from contextlib import suppress
from typing import Any

import aiormq
from aiormq.abc import AbstractConnection
from pamqp.commands import Basic

from broker.connection import Link
from broker.outgoing import Unavailable
from broker.publisher import Publisher

QUEUE = "full"


async def test_a_broker_that_refuses_everything_is_left_for_another(empty_amqp_url: str) -> None:
    """The queue is full, so each publish is refused; both addresses are the same node's."""
    setup = await aiormq.connect(empty_amqp_url)
    channel = await setup.channel()
    arguments: dict[str, Any] = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    await channel.queue_declare(QUEUE, durable=True, arguments=arguments)

    opened = 0
    again = asyncio.Event()
    reasons: list[str] = []

    async def on_open(link: Link, connection: AbstractConnection) -> None:
        nonlocal opened
        publisher.use(link.transport, await link.channel(connection, confirms=True))
        opened += 1
        if opened > 1:
            again.set()

    def useless(reason: str) -> None:
        reasons.append(reason)
        link.elsewhere(reason)

    publisher = Publisher(confirm_timeout=5.0, useless=useless)
    scheme, _, rest = empty_amqp_url.partition("://")
    login, _, place = rest.partition("@")
    host, _, vhost = place.partition("/")
    twice = f"{scheme}://{login}@{host},{host}/{vhost}"
    link = Link(twice, name="test", on_open=on_open, on_lost=publisher.on_lost)
    link.start()
    try:
        await link.opened.wait()
        async with asyncio.timeout(20):
            number = 0
            while not again.is_set():
                number += 1
                with suppress(Unavailable):
                    await publisher.publish("", QUEUE, Basic.Properties().marshal(), str(number), b"x")
    finally:
        await publisher.stop()
        await link.stop()
        await setup.close()
    assert reasons == ["the broker refuses every message"]


async def test_the_only_node_is_kept(empty_amqp_url: str) -> None:
    opened = 0

    async def on_open(link: Link, connection: AbstractConnection) -> None:
        nonlocal opened
        opened += 1

    link = Link(empty_amqp_url, name="test", on_open=on_open)
    link.start()
    try:
        await link.opened.wait()
        link.elsewhere("the broker confirms nothing")
        await asyncio.sleep(0)
        assert link.opened.is_set()
        link.fail("for comparison")
        await asyncio.sleep(0)
        assert not link.opened.is_set()
    finally:
        await link.stop()
    assert opened == 1
