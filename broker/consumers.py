"""Declare, measure and remove the queues of systems that consume `crossdock.events`, over AMQP."""

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from broker.commands import patiently
from broker.declare import bind, declare, is_missing
from schemas.consumers import Consumer, bindings, queues


async def add(url: str, consumer: Consumer) -> None:
    """Declare a consumer's queues and bindings; idempotent.

    Raises TopologyError, and ValueError if its types and accounts match no event.
    """
    needed_bindings = bindings(consumer)

    async def declare_all(connection: AbstractConnection) -> None:
        queue, dead = queues(consumer)
        # The dead-letter queue comes first, so that messages that are dead-lettered always have a destination. A
        # different delivery limit is left as it is.
        for target in (dead, queue):
            await declare(connection, target)
        channel = await connection.channel()
        for binding in needed_bindings:
            await bind(channel, binding)

    await patiently(url, declare_all)


async def waiting(url: str, consumer: Consumer) -> int:
    """Return the number of messages in both queues of a consumer; 0 if they do not exist."""

    async def count(connection: AbstractConnection) -> int:
        total = 0
        for queue in queues(consumer):
            channel = await connection.channel()
            try:
                total += (await channel.get_queue(queue.name)).declaration_result.message_count or 0
            except ChannelNotFoundEntity as error:
                if not is_missing(error):
                    raise
        return total

    return await patiently(url, count)


async def remove(url: str, consumer: Consumer) -> None:
    """Remove a consumer's queues with all their messages; idempotent, raises TopologyError."""

    async def delete(connection: AbstractConnection) -> None:
        channel = await connection.channel()
        for queue in queues(consumer):
            await channel.queue_delete(queue.name)

    await patiently(url, delete)
