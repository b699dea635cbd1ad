"""Declares an existing queue anew where its arguments are those of an earlier release, if that can lose nothing.

RabbitMQ's `if-empty` and `if-unused` are not implemented for quorum queues (540), so a queue is deleted only where no
message can arrive between the look and the deletion.
"""

import asyncio
from typing import NamedTuple

from aiormq.abc import AbstractConnection

from broker.declare import Difference, declare
from schemas.topology import DEAD, UNROUTED, Queue, Topology

SETTLE = 0.5
"""Seconds for messages that were routed before an unbind to arrive."""


class _State(NamedTuple):
    messages: int
    consumers: int


async def renew(
    connection: AbstractConnection, queue: Queue, differences: list[Difference], wanted: Topology, *, alone: bool
) -> bool:
    """Return whether the queue was declared anew. False: it is in use, so it stays as it is.

    `alone`: nothing of ours publishes or consumes. Otherwise only the queues that RabbitMQ itself fills are renewed:
    - `crossdock.unrouted`: without its binding, the broker returns what no queue wants to its publisher;
    - `crossdock.dead`: while no worker consumes, nothing is dead-lettered.
    """
    if [one.argument for one in differences] != ["x-delivery-limit"]:
        return False
    if await _state(connection, queue.name) != (0, 0):
        return False
    bindings = [one for one in wanted.bindings if one.queue == queue.name]
    channel = await connection.channel()
    if not alone:
        if queue.name == DEAD:
            sources = [one.name for one in wanted.queues if one.arguments.get("x-dead-letter-routing-key") == DEAD]
            if any([(await _state(connection, name)).consumers for name in sources]):
                return False
        elif queue.name != UNROUTED:
            return False
        for binding in bindings:
            await channel.queue_unbind(binding.queue, binding.exchange, binding.routing_key)
        await asyncio.sleep(SETTLE)
        if await _state(connection, queue.name) != (0, 0):
            return False  # its bindings are made again by `apply`
    await channel.queue_delete(queue.name)
    await declare(channel, queue)
    for binding in bindings:
        await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    await channel.close()
    return True


async def _state(connection: AbstractConnection, name: str) -> _State:
    channel = await connection.channel()
    found = await channel.queue_declare(name, passive=True)
    await channel.close()
    return _State(found.message_count or 0, found.consumer_count or 0)
