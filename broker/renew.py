"""Declares queues anew that an earlier release declared with a delivery limit, where that can lose nothing.

RabbitMQ's `if-empty` and `if-unused` are not implemented for quorum queues (540), so a queue is deleted only where no
message can arrive or be in somebody's hands between the look and the deletion.
"""

import asyncio
from collections.abc import Iterable, Sequence

from aiormq.abc import AbstractConnection

from broker.declare import declare
from schemas.topology import EVENTS_LOG, STORE, UNROUTED, Binding, Queue, Topology

WATCH = 12.0
"""Seconds without a message or a consumer until a queue counts as unused. A store worker that waits for its database
takes messages of the way stations one at a time and gives them back within seconds."""
LOOK_PAUSE = 0.5
SETTLE = 1.0
"""Seconds for messages that were routed before an unbind to arrive."""


async def renew(
    connection: AbstractConnection, outdated: Sequence[Queue], wanted: Topology, *, alone: bool
) -> set[str]:
    """Declare the `outdated` queues anew and return their names; none of them if any queue of ours is in use.

    `alone`: nothing of ours is running. Otherwise publishers are shut out meanwhile: without bindings the broker
    returns what they publish, so that an ingress answers 503 for a second, and nothing is lost.
    """
    every = [queue.name for queue in wanted.queues if queue.name != EVENTS_LOG]
    bindings = sorted((one for one in wanted.bindings if one.queue in every), key=_rank)
    if not await _unused(connection, every, 0 if alone else WATCH):
        return set()
    if not alone:
        channel = await connection.channel()
        try:
            for binding in reversed(bindings):
                await channel.queue_unbind(binding.queue, binding.exchange, binding.routing_key)
            await asyncio.sleep(SETTLE)
            if await _unused(connection, every, 0):
                await _replace(connection, outdated)
                return {queue.name for queue in outdated}
            return set()
        finally:
            await _bind(connection, bindings)
    await _replace(connection, outdated)
    await _bind(connection, bindings)
    return {queue.name for queue in outdated}


def _rank(binding: Binding) -> int:
    """The order of binding: a message must never reach a queue that answers and none that stores, and what nobody
    wants is kept only when everything else is bound."""
    if binding.queue == UNROUTED:
        return 2
    return 0 if binding.queue.startswith(STORE) else 1


async def _replace(connection: AbstractConnection, queues: Iterable[Queue]) -> None:
    channel = await connection.channel()
    for queue in queues:
        await channel.queue_delete(queue.name)
        await declare(channel, queue)
    await channel.close()


async def _bind(connection: AbstractConnection, bindings: Iterable[Binding]) -> None:
    channel = await connection.channel()
    for binding in bindings:
        await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    await channel.close()


async def _unused(connection: AbstractConnection, names: Sequence[str], seconds: float) -> bool:
    """Whether none of the queues holds a message or has a consumer, at every look for so many seconds."""
    channel = await connection.channel()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        for name in names:
            found = await channel.queue_declare(name, passive=True)
            if found.message_count or found.consumer_count:
                await channel.close()
                return False
        if loop.time() >= until:
            await channel.close()
            return True
        await asyncio.sleep(LOOK_PAUSE)
