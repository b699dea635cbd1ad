"""Apply `schemas.topology` to a broker, and check it, over AMQP; `broker.definitions` exports it instead."""

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity
from aiormq.exceptions import ChannelAccessRefused
from pamqp.common import FieldValue

from broker import renew
from broker.commands import connected, patiently
from broker.declare import Difference, TopologyError, bind, declare, is_missing, unbind
from schemas.config import MAX_SHARDS
from schemas.topology import (
    DEAD,
    EVENTS_LOG,
    UNROUTED,
    Binding,
    Exchange,
    Queue,
    Topology,
    store_queue,
    stored,
    topology,
)

log = logging.getLogger("crossdock.broker")


class Report(NamedTuple):
    """The findings of `inspect`, one line each.

    `problems` need an operator's attention; `notes` are harmless differences.
    """

    problems: list[str]
    notes: list[str]


class Applied(NamedTuple):
    """The result of `apply`: the differences that it left in place because the queues work as they are."""

    differences: list[Difference]
    """The differences, in the order of the topology."""

    def of(self, queue: str) -> list[Difference]:
        """Return the differences of one queue."""
        return [difference for difference in self.differences if difference.queue == queue]

    @property
    def notes(self) -> list[str]:
        """One line for each queue with an old delivery limit; `broker.retention` reports the log's retention."""
        return [_limit_note(difference) for difference in self.differences if difference.argument == "x-delivery-limit"]


async def apply(url: str, expected: Topology | None = None, *, alone: bool = False) -> Applied:
    """Declare every exchange, queue and binding that is missing; idempotent, raises TopologyError.

    An existing queue that differs only in its delivery limit is deleted and declared again if no message can be lost
    that way; otherwise it is left as it is. `alone`: no other Crossdock process is publishing or consuming.
    """
    expected = expected or topology()

    async def declare_all(connection: AbstractConnection) -> Applied:
        differences: list[Difference] = []
        for exchange in expected.exchanges:
            await declare(connection, exchange)
        for queue in expected.queues:
            differences += await declare(connection, queue)
        channel = await connection.channel()
        for binding in expected.bindings:
            await bind(channel, binding)
        limited_names = {difference.queue for difference in differences if difference.argument == "x-delivery-limit"}
        if limited_names:
            limited_queues = [queue for queue in expected.queues if queue.name in limited_names]
            renewed = await renew.renew(connection, limited_queues, expected, alone=alone)
            differences = [difference for difference in differences if difference.queue not in renewed]
        return Applied(differences)

    return await patiently(url, declare_all)


async def prune(url: str, expected: Topology) -> list[str]:
    """Remove bindings that a different number of shards needed; return the remaining tasks, one line each.

    Queues are never removed. Run it only when every ingress has `expected` in its configuration. Idempotent. Raises
    TopologyError.
    """

    async def unbind_all(connection: AbstractConnection) -> list[str]:
        tasks = []
        own_queues = {queue.name for queue in expected.queues}
        channel = await connection.channel()
        for binding in expected.obsolete_bindings:
            depth = await _depth(connection, binding.queue)
            if depth is None:
                break  # shards are numbered without gaps
            await unbind(channel, binding)
            if binding.queue not in own_queues and depth[0]:
                shard = binding.queue.rpartition(".")[2]
                tasks.append(
                    f"{binding.queue} still holds {depth[0]} messages: keep a `crossdock worker store --shard {shard}` "
                    "until it is empty"
                )
        return tasks

    return await patiently(url, unbind_all)


VERIFY_TIMEOUT = 2.0
"""Maximum seconds to verify the bindings of the store queues.

Bindings belong to the whole cluster: while a node is cut off, RabbitMQ waits for it until it is declared down.
"""


async def verify_store_binding(connection: AbstractConnection, shards: int) -> None:
    """Verify, before publishing to `crossdock.inbound`, that the store queues exist and are bound.

    A message that reaches no store queue would never be stored. After a change of the number of shards the topology may
    be older than the configuration. If the broker does not respond in time, the bindings are assumed to exist and a
    warning is logged. Raises TopologyError if a queue or exchange is missing.
    """
    binding = asyncio.get_running_loop().create_task(_bind(connection, stored(shards)), name="bind")
    try:
        done, _ = await asyncio.wait((binding,), timeout=VERIFY_TIMEOUT)
    finally:
        if not binding.done():
            # Retrieves the late result, because no one awaits it and asyncio would log an unretrieved exception.
            binding.add_done_callback(lambda late: late.cancelled() or late.exception())
            binding.cancel()
    if done:
        await binding
        return
    log.warning("the broker does not say what is bound: make sure that `crossdock topology apply` has run")


async def _bind(connection: AbstractConnection, bindings: Iterable[Binding]) -> None:
    channel = await connection.channel()
    try:
        for binding in bindings:
            await bind(channel, binding)
    except ChannelAccessRefused:
        log.warning("not allowed to bind the store's queue: make sure that `crossdock topology apply` has run")
    except ChannelNotFoundEntity as error:
        hint = "run `crossdock topology apply`" if is_missing(error) else "waiting for its leader"
        raise TopologyError(f"{error}: {hint}") from None
    else:
        await channel.close()


async def inspect(url: str, expected: Topology | None = None) -> Report:
    """Compare the broker with `expected` without changing anything.

    Bindings cannot be seen over AMQP 0-9-1, but `apply` is safe to run for those. Raises TopologyError if the broker
    cannot be queried.
    """
    expected = expected or topology()

    async def compare(connection: AbstractConnection) -> Report:
        report = Report([], [])
        entities: list[Exchange | Queue] = [*expected.exchanges, *expected.queues]
        for entity in entities:
            channel = await connection.channel()
            try:
                if isinstance(entity, Exchange):
                    await channel.declare_exchange(entity.name, entity.type, passive=True)
                else:
                    await channel.get_queue(entity.name)
                await channel.close()
                # A passive declaration ignores arguments. Repeating the full declaration compares them and changes
                # nothing.
                differences = await declare(connection, entity)
            except ChannelNotFoundEntity as error:
                if not is_missing(error):
                    raise  # it has no leader now, so `patiently` tries again
                report.problems.append(f"{entity.name} is missing: run `crossdock topology apply`")
            except TopologyError as error:
                report.problems.append(str(error))
            else:
                report.notes.extend(
                    _limit_note(difference) for difference in differences if difference.argument == "x-delivery-limit"
                )
                if entity.name == EVENTS_LOG and differences:
                    report.notes.append(_log_note(differences))
        return report

    return await patiently(url, compare)


def _limit_note(difference: Difference) -> str:
    current = difference.current
    limit = "RabbitMQ's default delivery limit" if current is None else f"a delivery limit of {_text(current)}"
    what = "deletes" if difference.queue in (DEAD, UNROUTED) else "dead-letters"
    return (
        f"{difference.queue} still has {limit} from an earlier release, past which RabbitMQ {what} a message: "
        "to renew it, let our queues run empty, stop the workers, and run `crossdock topology apply`"
    )


def _log_note(differences: list[Difference]) -> str:
    parts = ", ".join(
        f"{argument} {_text(current)} where the configuration says {_text(expected)}"
        for _, argument, expected, current in differences
    )
    return f"{EVENTS_LOG} was declared with {parts}; a policy decides: `crossdock topology apply` sets or shows it"


def _text(value: FieldValue) -> str:
    return "unset" if value is None else str(value)


async def depths(url: str, more: Iterable[str] = (), *, shards: int | None = None) -> dict[str, tuple[int, int]]:
    """Return the numbers of ready messages and of consumers by queue name.

    Includes our own queues and those of `more` that exist. `shards`: query exactly that many store queues, because
    RabbitMQ logs an error for each one that does not exist; None also queries surplus ones.
    """
    async with connected(url) as connection:
        counts_by_queue = await depths_over(connection, more, shards=shards or 1)
        for name in map(store_queue, range(1, MAX_SHARDS)) if shards is None else ():
            if (counts := await _depth(connection, name)) is None:
                break  # shards are numbered without gaps
            counts_by_queue[name] = counts
    return counts_by_queue


async def depths_over(
    connection: AbstractConnection, more: Iterable[str] = (), *, shards: int
) -> dict[str, tuple[int, int]]:
    """Return what `depths` does, over a connection that is open."""
    return await _depths(connection, (*(queue.name for queue in topology(shards=shards).queues), *more))


async def depths_of(url: str, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return the numbers of ready messages and of consumers of the queues that exist."""
    async with connected(url) as connection:
        return await _depths(connection, names)


async def _depths(connection: AbstractConnection, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    counts_by_queue: dict[str, tuple[int, int]] = {}
    for name in names:
        if (counts := await _depth(connection, name)) is not None:
            counts_by_queue[name] = counts
    return counts_by_queue


async def _depth(connection: AbstractConnection, queue: str) -> tuple[int, int] | None:
    """Return the numbers of ready messages and of consumers of a queue.

    Returns None if the queue does not exist or has no leader.
    """
    channel = await connection.channel()
    try:
        counts = (await channel.get_queue(queue)).declaration_result
    except ChannelNotFoundEntity:
        return None
    # Not in a `finally`: a broker that leaves the declaration unanswered does not answer the closing either.
    await channel.close()
    return counts.message_count or 0, counts.consumer_count or 0
