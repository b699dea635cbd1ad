"""Redeclare queues that an earlier release declared with a delivery limit, where no message can be lost.

RabbitMQ does not implement `if-empty` and `if-unused` for quorum queues (error 540). A queue is therefore deleted only
if, between the check and the deletion, no message can arrive and no consumer can hold one.
"""

import asyncio
from collections.abc import Iterable, Sequence

from aio_pika.abc import AbstractConnection

from broker.declare import bind, declare, unbind
from schemas.topology import EVENTS_LOG, STORE, UNROUTED, Binding, Queue, Topology

IDLE_SECONDS = 12.0
"""Seconds without a message or a consumer after which a queue counts as unused.

A store worker that waits for its database takes single messages from `crossdock.dead` and `crossdock.unrouted`, and
returns them within seconds.
"""
CHECK_PAUSE = 0.5
UNBIND_PAUSE = 1.0
"""Seconds to wait after an unbind for messages that were routed before it."""


async def renew(
    connection: AbstractConnection, queues: Sequence[Queue], expected: Topology, *, alone: bool
) -> set[str]:
    """Redeclare `queues` and return their names, or none if any of our queues is in use.

    `alone`: no other Crossdock process is running. Otherwise publishers are locked out in the meantime: without
    bindings the broker returns what they publish, so that an ingress answers 503 for a second and nothing is lost.
    """
    every = [queue.name for queue in expected.queues if queue.name != EVENTS_LOG]
    bindings = sorted((binding for binding in expected.bindings if binding.queue in every), key=_rank)
    if not await _unused(connection, every, 0 if alone else IDLE_SECONDS):
        return set()
    if not alone:
        channel = await connection.channel()
        try:
            for binding in reversed(bindings):
                await unbind(channel, binding)
            await asyncio.sleep(UNBIND_PAUSE)
            if await _unused(connection, every, 0):
                await _replace(connection, queues)
                return {queue.name for queue in queues}
            return set()
        finally:
            await _bind(connection, bindings)
    await _replace(connection, queues)
    await _bind(connection, bindings)
    return {queue.name for queue in queues}


def _rank(binding: Binding) -> int:
    """Return the position of a binding in the order in which bindings are made.

    Store queues come first, because a message must never reach a queue that answers without reaching one that stores.
    `crossdock.unrouted` comes last, because messages count as unrouted only when everything else is bound.
    """
    if binding.queue == UNROUTED:
        return 2
    return 0 if binding.queue.startswith(STORE) else 1


async def _replace(connection: AbstractConnection, queues: Iterable[Queue]) -> None:
    channel = await connection.channel()
    for queue in queues:
        await channel.queue_delete(queue.name)
        await declare(connection, queue)
    await channel.close()


async def _bind(connection: AbstractConnection, bindings: Iterable[Binding]) -> None:
    channel = await connection.channel()
    for binding in bindings:
        await bind(channel, binding)
    await channel.close()


async def _unused(connection: AbstractConnection, names: Sequence[str], seconds: float) -> bool:
    """Return whether, at every check for `seconds` seconds, no queue had a message or a consumer."""
    channel = await connection.channel()
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while True:
        for name in names:
            counts = (await channel.get_queue(name)).declaration_result
            if counts.message_count or counts.consumer_count:
                await channel.close()
                return False
        if loop.time() >= until:
            await channel.close()
            return True
        await asyncio.sleep(CHECK_PAUSE)
