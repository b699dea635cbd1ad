"""Declare, measure and remove the queues of systems that consume `crossdock.events`, over AMQP."""

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity

from broker.declare import TopologyError, bind, declare, is_missing
from broker.topology import patiently
from schemas.consumers import Consumer, bindings, queues


async def add(url: str, one: Consumer) -> None:
    """Declare a consumer's queues and bindings; idempotent.

    Raises TopologyError, and ValueError if its types and accounts match no event.
    """
    wanted = bindings(one)

    async def work(connection: AbstractConnection) -> None:
        queue, dead = queues(one)
        # The dead-letter queue comes first, so that messages that are dead-lettered always have a destination. A
        # different delivery limit is left as it is.
        for thing in (dead, queue):
            await declare(connection, thing)
        channel = await connection.channel()
        for binding in wanted:
            await bind(channel, binding)

    await patiently(url, work)


async def waiting(url: str, one: Consumer) -> int:
    """Return the number of messages in both queues of a consumer; 0 if they do not exist."""

    async def work(connection: AbstractConnection) -> int:
        count = 0
        for queue in queues(one):
            channel = await connection.channel()
            try:
                count += (await channel.get_queue(queue.name)).declaration_result.message_count or 0
            except ChannelNotFoundEntity as error:
                if not is_missing(error):
                    raise
        return count

    return await patiently(url, work)


async def remove(url: str, one: Consumer) -> None:
    """Remove a consumer's queues with all their messages; idempotent, raises TopologyError."""

    async def work(connection: AbstractConnection) -> None:
        channel = await connection.channel()
        for queue in queues(one):
            await channel.queue_delete(queue.name)

    await patiently(url, work)


__all__ = ["TopologyError", "add", "remove", "waiting"]
