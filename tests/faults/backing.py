"""The servers below the pipeline: one RabbitMQ and one PostgreSQL, or several that replace each other."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import urlsplit

import psutil

from deploy.local.postgres import Postgres
from deploy.local.rabbitmq import RabbitMQ


class Backing(Protocol):
    """The servers of a site, however many they are."""

    def __init__(self, folder: Path) -> None: ...

    amqp_url: str
    database_url: str

    async def start(self) -> None:
        """Start all servers. Raises StartError."""
        ...

    async def stop(self) -> None:
        """Stop all servers, whatever state they are in."""
        ...


class Single:
    """One RabbitMQ and one PostgreSQL."""

    rabbitmq_settings: ClassVar[Mapping[str, str]] = {}
    """More lines of RabbitMQ's configuration file."""

    def __init__(self, folder: Path) -> None:
        self.rabbitmq = RabbitMQ(folder / "rabbitmq", settings=self.rabbitmq_settings)
        self.postgres = Postgres(folder / "postgres")
        self.amqp_url = ""
        self.database_url = ""

    async def start(self) -> None:
        await asyncio.gather(self.rabbitmq.start(), self.postgres.start())
        self.amqp_url, self.database_url = self.rabbitmq.url, self.postgres.url

    async def stop(self) -> None:
        await asyncio.gather(self.rabbitmq.stop(), self.postgres.stop())

    @property
    def broker_address(self) -> tuple[str, int]:
        return _address(self.amqp_url)

    @property
    def database_address(self) -> tuple[str, int]:
        return _address(self.database_url)

    def amqp_through(self, port: int) -> str:
        """Return the broker's URL through a proxy on this port."""
        return self.amqp_url.replace(f":{self.broker_address[1]}/", f":{port}/")

    def database_through(self, port: int) -> str:
        """Return the database's URL through a proxy on this port."""
        return self.database_url.replace(f":{self.database_address[1]}/", f":{port}/")


def signal_all(postmaster: int, sign: int) -> None:
    """Send a signal to each of PostgreSQL's processes, which have their own sessions and outlive the postmaster."""
    first = psutil.Process(postmaster)
    for process in (first, *first.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.send_signal(sign)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
