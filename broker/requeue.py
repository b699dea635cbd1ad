"""Move messages from one queue to another: they are published and confirmed before they are acknowledged."""

import asyncio

from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage, HeadersType
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError

from broker.commands import connected
from broker.declare import TopologyError
from broker.outgoing import RawMessage

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
    taking = await connection.channel(publisher_confirms=False)
    publishing = await connection.channel(on_return_raises=True)
    await publishing.get_queue(target)
    queue = await taking.get_queue(source)
    # Counted first, because a consumer that keeps failing on the messages must not keep the move going forever.
    left = queue.declaration_result.message_count or 0
    moved = 0
    while left > 0:
        piece: list[AbstractIncomingMessage] = []
        while len(piece) < min(PIECE, left):
            message = await queue.get(fail=False, timeout=TIMEOUT)
            if message is None:
                left = 0
                break
            piece.append(message)
        if piece:
            await asyncio.gather(*(_publish(publishing.default_exchange, target, message) for message in piece))
            await piece[-1].ack(multiple=True)
        moved += len(piece)
        left -= len(piece)
    return moved


async def _publish(exchange: AbstractExchange, target: str, message: AbstractIncomingMessage) -> None:
    properties = message.properties
    # aio-pika reads an absent priority as 0, and an expiration in seconds, of which it could lose a millisecond.
    properties.priority = message.priority or None
    if isinstance(message.expiration, float):
        properties.expiration = str(round(message.expiration * 1000))
    headers = {**message.headers}
    routing_key = _first_routing_key(headers)
    if routing_key is not None:
        headers.setdefault(ROUTING_KEY, routing_key)
    properties.headers = {name: value for name, value in headers.items() if name not in _DEATHS}
    properties.delivery_mode = 2
    await exchange.publish(RawMessage(message.body, properties), target, timeout=TIMEOUT)


def _first_routing_key(headers: HeadersType) -> str | None:
    """Return the routing key of a message's first death, the last in `x-death`; None if it is not a dead letter."""
    deaths = headers.get("x-death")
    if not isinstance(deaths, list) or not deaths or not isinstance(deaths[-1], dict):
        return None
    keys = deaths[-1].get("routing-keys")
    return keys[0] if isinstance(keys, list) and keys and isinstance(keys[0], str) else None
