"""Connections to RabbitMQ over TLS: `amqps` in AMQP_URL, with the parameters of its certificate."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aio_pika.abc import AbstractConnection
from pamqp.commands import Basic
from yarl import URL

from broker import topology
from broker.connection import BrokerConnection
from broker.publisher import Publisher
from schemas.topology import STORE
from tests.support.pipeline import until
from tests.unit.deliver.servers import certificate


@asynccontextmanager
async def terminated(url: str, context: ssl.SSLContext) -> AsyncIterator[URL]:
    """Accept TLS and forward to the broker at `url`; yields the URL to use instead."""
    plain = URL(url)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        broker_reader, broker_writer = await asyncio.open_connection(plain.host, plain.port)
        await asyncio.gather(forward(reader, broker_writer), forward(broker_reader, writer))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
    async with server:
        yield plain.with_scheme("amqps").with_host("127.0.0.1").with_port(server.sockets[0].getsockname()[1])


async def test_messages_are_published_over_tls(empty_amqp_url: str, tmp_path: Path) -> None:
    context, public = certificate(tmp_path)
    publisher = Publisher(confirm_timeout=5.0)

    async def on_open(broker_connection: BrokerConnection, connection: AbstractConnection) -> None:
        channel = await broker_connection.channel(connection, confirms=True)
        publisher.use(broker_connection.transport, channel)

    async with terminated(empty_amqp_url, context) as secure:
        url = str(secure.update_query(cafile=str(public)))
        await topology.apply(url)
        broker_connection = BrokerConnection(url, name="tls", on_open=on_open, on_lost=publisher.on_lost)
        broker_connection.start()
        try:
            async with asyncio.timeout(10):
                await broker_connection.opened.wait()
                await publisher.publish("", STORE, Basic.Properties(delivery_mode=2).marshal(), "m", b"x" * 300_000)
        finally:
            await publisher.stop()
            await broker_connection.stop()
    assert (await topology.depths(empty_amqp_url))[STORE][0] == 1


async def test_an_unknown_certificate_is_refused_without_showing_a_secret(empty_amqp_url: str, tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)

    async def on_open(broker_connection: BrokerConnection, connection: AbstractConnection) -> None:
        raise AssertionError("connected without a trusted certificate")

    async with terminated(empty_amqp_url, context) as secure:
        url = str(secure.with_password("hidden-password"))
        broker_connection = BrokerConnection(url, name="tls", on_open=on_open)
        broker_connection.start()
        try:
            await until(lambda: "ertificate" in broker_connection.error, what="the certificate is refused")
        finally:
            await broker_connection.stop()
        assert "hidden-password" not in broker_connection.error
