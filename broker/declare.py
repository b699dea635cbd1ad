"""Declare one exchange or queue, and find out how an existing one differs from ours.

RabbitMQ compares the arguments of a declaration with those of the existing queue and names the first difference. Some
differences do not matter (`schemas.topology.CHANGEABLE`): for these the declaration is repeated with the existing
value.
"""

import re
from typing import NamedTuple

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp.common import FieldTable, FieldValue

from broker.connection import underlay
from schemas.topology import CHANGEABLE, Binding, Exchange, Queue

_UNEQUAL = re.compile(
    r"inequivalent arg '(?P<name>[^']+)' for .*"
    r" but current is (?:none|(?:the value )?'(?P<value>[^']*)'(?: of type '[^']*')?)$",
    re.DOTALL,
)
"""The error text of RabbitMQ 3.10 to 4.3 for an argument that differs.

For example: "received '14D' but current is '7D'" or "received none but current is the value '20' of type
'byte'".
"""


class TopologyError(Exception):
    """The broker cannot be reached, or one of our objects has other properties; the text states what to do."""


class Difference(NamedTuple):
    """One argument in which an existing queue differs from ours without preventing its use.

    None means that the argument is not set.
    """

    queue: str
    argument: str
    expected: FieldValue
    current: FieldValue


def major_version(connection: AbstractConnection) -> int:
    """Return the major version of the server, from AMQP's `connection.start`; 3 if it is not a RabbitMQ version."""
    version = underlay(connection).server_properties.get("version")
    text = version.decode("ascii", "replace") if isinstance(version, bytes) else str(version)
    number = text.partition(".")[0]
    return int(number) if number.isdecimal() else 3


NO_STREAMS = (
    "RabbitMQ has no streams, and the event log is one: run `rabbitmqctl enable_feature_flag stream_queue`, or use "
    "RabbitMQ 3.9 or later"
)


def lacks_streams(text: str) -> bool:
    """Return whether an error of RabbitMQ means that streams are not enabled (from 3.9 on) or not known (before)."""
    return "stream" in text and ("feature flag is disabled" in text or "invalid arg 'x-queue-type'" in text)


def is_missing(error: ChannelNotFoundEntity) -> bool:
    """Return whether the error means that the queue or exchange does not exist.

    RabbitMQ also answers 404 for a queue that exists but has no leader at the moment: "home node … of durable queue …
    is down or inaccessible", "process is stopped by supervisor", "failed to perform operation … due to a timeout".
    """
    return re.search(r"no (queue|exchange) '", str(error)) is not None


async def declare(connection: AbstractConnection, entity: Exchange | Queue) -> list[Difference]:
    """Declare an exchange or a queue unless it exists, and return the differences that do not matter.

    Raises TopologyError if the exchange or queue exists with other properties.
    """
    channel = await connection.channel()
    if isinstance(entity, Exchange):
        try:
            await channel.declare_exchange(entity.name, entity.type, durable=True, arguments=dict(entity.arguments))
        except ChannelPreconditionFailed as error:
            raise _unusable(entity, error) from None
        await channel.close()
        return []
    expected: FieldTable = entity.declared(major_version(connection))
    arguments = dict(expected)
    changeable = CHANGEABLE.get(str(expected.get("x-queue-type")), ())
    for _ in range(len(changeable) + 1):
        try:
            await channel.declare_queue(entity.name, durable=True, arguments=arguments)
            await channel.close()
            break
        except ChannelPreconditionFailed as error:
            unequal = _UNEQUAL.search(str(error))
            if unequal is None or unequal["name"] not in changeable:
                raise _unusable(entity, error) from None
            _set(arguments, unequal["name"], unequal["value"])
            channel = await connection.channel()  # the error has closed the previous channel
    else:
        raise TopologyError(f"{entity.name} exists with other properties, which RabbitMQ does not name")
    names = expected.keys() | arguments.keys()
    return [
        Difference(entity.name, name, expected.get(name), arguments.get(name))
        for name in sorted(names)
        if expected.get(name) != arguments.get(name)
    ]


async def bind(channel: AbstractChannel, binding: Binding) -> None:
    """Bind a queue to an exchange; idempotent."""
    queue = await channel.get_queue(binding.queue, ensure=False)
    await queue.bind(binding.exchange, binding.routing_key)


async def unbind(channel: AbstractChannel, binding: Binding) -> None:
    """Remove a binding; idempotent."""
    queue = await channel.get_queue(binding.queue, ensure=False)
    await queue.unbind(binding.exchange, binding.routing_key)


def _set(arguments: FieldTable, name: str, current: str | None) -> None:
    if current is None:
        arguments.pop(name, None)
    elif name == "x-max-age":
        # RabbitMQ 4.3 reports an age in milliseconds.
        arguments[name] = f"{int(current) // 1000}s" if current.isdecimal() else current
    else:
        arguments[name] = int(current)


def _unusable(entity: Exchange | Queue, error: Exception) -> TopologyError:
    if lacks_streams(str(error)):
        return TopologyError(NO_STREAMS)
    return TopologyError(
        f"{entity.name} exists with other properties ({error}): drain and delete it, then run "
        "`crossdock topology apply`"
    )
