"""Events published as the store worker announces them, without a store worker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aio_pika.abc import AbstractConnection

from broker.connection import BrokerConnection
from broker.publisher import Publisher
from schemas import cloudevents
from workers.store import announce


@asynccontextmanager
async def publishing(amqp_url: str) -> AsyncIterator[Publisher]:
    publisher = Publisher(confirm_timeout=60)

    async def on_open(link: BrokerConnection, connection: AbstractConnection) -> None:
        publisher.use(link.transport, await link.channel(connection, confirms=True))

    link = BrokerConnection(amqp_url, name="test", on_open=on_open, on_lost=publisher.on_lost)
    link.start()
    await link.opened.wait()
    yield publisher
    await publisher.stop()
    await link.stop()


async def announce_all(
    amqp_url: str, names: list[str], *, platform: str = "channelape", account: str = "rothys"
) -> None:
    async with publishing(amqp_url) as publisher:
        futures = []
        for name in names:
            body = cloudevents.encode(
                id=name, platform=platform, account=account, type=f"{platform}.x", key=name, version=1,
                received_at=datetime.now(UTC), traceparent=None, data=b'{"n":\r\n1}', raw=b"",
            )  # fmt: skip
            out = announce.outgoing(f"{platform}.x.{account}", name, None, body)
            futures.append(publisher.publish(*out))
        await asyncio.gather(*futures)
