"""Applies and checks `schemas.topology` against a broker, over AMQP alone; exports it as RabbitMQ definitions."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity, ChannelPreconditionFailed
from yarl import URL

from broker.connection import CONNECT_TIMEOUT, addresses, redacted
from schemas.config import MAX_SHARDS
from schemas.topology import Binding, Exchange, Queue, Topology, store_queue, stored, topology

log = logging.getLogger("crossdock.broker")


class TopologyError(Exception):
    """The broker can't be reached, or holds something of ours with other properties; the text says what to do."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """To the first node that answers. Raises TopologyError."""
    problems = []
    for address in addresses(url):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await aiormq.connect(URL(address).update_query(name="crossdock topology"))
        except (OSError, TimeoutError, AMQPError) as error:
            problems.append(f"{redacted(address)}: {error or type(error).__name__}")
            continue
        try:
            yield connection
        finally:
            await connection.close()
        return
    raise TopologyError(f"RabbitMQ can't be reached at {'; '.join(problems)}: check AMQP_URL and that the node runs")


async def apply(url: str, wanted: Topology | None = None) -> None:
    """Declares every exchange, queue and binding that is missing. Idempotent. Raises TopologyError."""
    wanted = wanted or topology()
    async with connected(url) as connection:
        channel = await connection.channel()
        for exchange in wanted.exchanges:
            await declare(channel, exchange)
        for queue in wanted.queues:
            await declare(channel, queue)
        for binding in wanted.bindings:
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)


async def prune(url: str, wanted: Topology) -> list[str]:
    """Removes bindings that another number of shards needed, and no queue. What is left to do then, a line each.

    Only once every ingress has `wanted` in its configuration. Idempotent. Raises TopologyError.
    """
    left = []
    mine = {queue.name for queue in wanted.queues}
    async with connected(url) as connection:
        channel = await connection.channel()
        for binding in wanted.outdated:
            depth = await _depth(connection, binding.queue)
            if depth is None:
                break  # shards are made in order
            await channel.queue_unbind(binding.queue, binding.exchange, binding.routing_key)
            if binding.queue not in mine and depth[0]:
                shard = binding.queue.rpartition(".")[2]
                left.append(
                    f"{binding.queue} still holds {depth[0]} messages: keep a `crossdock worker store --shard {shard}` "
                    "until it is empty"
                )
    return left


SEE_TIMEOUT = 2.0
"""Seconds. Bindings are a whole cluster's affair: with a node cut off, RabbitMQ asks it until it is given up."""


async def see_stored(connection: AbstractConnection, shards: int) -> None:
    """For whoever is to publish to `crossdock.inbound`: a message that no store queue gets would be lost to it.

    With another number of shards than before the topology may be behind the configuration. A broker that can't say in
    time is taken for one that has it. Raises TopologyError.
    """
    binding = asyncio.get_running_loop().create_task(_bind(connection, stored(shards)), name="bind")
    try:
        done, _ = await asyncio.wait((binding,), timeout=SEE_TIMEOUT)
    finally:
        if not binding.done():
            binding.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody else looks at it
            binding.cancel()
    if done:
        await binding
        return
    log.warning("the broker does not say what is bound: make sure that `crossdock topology apply` has run")


async def _bind(connection: AbstractConnection, bindings: Iterable[Binding]) -> None:
    channel = await connection.channel()
    try:
        for binding in bindings:
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    except ChannelAccessRefused:
        log.warning("not allowed to bind the store's queue: make sure that `crossdock topology apply` has run")
    except ChannelNotFoundEntity as error:
        raise TopologyError(f"{error}: run `crossdock topology apply`") from None
    else:
        await channel.close()


async def declare(channel: AbstractChannel, thing: Exchange | Queue) -> None:
    """Unless it is there. Raises TopologyError where it is there with other properties."""
    try:
        if isinstance(thing, Exchange):
            await channel.exchange_declare(
                thing.name, exchange_type=thing.type, durable=True, arguments=dict(thing.arguments)
            )
        else:
            await channel.queue_declare(thing.name, durable=True, arguments=dict(thing.arguments))
    except ChannelPreconditionFailed as error:
        raise TopologyError(
            f"{thing.name} exists with other properties ({error}): "
            "drain and delete it, then run `crossdock topology apply`"
        ) from None


async def check(url: str, wanted: Topology | None = None) -> list[str]:
    """What is missing or different on the broker, a line each; empty when all is well. Changes nothing.

    Bindings can't be seen over AMQP 0-9-1; `apply` is safe to run for those.
    """
    wanted = wanted or topology()
    problems = []
    async with connected(url) as connection:
        things: list[Exchange | Queue] = [*wanted.exchanges, *wanted.queues]
        for thing in things:
            channel = await connection.channel()
            try:
                if isinstance(thing, Exchange):
                    await channel.exchange_declare(thing.name, exchange_type=thing.type, passive=True)
                else:
                    await channel.queue_declare(thing.name, passive=True)
                # Passive declares ignore arguments; the same declare again compares them and changes nothing.
                await declare(channel, thing)
            except ChannelNotFoundEntity:
                problems.append(f"{thing.name} is missing: run `crossdock topology apply`")
            except TopologyError as error:
                problems.append(str(error))
    return problems


async def depths(url: str, more: Iterable[str] = ()) -> dict[str, tuple[int, int]]:
    """Messages ready and consumers, by queue of ours and of `more` that exists. Asks the broker only; scans nothing."""
    found: dict[str, tuple[int, int]] = {}
    async with connected(url) as connection:
        for name in (*(queue.name for queue in topology().queues), *more):
            if (depth := await _depth(connection, name)) is not None:
                found[name] = depth
        for name in map(store_queue, range(1, MAX_SHARDS)):
            if (depth := await _depth(connection, name)) is None:
                break  # shards are made in order
            found[name] = depth
    return found


async def _depth(connection: AbstractConnection, queue: str) -> tuple[int, int] | None:
    """Messages ready and consumers; None when there is no such queue."""
    channel = await connection.channel()
    try:
        ok = await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return None
    await channel.close()
    return ok.message_count or 0, ok.consumer_count or 0


def export(vhost: str = "/", wanted: Topology | None = None) -> dict[str, Any]:
    """RabbitMQ definitions, for `rabbitmqctl import_definitions` or the management API."""
    wanted = wanted or topology()
    return {
        "vhosts": [{"name": vhost}],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": vhost,
                "type": exchange.type,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": exchange.arguments,
            }
            for exchange in wanted.exchanges
        ],
        "queues": [
            {"name": queue.name, "vhost": vhost, "durable": True, "auto_delete": False, "arguments": queue.arguments}
            for queue in wanted.queues
        ],
        "bindings": [
            {
                "source": binding.exchange,
                "vhost": vhost,
                "destination": binding.queue,
                "destination_type": "queue",
                "routing_key": binding.routing_key,
                "arguments": {},
            }
            for binding in wanted.bindings
        ],
    }
