"""The consumers that were given a queue on `crossdock.events`."""

from datetime import datetime

import msgspec

from schemas.consumers import Consumer
from storage.database import Connection
from storage.sql import query


class AddedConsumer(msgspec.Struct, frozen=True):
    """A registered consumer, with its RabbitMQ user."""

    consumer: Consumer
    username: str | None
    """The name of its RabbitMQ user, if it was given one."""
    created_at: datetime


async def listing(connection: Connection) -> list[AddedConsumer]:
    """Return all consumers, ordered by name; raises asyncpg's errors."""
    fields = Consumer.__struct_fields__
    return [
        AddedConsumer(Consumer(**{name: row[name] for name in fields}), row["username"], row["created_at"])
        for row in await connection.fetch(query("consumers", "listing"))
    ]


async def add(connection: Connection, consumer: Consumer, username: str | None) -> None:
    """Register a consumer; if it exists already, only its user name is updated."""
    await connection.execute(
        query("consumers", "add"),
        consumer.name,
        consumer.types,
        consumer.accounts,
        consumer.max_messages,
        consumer.max_bytes,
        username,
    )


async def remove(connection: Connection, name: str) -> None:
    """Remove a consumer if it exists."""
    await connection.execute(query("consumers", "remove"), name)
