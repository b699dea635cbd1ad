"""Apply `schemas.topology` to a broker and check it over AMQP, or export it as RabbitMQ definitions."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, TypeVar

import aiormq
from aiormq.abc import AbstractConnection
from aiormq.exceptions import AMQPError, ChannelAccessRefused, ChannelNotFoundEntity, ConnectionNotAllowed
from yarl import URL

from broker import renew
from broker.connection import CONNECT_TIMEOUT, addresses, redacted
from broker.declare import NO_STREAMS, Difference, TopologyError, declare, is_missing, lacks_streams
from broker.refusals import describe
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

PATIENCE = 60.0
"""Maximum seconds to wait for queues that exist but have no leader.

After a start RabbitMQ accepts connections first, and elects the leaders of streams and quorum queues in the following
seconds.
"""
PAUSE = 0.5
STEP_TIMEOUT = 30.0
"""Maximum seconds for one pass over everything; a queue without a leader may leave a request unanswered."""

T = TypeVar("T")


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
        return [one for one in self.differences if one.queue == queue]

    @property
    def notes(self) -> list[str]:
        """One line for each queue with an old delivery limit; `broker.retention` reports the log's retention."""
        return [_limit_note(one) for one in self.differences if one.argument == "x-delivery-limit"]


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """Connect to the first node that responds; raises TopologyError if none does."""
    problems = []
    for address in addresses(url):
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await aiormq.connect(URL(address).update_query(name="crossdock topology"))
        except (OSError, TimeoutError, AMQPError) as error:
            text = describe(error) if isinstance(error, AMQPError) else error or type(error).__name__
            problems.append(f"{redacted(address)}: {text}")
            continue
        try:
            yield connection
        finally:
            with suppress(OSError, TimeoutError, AMQPError):  # the broker may have closed it because of an error
                await connection.close()
        return
    raise TopologyError(f"RabbitMQ can't be reached at {'; '.join(problems)}: check AMQP_URL and that the node runs")


async def patiently(
    url: str, work: Callable[[AbstractConnection], Awaitable[T]], *, patience: float | None = None
) -> T:
    """Run `work` until every queue that it needs has a leader; `work` must be safe to repeat.

    Waits at most `patience` seconds, `PATIENCE` by default. Raises TopologyError: at once if a queue is missing or has
    other properties, if permissions are missing, or if the broker cannot be reached on the first attempt; otherwise
    when the time is over.
    """
    patience = PATIENCE if patience is None else patience
    until = time.monotonic() + patience
    reached = False
    while True:
        try:
            async with connected(url) as connection:
                reached = True
                async with asyncio.timeout(STEP_TIMEOUT):
                    return await work(connection)
        except (ChannelAccessRefused, ConnectionNotAllowed) as error:
            raise TopologyError(f"RabbitMQ refuses: {error}; give AMQP_URL's user the rights to configure it") from None
        except ChannelNotFoundEntity as error:
            if is_missing(error):
                raise TopologyError(f"{error}: run `crossdock topology apply`") from None
            problem = str(error)
        except TopologyError as error:
            if not reached or "can't be reached" not in str(error):
                raise
            problem = str(error)
        except (OSError, TimeoutError, AMQPError) as error:
            problem = str(error) or "no answer in time"
            if lacks_streams(problem):
                raise TopologyError(NO_STREAMS) from None
        if time.monotonic() > until:
            raise TopologyError(
                f"RabbitMQ was not ready within {patience:.0f} seconds ({problem}): check that enough of its nodes run"
            )
        await asyncio.sleep(PAUSE)


async def apply(url: str, wanted: Topology | None = None, *, alone: bool = False) -> Applied:
    """Declare every exchange, queue and binding that is missing; idempotent, raises TopologyError.

    An existing queue that differs only in its delivery limit is deleted and declared again if no message can be lost
    that way; otherwise it is left as it is. `alone`: no other Crossdock process is publishing or consuming.
    """
    wanted = wanted or topology()

    async def work(connection: AbstractConnection) -> Applied:
        differences: list[Difference] = []
        channel = await connection.channel()
        for exchange in wanted.exchanges:
            await declare(channel, exchange)
        for queue in wanted.queues:
            found = await declare(channel, queue)
            if found:  # a difference has closed the channel
                channel = await connection.channel()
            differences += found
        for binding in wanted.bindings:
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
        limited = {one.queue for one in differences if one.argument == "x-delivery-limit"}
        if limited:
            outdated = [queue for queue in wanted.queues if queue.name in limited]
            renewed = await renew.renew(connection, outdated, wanted, alone=alone)
            differences = [one for one in differences if one.queue not in renewed]
        return Applied(differences)

    return await patiently(url, work)


async def prune(url: str, wanted: Topology) -> list[str]:
    """Remove bindings that a different number of shards needed; return the remaining tasks, one line each.

    Queues are never removed. Run it only when every ingress has `wanted` in its configuration. Idempotent. Raises
    TopologyError.
    """

    async def work(connection: AbstractConnection) -> list[str]:
        left = []
        mine = {queue.name for queue in wanted.queues}
        channel = await connection.channel()
        for binding in wanted.outdated:
            depth = await _depth(connection, binding.queue)
            if depth is None:
                break  # shards are numbered without gaps
            await channel.queue_unbind(binding.queue, binding.exchange, binding.routing_key)
            if binding.queue not in mine and depth[0]:
                shard = binding.queue.rpartition(".")[2]
                left.append(
                    f"{binding.queue} still holds {depth[0]} messages: keep a `crossdock worker store --shard {shard}` "
                    "until it is empty"
                )
        return left

    return await patiently(url, work)


SEE_TIMEOUT = 2.0
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
        done, _ = await asyncio.wait((binding,), timeout=SEE_TIMEOUT)
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
            await channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
    except ChannelAccessRefused:
        log.warning("not allowed to bind the store's queue: make sure that `crossdock topology apply` has run")
    except ChannelNotFoundEntity as error:
        hint = "run `crossdock topology apply`" if is_missing(error) else "waiting for its leader"
        raise TopologyError(f"{error}: {hint}") from None
    else:
        await channel.close()


async def inspect(url: str, wanted: Topology | None = None) -> Report:
    """Compare the broker with `wanted` without changing anything.

    Bindings cannot be seen over AMQP 0-9-1, but `apply` is safe to run for those. Raises TopologyError if the broker
    cannot be queried.
    """
    wanted = wanted or topology()

    async def work(connection: AbstractConnection) -> Report:
        found = Report([], [])
        things: list[Exchange | Queue] = [*wanted.exchanges, *wanted.queues]
        for thing in things:
            channel = await connection.channel()
            try:
                if isinstance(thing, Exchange):
                    await channel.exchange_declare(thing.name, exchange_type=thing.type, passive=True)
                else:
                    await channel.queue_declare(thing.name, passive=True)
                # A passive declaration ignores arguments. Repeating the full declaration compares them and changes
                # nothing.
                differences = await declare(channel, thing)
            except ChannelNotFoundEntity as error:
                if not is_missing(error):
                    raise  # it has no leader now, so `patiently` tries again
                found.problems.append(f"{thing.name} is missing: run `crossdock topology apply`")
            except TopologyError as error:
                found.problems.append(str(error))
            else:
                found.notes.extend(_limit_note(one) for one in differences if one.argument == "x-delivery-limit")
                if thing.name == EVENTS_LOG and differences:
                    found.notes.append(_log_note(differences))
        return found

    return await patiently(url, work)


async def check(url: str, wanted: Topology | None = None) -> list[str]:
    """Return what is missing or different on the broker, one line each, without changing anything.

    The list is empty if nothing is wrong.
    """
    return (await inspect(url, wanted)).problems


def _limit_note(one: Difference) -> str:
    limit = "RabbitMQ's default delivery limit" if one.current is None else f"a delivery limit of {one.current}"
    what = "deletes" if one.queue in (DEAD, UNROUTED) else "dead-letters"
    return (
        f"{one.queue} still has {limit} from an earlier release, past which RabbitMQ {what} a message: to renew it, "
        "let our queues run empty, stop the workers, and run `crossdock topology apply`"
    )


def _log_note(differences: list[Difference]) -> str:
    parts = ", ".join(
        f"{one.argument} {'unset' if one.current is None else one.current} where the configuration says "
        f"{'unset' if one.wanted is None else one.wanted}"
        for one in differences
    )
    return f"{EVENTS_LOG} was declared with {parts}; a policy decides: `crossdock topology apply` sets or shows it"


async def depths(url: str, more: Iterable[str] = (), *, shards: int | None = None) -> dict[str, tuple[int, int]]:
    """Return the numbers of ready messages and of consumers by queue name.

    Includes our own queues and those of `more` that exist. `shards`: query exactly that many store queues, because
    RabbitMQ logs an error for each one that does not exist; None also queries surplus ones.
    """
    found: dict[str, tuple[int, int]] = {}
    async with connected(url) as connection:
        for name in (*(queue.name for queue in topology(shards=shards or 1).queues), *more):
            if (depth := await _depth(connection, name)) is not None:
                found[name] = depth
        for name in map(store_queue, range(1, MAX_SHARDS)) if shards is None else ():
            if (depth := await _depth(connection, name)) is None:
                break  # shards are numbered without gaps
            found[name] = depth
    return found


async def _depth(connection: AbstractConnection, queue: str) -> tuple[int, int] | None:
    """Return the numbers of ready messages and of consumers of a queue.

    Returns None if the queue does not exist or has no leader.
    """
    channel = await connection.channel()
    try:
        ok = await channel.queue_declare(queue, passive=True)
    except ChannelNotFoundEntity:
        return None
    await channel.close()
    return ok.message_count or 0, ok.consumer_count or 0


def export(vhost: str = "/", wanted: Topology | None = None, *, major: int = 3) -> dict[str, Any]:
    """Return RabbitMQ definitions for version `major`.x.

    They can be loaded with `rabbitmqctl import_definitions` or through the management API.
    """
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
            {
                "name": queue.name,
                "vhost": vhost,
                "durable": True,
                "auto_delete": False,
                "arguments": queue.declared(major),
            }
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


__all__ = [
    "Applied",
    "Report",
    "TopologyError",
    "apply",
    "check",
    "connected",
    "declare",
    "depths",
    "export",
    "inspect",
    "patiently",
    "prune",
    "verify_store_binding",
]
