"""Queues of consumers, over AMQP: made, filled and taken away."""

from aiormq.exceptions import ChannelNotFoundEntity

from broker.topology import TopologyError, connected, declare
from schemas.consumers import Consumer, bindings, queues


async def add(url: str, one: Consumer) -> None:
    """Its queues and bindings. Idempotent. Raises TopologyError, and ValueError for types that there aren't."""
    wanted = bindings(one)
    async with connected(url) as connection:
        channel = await connection.channel()
        queue, dead = queues(one)
        await declare(channel, dead)  # first: what is dead-lettered must have somewhere to go
        await declare(channel, queue)
        for binding in wanted:
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)


async def waiting(url: str, one: Consumer) -> int:
    """Messages in both its queues; 0 where there are none."""
    count = 0
    async with connected(url) as connection:
        for queue in queues(one):
            channel = await connection.channel()
            try:
                count += (await channel.queue_declare(queue.name, passive=True)).message_count or 0
            except ChannelNotFoundEntity:
                continue
    return count


async def remove(url: str, one: Consumer) -> None:
    """Its queues with all that is in them. Idempotent. Raises TopologyError."""
    async with connected(url) as connection:
        channel = await connection.channel()
        for queue in queues(one):
            await channel.queue_delete(queue.name)


__all__ = ["TopologyError", "add", "remove", "waiting"]
