"""Move messages from one queue to another: they are published and confirmed before they are acknowledged.

The channels are aiormq's, because a moved message keeps its properties as they are. aio-pika's `Message` would add a
priority, round an expiration, and reject properties that it cannot convert.
"""

import asyncio

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError
from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.common import FieldTable

from broker.connection import underlay
from broker.declare import TopologyError
from broker.topology import connected

PIECE = 200
"""Messages held at a time; if the move is interrupted, they return to their queue."""
TIMEOUT = 10.0
"""Maximum seconds for one reply of the broker."""
ROUTING_KEY = "x-routing-key"
"""Header with the routing key under which the message was first published."""
_DEATHS = ("x-death", "x-delivery-count", "x-acquired-count")
"""Headers of earlier deliveries, which are removed because RabbitMQ 3.x would continue their counts."""


async def move(url: str, source: str, target: str) -> int:
    """Move the messages that `source` holds now to the end of `target`; return how many were moved.

    If the move is interrupted, some messages may be in both queues, but none is lost. Raises TopologyError.
    """
    async with connected(url) as connection:
        try:
            return await _move(connection, source, target)
        except ChannelNotFoundEntity as error:
            raise TopologyError(f"{error}: `crossdock consumers add` declares it") from None
        except DeliveryError:
            raise TopologyError(f"RabbitMQ does not take messages for {target}: is there such a queue?") from None


async def _move(connection: AbstractConnection, source: str, target: str) -> int:
    taking = await underlay(connection).channel()
    publishing = await underlay(connection).channel(publisher_confirms=True, on_return_raises=True)
    await publishing.queue_declare(target, passive=True)
    # Counted first, because a consumer that keeps failing on the messages must not keep the move going forever.
    left = (await taking.queue_declare(source, passive=True)).message_count or 0
    moved = 0
    while left > 0:
        piece: list[DeliveredMessage] = []
        while len(piece) < min(PIECE, left):
            message = await taking.basic_get(source, timeout=TIMEOUT)
            if not message.delivery_tag:
                left = 0
                break
            piece.append(message)
        if piece:
            await asyncio.gather(*(_publish(publishing, target, message) for message in piece))
            await taking.basic_ack(piece[-1].delivery_tag or 0, multiple=True, wait=True)
        moved += len(piece)
        left -= len(piece)
    return moved


async def _publish(channel: AbstractChannel, target: str, message: DeliveredMessage) -> None:
    properties = message.header.properties
    headers: FieldTable = {**(properties.headers or {})}
    routing_key = _first_routing_key(headers)
    if routing_key is not None:
        headers.setdefault(ROUTING_KEY, routing_key)
    properties.headers = {name: value for name, value in headers.items() if name not in _DEATHS}
    properties.delivery_mode = 2
    await channel.basic_publish(
        message.body, routing_key=target, properties=properties, mandatory=True, timeout=TIMEOUT
    )


def _first_routing_key(headers: FieldTable) -> str | None:
    """Return the routing key of a message's first death, the last in `x-death`; None if it is not a dead letter."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[-1], dict):
        return None
    keys = deaths[-1].get("routing-keys")
    return keys[0] if isinstance(keys, list) and keys and isinstance(keys[0], str) else None
